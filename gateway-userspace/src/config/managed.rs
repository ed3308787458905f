//! The one file that the admin API may write: tables go in, are replaced and are taken out, and what people wrote around
//! them stays.
//!
//! Hand-written files are never touched. A table that is replaced keeps the comment above it; comments within it go with
//! the old content.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TomlError, Value};

/// What stands at the top of a file that this made.
const HEAD: &str = "# Written by the admin API: portcullis config set, get, list and delete.\n\n";

/// What stands for a secret in an answer; sent back, it stands for the secret that is there.
pub const CONCEALED: &str = "****";

/// Why a table cannot be put in or taken out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file was damaged by hand.
    #[error("the file that the admin API writes is not valid TOML")]
    File(#[source] Syntax),
    /// The table that was sent.
    #[error("the table is not valid TOML")]
    Table(#[source] Syntax),
    /// JSON that TOML has nothing for.
    #[error("`{0}` is null or a number that TOML does not have; leave it out, or write another")]
    NoSuchValue(String),
    /// A table was expected.
    #[error("a table is an object of keys and values")]
    NotATable,
    /// Asterisks where nothing is hidden.
    #[error("`{0}` is `****`, which stands for a secret that is already there, and there is none")]
    NoSecret(String),
}

/// Where a text is not TOML and why, without the line itself: a secret may stand in it.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Syntax {
    line: usize,
    column: usize,
    message: String,
}

fn parse(text: &str) -> Result<DocumentMut, Syntax> {
    text.parse().map_err(|error: TomlError| {
        let at = error.span().map_or(0, |span| text.floor_char_boundary(span.start.min(text.len())));
        let before = &text[..at];
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Syntax { line: before.matches('\n').count() + 1, column, message: error.message().to_owned() }
    })
}

/// A table from TOML without a header.
pub fn from_toml(text: &str) -> Result<Table, Error> {
    let document = parse(text).map_err(Error::Table)?;
    Ok(document.as_table().clone())
}

/// A table from JSON.
pub fn from_json(values: &serde_json::Value) -> Result<Table, Error> {
    let object = values.as_object().ok_or(Error::NotATable)?;
    let mut table = Table::new();
    for (key, value) in object {
        table.insert(key, item(key, value)?);
    }
    Ok(table)
}

/// The text with a table in it: in place of the one of that name, else at the end.
pub fn put(text: &str, kind: &str, name: Option<&str>, mut table: Table) -> Result<String, Error> {
    let mut document = parse(text).map_err(Error::File)?;
    let before = find(document.as_item(), kind, name);
    reveal(&mut table, before.and_then(Item::as_table_like), "")?;
    // The new table stands where the old one stood, under its comment; a new one at the end, one line below.
    let old = before.and_then(Item::as_table);
    match old {
        Some(old) => {
            *table.decor_mut() = old.decor().clone();
            table.set_position(old.position());
        }
        None => {
            table.decor_mut().set_prefix(if text.trim().is_empty() { HEAD } else { "\n" });
            table.set_position(None);
        }
    }
    table.set_implicit(false);
    table.set_dotted(false);
    match name {
        None => document.insert(kind, Item::Table(table)),
        Some(name) => {
            let of_kind = document.entry(kind).or_insert_with(|| {
                let mut tables = Table::new();
                tables.set_implicit(true);
                Item::Table(tables)
            });
            if let Some(inline) = of_kind.as_inline_table() {
                *of_kind = Item::Table(inline.clone().into_table());
            }
            of_kind.as_table_mut().ok_or(Error::NotATable)?.insert(name, Item::Table(table))
        }
    };
    Ok(document.to_string())
}

/// The text without a table; none when nothing is left in it.
pub fn remove(text: &str, kind: &str, name: Option<&str>) -> Result<Option<String>, Error> {
    let mut document = parse(text).map_err(Error::File)?;
    let is_empty = match (name, document.get_mut(kind).and_then(Item::as_table_like_mut)) {
        (Some(name), Some(tables)) => {
            tables.remove(name);
            tables.is_empty()
        }
        _ => true,
    };
    if is_empty {
        document.remove(kind);
    }
    Ok((!document.is_empty()).then(|| document.to_string()))
}

fn find<'d>(document: &'d Item, kind: &str, name: Option<&str>) -> Option<&'d Item> {
    let found = document.get(kind)?;
    match name {
        Some(name) => found.get(name),
        None => Some(found),
    }
}

/// Objects become tables with a header of their own, within arrays inline ones.
fn item(path: &str, json: &serde_json::Value) -> Result<Item, Error> {
    if json.is_object() { from_json(json).map(Item::Table) } else { value(path, json).map(Item::Value) }
}

