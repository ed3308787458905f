//! A JSON Schema of the configuration, for editors: completion, documentation and the first mistakes while typing.
//!
//! Made from the specs that the decoder itself asks, so it knows every key and no other. It says of a value what a
//! schema can say (its type, its range, its words) and accepts what may hold a variable; units, references and matches
//! are for `portcullis check`. Draft 7, which Taplo and the editors on top of it read.

use serde_json::{Map, Value, json};

use super::decode::{Key, Presence, Spec, Takes};
use super::file::{INCLUDE, SECTIONS};
use super::value;

/// What a string must hold to stand for a number, a boolean or a word.
const VARIABLE: &str = "\\$\\{";

/// The schema.
pub fn schema() -> Value {
    let mut properties = Map::new();
    let strings = json!({ "type": "array", "items": { "type": "string" } });
    properties.insert(
        INCLUDE.to_owned(),
        json!({ "description": "Further files, relative to this one; `*` in the last part of a path.",
                "anyOf": [{ "type": "string" }, strings] }),
    );
    for section in SECTIONS {
        let table = match section.specs {
            [only] => table(only),
            several => json!({ "anyOf": several.iter().map(|spec| table(spec)).collect::<Vec<_>>() }),
        };
        let described = match section.named {
            true => json!({
                "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z0-9_.-]{1,64}$" },
                "additionalProperties": table,
            }),
            false => table,
        };
        properties.insert(section.name.to_owned(), described);
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Portcullis",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn table(spec: &Spec) -> Value {
    let properties: Map<String, Value> =
        spec.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = spec.keys.iter().filter(|key| matches!(key.presence, Presence::Required));
    let required: Vec<&str> = required.map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": spec.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut property = shape(key.takes);
    property["description"] = key.doc.into();
    if let Presence::Default(text) = key.presence
        && let Some(default) = parse(text)
    {
        property["default"] = default;
    }
    property
}

/// A default as JSON.
fn parse(text: &str) -> Option<Value> {
    let document: Map<String, Value> = toml::from_str(&format!("value = {text}")).ok()?;
    document.get("value").cloned()
}

