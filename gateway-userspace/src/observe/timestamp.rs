//! Wall-clock times as RFC 3339 text with milliseconds, in UTC.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serializer};

/// `2026-11-22T05:20:00.123Z`
pub fn format(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|timestamp| format!("{timestamp:.3}"))
        .unwrap_or_else(|_| String::from("1970-01-01T00:00:00.000Z"))
}

/// For `#[serde(with = …)]`.
pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*time))
}

/// For `#[serde(with = …)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let timestamp: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    Ok(timestamp.into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_time_is_written_with_milliseconds_in_utc() {
        let time = UNIX_EPOCH + Duration::from_millis(1_795_324_800_007);
        assert_eq!(super::format(time), "2026-11-22T05:20:00.007Z");
    }
}
