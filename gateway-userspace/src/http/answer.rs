//! What a client gets when the gateway itself ends a request.
//!
//! The body is what [`super::error_body`] says.

use std::time::SystemTime;

use bytes::Bytes;

use super::error_body::{self, Facts};
use super::rejection::{Appearance, Challenge, Rejection};
use crate::header::{self, Name, Value};
use crate::policy::response_headers;
use crate::request::RequestId;
use crate::response;

/// Methods named in `Allow` when one is refused that the gateway never forwards; routes may take fewer.
const FORWARDED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What `Retry-After` says with a 503: long enough for a restart, short enough not to be missed.
const UNAVAILABLE_RETRY_S: u64 = 5;

const NO_STORE: Value = Value::from_static("no-store");
const CACHE_CONTROL: Name = Name::from_static("cache-control");

/// Head and body for a rejection. `id` is absent only where no request was understood. `realm` names the protected
/// space in a challenge; it must not hold quotes or backslashes. `at` is the time of the request, `bodies` what the
/// configuration says of bodies.
///
/// The caller leaves the body out where [`bodiless`] says so.
pub fn render(
    rejection: &Rejection,
    id: Option<&RequestId>,
    realm: &str,
    at: SystemTime,
    bodies: &error_body::Config,
) -> (response::Head, Bytes) {
    let appearance = rejection.appearance();
    let retry_after = retry_after_s(rejection, appearance);
    let (content_type, body) = bodies.render(&facts(rejection, appearance, retry_after, id));
    let mut head = response::Head::new(appearance.status);
    let fields = &mut head.fields;
    fields.set(header::CONTENT_TYPE, content_type);
    fields.set(CACHE_CONTROL, NO_STORE);
    fields.set(header::X_GATEWAY_REASON, Value::from_static(appearance.reason));
    if let Some(id) = id {
        fields.set(header::X_REQUEST_ID, id.0.clone());
    }
    if let Some(seconds) = retry_after {
        fields.set(header::RETRY_AFTER, Value::from(seconds));
    }
    if let Some(challenge) = challenge(rejection, realm) {
        fields.set(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(methods) = allow(rejection) {
        fields.set(header::ALLOW, methods);
    }
    if appearance.close {
        fields.set(header::CONNECTION, Value::from_static("close"));
    }
    if let Rejection::RateLimited { state, .. } = rejection {
        response_headers::limit::set(&mut head.fields, state, at);
    }
    (head, body)
}

/// Whether an answer with this status to this method has no body (RFC 9110 §6.4.1), and so none may be sent.
pub fn bodiless(method: &str, status: u16) -> bool {
    method == "HEAD" || matches!(status, 100..=199 | 204 | 304)
}

fn facts<'a>(
    rejection: &Rejection,
    appearance: Appearance,
    retry_after_s: Option<u64>,
    id: Option<&'a RequestId>,
) -> Facts<'a> {
    let details = match rejection {
        Rejection::BadCredential(_, fault) => Some(fault.as_str()),
        _ => None,
    };
    let Appearance { status, reason, title, .. } = appearance;
    Facts { status, reason, title, details, retry_after_s, request_id: id.map(RequestId::as_str) }
}

fn retry_after_s(rejection: &Rejection, appearance: Appearance) -> Option<u64> {
    match rejection {
        Rejection::RateLimited { retry_after_s, .. } => Some(*retry_after_s),
        _ => (appearance.status == 503).then_some(UNAVAILABLE_RETRY_S),
    }
}

/// `WWW-Authenticate`. A client that sent nothing is not told of an error (RFC 6750 §3.1).
fn challenge(rejection: &Rejection, realm: &str) -> Option<Value> {
    let text = match rejection {
        Rejection::NoCredential(challenge) => format!("{} realm=\"{realm}\"", scheme(*challenge)),
        Rejection::BadCredential(challenge, fault) => format!(
            "{} realm=\"{realm}\", error=\"invalid_token\", error_description=\"{}\"",
            scheme(*challenge),
            fault.as_str()
        ),
        Rejection::MissingClaim => format!("Bearer realm=\"{realm}\", error=\"invalid_token\""),
        _ => return None,
    };
    Value::parse(text.as_bytes())
}

fn scheme(challenge: Challenge) -> &'static str {
    match challenge {
        Challenge::Bearer => "Bearer",
        Challenge::ApiKey => "ApiKey",
    }
}

