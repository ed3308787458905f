//! What many samples say, and what they were taken on.

use std::fs;

use serde_json::{Value, json};

/// The least: the cost without the neighbours.
pub fn best(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The middle one, or half-way between the two in the middle.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// The least value that `percent` of all do not exceed (nearest rank); with few values a high one is the greatest.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let sorted = sorted(values);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// The median of the ratios of one round each. Neighbours make whole minutes slow; figures of the same round share that,
/// so their ratio does not show it.
pub fn paired_ratio(own: &[f64], peer: &[f64]) -> f64 {
    let ratios: Vec<f64> = own.iter().zip(peer).map(|(own, peer)| own / peer).collect();
    median(&ratios)
}

/// The processor, how many there are, the kernel, and how busy it was before the bench.
pub fn machine() -> Value {
    let system = rustix::system::uname();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    json!({
        "cpu": model.map_or("unknown", |(_, name)| name),
        // Not `available_parallelism`: the thread may be fixed to one of them.
        "cpus": cpu.lines().filter(|line| line.starts_with("processor")).count(),
        "kernel": system.release().to_string_lossy(),
        "load_average": load_average(),
    })
}

/// Of the last minute; 0 if it is not told.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 99)), (50.0, 99.0));
        assert_eq!((percentile(&[7.0, 9.0, 8.0], 99), percentile(&[7.0], 50)), (9.0, 7.0));
        assert!(percentile(&[], 50).is_nan());
    }

    #[test]
    fn ratios_are_paired_round_by_round() {
        assert_eq!(paired_ratio(&[10.0, 30.0, 20.0], &[20.0, 60.0, 40.0]), 0.5);
    }
}
