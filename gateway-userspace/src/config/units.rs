//! Values with a unit: durations, sizes, rates of requests, packets, bytes and bits, and ban rules.
//!
//! Each parser is a function from text to value; its error says what was expected. A number without a unit is its own
//! error, which proposes the fix.

use std::time::Duration;

use super::model::BanRule;
use crate::abuse::score::When;

/// Why a text is not the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, in one line.
    pub message: String,
    /// Under the caret.
    pub expected: &'static str,
    /// What to write.
    pub help: String,
    /// Whether only the unit is missing.
    pub bare: bool,
}

impl Fault {
    fn new(message: impl Into<String>, expected: &'static str, help: impl Into<String>) -> Fault {
        Fault { message: message.into(), expected, help: help.into(), bare: false }
    }

    fn bare(text: &str, expected: &'static str, proposal: String) -> Fault {
        let help = format!("write `\"{proposal}\"`");
        Fault { message: format!("`{text}` has no unit"), expected, help, bare: true }
    }
}

/// Longest duration: ten years.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
const DURATION: &str = "expected NUMBER and unit";
const DURATION_HELP: &str = "units are ms, s, m, h and d; for example \"10s\" or \"1h30m\"";
const SIZE: &str = "expected NUMBER and unit";
const SIZE_HELP: &str = "units are B, kB, MB, GB and KiB, MiB, GiB; for example \"10MiB\"";
const RATE: &str = "expected NUMBER/UNIT";
const RATE_HELP: &str = "units are s, min, h, day; e.g. \"100/min\"";
const BYTE_RATE: &str = "expected SIZE/s";
const BIT_RATE: &str = "expected NUMBER and unit";
const BIT_RATE_HELP: &str = "units are bit/s, kbit/s, Mbit/s and Gbit/s; for example \"1Gbit/s\"";
const BAN: &str = "expected NUMBER denials in DURATION";

