//! `X-RateLimit-*`: what the nearest limit says, on answers and refusals alike.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::header::{Fields, Value, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET};
use crate::request::context::LimitState;

/// Sets the three fields, in place of those that the upstream may have sent. `X-RateLimit-Reset` is in seconds since
/// the epoch, as most clients expect it.
pub fn set(fields: &mut Fields, state: &LimitState, now: SystemTime) {
    let now_s = now.duration_since(UNIX_EPOCH).map_or(0, round_up);
    fields.set(X_RATELIMIT_LIMIT, Value::from(state.quota));
    fields.set(X_RATELIMIT_REMAINING, Value::from(state.remaining));
    fields.set(X_RATELIMIT_RESET, Value::from(now_s.saturating_add(state.reset_s)));
}

fn round_up(since: Duration) -> u64 {
    since.as_secs() + u64::from(since.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::set;
    use crate::header::{Fields, Value, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET};
    use crate::request::context::LimitState;

    #[test]
    fn the_fields_are_integers_and_replace_the_upstreams() {
        let mut fields = Fields::default();
        fields.add(X_RATELIMIT_LIMIT, Value::from_static("9999"));
        let state = LimitState { limit: Arc::from("per-user"), quota: 100, remaining: 42, reset_s: 35 };
        set(&mut fields, &state, UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
        for (name, expected) in
            [(X_RATELIMIT_LIMIT, "100"), (X_RATELIMIT_REMAINING, "42"), (X_RATELIMIT_RESET, "1700000036")]
        {
            assert_eq!(fields.single(&name).ok().and_then(Value::to_str), Some(expected), "{name:?}");
        }
    }
}
