//! Times as text, made once for each second.

use std::time::{SystemTime, UNIX_EPOCH};

/// The text of the second that was asked for last; requests of one second share it.
pub struct Clock {
    second: u64,
    /// `2026-11-22T05:20:00`
    rfc3339: String,
    /// `22/Nov/2026:05:20:00 +0000`
    common: String,
}

impl Clock {
    /// A clock that has told no time yet.
    pub fn new() -> Clock {
        Clock { second: u64::MAX, rfc3339: String::new(), common: String::new() }
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn write_rfc3339(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let ms = self.tell(time);
        out.extend_from_slice(self.rfc3339.as_bytes());
        out.push(b'.');
        out.extend([ms / 100, ms / 10 % 10, ms % 10].map(|digit| b'0' + digit as u8));
        out.push(b'Z');
    }

    /// The Common Log Format's time, in UTC.
    pub fn write_common(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        self.tell(time);
        out.extend_from_slice(self.common.as_bytes());
    }

    /// Makes the texts of the time's second if they are of another; returns the milliseconds within it.
    fn tell(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            let second = i64::try_from(since.as_secs()).unwrap_or_default();
            let timestamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            self.rfc3339 = timestamp.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            self.common = timestamp.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        }
        since.subsec_millis()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_in_utc_with_milliseconds() {
        let mut clock = Clock::new();
        for (ms, rfc3339, common) in [
            (1_795_324_800_007, "2026-11-22T05:20:00.007Z", "22/Nov/2026:05:20:00 +0000"),
            (1_795_324_800_999, "2026-11-22T05:20:00.999Z", "22/Nov/2026:05:20:00 +0000"),
            (951_782_399_120, "2000-02-28T23:59:59.120Z", "28/Feb/2000:23:59:59 +0000"),
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(ms);
            let mut out = Vec::new();
            clock.write_rfc3339(time, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), rfc3339);
            out.clear();
            clock.write_common(time, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), common);
        }
    }
}
