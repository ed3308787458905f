//! `[admin]`: who may look and who may change things.

use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Spec, Takes, number};
use crate::config::model::Admin;
use crate::config::tree::{Node, Value};
use crate::config::value::{self, Type};
use crate::diagnostic::Problem;

const USERS: Type<Vec<u32>> = Type {
    describe: "an array of user ids or names",
    decode: |d, node| value::one_or_many(d, node, user).map(|users| users.into_iter().flatten().collect()),
};

/// The keys of `[admin]`.
pub static SPEC: Spec = Spec {
    title: "[admin]",
    doc: "The admin API on a Unix socket. Root and the gateway's own user may always do everything.",
    keys: &[
        Key::new(
            "socket",
            Takes::Value(value::PATH.describe),
            Presence::Default("\"/run/portcullis/admin.sock\""),
            "Path of the socket.",
        ),
        Key::new(
            "operators",
            Takes::Value(USERS.describe),
            Presence::Default("[]"),
            "Further users who may change things.",
        ),
        Key::new(
            "viewers",
            Takes::Value(USERS.describe),
            Presence::Default("[]"),
            "Further users who may look.",
        ),
    ],
};

/// Decodes `[admin]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Admin> {
    let f = d.fields(&SPEC, "[admin]".into(), node)?;
    let socket = f.get(d, "socket", &value::PATH);
    let operators = f.get(d, "operators", &USERS);
    let viewers = f.get(d, "viewers", &USERS);
    Some(Admin { socket: socket?, operators: operators?, viewers: viewers? })
}

/// One user; `Some(None)` for a name where files are not read.
fn user(d: &mut Decoder<'_>, node: &Node) -> Option<Option<u32>> {
    let name = match &node.value {
        Value::Text { text, .. } if text.parse::<u32>().is_ok() => return Some(text.parse().ok()),
        Value::Text { text, .. } => text,
        _ => {
            let id = number(d, node, 0..=u64::from(u32::MAX - 1))?;
            return Some(u32::try_from(id).ok());
        }
    };
    if !d.read_files {
        return Some(None);
    }
    let id = user_id(name);
    if id.is_none() {
        let message = format!("there is no user `{name}`");
        let problem = Problem::error(codes::UNKNOWN_USER, message, node.place.clone());
        d.report.push(problem.help("write the user's number if it is not in /etc/passwd"));
    }
    id.map(Some)
}

/// The id of a local user. Users of directories (LDAP and the like) are not looked up: they have numbers too.
fn user_id(name: &str) -> Option<u32> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok()).flatten()
    })
}
