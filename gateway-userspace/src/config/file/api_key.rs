//! `[auth.NAME]` with `api-key`: keys that are kept as hashes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::codes;
use crate::config::decode::{Decoder, Key as SpecKey, Presence, Spec, Takes};
use crate::config::tree::{Node, Value};
use crate::config::value::{self, Type};
use crate::diagnostic::{Place, Problem};
use crate::header::Name;
use crate::policy::api_key::config::{Config, Key, Location};

/// Most places in which a key is looked for.
const LOCATIONS_MAX: usize = 8;
/// Most keys of one table.
const KEYS_MAX: usize = 1_000_000;

const LOCATIONS: Type<Vec<Location>> = Type {
    describe: "`header:NAME`, `query:NAME` or `cookie:NAME`, or an array of these",
    decode: locations,
};
const KEYS: Type<Vec<Key>> = Type {
    describe: "a table from id to `\"sha256:…\"`, or to `{ hash = \"sha256:…\", consumer = \"…\" }`",
    decode: keys,
};

/// The keys of `[auth.NAME]` with `api-key`.
pub static SPEC: Spec = Spec {
    title: "[auth.NAME] with api-key",
    doc: "API keys. `portcullis key create` makes one and prints the line to paste; the gateway never has the key itself.",
    keys: &[
        SpecKey::new(
            "api-key",
            Takes::Value(LOCATIONS.describe),
            Presence::Required,
            "Where the key stands, in the order in which it is looked for. A bare name means a header.",
        ),
        SpecKey::new(
            "keys",
            Takes::Value(KEYS.describe),
            Presence::Required,
            "The keys: `keys.partner-a = \"sha256:…\"`. The consumer is what limits and logs call the client; if not \
             given, the id.",
        ),
        SpecKey::new(
            "consumer-header",
            Takes::Value(value::HEADER.describe),
            Presence::Optional,
            "Header field that tells the upstream the consumer. The client's own copy is always removed.",
        ),
        SpecKey::new(
            "forward",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("false"),
            "Whether the key stays in the request that goes upstream.",
        ),
    ],
};

/// The keys of one API key's table.
static KEY: Spec = Spec {
    title: "keys.ID",
    doc: "An API key.",
    keys: &[
        SpecKey::new("hash", Takes::Value(HASH.describe), Presence::Required, "SHA-256 of the key."),
        SpecKey::new("consumer", Takes::Value(value::NAME.describe), Presence::Optional, "Who owns it."),
    ],
};

const HASH: Type<[u8; 32]> = Type { describe: "`sha256:` and 64 hexadecimal digits", decode: hash };

/// Decodes `[auth.NAME]` with `api-key`.
pub fn decode(d: &mut Decoder<'_>, name: &Arc<str>, title: String, node: &Node) -> Option<Config> {
    let f = d.fields(&SPEC, title, node)?;
    let from = f.get(d, "api-key", &LOCATIONS);
    let keys = f.get(d, "keys", &KEYS);
    let consumer_header = f.get(d, "consumer-header", &value::HEADER);
    let forward = f.get(d, "forward", &value::BOOLEAN);
    Some(Config { name: name.clone(), from: from?, keys: keys?, consumer_header, forward: forward? })
}

fn locations(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Location>> {
    let locations = value::one_or_many(d, node, location)?;
    if locations.is_empty() || locations.len() > LOCATIONS_MAX {
        let message = format!("a key stands in one to {LOCATIONS_MAX} places");
        d.report.push(Problem::error(codes::BAD_LOCATION, message, node.place.clone()));
        return None;
    }
    Some(locations)
}

fn location(d: &mut Decoder<'_>, node: &Node) -> Option<Location> {
    let text = d.text(node, "a string such as `header:X-API-Key`")?;
    let location = match text.split_once(':').unwrap_or(("header", text)) {
        ("header", name) => Name::parse(name).map(Location::Header),
        ("query", name) if !name.is_empty() => Some(Location::Query(name.into())),
        ("cookie", name) if !name.is_empty() => Some(Location::Cookie(name.into())),
        _ => None,
    };
    if location.is_none() {
        let message = format!("an API key cannot stand in `{text}`");
        let problem = Problem::error(codes::BAD_LOCATION, message, node.place.clone());
        d.report.push(problem.help("write `header:X-API-Key`, `query:key` or `cookie:key`"));
    }
    location
}

fn keys(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Key>> {
    let Value::Table(entries) = &node.value else {
        d.wrong_type(node, "a table from id to hash");
        return None;
    };
    if entries.is_empty() || entries.len() > KEYS_MAX {
        let message = format!("found {} API keys, expected 1 to {KEYS_MAX}", entries.len());
        let problem = Problem::error(codes::EMPTY, message, node.place.clone());
        d.report.push(problem.help("`portcullis key create` makes a key and prints the line to paste"));
        return None;
    }
    let mut seen: HashMap<[u8; 32], Place> = HashMap::new();
    let mut decoded = Vec::with_capacity(entries.len());
    for entry in entries.iter().filter(|entry| !entry.node.is_blank()) {
        let id: Arc<str> = entry.key.value.as_str().into();
        let key = match &entry.node.value {
            Value::Table(_) => d.fields(&KEY, format!("keys.{id}"), &entry.node).and_then(|f| {
                let hash = f.get(d, "hash", &HASH);
                let consumer = f.get(d, "consumer", &value::NAME);
                Some((hash?, consumer.unwrap_or_else(|| id.clone())))
            }),
            _ => hash(d, &entry.node).map(|hash| (hash, id.clone())),
        };
        if let Some((hash, _)) = &key
            && let Some(first) = seen.insert(*hash, entry.key.place.clone())
        {
            let problem =
                Problem::error(codes::SAME_KEY, "this is the same key again", entry.key.place.clone());
            d.report.push(problem.related(first, "it stands here first"));
        }
        decoded.push(key.map(|(sha256, consumer)| Key { id, consumer, sha256 }));
    }
    decoded.into_iter().collect()
}

fn hash(d: &mut Decoder<'_>, node: &Node) -> Option<[u8; 32]> {
    let text = d.text(node, "a string such as `sha256:…`")?;
    if let Some(digest) = text.strip_prefix("sha256:").and_then(parse_hex) {
        return Some(digest);
    }
    d.conceal(node);
    let problem =
        Problem::error(codes::BAD_KEY_HASH, "this is not the hash of an API key", node.place.clone())
            .label("expected `sha256:` and 64 hexadecimal digits");
    // A key itself, in place of its hash, was probably meant to be hashed. A hash with a slip in it was not.
    let is_hash = text.contains(':') || text.len() < 16 || text.bytes().all(|byte| byte.is_ascii_hexdigit());
    d.report.push(match is_hash {
        true => problem.help("`portcullis key create` makes a key and prints the line to paste"),
        false => {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
            let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            problem.help(format!("if this is the key itself, write its hash: `sha256:{hex}`"))
        }
    });
    None
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_exactly_64_hexadecimal_digits() {
        assert_eq!(parse_hex(&"0f".repeat(32)), Some([0x0f; 32]));
        assert_eq!(parse_hex(&"0F".repeat(32)), Some([0x0f; 32]));
        assert_eq!(parse_hex(&"0f".repeat(31)), None);
        assert_eq!(parse_hex(&"0g".repeat(32)), None);
        assert_eq!(parse_hex(""), None);
    }
}
