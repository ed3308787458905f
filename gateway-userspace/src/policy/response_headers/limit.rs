//! What the nearest limit says, on answers and refusals alike: `X-RateLimit-*`, which most clients know, and `RateLimit`
//! with `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), which say the same in one way for all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::header::{
    Fields, RATELIMIT, RATELIMIT_POLICY, Value, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET,
};
use crate::request::context::LimitState;

/// Sets the fields that the limit asks for, in place of those that the upstream may have sent. `X-RateLimit-Reset` is
/// in seconds since the epoch, as most clients expect it, `t` of `RateLimit` in seconds from now.
pub fn set(fields: &mut Fields, state: &LimitState, now: SystemTime) {
    if state.x_ratelimit {
        let now_s = now.duration_since(UNIX_EPOCH).map_or(0, round_up);
        fields.set(X_RATELIMIT_LIMIT, Value::from(state.quota));
        fields.set(X_RATELIMIT_REMAINING, Value::from(state.remaining));
        fields.set(X_RATELIMIT_RESET, Value::from(now_s.saturating_add(state.reset_s)));
    }
    if let Some(policy) = &state.policy {
        let LimitState { limit, remaining, reset_s, .. } = state;
        // The name of a table has no character that a quoted string would have to escape.
        if let Some(left) = Value::parse(format!("\"{limit}\";r={remaining};t={reset_s}").as_bytes()) {
            fields.set(RATELIMIT, left);
            fields.set(RATELIMIT_POLICY, policy.clone());
        }
    }
}

fn round_up(since: Duration) -> u64 {
    since.as_secs() + u64::from(since.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::set;
    use crate::header::{Fields, Name, Value, X_RATELIMIT_LIMIT};
    use crate::request::context::LimitState;

    fn set_by(x_ratelimit: bool, policy: Option<&'static str>) -> impl Fn(&'static str) -> Option<String> {
        let mut fields = Fields::default();
        fields.add(X_RATELIMIT_LIMIT, Value::from_static("9999"));
        let state = LimitState {
            limit: Arc::from("per-user"),
            quota: 100,
            remaining: 42,
            reset_s: 35,
            x_ratelimit,
            policy: policy.map(Value::from_static),
        };
        set(&mut fields, &state, UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
        move |name| {
            let value = fields.single(&Name::from_static(name)).ok()?;
            value.to_str().map(str::to_owned)
        }
    }

    #[test]
    fn the_fields_are_integers_and_replace_the_upstreams() {
        let field = set_by(true, Some("\"per-user\";q=100;w=60"));
        for (name, expected) in [
            ("x-ratelimit-limit", "100"),
            ("x-ratelimit-remaining", "42"),
            ("x-ratelimit-reset", "1700000036"),
            ("ratelimit", "\"per-user\";r=42;t=35"),
            ("ratelimit-policy", "\"per-user\";q=100;w=60"),
        ] {
            assert_eq!(field(name).as_deref(), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn what_the_limit_does_not_ask_for_is_left_as_the_upstream_sent_it() {
        let field = set_by(false, None);
        assert_eq!(field("x-ratelimit-limit").as_deref(), Some("9999"));
        assert_eq!(
            (field("x-ratelimit-reset"), field("ratelimit"), field("ratelimit-policy")),
            (None, None, None)
        );
    }
}
