//! `[headers]`, and `headers` of a route.

use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::tree::Node;
use crate::config::value;
use crate::header::{Name, Value};
use crate::policy::response_headers::config::Config;

/// What `preset = "strict"` sets. They suit an API as well as a page; `set` replaces each of them.
pub const STRICT: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    ("content-security-policy", "frame-ancestors 'self'"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

/// The keys of `[headers]`.
pub static SPEC: Spec = Spec {
    title: "[headers]",
    doc: "Header fields on every answer, the gateway's own errors included.",
    keys: &[
        Key::new(
            "preset",
            Takes::Word(&["off", "strict"]),
            Presence::Default("\"off\""),
            "`strict` sets `X-Content-Type-Options: nosniff`, `X-Frame-Options: SAMEORIGIN`, `Referrer-Policy: \
             strict-origin-when-cross-origin`, `Content-Security-Policy: frame-ancestors 'self'` and a \
             `Permissions-Policy` without camera, geolocation and microphone.",
        ),
        Key::new(
            "set",
            Takes::Value(value::HEADER_VALUES.describe),
            Presence::Default("{}"),
            "Fields to set, in place of the upstream's and of the preset's.",
        ),
        Key::new(
            "remove",
            Takes::Value(value::HEADERS.describe),
            Presence::Default("[]"),
            "Fields to remove from upstreams' answers.",
        ),
    ],
};

/// The keys of a route's `headers`.
pub static OF_ROUTE: Spec = Spec {
    title: "headers",
    doc: "Header fields on the answers of one route, beside those of `[headers]`.",
    keys: &[
        Key::new(
            "set",
            Takes::Value(value::HEADER_VALUES.describe),
            Presence::Default("{}"),
            "Fields to set, in place of the upstream's.",
        ),
        Key::new(
            "remove",
            Takes::Value(value::HEADERS.describe),
            Presence::Default("[]"),
            "Fields to remove from the upstream's answers.",
        ),
    ],
};

/// Decodes `[headers]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Config> {
    let f = d.fields(&SPEC, "[headers]".into(), node)?;
    let strict = f.word(d, "preset", &[("off", false), ("strict", true)]);
    let own = f.get(d, "set", &value::HEADER_VALUES);
    let remove = f.get(d, "remove", &value::HEADERS);
    let (strict, own, remove) = (strict?, own?, remove?);
    let replaced = |name: &str| {
        own.iter().any(|(other, _)| other.as_str() == name)
            || remove.iter().any(|other| other.as_str() == name)
    };
    let preset = STRICT.iter().filter(|(name, _)| strict && !replaced(name));
    let preset = preset.map(|(name, value)| (Name::from_static(name), Value::from_static(value)));
    Some(Config { set: preset.chain(own.iter().cloned()).collect(), remove })
}

/// Decodes a route's `headers`.
pub fn decode_of_route(d: &mut Decoder<'_>, node: &Node) -> Option<Config> {
    let f = d.fields(&OF_ROUTE, "headers".into(), node)?;
    let set = f.get(d, "set", &value::HEADER_VALUES);
    let remove = f.get(d, "remove", &value::HEADERS);
    Some(Config { set: set?, remove: remove? })
}
