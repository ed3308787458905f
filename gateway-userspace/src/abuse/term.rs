//! How long something lasts, as people write it: `90s`, `10m`, `1h30m`, `7d`.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// The two largest units that are not zero, rounded up to the second.
pub fn display(term: Duration) -> String {
    let mut rest = term.as_secs() + u64::from(term.subsec_nanos() > 0);
    let mut text = String::new();
    let mut parts = 0;
    for (unit, seconds) in UNITS {
        let count = rest / seconds;
        if count > 0 && parts < 2 {
            text += &format!("{count}{unit}");
            parts += 1;
        } else if parts > 0 {
            break;
        }
        rest %= seconds;
    }
    if text.is_empty() { String::from("0s") } else { text }
}

/// Seconds from one or more pairs of number and unit; none if it is anything else or too large for a `u64`.
pub fn parse(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let (_, seconds) = UNITS.iter().find(|(unit, _)| *unit == &rest[digits..unit_end])?;
        total = total.checked_add(count.checked_mul(*seconds)?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then(|| Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_shown_with_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (45, "45s"),
            (600, "10m"),
            (5_400, "1h30m"),
            (3_605, "1h"),
            (86_400, "1d"),
            (90_061, "1d1h"),
        ] {
            assert_eq!(display(Duration::from_secs(seconds)), text);
        }
        assert_eq!(display(Duration::from_millis(1)), "1s");
    }

    #[test]
    fn what_is_shown_can_be_read_and_nonsense_cannot() {
        for (text, seconds) in [("10m", 600), ("1h30m", 5_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "m",
            "10 m",
            "-5s",
            "10x",
            "1.5h",
            "99999999999999999999s",
            "9999999999999999999d",
            "5é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
