//! The tables of a configuration file, each in its own module: its keys with their documentation, and its decoder.

pub mod access;
pub mod admin;
pub mod api_key;
pub mod auth;
pub mod ban;
pub mod errors;
pub mod gateway;
pub mod headers;
pub mod identity;
pub mod jwt;
pub mod limit;
pub mod list;
pub mod listen;
pub mod log;
pub mod operations;
pub mod route;
pub mod shield;
pub mod sink;
pub mod upstream;

use std::sync::Arc;

use crate::diagnostic::{Located, Place, Problem};

use super::codes;
use super::decode::{Declared, Decoder, Spec, list};
use super::model::{Admin, Config};
use super::near::nearest;
use super::tree::{Entry, Node, Value};

/// Most tables of one kind.
const TABLES_MAX: usize = 50_000;

/// A table at the top of the file.
#[derive(Debug)]
pub struct Section {
    /// `listen`
    pub name: &'static str,
    /// Whether it holds tables by name: `[listen.NAME]`.
    pub named: bool,
    /// The tables that it may hold.
    pub specs: &'static [&'static Spec],
}

/// All tables, in the order of the reference.
pub const SECTIONS: &[Section] = &[
    Section { name: "gateway", named: false, specs: &[&gateway::SPEC] },
    Section { name: "listen", named: true, specs: &[&listen::SPEC] },
    Section { name: "route", named: true, specs: &[&route::SPEC] },
    Section { name: "upstream", named: true, specs: &[&upstream::SPEC] },
    Section { name: "auth", named: true, specs: &[&jwt::SPEC, &api_key::SPEC] },
    Section { name: "identity", named: false, specs: &[&identity::SPEC] },
    Section { name: "limit", named: true, specs: &[&limit::SPEC] },
    Section { name: "headers", named: false, specs: &[&headers::SPEC] },
    Section { name: "errors", named: false, specs: &[&errors::SPEC] },
    Section { name: "shield", named: false, specs: &[&shield::SPEC] },
    Section { name: "ban", named: true, specs: &[&ban::SPEC] },
    Section { name: "list", named: true, specs: &[&list::SPEC] },
    Section { name: "log", named: false, specs: &[&log::SPEC] },
    Section { name: "sink", named: true, specs: &[&sink::HTTP, &sink::SPLUNK, &sink::OTLP] },
    Section { name: "operations", named: false, specs: &[&operations::SPEC] },
    Section { name: "admin", named: false, specs: &[&admin::SPEC] },
];

/// The key at the top that names other files; see [`super::read`].
pub const INCLUDE: &str = "include";

/// Decodes the merged tree. What could not be decoded is left out, and then there is an error in the report.
pub fn decode(d: &mut Decoder<'_>, root: &Node) -> Config {
    let known: Vec<&str> = SECTIONS.iter().map(|section| section.name).chain([INCLUDE]).collect();
    for entry in root.entries() {
        if !known.contains(&entry.key.value.as_str()) {
            d.unknown_key("", &entry.key, &known);
        }
    }
    let config = Config {
        gateway: single(d, root, "gateway", gateway::decode),
        listen: named(d, root, "listen", listen::decode),
        operations: root.get("operations").and_then(|node| operations::decode(d, node)),
        admin: decode_admin(d, root),
        log: single(d, root, "log", log::decode),
        sink: named(d, root, "sink", sink::decode),
        headers: single(d, root, "headers", headers::decode),
        errors: single(d, root, "errors", errors::decode),
        auth: named(d, root, "auth", auth::decode),
        identity: root.get("identity").and_then(|node| identity::decode(d, node)),
        limit: named(d, root, "limit", limit::decode),
        upstream: named(d, root, "upstream", upstream::decode),
        route: named(d, root, "route", route::decode),
        shield: root.get("shield").and_then(|node| shield::decode(d, node)),
        ban: named(d, root, "ban", ban::decode),
        list: named(d, root, "list", list::decode),
    };
    ban::check_count(d, &config, root);
    list::check_count(d, &config.list, root);
    if root.get("listen").is_none_or(|node| matches!(&node.value, Value::Table(tables) if tables.is_empty()))
        && !d.incomplete
    {
        d.report.push(
            Problem::unplaced(codes::NO_LISTENER, "there is no `[listen.NAME]`, so no request can arrive")
                .help("write `[listen.http]` and under it `address = \"[::]:8080\"`"),
        );
    }
    config
}

