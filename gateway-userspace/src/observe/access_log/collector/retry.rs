//! When to send again, and when not.

use std::time::{Duration, SystemTime};

use super::settings::Protocol;

/// First pause after a failure; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause that is chosen here.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// What a status means for the batch that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Accepted,
    /// It may be accepted later.
    Later,
    /// It will never be accepted.
    Never,
}

/// Reads a status. OTLP names the few that mean "later". For the others a token that is not valid (401, 403) is
/// repaired by an operator sooner or later, and what waits is worth keeping until then; so it is with a path that does
/// not exist yet (404).
pub fn verdict(protocol: &Protocol, status: u16) -> Verdict {
    match (protocol, status) {
        (_, 200..=299) => Verdict::Accepted,
        (_, 429 | 502 | 503 | 504) => Verdict::Later,
        (Protocol::Otlp { .. }, _) => Verdict::Never,
        (_, 401 | 403 | 404 | 407 | 408 | 425 | 500..=599) => Verdict::Later,
        _ => Verdict::Never,
    }
}

/// How long `Retry-After` asks to wait: seconds or a date (RFC 9110 §10.2.3), at most five minutes. `None` if it says
/// neither.
pub fn asked(retry_after: &str, now: SystemTime) -> Option<Duration> {
    let text = retry_after.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(text).ok()?;
            SystemTime::from(date.timestamp()).duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(ASKED_MAX))
}

/// How long to pause after `failures` failures in a row, at least one; `fraction` (0 to 1) spreads many gateways over
/// time.
pub fn pause(failures: u32, fraction: f64) -> Duration {
    let pause = PAUSE_MIN.saturating_mul(1 << (failures.max(1) - 1).min(16)).min(PAUSE_MAX);
    pause.mul_f64(0.5 + 0.5 * fraction)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::super::settings::Framing;
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds() {
        let seconds = |failures, fraction| pause(failures, fraction).as_secs_f64();
        assert_eq!(
            [1, 2, 3, 5, 6, 99].map(|failures| seconds(failures, 1.0)),
            [1.0, 2.0, 4.0, 16.0, 30.0, 30.0]
        );
        assert_eq!([1, 2, 99].map(|failures| seconds(failures, 0.0)), [0.5, 1.0, 15.0]);
    }

    #[test]
    fn a_receiver_says_when_in_seconds_or_by_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |text: &str| asked(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:40 GMT"), Some(3));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "in the past");
        assert_eq!(seconds("86400"), Some(300), "no more than this");
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_sent_again_depends_on_the_protocol() {
        let http = Protocol::Http(Framing::Lines);
        let otlp = Protocol::Otlp { service: "portcullis".into() };
        for (status, of_http, of_otlp) in [
            (200, Verdict::Accepted, Verdict::Accepted),
            (204, Verdict::Accepted, Verdict::Accepted),
            (301, Verdict::Never, Verdict::Never),
            (400, Verdict::Never, Verdict::Never),
            (403, Verdict::Later, Verdict::Never),
            (413, Verdict::Never, Verdict::Never),
            (429, Verdict::Later, Verdict::Later),
            (500, Verdict::Later, Verdict::Never),
            (503, Verdict::Later, Verdict::Later),
        ] {
            assert_eq!((verdict(&http, status), verdict(&otlp, status)), (of_http, of_otlp), "{status}");
        }
    }
}