/// `Allow`, which a 405 must carry (RFC 9110 §15.5.6).
fn allow(rejection: &Rejection) -> Option<Value> {
    match rejection {
        Rejection::MethodNotAllowed { allow } => Value::parse(allow.as_bytes()),
        Rejection::MethodRefused => Some(Value::from_static(FORWARDED_METHODS)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::http::rejection::CredentialFault;
    use crate::request::context::LimitState;

    fn rendered(rejection: &Rejection) -> (response::Head, serde_json::Value) {
        let id = RequestId(Value::from_static("0193-abc"));
        let at = UNIX_EPOCH + std::time::Duration::from_millis(1_000_500);
        let (head, body) = render(rejection, Some(&id), "api", at, &Default::default());
        (head, serde_json::from_slice(&body).expect("the body is JSON"))
    }

    fn field<'a>(head: &'a response::Head, name: &Name) -> Option<&'a str> {
        head.fields.get(name).and_then(Value::to_str)
    }

    #[test]
    fn a_rejection_is_a_problem_with_the_members_that_older_clients_read() {
        let state = LimitState {
            limit: "per-user".into(),
            quota: 100,
            remaining: 0,
            reset_s: 60,
            x_ratelimit: true,
            policy: None,
        };
        let (head, body) = rendered(&Rejection::RateLimited { state, retry_after_s: 18 });
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:portcullis:rate-limited", "title": "Too many requests", "status": 429,
                "error": "Too many requests", "retryAfter": 18, "requestId": "0193-abc",
            })
        );
        assert_eq!(head.status, 429);
        for (name, value) in [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::X_GATEWAY_REASON, "rate-limited"),
            (header::X_REQUEST_ID, "0193-abc"),
            (header::RETRY_AFTER, "18"),
            (header::X_RATELIMIT_LIMIT, "100"),
            (header::X_RATELIMIT_REMAINING, "0"),
            (header::X_RATELIMIT_RESET, "1061"),
        ] {
            assert_eq!(field(&head, &name), Some(value), "{name:?}");
        }
    }

    #[test]
    fn a_challenge_tells_of_an_error_only_when_a_credential_was_sent() {
        let cases = [
            (Rejection::NoCredential(Challenge::Bearer), "Bearer realm=\"api\""),
            (Rejection::NoCredential(Challenge::ApiKey), "ApiKey realm=\"api\""),
            (
                Rejection::BadCredential(Challenge::Bearer, CredentialFault::Expired),
                "Bearer realm=\"api\", error=\"invalid_token\", error_description=\"expired\"",
            ),
            (Rejection::MissingClaim, "Bearer realm=\"api\", error=\"invalid_token\""),
        ];
        for (rejection, challenge) in cases {
            let (head, _) = rendered(&rejection);
            assert_eq!(head.status, 401);
            assert_eq!(field(&head, &header::WWW_AUTHENTICATE), Some(challenge));
        }
        let (_, body) = rendered(&Rejection::BadCredential(Challenge::Bearer, CredentialFault::Signature));
        assert_eq!(body["details"], "invalid signature");
    }

    #[test]
    fn a_405_names_the_methods_that_would_do() {
        let (head, _) = rendered(&Rejection::MethodNotAllowed { allow: "GET, HEAD".into() });
        assert_eq!(field(&head, &header::ALLOW), Some("GET, HEAD"));
        let (head, _) = rendered(&Rejection::MethodRefused);
        assert_eq!(field(&head, &header::ALLOW), Some(FORWARDED_METHODS));
    }

    #[test]
    fn a_503_says_when_to_come_back_and_distrusted_framing_closes() {
        let (head, body) = rendered(&Rejection::Overloaded);
        assert_eq!(field(&head, &header::RETRY_AFTER), Some("5"));
        assert_eq!(body["retryAfter"], 5);
        assert_eq!(field(&head, &header::CONNECTION), None);
        let (head, _) = rendered(&Rejection::BadFraming);
        assert_eq!(field(&head, &header::CONNECTION), Some("close"));
    }

    #[test]
    fn answers_to_head_and_answers_without_content_have_no_body() {
        for (method, status, without) in [
            ("GET", 200, false),
            ("HEAD", 200, true),
            ("HEAD", 404, true),
            ("GET", 204, true),
            ("POST", 304, true),
            ("GET", 205, false),
            ("head", 200, false),
        ] {
            assert_eq!(bodiless(method, status), without, "{method} {status}");
        }
    }
}