/// A duration: `"10s"`, `"250ms"`, `"1h30m"`. Whole numbers; units ms, s, m (or min), h, d.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let wrong = || Fault::new("this is not a duration", DURATION, DURATION_HELP);
    let text = text.trim();
    if is_number(text) {
        return Err(Fault::bare(text, DURATION, format!("{text}s")));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or_else(wrong)?;
        let after = after.trim_start();
        let length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let millis_each: u64 = match &after[..length] {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(millis_each).map(Duration::from_millis);
        total = part.and_then(|part| total.checked_add(part)).filter(|sum| *sum <= DURATION_MAX).ok_or_else(
            || Fault::new("this duration is too long", DURATION, "the longest is ten years, `\"3660d\"`"),
        )?;
        rest = after[length..].trim_start();
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// A size in bytes: `"10MiB"`, `"64kB"`, `"512B"`.
pub fn size(text: &str) -> Result<u64, Fault> {
    let text = text.trim();
    let wrong = || Fault::new("this is not a size", SIZE, SIZE_HELP);
    if is_number(text) {
        return Err(Fault::bare(text, SIZE, format!("{text}B")));
    }
    let (number, unit) = leading_number(text).ok_or_else(wrong)?;
    let each: u64 = match unit.trim() {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(each).ok_or_else(wrong)
}

/// A number of requests and the period: `"100/min"`, `"1k/h"`.
pub fn rate(text: &str) -> Result<(u64, Duration), Fault> {
    let text = text.trim();
    let wrong = || Fault::new("this is not a rate", RATE, RATE_HELP);
    if is_number(text) {
        return Err(Fault::bare(text, RATE, format!("{text}/min")));
    }
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let per = match unit.trim() {
        "s" | "sec" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        "day" | "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number = scaled(number.trim()).ok_or_else(wrong)?;
    if number == 0 {
        let help = "to refuse everything leave the route out, or use `access = [\"deny all\"]`";
        return Err(Fault::new("a rate is at least 1", RATE, help));
    }
    Ok((number, Duration::from_secs(per)))
}

/// Packets per second: `"50k/s"`. Other periods are for rates of requests.
pub fn packet_rate(text: &str) -> Result<u64, Fault> {
    let trimmed = text.trim();
    if is_number(trimmed) {
        return Err(Fault::bare(trimmed, RATE, format!("{trimmed}/s")));
    }
    match rate(trimmed) {
        Ok((number, per)) if per.as_secs() == 1 => Ok(number),
        _ => {
            let help = "packets are counted per second; e.g. \"50k/s\"";
            Err(Fault::new("this is not a rate of packets", "expected NUMBER/s", help))
        }
    }
}

/// Bytes per second: `"500B/s"`, `"4KiB/s"`; `"0B/s"` is off.
pub fn byte_rate(text: &str) -> Result<u64, Fault> {
    let text = text.trim();
    let help = "for example \"500B/s\" or \"4KiB/s\"";
    if is_number(text) {
        return Err(Fault::bare(text, BYTE_RATE, format!("{text}B/s")));
    }
    let wrong = || Fault::new("this is not a rate of bytes", BYTE_RATE, help);
    let (amount, unit) = text.split_once('/').ok_or_else(wrong)?;
    if unit.trim() != "s" {
        return Err(wrong());
    }
    size(amount).map_err(|_| wrong())
}

/// Bits per second, at least 1: `"1Gbit/s"`, `"500kbit/s"`. Units are powers of 1000, as on network interfaces.
pub fn bit_rate(text: &str) -> Result<u64, Fault> {
    let text = text.trim();
    if is_number(text) {
        return Err(Fault::bare(text, BIT_RATE, format!("{text}Mbit/s")));
    }
    let wrong = || {
        // Bytes are the usual slip, and only the eightfold is meant.
        let bits = byte_rate(text).ok().and_then(|bytes| bytes.checked_mul(8)).filter(|bits| *bits > 0);
        let help = bits.map(|bits| format!("a bandwidth is in bits: write `\"{}\"`", show_bit_rate(bits)));
        Fault::new("this is not a bandwidth", BIT_RATE, help.unwrap_or_else(|| BIT_RATE_HELP.into()))
    };
    let (number, unit) = leading_number(text).ok_or_else(wrong)?;
    let each = BIT_UNITS.iter().find(|(_, name)| *name == unit.trim_start()).ok_or_else(wrong)?.0;
    let bits = number.checked_mul(each).ok_or_else(wrong)?;
    if bits == 0 {
        return Err(Fault::new("a bandwidth is at least 1bit/s", BIT_RATE, BIT_RATE_HELP));
    }
    Ok(bits)
}

/// Units of a bandwidth, the largest first.
const BIT_UNITS: [(u64, &str); 4] =
    [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s"), (1, "bit/s")];

/// `"20 denials in 10s"`.
pub fn ban_rule(text: &str) -> Result<BanRule, Fault> {
    let help = "for example \"20 denials in 10s\"";
    let wrong = || Fault::new("this is not a ban rule", BAN, help);
    if is_number(text.trim()) {
        return Err(Fault::bare(text.trim(), BAN, format!("{} denials in 10s", text.trim())));
    }
    let mut words = text.split_whitespace();
    let (amount, of) = words.next().zip(words.next()).ok_or_else(wrong)?;
    let asks = match of {
        "denials" | "denial" => When::Denials(amount.parse().map_err(|_| wrong())?),
        "cpu" => When::Cpu(duration(amount)?),
        _ => return Err(wrong()),
    };
    if words.next() != Some("in") {
        return Err(wrong());
    }
    let within = duration(&words.collect::<Vec<_>>().join(" "))
        .map_err(|fault| Fault { help: format!("{} in a ban rule, {help}", fault.help), ..fault })?;
    let nothing = matches!(asks, When::Denials(0) | When::Cpu(Duration::ZERO));
    if nothing || within.is_zero() {
        return Err(Fault::new("a ban needs at least one denial and some time", BAN, help));
    }
    Ok(BanRule { asks, within })
}

/// A whole number with `k` or `M` behind it: `"50k"`.
pub fn scaled(text: &str) -> Option<u64> {
    let (number, scale) = leading_number(text)?;
    let scale: u64 = match scale {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        _ => return None,
    };
    number.checked_mul(scale)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..length].parse().ok()?, &text[length..]))
}

/// A duration as it would be written: the largest unit that divides it.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    if millis == 0 {
        return "0s".into();
    }
    let divides = |(each, _): &&(u128, &str)| millis.is_multiple_of(*each);
    let (each, unit) = units.iter().find(divides).expect("one divides every number");
    format!("{}{unit}", millis / each)
}

/// A size as it would be written.
pub fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
    let divides = |(each, _): &&(u64, &str)| bytes != 0 && bytes.is_multiple_of(*each);
    let (each, unit) = units.iter().find(divides).unwrap_or(&(1, "B"));
    format!("{}{unit}", bytes / each)
}

/// A bandwidth as it would be written.
pub fn show_bit_rate(bits: u64) -> String {
    let divides = |(each, _): &&(u64, &str)| bits != 0 && bits.is_multiple_of(*each);
    let (each, unit) = BIT_UNITS.iter().find(divides).unwrap_or(&(1, "bit/s"));
    format!("{}{unit}", bits / each)
}

/// Packets per second as they would be written.
pub fn show_packet_rate(packets: u64) -> String {
    match packets {
        1_000.. if packets.is_multiple_of(1_000) => format!("{}k/s", packets / 1_000),
        _ => format!("{packets}/s"),
    }
}

