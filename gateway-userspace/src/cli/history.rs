//! `portcullis history`: the configurations that were in force, and one of them.

use crate::admin::api::{Entry, GetHistory, History, ShowHistory, Shown};

use super::table::{Table, clean};
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show one configuration: who, when, what changed, and its files without the secrets in them.
    Show {
        /// Its number.
        number: u64,
    },
}

/// Lists, or shows one.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    match arguments.verb {
        None => output.ask(common, &GetHistory {}, list),
        Some(Verb::Show { number }) => output.ask(common, &ShowHistory { number }, show),
    }
}

fn list(history: &History) -> String {
    if history.entries.is_empty() {
        return "there is no history\n".to_owned();
    }
    let mut table = Table::new(&["", "number", "at", "who", "by", "changes", "why"]);
    for entry in &history.entries {
        table.row([
            if entry.in_force { "*" } else { "" }.to_owned(),
            entry.number.to_string(),
            entry.at.clone(),
            entry.who.clone(),
            entry.verb.clone(),
            entry.changes.len().to_string(),
            entry.why.clone(),
        ]);
    }
    table.text() + "* is in force; portcullis history show NUMBER, portcullis rollback NUMBER\n"
}

fn show(shown: &Shown) -> String {
    let Entry { number, at, who, verb, why, in_force, fingerprint, bytes: _, changes } = &shown.entry;
    let mut text = format!("# number {number}, {at}, {} by {}\n", clean(verb), clean(who));
    if *in_force {
        text.push_str("# in force\n");
    }
    if !why.is_empty() {
        text.push_str(&format!("# {}\n", clean(why)));
    }
    text.push_str(&format!("# sha256 {fingerprint}\n"));
    for change in changes {
        text.push_str(&format!("#   {}\n", clean(change)));
    }
    for file in &shown.files {
        text.push_str(&format!("\n# --- {} ---\n{}", clean(&file.path), file.text));
        if !file.text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::ShownFile;

    fn entry(number: u64) -> Entry {
        Entry {
            number,
            at: "2026-11-22T05:20:00.007Z".into(),
            who: "uid 0 (root)".into(),
            verb: "apply".into(),
            why: "more\u{1b}[31m".into(),
            in_force: number == 2,
            fingerprint: "ab".into(),
            bytes: 3,
            changes: vec!["+ route users".into()],
        }
    }

    #[test]
    fn the_list_marks_what_is_in_force_and_obeys_no_control_character() {
        let text = list(&History { entries: vec![entry(2), entry(1)] });
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("*") && lines[1].contains("2026-11-22T05:20:00.007Z"), "{text}");
        assert!(!lines[2].starts_with('*') && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_is_shown_is_a_configuration_with_comments() {
        let files = vec![
            ShownFile { path: "gateway.toml".into(), text: "[gateway]\nworkers = 2".into() },
            ShownFile { path: "conf.d/a.toml".into(), text: "[log]\n".into() },
        ];
        let text = show(&Shown { entry: entry(2), files });
        assert!(text.contains("#   + route users\n\n# --- gateway.toml ---\n[gateway]\nworkers = 2\n\n"));
        assert!(text.parse::<toml::Table>().is_ok(), "{text}");
    }
}
