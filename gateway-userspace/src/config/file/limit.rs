//! `[limit.NAME]`: how many requests.

use crate::config::codes;
use crate::config::decode::{Decoder, Key as SpecKey, Presence, Spec, Takes};
use crate::config::file::{TableName, not_one_of};
use crate::config::tree::Node;
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};
use crate::header::Name;
use crate::policy::rate_limit::config::{Config, Headers, Key};

/// Most parts of what a limit counts by.
const PARTS_MAX: usize = 4;

const BY: Type<Vec<Key>> = Type {
    describe: "`user`, `consumer`, `key`, `address`, `host`, `route`, `ja4`, `claim:NAME`, `header:NAME`, \
               `cookie:NAME` or `parameter:NAME`, or an array of these",
    decode: |d, node| value::one_or_many(d, node, part),
};

/// The keys of `[limit.NAME]`.
pub static SPEC: Spec = Spec {
    title: "[limit.NAME]",
    doc: "How many requests, counted by what. Routes refer to it by its name, and all routes that do share its buckets.",
    keys: &[
        SpecKey::new(
            "rate",
            Takes::Value(value::RATE.describe),
            Presence::Required,
            "Requests in a time: `\"100/min\"`, with `s`, `min`, `h` or `day`.",
        ),
        SpecKey::new(
            "burst",
            Takes::Number(0, 1_000_000_000),
            Presence::Optional,
            "Requests that may come at once beyond the even pace; if not given, the whole quota may be spent at once.",
        ),
        SpecKey::new(
            "by",
            Takes::Value(BY.describe),
            Presence::Default("\"user\""),
            "What is counted. `user` is the token's subject, else the API key's consumer, else the client address; \
             `consumer` is the API key's consumer, with whichever of its keys; `parameter:id` is what stands for `{id}` \
             in the path; several parts are counted together.",
        ),
        SpecKey::new(
            "headers",
            Takes::Word(&["both", "x-ratelimit", "ietf", "off"]),
            Presence::Default("\"both\""),
            "What answers tell of it, while it is the nearest of the route's limits: `X-RateLimit-Limit`, `-Remaining` \
             and `-Reset`, the IETF draft's `RateLimit` and `RateLimit-Policy`, or both.",
        ),
    ],
};

/// Decodes `[limit.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<Located<Config>> {
    let f = d.fields(&SPEC, format!("[limit.{}]", name.value), node)?;
    let rate = f.get(d, "rate", &value::RATE);
    let burst = f.number(d, "burst");
    let by = f.located(d, "by", &BY);
    let headers = f.word(
        d,
        "headers",
        &[
            ("both", Headers::Both),
            ("x-ratelimit", Headers::XRateLimit),
            ("ietf", Headers::Ietf),
            ("off", Headers::Off),
        ],
    );
    let (rate, by, headers) = (rate?, by?, headers?);
    if by.value.is_empty() || by.value.len() > PARTS_MAX {
        let message = format!("a limit counts by one to {PARTS_MAX} parts");
        d.report.push(Problem::error(codes::BAD_LIMIT_KEY, message, by.place));
        return None;
    }
    let (requests, per) = rate;
    let burst = burst.unwrap_or(requests - 1);
    let config = Config { name: name.value.clone(), requests, per, burst, by: by.value, headers };
    Some(name.map(|_| config))
}

fn part(d: &mut Decoder<'_>, node: &Node) -> Option<Key> {
    let text = d.text(node, "a string")?;
    let key = match text.split_once(':') {
        None => match text {
            "user" => Some(Key::User),
            "key" => Some(Key::ApiKey),
            "address" => Some(Key::Address),
            "route" => Some(Key::Route),
            "host" => Some(Key::Host),
            "consumer" => Some(Key::Consumer),
            "ja4" => Some(Key::Ja4),
            _ => None,
        },
        Some((_, "")) => None,
        Some(("claim", name)) => Some(Key::Claim(name.into())),
        Some(("header", name)) => Name::parse(name).map(Key::Header),
        Some(("cookie", name)) => Some(Key::Cookie(name.into())),
        Some(("parameter", name)) => Some(Key::Parameter(name.into())),
        Some(_) => None,
    };
    if key.is_none() {
        let forms = [
            "user",
            "consumer",
            "key",
            "address",
            "host",
            "route",
            "ja4",
            "claim:NAME",
            "header:NAME",
            "cookie:NAME",
            "parameter:NAME",
        ];
        let help = match text {
            "ip" | "client" | "addr" => "did you mean `address`?".into(),
            "api-key" | "apikey" => "did you mean `key`, or `consumer`?".into(),
            "fingerprint" | "tls" | "ja3" | "JA4" => "did you mean `ja4`?".into(),
            _ => not_one_of(text, &forms),
        };
        let message = format!("a limit cannot count by `{text}`");
        d.report.push(Problem::error(codes::BAD_LIMIT_KEY, message, node.place.clone()).help(help));
    }
    key
}