/// A rate as it would be written.
pub fn show_rate(requests: u64, per: Duration) -> String {
    match per.as_secs() {
        1 => format!("{requests}/s"),
        60 => format!("{requests}/min"),
        3_600 => format!("{requests}/h"),
        86_400 => format!("{requests}/day"),
        _ => format!("{requests} in {}", show_duration(per)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        let seconds = |text| duration(text).map(|value| value.as_secs_f64());
        assert_eq!(seconds("250ms"), Ok(0.25));
        assert_eq!(seconds("10s"), Ok(10.0));
        assert_eq!(seconds("10 min"), Ok(600.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("1h 30m"), Ok(5400.0));
        assert_eq!(seconds("2d"), Ok(172_800.0));
        assert_eq!(seconds("0s"), Ok(0.0));
    }

    #[test]
    fn a_bare_number_gets_its_unit_proposed() {
        assert_eq!(duration("60").unwrap_err().help, "write `\"60s\"`");
        assert_eq!(size("1024").unwrap_err().help, "write `\"1024B\"`");
        assert_eq!(rate("100").unwrap_err().help, "write `\"100/min\"`");
        assert_eq!(packet_rate("500").unwrap_err().help, "write `\"500/s\"`");
        assert_eq!(byte_rate("500").unwrap_err().help, "write `\"500B/s\"`");
        assert_eq!(bit_rate("100").unwrap_err().help, "write `\"100Mbit/s\"`");
        assert_eq!(ban_rule("20").unwrap_err().help, "write `\"20 denials in 10s\"`");
        assert!(duration("60").unwrap_err().bare);
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", " ", "s", "-1s", "1.5s", "10 parsecs", "1y", "10s extra", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("9999999d").unwrap_err().message, "this duration is too long");
    }

    #[test]
    fn sizes_rates_and_rules_are_read() {
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("64 kB"), Ok(64_000));
        assert!(size("18446744073709551615GiB").is_err());
        assert_eq!(rate("100/min"), Ok((100, Duration::from_secs(60))));
        assert_eq!(rate("1k / h"), Ok((1000, Duration::from_secs(3600))));
        assert_eq!(rate("100/minute").unwrap_err().message, "this is not a rate");
        assert_eq!(rate("0/s").unwrap_err().message, "a rate is at least 1");
        assert_eq!(packet_rate("50k/s"), Ok(50_000));
        assert!(packet_rate("50k/min").is_err());
        assert_eq!(byte_rate("4KiB/s"), Ok(4096));
        assert_eq!(byte_rate("0B/s"), Ok(0));
        let rule = BanRule { asks: When::Denials(20), within: Duration::from_secs(10) };
        assert_eq!(ban_rule("20 denials in 10s"), Ok(rule));
        let costly = BanRule { asks: When::Cpu(Duration::from_millis(500)), ..rule };
        assert_eq!(ban_rule("500ms cpu in 10s"), Ok(costly));
        for text in ["500 cpu in 10s", "0ms cpu in 10s", "500ms gpu in 10s", "500ms cpu"] {
            assert!(ban_rule(text).is_err(), "{text}");
        }
        for text in ["20 in 10s", "x denials in 10s", "20 denials in 10", "0 denials in 10s", ""] {
            assert!(ban_rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bandwidths_are_read_and_bytes_are_not_taken_for_bits() {
        assert_eq!(bit_rate("1Gbit/s"), Ok(1_000_000_000));
        assert_eq!(bit_rate(" 2500 Mbit/s"), Ok(2_500_000_000));
        assert_eq!(bit_rate("64kbit/s"), Ok(64_000));
        assert_eq!(bit_rate("9bit/s"), Ok(9));
        assert_eq!(bit_rate("125MB/s").unwrap_err().help, "a bandwidth is in bits: write `\"1Gbit/s\"`");
        assert_eq!(bit_rate("0Gbit/s").unwrap_err().message, "a bandwidth is at least 1bit/s");
        for text in
            ["", "Gbit/s", "1Gbit", "1Gbps", "1gbit/s", "2.5Gbit/s", "-1bit/s", "0B/s", "99999999999Gbit/s"]
        {
            let fault = bit_rate(text).unwrap_err();
            assert_eq!(
                (fault.message.as_str(), fault.help.as_str()),
                ("this is not a bandwidth", BIT_RATE_HELP)
            );
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_itself() {
        for text in ["250ms", "10s", "1m", "90m", "2h", "7d", "0s"] {
            let value = duration(text).unwrap();
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
        for bytes in [0, 1, 1000, 1 << 10, 10 << 20, 3 << 30] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
        for bits in [1, 1_500, 64_000, 2_500_000_000, 10_000_000_000] {
            assert_eq!(bit_rate(&show_bit_rate(bits)), Ok(bits));
        }
        for packets in [1, 999, 1_000, 122_000, 81_274] {
            assert_eq!(packet_rate(&show_packet_rate(packets)), Ok(packets));
        }
        assert_eq!(show_rate(100, Duration::from_secs(60)), "100/min");
    }
}
