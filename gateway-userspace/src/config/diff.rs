//! What differs between two configurations, one line each.
//!
//! `+ route users`, `- auth old`, `~ limit per-user (rate 100/min → 50/min)`. Both sides are compared as flat settings
//! ([`settings`]), so that defaults count as what they are and order counts for nothing.

pub mod settings;

use std::collections::BTreeMap;

use super::model::Config;
use settings::{Item, items};

/// Longest value that a line shows.
const VALUE_CHARS_MAX: usize = 60;

/// The differences in the order of the tables in the reference, then by name.
pub fn changes(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (by_name(items(old)), by_name(items(new)));
    let mut names: Vec<_> = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect();
    names.sort();
    names.into_iter().filter_map(|name| line(old.get(name), new.get(name))).collect()
}

fn by_name(items: Vec<Item>) -> BTreeMap<(usize, String), Item> {
    items.into_iter().map(|item| ((item.rank, item.title.clone()), item)).collect()
}

fn line(old: Option<&Item>, new: Option<&Item>) -> Option<String> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (Some(old), None) => return Some(format!("- {}", old.title)),
        (None, Some(new)) => return Some(format!("+ {}", new.title)),
        (None, None) => return None,
    };
    let keys: Vec<&str> = old.values.iter().chain(&new.values).map(|(key, _)| &**key).collect();
    let mut changed: Vec<String> = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            continue;
        }
        let value =
            |item: &Item| item.values.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone());
        match (value(old), value(new)) {
            (before, after) if before == after => {}
            (before, after) => changed.push(format!("{key} {} → {}", short(before), short(after))),
        }
    }
    (!changed.is_empty()).then(|| format!("~ {} ({})", new.title, changed.join(", ")))
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
