//! What scripts of other origins may read of an answer.
//!
//! A browser shows a page of another origin only a few harmless fields of an answer, and those that
//! `Access-Control-Expose-Headers` lists (Fetch §3.3.4, "CORS protocol and HTTP responses"). Whoever lets other origins
//! read an answer means them to read how much of a limit is left too, so the gateway's own fields are added to that
//! list, on refusals as on answers. Who may read is decided by `Access-Control-Allow-Origin` alone, which is never set
//! here.

use crate::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, Fields,
    Name, RATELIMIT, RATELIMIT_POLICY, RETRY_AFTER, Value, X_BAN_TICKET, X_GATEWAY_REASON, X_RATELIMIT_LIMIT,
    X_RATELIMIT_REMAINING, X_RATELIMIT_RESET, X_REQUEST_ID,
};

/// The fields that tell a client how it stands with the gateway.
static TELLING: [Name; 9] = [
    X_RATELIMIT_LIMIT,
    X_RATELIMIT_REMAINING,
    X_RATELIMIT_RESET,
    RATELIMIT,
    RATELIMIT_POLICY,
    RETRY_AFTER,
    X_REQUEST_ID,
    X_GATEWAY_REASON,
    X_BAN_TICKET,
];

/// Lists those of the fields that are there and not listed yet, where the answer is for other origins at all.
pub fn expose(fields: &mut Fields) {
    if fields.contains(&ACCESS_CONTROL_ALLOW_ORIGIN) {
        complete(fields);
    }
}

#[cold]
fn complete(fields: &mut Fields) {
    let mut list = Vec::new();
    for value in fields.get_all(&ACCESS_CONTROL_EXPOSE_HEADERS) {
        append(&mut list, value.as_bytes());
    }
    // With credentials, `*` is the name of a field and no wildcard.
    if lists(&list, "*") && !with_credentials(fields) {
        return;
    }
    let before = list.len();
    for name in &TELLING {
        if fields.contains(name) && !lists(&list, name.as_str()) {
            append(&mut list, name.as_str().as_bytes());
        }
    }
    // What was a field's value goes on to be one with commas and names behind it.
    if list.len() > before
        && let Some(value) = Value::parse(&list)
    {
        fields.set(ACCESS_CONTROL_EXPOSE_HEADERS, value);
    }
}

/// Whether the answer may be read where the request had credentials: `true`, in lower case (Fetch §3.3.4).
fn with_credentials(fields: &Fields) -> bool {
    fields.get(&ACCESS_CONTROL_ALLOW_CREDENTIALS).is_some_and(|value| value.as_bytes() == b"true")
}

fn append(list: &mut Vec<u8>, more: &[u8]) {
    if !list.is_empty() && !more.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(more);
}

/// Whether a list has a name, in whatever case (RFC 9110 §5.6.1).
fn lists(list: &[u8], name: &str) -> bool {
    list.split(|byte| *byte == b',').any(|member| member.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: (&str, &str) = ("access-control-allow-origin", "https://app.example");

    /// The list, after `expose`, of an answer with these fields; several fields are joined by `|`.
    fn exposed(sent: &[(&str, &str)]) -> String {
        let mut fields = Fields::default();
        for (name, value) in sent {
            let name = Name::parse(name).expect("a name");
            fields.add(name, Value::parse(value.as_bytes()).expect("a value"));
        }
        expose(&mut fields);
        let values =
            fields.get_all(&ACCESS_CONTROL_EXPOSE_HEADERS).map(|value| value.to_str().expect("text"));
        values.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn an_answer_for_other_origins_lists_the_fields_that_it_has() {
        let limited =
            [("x-ratelimit-limit", "2"), ("ratelimit", "r"), ("x-request-id", "1"), ("retry-after", "9")];
        let expected = "x-ratelimit-limit, ratelimit, retry-after, x-request-id";
        assert_eq!(exposed(&[&[ALLOWED][..], &limited].concat()), expected);
        assert_eq!(exposed(&limited), "", "an answer for its own origin only");
        assert_eq!(exposed(&[ALLOWED, ("etag", "\"1\"")]), "", "nothing of the gateway's");
    }

    #[test]
    fn names_are_added_to_those_that_are_listed_and_none_twice() {
        let id = ("x-request-id", "1");
        let reason = ("x-gateway-reason", "rate-limited");
        for (listed, expected) in [
            (&["X-Total"][..], "X-Total, x-request-id, x-gateway-reason"),
            (&["X-Total,X-Request-ID"], "X-Total,X-Request-ID, x-gateway-reason"),
            (&["X-Gateway-Reason , x-request-id"], "X-Gateway-Reason , x-request-id"),
            (&["a", "x-request-id", ""], "a, x-request-id, x-gateway-reason"),
            (&[""], "x-request-id, x-gateway-reason"),
        ] {
            let listed = listed.iter().map(|value| ("access-control-expose-headers", *value));
            let sent: Vec<_> = [ALLOWED, id, reason].into_iter().chain(listed).collect();
            assert_eq!(exposed(&sent), expected);
        }
    }

    #[test]
    fn a_wildcard_is_enough_unless_credentials_make_it_a_name() {
        let sent = [ALLOWED, ("x-request-id", "1"), ("access-control-expose-headers", "*")];
        assert_eq!(exposed(&sent), "*");
        let with = |value| [&sent[..], &[("access-control-allow-credentials", value)]].concat();
        assert_eq!(exposed(&with("true")), "*, x-request-id");
        assert_eq!(exposed(&with("True")), "*", "only the lower-case word allows credentials");
    }
}
