//! Times on the command line: `90s`, `10m`, `1h`.

use std::time::Duration;

/// Reads one, of a second at least.
pub fn read(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is no time; expected a number with s, m or h, such as 90s");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(expected()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    if number == 0 { Err(expected()) } else { Ok(Duration::from_secs(u64::from(number) * unit)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_is_not_zero() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h", 3600)] {
            assert_eq!(read(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "s", "10", "0s", "-1m", "1.5h", "5µ"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