fn shape(takes: Takes) -> Value {
    let or_variable = |value: Value| json!({ "anyOf": [value, { "type": "string", "pattern": VARIABLE }] });
    let (array, is_table) = takes.structure();
    match takes {
        Takes::Number(least, most) => {
            or_variable(json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Takes::Word(words) => or_variable(json!({ "enum": words })),
        Takes::Table(spec) => {
            let table = table(spec);
            json!({ "anyOf": [table, { "type": "array", "items": table }] })
        }
        Takes::Value(describe) if describe == value::BOOLEAN.describe => {
            or_variable(json!({ "type": "boolean" }))
        }
        Takes::Value(_) if is_table => json!({ "type": "object" }),
        Takes::Value(describe) => {
            // Ports, and users by their ids.
            let numbers = describe.contains("ports") || describe.contains("ids");
            let scalar =
                if numbers { json!({ "type": ["integer", "string"] }) } else { json!({ "type": "string" }) };
            match array {
                true => json!({ "anyOf": [scalar, { "type": "array", "items": scalar }] }),
                false => scalar,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Whether a value is as a schema says, by the keywords that [`schema`] uses; else where it is not.
    fn accepts(schema: &Value, value: &Value) -> Result<(), String> {
        for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
            let holds = match keyword.as_str() {
                "$schema" | "title" | "description" | "default" | "propertyNames" => true,
                "type" => {
                    let found = match value {
                        Value::Object(_) => "object",
                        Value::Array(_) => "array",
                        Value::String(_) => "string",
                        Value::Bool(_) => "boolean",
                        Value::Number(_) => "integer",
                        Value::Null => "null",
                    };
                    *wanted == found || wanted.as_array().is_some_and(|all| all.contains(&found.into()))
                }
                "enum" => wanted.as_array().is_some_and(|words| words.contains(value)),
                "pattern" => value.as_str().is_none_or(|text| text.contains("${")),
                "minimum" => value.as_u64().is_none_or(|number| Some(number) >= wanted.as_u64()),
                "maximum" => value.as_u64().is_none_or(|number| Some(number) <= wanted.as_u64()),
                "required" => wanted.as_array().is_some_and(|names| {
                    names.iter().all(|name| value.get(name.as_str().unwrap()).is_some())
                }),
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        accepts(wanted, item)?;
                    }
                    true
                }
                "anyOf" => {
                    let tried: Vec<_> =
                        wanted.as_array().unwrap().iter().map(|one| accepts(one, value)).collect();
                    if tried.iter().all(Result::is_err) {
                        return Err(tried.into_iter().map(Result::unwrap_err).collect::<Vec<_>>().join("; "));
                    }
                    true
                }
                "properties" | "additionalProperties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        let known = schema.get("properties").and_then(|properties| properties.get(name));
                        match known.or(schema.get("additionalProperties")) {
                            None => {}
                            Some(Value::Bool(false)) => return Err(format!("there is no `{name}`")),
                            Some(inner) => {
                                accepts(inner, member).map_err(|why| format!("{name}: {why}"))?;
                            }
                        }
                    }
                    true
                }
                unknown => panic!("the schema uses `{unknown}`, which this check does not know"),
            };
            if !holds {
                return Err(format!("`{value}` is against {keyword} {wanted}"));
            }
        }
        Ok(())
    }

    fn check(text: &str) -> Result<(), String> {
        accepts(&schema(), &toml::from_str::<Value>(text).expect("TOML"))
    }

    #[test]
    fn every_example_is_as_the_schema_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        let mut checked = 0;
        for entry in std::fs::read_dir(folder).expect("examples") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "toml") {
                let text = std::fs::read_to_string(&path).expect("text");
                check(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
                checked += 1;
            }
        }
        assert!(checked >= 7);
    }

    #[test]
    fn slips_are_found_and_variables_are_no_slips() {
        let listen = "[listen.a]\naddress = \"[::]:80\"\n";
        for (text, why) in [
            ("[limit.a]\nrate = \"1/s\"\nbrust = 1\n", "there is no `brust`"),
            ("[limit.a]\nburst = 1\n", "required"),
            ("[limit.a]\nrate = 100\n", "type"),
            ("[limit.a]\nrate = \"1/s\"\nheaders = \"all\"\n", "enum"),
            ("[listen.b]\naddress = \"[::]:81\"\nmax-streams = 0\n", "minimum"),
            ("[listen.b]\naddress = \"[::]:81\"\nhttp2 = \"yes\"\n", "pattern"),
            (
                "[listen.b]\naddress = \"[::]:81\"\ntls = { certificat = \"/a\", key = \"/b\" }\n",
                "certificat",
            ),
            ("[auth.a]\njwt = \"https://a/\"\nkey = 1\n", "there is no `key`"),
            ("[limits.a]\n", "there is no `limits`"),
        ] {
            let found = check(&format!("{listen}{text}")).expect_err(text);
            assert!(found.contains(why), "{text}: {found}");
        }
        let variables = "[listen.b]\naddress = \"${A}\"\nhttp2 = \"${H:-true}\"\nmax-streams = \"${M}\"\n\
                         [limit.a]\nrate = \"${R}\"\nheaders = \"${W}\"\n";
        check(&format!("{listen}{variables}")).expect("variables may stand for anything");
    }

    #[test]
    fn defaults_are_shown_as_they_are_written() {
        let schema = schema();
        let of = |path: &str| schema.pointer(path).cloned().unwrap_or_default();
        assert_eq!(of("/properties/log/properties/to/default"), "stdout");
        let listen = "/properties/listen/additionalProperties/properties";
        assert_eq!(of(&format!("{listen}/max-streams/default")), 100);
        assert_eq!(of(&format!("{listen}/http2/default")), true);
    }
}
