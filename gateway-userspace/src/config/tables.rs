//! The tables of a configuration one by one, as they stand in its files: what the admin API lists and looks up.
//!
//! As written, so without defaults, variables and overrides, and with asterisks in place of secrets. What tells one
//! content from another comes from the text itself, with a random number mixed in, so that nobody can guess at a secret
//! with it.

use std::path::PathBuf;
use std::sync::OnceLock;

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use toml_edit::{Document, Item, Key, TableLike, Value};

use super::file::{SECTIONS, Section};
use super::files::Files;
use super::managed::CONCEALED;
use super::secrecy;

/// One table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The section.
    pub kind: &'static str,
    /// Its name, in a section of named tables.
    pub name: Option<String>,
    /// The file, relative to the main file's folder.
    pub file: PathBuf,
    /// The line of its header, from 1.
    pub line: usize,
    /// What tells its content from another.
    pub etag: String,
    /// Keys and values, without secrets.
    pub values: serde_json::Value,
    /// The same as it is written, with comments and without a header.
    pub toml: String,
}

/// The section of a kind.
pub fn section(kind: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == kind)
}

/// Every table, in the order of the reference, then by name. A file that is not TOML is left out.
pub fn tables(files: &Files) -> Vec<Table> {
    let mut tables = Vec::new();
    for file in files.iter() {
        let Ok(raw) = Document::parse(&*file.text) else { continue };
        let mut shown = raw.clone().into_mut();
        let newlines: Vec<usize> = file.text.match_indices('\n').map(|(at, _)| at).collect();
        for section in SECTIONS {
            for (name, key, item) in of(raw.as_table(), section) {
                let found = shown.get_mut(section.name).and_then(|tables| match name {
                    Some(name) => tables.get_mut(name),
                    None => Some(tables),
                });
                let Some(shown) = found else { continue };
                conceal(section.name, &mut Vec::new(), shown);
                tables.push(Table {
                    kind: section.name,
                    name: name.map(str::to_owned),
                    file: file.path.clone(),
                    line: line(&newlines, key, item),
                    etag: etag(section.name, name, item),
                    values: json(shown),
                    toml: text(shown),
                });
            }
        }
    }
    tables.sort_by(|one, other| {
        let rank = |table: &Table| SECTIONS.iter().position(|section| section.name == table.kind);
        (rank(one), &one.name).cmp(&(rank(other), &other.name))
    });
    tables
}

/// Puts asterisks in place of secrets. What leads to a secret (a variable, the hash of an API key) is none here: whoever
/// changes the table sees what it was.
fn conceal(kind: &str, path: &mut Vec<String>, item: &mut Item) {
    if let Some(text) = item.as_str() {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        let is_reference = text.contains("${") || text.starts_with("sha256:");
        if !is_reference && secrecy::hides(kind, &keys, text) {
            *item = Item::Value(CONCEALED.into());
        }
        return;
    }
    let Some(table) = item.as_table_like_mut() else { return };
    for (key, item) in table.iter_mut() {
        path.push(key.get().to_owned());
        conceal(kind, path, item);
        path.pop();
    }
}

/// The tables of a section in a file.
fn of<'d>(document: &'d toml_edit::Table, section: &Section) -> Vec<(Option<&'d str>, &'d Key, &'d Item)> {
    let Some((key, item)) = document.get_key_value(section.name) else { return Vec::new() };
    match (section.named, item.as_table_like()) {
        (_, None) => Vec::new(),
        (false, Some(_)) => vec![(None, key, item)],
        (true, Some(tables)) => tables
            .iter()
            .filter(|(_, item)| item.is_table_like())
            .filter_map(|(name, _)| {
                let (key, item) = tables.get_key_value(name)?;
                Some((Some(name), key, item))
            })
            .collect(),
    }
}

/// Of thousands of tables, so the newlines before each are not counted again.
fn line(newlines: &[usize], key: &Key, item: &Item) -> usize {
    let at = key.span().or_else(|| item.span()).map_or(0, |span| span.start);
    newlines.partition_point(|newline| *newline < at) + 1
}

fn json(item: &Item) -> serde_json::Value {
    match item {
        Item::None => serde_json::Value::Null,
        Item::Value(value) => json_of_value(value),
        Item::Table(table) => json_of_table(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| json_of_table(table)).collect(),
    }
}

