//! Times as Go (`3h59m12.5s`, CrowdSec) and nft (`1d2h3m4s5ms`) write them.

use std::time::Duration;

/// A time that is over, or one that is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Zero or less.
    Over,
    /// More than that.
    For(Duration),
}

/// Reads a sum of numbers with units, each with or without a fraction, and a sign in front of all; `0` needs no unit.
/// `None` if it is none or beyond [`Duration::MAX`]. What is below a nanosecond is dropped.
pub fn read(text: &[u8]) -> Option<Left> {
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if rest == b"0" {
        return Some(Left::Over);
    }
    let mut sum = 0_u128;
    loop {
        let (nanoseconds, after) = part(rest)?;
        sum = sum.checked_add(nanoseconds)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let seconds = u64::try_from(sum / SECOND).ok()?;
    let time = Duration::new(seconds, (sum % SECOND) as u32);
    Some(if negative || time.is_zero() { Left::Over } else { Left::For(time) })
}

const SECOND: u128 = 1_000_000_000;
/// In nanoseconds. A longer name stands before the one that it begins with.
const UNITS: [(&[u8], u128); 8] = [
    (b"ns", 1),
    ("µs".as_bytes(), 1_000),
    ("μs".as_bytes(), 1_000),
    (b"us", 1_000),
    (b"ms", 1_000_000),
    (b"s", SECOND),
    (b"m", 60 * SECOND),
    (b"h", 3600 * SECOND),
];
/// Go has none, nft writes it.
const DAY: (&[u8], u128) = (b"d", 86_400 * SECOND);

/// One number and its unit in nanoseconds, and what follows.
fn part(text: &[u8]) -> Option<(u128, &[u8])> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => digits(rest),
        _ => (&[][..], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) =
        UNITS.iter().chain([&DAY]).find_map(|(name, unit)| Some((*unit, rest.strip_prefix(*name)?)))?;
    let whole = whole
        .iter()
        .try_fold(0_u128, |sum, digit| sum.checked_mul(10)?.checked_add(u128::from(digit - b'0')))?;
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction {
        place /= 10;
        if place == 0 {
            break;
        }
        nanoseconds = nanoseconds.checked_add(place * u128::from(digit - b'0'))?;
    }
    Some((nanoseconds, rest))
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_go_and_of_nft_are_read() {
        let table = [
            ("3h59m12.5s", 3.0 * 3600.0 + 59.0 * 60.0 + 12.5),
            ("3h59m59.382698294s", 3.0 * 3600.0 + 59.0 * 60.0 + 59.382_698_294),
            ("168h", 604_800.0),
            ("87ms", 0.087),
            ("1.5µs", 0.000_001_5),
            ("1.5μs", 0.000_001_5),
            ("1h0m0s", 3600.0),
            ("+5m", 300.0),
            (".5s", 0.5),
            ("1.s", 1.0),
            ("29d23h59m59s976ms", 2_591_999.976),
        ];
        for (text, seconds) in table {
            let expected = Left::For(Duration::from_secs_f64(seconds));
            assert_eq!(read(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_over_is_told_from_what_is_no_time() {
        for over in ["0", "0s", "-12.159171034s", "-1h", "0h0m0.0s", "0.0000000001s"] {
            assert_eq!(read(over.as_bytes()), Some(Left::Over), "{over}");
        }
        let long = format!("{}s", "9".repeat(60));
        for bad in [
            "",
            "-",
            "5",
            "5x",
            "s",
            ".s",
            "1h ",
            " 1h",
            "1h-1m",
            "1e3s",
            "5 m",
            "99999999999999999999s",
            &long,
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