/// Decodes `[admin]` alone; its defaults where it is not written or not usable.
pub fn decode_admin(d: &mut Decoder<'_>, root: &Node) -> Admin {
    single(d, root, "admin", admin::decode)
}

/// A table that is there even if it is not written, or not usable.
fn single<T>(
    d: &mut Decoder<'_>,
    root: &Node,
    name: &'static str,
    decode: fn(&mut Decoder<'_>, &Node) -> Option<T>,
) -> T {
    let written = root.get(name).and_then(|node| decode(d, node));
    written.unwrap_or_else(|| {
        let empty = Node { place: root.place.clone(), value: Value::Table(Vec::new()) };
        decode(d, &empty).expect("a table without required keys can be empty")
    })
}

/// The name of a table and where the table begins.
pub type TableName = Located<Arc<str>>;

/// Tables by name, in the order of the file.
fn named<T>(
    d: &mut Decoder<'_>,
    root: &Node,
    section: &'static str,
    decode: fn(&mut Decoder<'_>, TableName, &Node) -> Option<T>,
) -> Vec<T> {
    let Some(node) = root.get(section) else { return Vec::new() };
    let Value::Table(entries) = &node.value else {
        d.wrong_type(node, &format!("tables by name, `[{section}.NAME]`"));
        return Vec::new();
    };
    if entries.len() > TABLES_MAX {
        let message = format!("more than {TABLES_MAX} tables `[{section}.NAME]`");
        d.report.push(Problem::error(codes::TOO_MANY, message, node.place.clone()));
        return Vec::new();
    }
    let mut decoded = Vec::with_capacity(entries.len());
    for entry in entries {
        if !matches!(entry.node.value, Value::Table(_)) {
            not_a_table(d, section, entry);
            continue;
        }
        let Some(name) = table_name(d, section, &entry.key.value, &entry.key.place) else { continue };
        let name = Located::new(name, header_place(&entry.node, &entry.key.place));
        d.declared.push(Declared { kind: section, name: name.clone() });
        decoded.extend(decode(d, name, &entry.node));
    }
    decoded
}

fn not_a_table(d: &mut Decoder<'_>, section: &str, entry: &Entry) {
    let name = &entry.key.value;
    let (message, help) = match entry.node.value {
        Value::Broken => return,
        Value::List(_) => {
            (format!("`{section}.{name}` is an array of tables"), format!("write `[{section}.{name}]`"))
        }
        _ => (
            format!("`{name}` stands in `[{section}]`, which holds only tables by name"),
            format!("give the table a name: `[{section}.main]`"),
        ),
    };
    d.report.push(Problem::error(codes::WRONG_TYPE, message, entry.key.place.clone()).help(help));
}

/// Where a table begins: its header where it has one, else its key.
fn header_place(node: &Node, key: &Place) -> Place {
    match node.place.span.contains(&key.span.start) || node.place.file != key.file {
        true => node.place.clone(),
        false => key.clone(),
    }
}

fn table_name(d: &mut Decoder<'_>, section: &str, name: &str, place: &Place) -> Option<Arc<str>> {
    // Words that stand for themselves where the name would stand.
    let taken = name == "none"
        || section == "sink" && log::WORDS.contains(&name)
        || section == "ban" && name == ban::OF_SHIELD;
    if !is_table_name(name) || taken {
        let message = format!("`{name}` cannot be the name of a table `[{section}.NAME]`");
        let problem = Problem::error(codes::BAD_NAME, message, place.clone());
        d.report
            .push(problem.help("names are letters, digits, `-`, `_` and `.`, at most 64, and not `none`"));
        return None;
    }
    Some(name.into())
}

/// Whether a table can be called so.
pub(super) fn is_table_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 64 && name.bytes().all(valid)
}

/// A message for a text that should have been one of some forms.
pub(super) fn not_one_of(text: &str, forms: &[&str]) -> String {
    match nearest(text, forms.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of {}", list(forms)),
    }
}
