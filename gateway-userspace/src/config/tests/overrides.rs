//! Settings by variables, all of them.

use super::{load, problems};
use crate::config::decode::{Spec, Takes};
use crate::config::file::SECTIONS;

/// Tables of `examples/full.toml`, in which every key stands.
const TABLES: &[(&str, &str)] = &[
    ("[listen.NAME]", "https"),
    ("[route.NAME]", "users"),
    ("[upstream.NAME]", "orders"),
    ("[limit.NAME]", "per-user"),
    ("[ban.NAME]", "guessing"),
    ("[list.NAME]", "crowd"),
    ("[auth.NAME] with jwt", "users"),
    ("[auth.NAME] with api-key", "partners"),
    ("[sink.NAME] with http", "search"),
    ("[sink.NAME] with splunk", "splunk"),
    ("[sink.NAME] with otlp", "telemetry"),
];

#[test]
fn every_setting_can_be_overridden_by_a_variable() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/full.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut count = 0;
    for section in SECTIONS {
        for spec in section.specs {
            let mut path = vec![section.name.to_owned()];
            if section.named {
                path.push(table_of(spec));
            }
            count += override_each(&text, &mut path, spec);
        }
    }
    assert!(count > 90, "{count} settings");
}

/// The name of a table in the example that this spec decodes.
fn table_of(spec: &Spec) -> String {
    let known = TABLES.iter().find(|(title, _)| *title == spec.title);
    known.unwrap_or_else(|| panic!("name a table for {}", spec.title)).1.to_owned()
}

/// A value that no type takes; where any text will do, it makes another model.
const ODD: &str = "°";

fn override_each(text: &str, path: &mut Vec<String>, spec: &Spec) -> usize {
    let mut count = 0;
    let plain = load(text, &[]).map(|(config, _)| format!("{config:?}")).unwrap_or_default();
    for key in spec.keys {
        path.push(key.name.to_owned());
        let spelled: Vec<String> =
            path.iter().map(|part| part.to_ascii_uppercase().replace(['-', '.'], "_")).collect();
        let variable = format!("PORTCULLIS__{}", spelled.join("__"));
        let found = problems(text, &[(&variable, ODD)]);
        let in_model =
            || load(text, &[(&variable, ODD)]).is_ok_and(|(config, _)| format!("{config:?}") != plain);
        // A secret does not show in the model, but is not taken with a line break in it.
        let in_lines = || problems(text, &[(&variable, "°\n°")]).contains(&variable);
        assert!(found.contains(&variable) || in_model() || in_lines(), "{variable} has no effect: {found}");
        count += 1;
        if let Takes::Table(inner) = key.takes {
            count += override_each(text, path, inner);
        }
        path.pop();
    }
    count
}
