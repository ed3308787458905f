//! What differs between two configurations, one line each.
//!
//! `+ route users`, `- auth old`, `~ limit per-user (rate 100/min → 50/min)`. Both sides are compared as flat settings
//! ([`settings`]), so that defaults count as what they are and order counts for nothing. Of thousands of tables a change
//! touches few: what is [`same`] is not made texts of.

mod same;
pub mod settings;
mod tables;

use std::collections::HashMap;

use rapidhash::quality::RandomState;

use super::model::Config;
use tables::{Key, Table, tables};

/// Longest value that a line shows.
const VALUE_CHARS_MAX: usize = 60;

/// The differences in the order of the tables in the reference, then by name.
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    let mut before: HashMap<Key<'_>, Table<'_>, RandomState> =
        tables(old).map(|table| (table.key(), table)).collect();
    let mut lines = Vec::new();
    for after in tables(new) {
        let line = match before.remove(&after.key()) {
            Some(before) => changed(before, after),
            None => Some(format!("+ {after}")),
        };
        lines.extend(line.map(|line| (after.key(), line)));
    }
    lines.extend(before.into_iter().map(|(key, gone)| (key, format!("- {gone}"))));
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

/// The line of a table that is in both.
fn changed(before: Table<'_>, after: Table<'_>) -> Option<String> {
    if before.is_surely(after) {
        return None;
    }
    let (old, new) = (before.values(), after.values());
    // Of the tables that can be long, nearly all are as they were.
    if old == new {
        return None;
    }
    let keys: Vec<&str> = old.iter().chain(&new).map(|(key, _)| &**key).collect();
    let mut changed: Vec<String> = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            continue;
        }
        let value = |of: &[(String, String)]| {
            of.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
        };
        match (value(&old), value(&new)) {
            (old, new) if old == new => {}
            (old, new) => changed.push(format!("{key} {} → {}", short(old), short(new))),
        }
    }
    (!changed.is_empty()).then(|| format!("~ {after} ({})", changed.join(", ")))
}

fn short(value: Option<String>) -> String {
    let value = value.filter(|value| !value.is_empty()).unwrap_or_else(|| "nothing".into());
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::changes;
    use crate::config::tests::load_ok;

    const OLD: &str = r#"
[listen.http]
address = "[::]:8080"
[limit.per-user]
rate = "100/min"
[limit.gone]
rate = "1/s"
[auth.partners]
api-key = "X-API-Key"
keys.a = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
[route.users]
match = "/users/*"
to = "http://10.0.0.1"
limit = ["per-user", "gone"]
auth = "partners"
"#;

    #[test]
    fn a_configuration_does_not_differ_from_itself_in_another_order() {
        let parts: Vec<&str> = OLD.split("\n[").collect();
        let reversed: String = parts.iter().skip(1).rev().map(|part| format!("[{part}\n")).collect();
        assert_eq!(changes(&load_ok(OLD), &load_ok(&reversed)), Vec::<String>::new());
        assert_eq!(changes(&load_ok(OLD), &load_ok(OLD)), Vec::<String>::new());
    }

    /// Every setting of the kinds of tables that are compared without texts.
    const WHOLE: &str = r#"
[listen.http]
address = "[::]:8080"
[auth.a]
api-key = "X-API-Key"
keys.a = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
[limit.l]
rate = "100/min"
burst = 5
by = "address"
headers = "both"
[upstream.u]
to = "http://10.0.0.1"
protocol = "http1"
proxy-protocol = "off"
host = "preserve"
connect-timeout = "1s"
response-timeout = "2s"
idle-timeout = "3s"
keep-alive = "4s"
idle-connections = 5
ca = "/ca.pem"
[route.r]
match = ["GET a.example.com/r/{id}", "/r/{id}/x"]
upstream = "u"
replace-prefix = "/y"
auth = "a"
limit = "l"
access = ["allow 10.0.0.0/8"]
max-body = "1MiB"
max-parts = 6
min-upload-rate = "7B/s"
upload-grace = "8s"
headers.set = { X-Set = "1" }
headers.remove = ["X-Removed"]
upstream-headers = { X-Id = "{id}" }
log = true
[route.inline]
match = "/inline"
to = "http://10.0.0.2"
auth = "none"
[route.answer]
match = "/answer"
respond = { status = 200, body = "a", content-type = "text/plain" }
auth = "none"
"#;

    #[test]
    fn a_change_of_any_setting_has_a_line() {
        for (from, to) in [
            ("100/min", "101/min"),
            ("burst = 5", "burst = 6"),
            ("by = \"address\"", "by = \"route\""),
            ("\"both\"", "\"ietf\""),
            ("10.0.0.1", "10.0.0.3"),
            ("\"http1\"", "\"http2\""),
            ("proxy-protocol = \"off\"", "proxy-protocol = \"v1\""),
            ("\"preserve\"", "\"target\""),
            ("\"1s\"", "\"9s\""),
            ("\"2s\"", "\"9s\""),
            ("\"3s\"", "\"9s\""),
            ("\"4s\"", "\"9s\""),
            ("idle-connections = 5", "idle-connections = 9"),
            ("/ca.pem", "/other.pem"),
            ("\"GET a.example", "\"PUT a.example"),
            ("a.example", "b.example"),
            ("/r/{id}/x", "/r/{id}/*"),
            ("upstream = \"u\"", "to = \"http://10.0.0.1\""),
            ("\"/y\"", "\"/z\""),
            ("auth = \"a\"", "auth = \"none\""),
            ("limit = \"l\"\n", ""),
            ("allow 10", "deny 10"),
            ("1MiB", "2MiB"),
            ("max-parts = 6", "max-parts = 9"),
            ("7B/s", "9B/s"),
            ("8s", "9s"),
            ("X-Set = \"1\"", "X-Set = \"2\""),
            ("X-Removed", "X-Other"),
            ("X-Id = \"{id}\"", "X-Id = \"id\""),
            ("log = true", "log = false"),
            ("10.0.0.2", "10.0.0.3"),
            ("status = 200", "status = 201"),
            ("body = \"a\"", "body = \"b\""),
            ("text/plain", "text/html"),
        ] {
            let changed = WHOLE.replacen(from, to, 1);
            assert_ne!(changed, WHOLE, "{from} is there");
            let lines = changes(&load_ok(WHOLE), &load_ok(&changed));
            assert!(matches!(&*lines, [line] if line.starts_with("~ ")), "{from} → {to}: {lines:?}");
        }
    }

    #[test]
    fn additions_removals_and_changes_have_a_line_each() {
        let new = OLD
            .replace("100/min", "50/min")
            .replace("[limit.gone]\nrate = \"1/s\"\n", "")
            .replace("limit = [\"per-user\", \"gone\"]", "limit = \"per-user\"\nresponse-timeout = \"5s\"")
            .replace("keys.a =", "keys.b =")
            + "[route.health]\nmatch = \"/healthz\"\nrespond = { body = \"ok\" }\n[shield]\nban = \"5 denials in 1s\"\n";
        assert_eq!(
            changes(&load_ok(OLD), &load_ok(&new)),
            [
                "+ route health",
                "~ route users (response-timeout 30s → 5s, limit per-user, gone → per-user)",
                &format!("~ auth partners (key a {0}… → nothing, key b nothing → {0}…)", "0".repeat(60)),
                "- limit gone",
                "~ limit per-user (rate 100/min → 50/min, burst 99 → 49)",
                "+ shield",
            ]
        );
    }
}
