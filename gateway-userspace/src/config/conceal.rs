//! The texts of a configuration as they may be shown: without the secrets that stand in them as they are.
//!
//! A setting that takes a secret says so when it is decoded ([`Decoder::conceal`]); beside that whatever a key's name
//! gives away is hidden, in case it is a setting that this release does not know. Variables, `file:` and `cred:` stay.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Report, located::Sources};

use super::decode::Decoder;
use super::environment::Environment;
use super::files::{self, Files};
use super::overlay::Overlay;
use super::tree::{Entry, Node, Value};
use super::{codes, finish, read};

/// What the names of keys with secrets have in them.
const TELLING: &[&str] = &["secret", "password", "token", "credential", "authorization"];

/// Stands for a file in which secrets cannot be told from the rest.
const NOT_TOML: &str = "# (not shown: it is not valid TOML, so the secrets in it cannot be told)\n";

/// The files with each secret replaced by asterisks.
pub fn shown(main: &Path, files: &Files, environment: &Environment<'_>) -> Vec<(PathBuf, String)> {
    let mut overlay = Overlay::default();
    for (index, file) in files.iter().enumerate() {
        let path = if index == 0 { main.to_owned() } else { files::folder(main).join(&file.path) };
        overlay.lay(&path, Some(&file.text));
    }
    let mut report = Report::default();
    let root = read::read(main, &overlay, &mut report);
    let broken = broken_files(&report);
    let count = report.sources.iter().count();
    conceal_by_name(root.entries(), &mut report.sources);
    let sources = match finish(root, report, environment, false) {
        Ok((_, report)) | Err(report) => report.sources,
    };
    let known = Files::of(main, &sources);
    let found: Vec<&files::File> = known.iter().take(count).collect();
    let show = |(index, file): (usize, &files::File)| {
        let at = match index {
            0 => Some(0),
            _ => found.iter().position(|found| found.path == file.path),
        };
        let text = match at {
            Some(at) if !broken.contains(&at) => sources.shown(at as u32),
            _ => NOT_TOML.to_owned(),
        };
        (file.path.clone(), text)
    };
    files.iter().enumerate().map(show).collect()
}

fn broken_files(report: &Report) -> Vec<usize> {
    let syntax = report.problems.iter().filter(|problem| problem.code == codes::SYNTAX);
    syntax.filter_map(|problem| problem.place.as_ref().map(|place| place.file as usize)).collect()
}

fn conceal_by_name(entries: &[Entry], sources: &mut Sources) {
    for Entry { key, node } in entries {
        let name = key.value.to_ascii_lowercase();
        match TELLING.iter().any(|word| name.contains(word)) {
            true => conceal_texts(node, sources),
            false => conceal_by_name(node.entries(), sources),
        }
    }
}

fn conceal_texts(node: &Node, sources: &mut Sources) {
    match &node.value {
        Value::Text { text, .. } if !text.starts_with("file:") && !text.starts_with("cred:") => {
            sources.conceal(&node.place);
        }
        Value::List(items) => items.iter().for_each(|item| conceal_texts(item, sources)),
        Value::Table(entries) => entries.iter().for_each(|entry| conceal_texts(&entry.node, sources)),
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
    use super::*;
    use crate::config::files::File;
    use crate::diagnostic::render;

    fn show(text: &str) -> String {
        let file = File { path: "gateway.toml".into(), text: text.into() };
        let main = Path::new("/nonexistent/gateway.toml");
        shown(main, &Files::new(vec![file]), &Environment::by_name(&|_| None)).remove(0).1
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
