//! Fields that concern one connection only, and are taken out on both sides (RFC 9110 §7.6.1).
//!
//! A sender may name further fields in `Connection`. From a client that is a way to make a gateway drop what the
//! gateway or the upstream relies on (`Connection: authorization, x-forwarded-for`), so fields that carry identity,
//! routing, framing or provenance are never dropped that way. Everything that the gateway itself sets is set after
//! this, so `Connection: x-user-id` can only remove the client's own `x-user-id`, which is what is wanted.

use crate::header::{self, Fields, Name, Value};
use crate::http1::fields::lists;

/// Taken out of every message, beside `Connection` and `TE`. `Trailer` stays: it announces trailers, which are forwarded.
static OTHERS: [Name; 7] = [
    header::KEEP_ALIVE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
];

const HTTP2_SETTINGS: Name = Name::from_static("http2-settings");

/// Most names in `Connection` that are honoured; nobody needs more than a handful.
const NOMINATED_MAX: usize = 16;

/// Fields that `Connection` cannot take out, beside those beginning with `content-` and `x-forwarded-`.
const PROTECTED: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "origin",
    "pragma",
    "range",
    "set-cookie",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "vary",
    "via",
    "www-authenticate",
    "x-gateway-reason",
    "x-real-ip",
    "x-request-id",
];

/// Cleans what a client sent. `TE` stays if it asks for trailers, as gRPC needs, and then says nothing else. Upgrades
/// are not supported, so `Upgrade` goes.
pub fn strip_request(fields: &mut Fields) {
    let Some(found) = Found::among(fields) else { return };
    let trailers = found.te && lists(fields.raw(), header::TE.raw(), "trailers");
    found.strip(fields);
    if trailers {
        fields.set(header::TE, Value::from_static("trailers"));
    }
}

/// Cleans what an upstream answered.
pub fn strip_response(fields: &mut Fields) {
    if let Some(found) = Found::among(fields) {
        found.strip(fields);
    }
}

/// Which of the fields that concern the connection a message has. One look at each field is a third of looking for each
/// name, and most messages have none or one.
#[derive(Default)]
struct Found {
    connection: bool,
    te: bool,
    others: bool,
}

impl Found {
    fn among(fields: &Fields) -> Option<Found> {
        let mut found = Found::default();
        for (name, _value) in fields.iter() {
            match name.as_str() {
                "connection" => found.connection = true,
                "te" => found.te = true,
                "http2-settings"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "transfer-encoding"
                | "upgrade" => found.others = true,
                _ => {}
            }
        }
        (found.connection || found.te || found.others).then_some(found)
    }

    fn strip(&self, fields: &mut Fields) {
        if self.connection {
            for name in nominated(fields) {
                fields.remove(&name);
            }
            fields.remove(&header::CONNECTION);
        }
        if self.te {
            fields.remove(&header::TE);
        }
        if self.others {
            for name in &OTHERS {
                fields.remove(name);
            }
        }
    }
}

/// The names in `Connection` that it may take out.
fn nominated(fields: &Fields) -> Vec<Name> {
    let tokens =
        fields.get_all(&header::CONNECTION).filter_map(Value::to_str).flat_map(|line| line.split(','));
    // These two name nothing that stays otherwise, and are nearly all that is ever said.
    let is_usual =
        |token: &str| token.eq_ignore_ascii_case("keep-alive") || token.eq_ignore_ascii_case("close");
    let unusual = tokens.map(str::trim).filter(|token| !is_usual(token));
    let names = unusual.filter_map(Name::parse);
    names.filter(|name| !is_protected(name.as_str())).take(NOMINATED_MAX).collect()
}

/// Whether a field may come after the body (RFC 9110 §6.5.1): not what routes, frames, authenticates or tells where a
/// request comes from, since a receiver may merge trailers into the header.
pub fn may_be_trailer(name: &Name) -> bool {
    let of_connection = *name == header::CONNECTION || OTHERS.contains(name);
    !of_connection && !is_protected(name.as_str())
}