fn value(path: &str, json: &serde_json::Value) -> Result<Value, Error> {
    Ok(match json {
        serde_json::Value::Null => return Err(Error::NoSuchValue(path.to_owned())),
        serde_json::Value::Bool(value) => (*value).into(),
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Number(number) => match (number.as_i64(), number.is_f64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (None, true, Some(number)) => number.into(),
            _ => return Err(Error::NoSuchValue(path.to_owned())),
        },
        serde_json::Value::Array(items) => {
            let items: Result<Array, Error> = items.iter().map(|item| value(path, item)).collect();
            items?.into()
        }
        serde_json::Value::Object(object) => {
            let mut table = InlineTable::new();
            for (key, inner) in object {
                table.insert(key, value(&format!("{path}.{key}"), inner)?);
            }
            table.into()
        }
    })
}

/// Puts what is hidden back in place of the asterisks.
fn reveal(
    table: &mut dyn toml_edit::TableLike,
    before: Option<&dyn toml_edit::TableLike>,
    path: &str,
) -> Result<(), Error> {
    for (key, item) in table.iter_mut() {
        let path = if path.is_empty() { key.get().to_owned() } else { format!("{path}.{}", key.get()) };
        let before = before.and_then(|before| before.get(key.get()));
        if item.as_str() == Some(CONCEALED) {
            let secret = before.and_then(Item::as_str).ok_or(Error::NoSecret(path))?;
            *item = Item::Value(secret.into());
        } else if let Some(inner) = item.as_table_like_mut() {
            reveal(inner, before.and_then(Item::as_table_like), &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn put_json(text: &str, name: &str, values: &serde_json::Value) -> String {
        put(text, "route", Some(name), from_json(values).unwrap()).unwrap()
    }

    #[test]
    fn a_new_table_stands_at_the_end_and_an_old_one_is_replaced_where_it_is() {
        let one = put_json("", "a", &json!({ "match": "/a", "to": ["http://h:1"] }));
        assert_eq!(one, format!("{HEAD}[route.a]\nmatch = \"/a\"\nto = [\"http://h:1\"]\n"));
        let two = put_json(&one, "b", &json!({ "match": "/b", "respond": { "status": 204 } }));
        assert!(
            two.starts_with(&one)
                && two.ends_with("\n[route.b]\nmatch = \"/b\"\n\n[route.b.respond]\nstatus = 204\n"),
            "{two}"
        );
        let commented = two.replace("\n[route.b]", "\n# for the shop\n[route.b]");
        let three = put_json(&commented, "b", &json!({ "match": "/c", "log": false }));
        assert_eq!(three, format!("{one}\n# for the shop\n[route.b]\nlog = false\nmatch = \"/c\"\n"));
        let four = put_json(&three, "a", &json!({ "match": "/a2" }));
        assert_eq!(four.replace("/a2\"", "/a\"\nto = [\"http://h:1\"]"), three, "a comes before b as it did");
        let single =
            put(&four, "shield", None, from_toml("ban = \"5 denials in 1s\" # few\n").unwrap()).unwrap();
        assert!(single.ends_with("\n[shield]\nban = \"5 denials in 1s\" # few\n"), "{single}");
    }

    #[test]
    fn what_is_taken_out_is_gone_and_an_empty_file_is_none() {
        let text = put_json("", "a", &json!({ "match": "/a" }));
        let text = put_json(&text, "b.c", &json!({ "match": "/b", "respond": { "status": 204 } }));
        let rest = remove(&text, "route", Some("b.c")).unwrap().unwrap();
        assert_eq!(rest, put_json("", "a", &json!({ "match": "/a" })));
        assert_eq!(remove(&rest, "route", Some("nothing")).unwrap().as_deref(), Some(&*rest));
        assert_eq!(remove(&rest, "route", Some("a")).unwrap(), None);
    }

    #[test]
    fn asterisks_keep_the_secret_that_is_there_and_are_an_error_where_there_is_none() {
        let secret = json!({ "jwt": "i", "keys": "hush", "more": { "token": "hush too" } });
        let text = put("", "auth", Some("a"), from_json(&secret).unwrap()).unwrap();
        let sent = json!({ "jwt": "j", "keys": CONCEALED, "more": { "token": CONCEALED } });
        let after = put(&text, "auth", Some("a"), from_json(&sent).unwrap()).unwrap();
        assert_eq!(after, text.replace("\"i\"", "\"j\""));
        let error = put("", "auth", Some("a"), from_json(&sent).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("`keys` is `****`"), "{error}");
    }

    #[test]
    fn what_toml_cannot_hold_is_named() {
        assert!(
            matches!(from_json(&json!({ "a": { "b": null } })), Err(Error::NoSuchValue(path)) if path == "b")
        );
        assert!(matches!(from_json(&json!({ "a": u64::MAX })), Err(Error::NoSuchValue(path)) if path == "a"));
        assert!(matches!(from_json(&json!([1])), Err(Error::NotATable)));
        assert!(matches!(from_toml("a ="), Err(Error::Table(_))));
        assert!(matches!(remove("a =", "route", None), Err(Error::File(_))));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_without_its_text() {
        let Err(Error::Table(syntax)) = from_toml("jwt = \"i\"\nkeys = hush hush\n") else { panic!() };
        let said = format!("{syntax} {syntax:?}");
        assert!(said.starts_with("line 2, column ") && !said.contains("hush"), "{said}");
    }
}
