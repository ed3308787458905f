//! `[list.NAME]`: addresses to be dropped that somebody else keeps.

use super::sink::request::{HEADERS, URL};
use super::{TableName, not_one_of};
use crate::abuse::lists::LISTS_MAX;
use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::model::{List, ListSource};
use crate::config::tree::Node;
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};
use crate::feeds::Format;
use crate::feeds::parse::ENTRIES_MAX;

const FORMAT: Type<Format> = Type {
    describe: "`auto`, `text`, `crowdsec`, `nft` or `ipset`",
    decode: |d, node| {
        let text = d.text(node, "a string")?;
        let found = text.parse().ok();
        if found.is_none() {
            let help = not_one_of(text, &Format::ALL.map(Format::name));
            let message = format!("`{text}` is no format of lists");
            d.report.push(Problem::error(codes::NOT_A_CHOICE, message, node.place.clone()).help(help));
        }
        found
    },
};

/// A part of 0 to 1.
const PART: Type<f64> = Type {
    describe: "a part in percent, such as `\"10%\"`, up to `\"100%\"`",
    decode: |d, node| {
        let text = d.text(node, "a string in percent")?;
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<u8>().ok());
        let part = percent.filter(|percent| *percent <= 100).map(|percent| f64::from(percent) / 100.0);
        if part.is_none() {
            let message = format!("`{text}` is no part in percent");
            let problem = Problem::error(codes::OUT_OF_RANGE, message, node.place.clone());
            d.report.push(problem.help("whole percents from `0%` to `100%`"));
        }
        part
    },
};

/// The keys of `[list.NAME]`.
pub static SPEC: Spec = Spec {
    title: "[list.NAME]",
    doc: "A list of addresses that somebody else keeps and that are dropped, from a file or a URL, of which one is written; \
          there may be 64. What is never banned is left out of it, and networks wider than /8 (IPv6: /19).",
    keys: &[
        Key::new(
            "file",
            Takes::Value(value::PATH.describe),
            Presence::Optional,
            "Where the list is on this machine. It is read again within 4 s when it has changed.",
        ),
        Key::new(
            "url",
            Takes::Value(URL.describe),
            Presence::Optional,
            "Where the list is fetched from. At `…/v1/decisions/stream` CrowdSec's local API is asked for everything once, \
             and then for what has changed; it wants a key of each list's own.",
        ),
        Key::new(
            "format",
            Takes::Value(FORMAT.describe),
            Presence::Default("\"auto\""),
            "What it is written in; `auto` looks at its beginning.",
        ),
        Key::new(
            "refresh",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"1h\""),
            "How often it is read again, and at the latest when two thirds of `for` are over.",
        ),
        Key::new(
            "jitter",
            Takes::Value(PART.describe),
            Presence::Default("\"10%\""),
            "By up to how much of `refresh` it is read sooner, by chance, so that many gateways do not fetch at once.",
        ),
        Key::new(
            "for",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"25h\""),
            "How long what was read holds, if it cannot be read again.",
        ),
        Key::new(
            "mode",
            Takes::Word(&["enforce", "observe"]),
            Presence::Default("\"enforce\""),
            "`observe` counts what the list would drop, and drops nothing; `[shield] mode` does that to everything.",
        ),
        Key::new(
            "headers",
            Takes::Value(HEADERS.describe),
            Presence::Default("{}"),
            "Fields of each request to `url`, such as `{ X-Api-Key = \"${CROWDSEC_KEY}\" }`. Their values are never \
             shown.",
        ),
        Key::new(
            "ca",
            Takes::Value(value::PATH.describe),
            Presence::Optional,
            "PEM file with CA certificates for the TLS of `url`, beside the system's.",
        ),
        Key::new(
            "max-entries",
            Takes::Number(1, 16_000_000),
            Presence::Default("1000000"),
            "Most addresses and networks that are taken, ranges counted as the networks that they are made of. A list \
             with more is not taken, and what was read before holds on.",
        ),
    ],
};

const _: () = assert!(ENTRIES_MAX == 1_000_000 && LISTS_MAX == 64, "the numbers above");

/// Decodes `[list.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<List> {
    let f = d.fields(&SPEC, format!("[list.{}]", name.value), node)?;
    let file = f.located(d, "file", &value::PATH);
    let url = f.located(d, "url", &URL);
    let format = f.get(d, "format", &FORMAT);
    let refresh = f.get(d, "refresh", &value::DURATION);
    let jitter = f.get(d, "jitter", &PART);
    let lease = f.get(d, "for", &value::DURATION);
    let observe = f.word(d, "mode", &[("enforce", false), ("observe", true)]);
    let headers = f.get(d, "headers", &HEADERS);
    let ca = f.get(d, "ca", &value::PATH);
    let entries_max = f.number(d, "max-entries");
    let title = &f.title;
    let source = match (f.node("file"), f.node("url")) {
        (Some(_), Some(_)) => {
            let message = format!("{title} has both `file` and `url`");
            let problem = Problem::error(codes::EXCLUSIVE, message, f.key_place("file"));
            d.report.push(problem.help("make two tables"));
            None
        }
        (None, None) => {
            if !d.incomplete {
                let message = format!("{title} needs `file` or `url`");
                let problem = Problem::error(codes::MISSING_KEY, message, f.place.clone());
                d.report.push(problem.label("`file` or `url` is missing here"));
            }
            None
        }
        (Some(_), None) => {
            for key in ["headers", "ca"].into_iter().filter(|key| f.node(key).is_some()) {
                let message = format!("`{key}` is for lists with a `url`");
                d.report.push(Problem::error(codes::EXCLUSIVE, message, f.key_place(key)));
            }
            file.map(|file| ListSource::File(file.value))
        }
        (None, Some(_)) => url.map(|url: Located<_>| ListSource::Url {
            url: url.value,
            headers: headers.clone().unwrap_or_default(),
            ca,
        }),
    };
    headers?;
    Some(List {
        name: name.value,
        place: name.place,
        source: source?,
        format: format?,
        refresh: refresh?,
        jitter: jitter?,
        lease: lease?,
        observe: observe?,
        entries_max: entries_max?,
    })
}

/// More lists than are held are a mistake to be told.
pub fn check_count(d: &mut Decoder<'_>, lists: &[List], root: &Node) {
    if lists.len() > LISTS_MAX {
        let place = root.get("list").map_or_else(|| root.place.clone(), |node| node.place.clone());
        d.report.push(Problem::error(codes::TOO_MANY, format!("more than {LISTS_MAX} lists"), place));
    }
}