fn is_protected(name: &str) -> bool {
    name.starts_with("content-") || name.starts_with("x-forwarded-") || PROTECTED.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.add(Name::parse(name).unwrap(), Value::parse(value.as_bytes()).unwrap());
        }
        fields
    }

    #[test]
    fn each_field_of_a_connection_is_taken_out_when_it_stands_alone() {
        for name in OTHERS.iter().map(Name::as_str).chain(["connection", "te"]) {
            assert_eq!(left(&[("accept", "a"), (name, "b")]), ["accept"], "{name}");
            let mut fields = fields(&[("accept", "a"), (name, "b")]);
            strip_response(&mut fields);
            assert_eq!(fields.len(), 1, "{name}");
        }
    }

    /// The names left of a request with these fields.
    fn left(lines: &[(&str, &str)]) -> Vec<String> {
        let mut fields = fields(lines);
        strip_request(&mut fields);
        let mut names: Vec<_> = fields.iter().map(|(name, _)| name.as_str().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_protected_names_are_sorted_so_that_searching_them_works() {
        assert!(PROTECTED.is_sorted());
    }

    #[test]
    fn fields_of_the_connection_go_and_others_stay() {
        let lines = [
            ("connection", "keep-alive, X-Custom"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
            ("x-custom", "1"),
            ("accept", "*/*"),
            ("trailer", "x-checksum"),
        ];
        assert_eq!(left(&lines), ["accept", "trailer"]);
    }

    #[test]
    fn a_client_cannot_take_out_what_the_gateway_or_the_upstream_relies_on() {
        for name in [
            "authorization",
            "Authorization",
            "cookie",
            "content-length",
            "content-type",
            "X-Forwarded-For",
            "x-forwarded-proto",
            "forwarded",
            "x-real-ip",
            "x-request-id",
            "traceparent",
            "host",
            "origin",
        ] {
            let lower = name.to_ascii_lowercase();
            let connection = format!("close, {name}");
            assert_eq!(left(&[("connection", &connection), (&lower, "v")]), [lower.as_str()], "{name}");
        }
    }

    #[test]
    fn an_identity_field_of_the_client_goes_and_one_set_afterwards_stays() {
        let mut fields = fields(&[("connection", "x-user-id"), ("x-user-id", "forged")]);
        strip_request(&mut fields);
        assert!(fields.is_empty());
        let name = Name::from_static("x-user-id");
        fields.set(name.clone(), Value::from_static("alice"));
        assert_eq!(fields.single(&name), Ok(&Value::from_static("alice")));
    }

    #[test]
    fn te_says_trailers_or_nothing() {
        for (te, kept) in [
            ("trailers", true),
            ("gzip, Trailers;q=0.5", true),
            ("deflate, gzip", false),
            ("trailersx", false),
            ("", false),
        ] {
            let mut fields = fields(&[("te", te), ("connection", "TE")]);
            strip_request(&mut fields);
            let value = fields.get(&header::TE).and_then(Value::to_str);
            assert_eq!(value, kept.then_some("trailers"), "{te}");
        }
    }

    #[test]
    fn an_answer_loses_its_connection_fields_too() {
        let mut fields = fields(&[
            ("connection", "close, x-internal, set-cookie"),
            ("x-internal", "1"),
            ("set-cookie", "a=b"),
            ("proxy-authenticate", "Basic"),
            ("content-type", "text/plain"),
        ]);
        strip_response(&mut fields);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["set-cookie", "content-type"]);
    }

    #[test]
    fn only_so_many_nominated_names_are_followed() {
        let list: Vec<_> = (0..1000).map(|i| format!("x-{i}")).collect();
        let fields = fields(&[("connection", &list.join(","))]);
        assert_eq!(nominated(&fields).len(), NOMINATED_MAX);
    }
}
