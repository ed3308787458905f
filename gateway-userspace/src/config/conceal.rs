//! The texts of a configuration as they may be shown: without the secrets that stand in them as they are.
//!
//! Each file is looked at for itself, by names and places ([`secrecy`]): what is hidden in it must not depend on what
//! else is on the disk or in the environment now. For messages, a setting that takes a secret says so when it is decoded
//! ([`Decoder::conceal`]). Variables, `file:` and `cred:` stay.

use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Report, located::Sources};

use super::decode::Decoder;
use super::file::SECTIONS;
use super::files::{File, Files};
use super::secrecy;
use super::tree::{self, Entry, Node, Value};

/// Stands for a file in which secrets cannot be told from the rest.
const NOT_TOML: &str = "# (not shown: it is not valid TOML, so the secrets in it cannot be told)\n";

/// The files with each secret replaced by asterisks.
pub fn shown(files: &Files) -> Vec<(PathBuf, String)> {
    files.iter().map(|file| (file.path.clone(), shown_file(file))).collect()
}

fn shown_file(file: &File) -> String {
    let mut report = Report::default();
    let index = report.sources.add(file.path.clone(), Arc::clone(&file.text));
    let root = tree::parse_file(&mut report, index, &file.text);
    if !report.problems.is_empty() {
        return NOT_TOML.to_owned();
    }
    for Entry { key, node } in root.entries() {
        let section = SECTIONS.iter().find(|section| section.name == key.value);
        match (section, &node.value) {
            (Some(section), Value::Table(entries)) => entries.iter().for_each(|entry| {
                // The name of a table says nothing of what is in it.
                let is_name = section.named && matches!(entry.node.value, Value::Table(_));
                let mut keys = if is_name { Vec::new() } else { vec![&*entry.key.value] };
                conceal(section.name, &mut keys, &entry.node, &mut report.sources);
            }),
            _ => conceal("", &mut vec![&key.value], node, &mut report.sources),
        }
    }
    report.sources.shown(index)
}

/// Conceals every secret below a node; `keys` lead from the table to it.
fn conceal<'n>(section: &str, keys: &mut Vec<&'n str>, node: &'n Node, sources: &mut Sources) {
    match &node.value {
        Value::Text { text, .. } if secrecy::hides(section, keys, text) => sources.conceal(&node.place),
        Value::List(items) => items.iter().for_each(|item| conceal(section, keys, item, sources)),
        Value::Table(entries) => {
            for entry in entries {
                keys.push(&entry.key.value);
                conceal(section, keys, &entry.node, sources);
                keys.pop();
            }
        }
        _ => {}
    }
}

impl Decoder<'_> {
    /// Says that the text of a node is a secret, so that nothing shows it.
    pub fn conceal(&mut self, node: &Node) {
        self.report.sources.conceal(&node.place);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;
    use crate::diagnostic::render;

    fn show(text: &str) -> String {
        shown(&Files::new(vec![File { path: "gateway.toml".into(), text: text.into() }])).remove(0).1
    }

    #[test]
    fn secrets_are_hidden_and_what_leads_to_them_is_not() {
        let oct = r#"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"}"#;
        let text = format!(
            "[listen.a]\naddress = \"[::]:80\" # stays\n[auth.a]\njwt = \"i\"\nkeys = '{oct}'\n\
             [auth.b]\napi-key = \"X-API-Key\"\nkeys.p = \"literal-literal-literal\"\n\
             [future]\nclient-secret = \"hush\"\ntokens = {{ one = \"hush\", two = \"file:/t\", three = \"${{T}}\" }}\n"
        );
        let shown = show(&text);
        for gone in ["hush", "oct", "c2Vj", "literal-literal"] {
            assert!(!shown.contains(gone), "{gone} in {shown}");
        }
        for stays in ["# stays", "X-API-Key", "file:/t", "${T}", "client-secret = \"****\""] {
            assert!(shown.contains(stays), "{stays} not in {shown}");
        }
        assert_eq!(shown.lines().count(), text.lines().count());
    }

    #[test]
    fn what_is_hidden_in_a_file_does_not_depend_on_the_others() {
        // Taken together they are no configuration: the same tables, of other kinds.
        let main = "sink = \"x\"\nauth.a = { jwt = \"i\", keys = \"https://i/jwks\" }\n";
        let more = "[sink.s]\nhttp = \"http://u:hush@h/\"\nheaders = { X-Scope = \"hush\" }\n\
                    [route.token]\nmatch = \"/stays\"\nupstream-headers = { X-Api-Key = \"hush\", X-A = \"stays\" }\n\
                    [auth.a]\napi-key = \"X-Stays\"\nkeys = { p = { hash = \"sha256:hush\", consumer = \"stays\" } }\n\
                    [identity]\nsecret = \"\"\"hush\nhush\"\"\"\n";
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let shown = shown(&Files::new(vec![file("gateway.toml", main), file("conf.d/more.toml", more)]));
        assert_eq!(shown[0].1, main);
        assert!(!shown[1].1.contains("hush"), "{}", shown[1].1);
        assert_eq!(shown[1].1.matches("tays").count(), 4, "{}", shown[1].1);
    }

    #[test]
    fn a_text_that_cannot_be_parsed_is_not_shown_at_all() {
        assert_eq!(show("[auth.a]\nkeys = hush\n"), NOT_TOML);
    }

    #[test]
    fn a_problem_with_a_secret_does_not_print_it() {
        for keys in ["keys = \"hush-hush-hush-hush\"", "keys.p = \"hush-hush-hush-hush\""] {
            let kind = if keys.starts_with("keys.") { "api-key = \"X\"" } else { "jwt = \"i\"" };
            let text = format!("[listen.a]\naddress = \"[::]:80\"\n[auth.a]\n{kind}\n{keys}\n");
            let environment = Environment::by_name(&|_| None);
            let report = crate::config::load_text(Path::new("a.toml"), &text, &environment).unwrap_err();
            let said = render::human(&report, false) + &render::json(&report, Path::new("a.toml"));
            assert!(!said.contains("hush"), "{said}");
            assert!(said.contains("****"), "{said}");
        }
    }

    #[test]
    fn a_secret_from_an_override_is_not_printed_either() {
        let lookup = |name: &str| (name == "PORTCULLIS__AUTH__A__KEYS").then(|| "hush-hush-hush".to_owned());
        let text = "[listen.a]\naddress = \"[::]:80\"\n[auth.a]\njwt = \"i\"\n";
        let environment = Environment::by_name(&lookup);
        let report = crate::config::load_text(Path::new("a.toml"), text, &environment).unwrap_err();
        let said = render::human(&report, false);
        assert!(said.contains("PORTCULLIS__AUTH__A__KEYS") && !said.contains("hush"), "{said}");
    }
}