fn json_of_table(table: &dyn TableLike) -> serde_json::Value {
    table.iter().map(|(key, item)| (key.to_owned(), json(item))).collect()
}

fn json_of_value(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(value) => (*value.value()).into(),
        Value::Datetime(time) => time.value().to_string().into(),
        Value::Array(items) => items.iter().map(json_of_value).collect(),
        Value::InlineTable(table) => json_of_table(table),
    }
}

/// Keys and values as they are written; tables within it get a header relative to it.
fn text(item: &Item) -> String {
    let mut table = match item {
        Item::Table(table) => table.clone(),
        Item::Value(Value::InlineTable(table)) => table.clone().into_table(),
        _ => return String::new(),
    };
    // The comment above the header is not part of it.
    table.decor_mut().clear();
    toml_edit::DocumentMut::from(table).to_string().trim_start().to_owned()
}

fn etag(kind: &str, name: Option<&str>, raw: &Item) -> String {
    static SALT: OnceLock<[u8; 32]> = OnceLock::new();
    let salt = SALT.get_or_init(|| {
        let mut salt = [0; 32];
        // Without random numbers TLS would not work either.
        let _ = SystemRandom::new().fill(&mut salt);
        salt
    });
    let content = format!("{kind}\0{}\0{}", name.unwrap_or_default(), json(raw));
    let digest = digest::digest(&digest::SHA256, &[&salt[..], content.as_bytes()].concat());
    digest.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::files::File;
    use super::*;

    const MAIN: &str = "[listen.a]\naddress = \"[::]:80\"\n\n[shield]\nban = \"5 denials in 1s\"\n\n\
        [route]\ninline = { match = \"/i\", respond = { status = 204 } }\n";
    const MORE: &str = "# the shop\n[route.shop]\nmatch = [\"/shop\", \"/s\"] # both\nto = \"http://h:1\"\n\n\
        [route.shop.headers.set]\nX-A = \"b\"\n\n[auth.t]\njwt = \"i\"\nkeys = '{\"kty\":\"oct\",\"k\":\"aHVzaA\"}'\n";

    fn all(main: &str, more: &str) -> Vec<Table> {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let files = Files::new(vec![file("gateway.toml", main), file("conf.d/more.toml", more)]);
        tables(&files)
    }

    #[test]
    fn every_table_has_its_place_and_its_values_and_secrets_are_asterisks() {
        let found = all(MAIN, MORE);
        let places: Vec<_> = found
            .iter()
            .map(|table| {
                format!(
                    "{} {} {}:{}",
                    table.kind,
                    table.name.as_deref().unwrap_or("-"),
                    table.file.display(),
                    table.line
                )
            })
            .collect();
        assert_eq!(
            places,
            [
                "listen a gateway.toml:1",
                "route inline gateway.toml:8",
                "route shop conf.d/more.toml:2",
                "auth t conf.d/more.toml:9",
                "shield - gateway.toml:4",
            ]
        );
        assert_eq!(
            found[2].values,
            serde_json::json!({ "match": ["/shop", "/s"], "to": "http://h:1", "headers": { "set": { "X-A": "b" } } })
        );
        assert!(found[2].toml.starts_with("match = [\"/shop\", \"/s\"] # both\nto"), "{}", found[2].toml);
        assert!(found[1].toml.contains("match = \"/i\""), "{}", found[1].toml);
        assert_eq!(found[3].values["keys"], CONCEALED);
        assert!(!format!("{found:?}").contains("aHVzaA"));
        for table in &found {
            crate::config::managed::from_toml(&table.toml).unwrap();
        }
    }

    #[test]
    fn another_content_has_another_tag_and_a_secret_is_content() {
        let tags = |more: &str| all(MAIN, more).into_iter().map(|table| table.etag).collect::<Vec<_>>();
        let before = tags(MORE);
        assert_eq!(before, tags(&MORE.replace("# the shop", "# another word")));
        let secret = tags(&MORE.replace("aHVzaA", "b3RoZXI"));
        assert_eq!(before[..3], secret[..3]);
        assert_ne!(before[3], secret[3]);
    }
}
