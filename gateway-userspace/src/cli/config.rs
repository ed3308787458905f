//! `portcullis config`: tables of the configuration one by one, in the file that the gateway keeps for that.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::admin::api::{
    DeleteTable, GetTables, Precondition, SetTable, Table as View, TableChanged, Tables,
};
use crate::admin::client::Error;

use super::table::{Table, clean};
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with tables.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the tables and where each of them stands.
    List {
        /// Only this kind: route, upstream, auth, limit, listen …
        kind: Option<String>,
    },
    /// Print a table as it is written, without secrets.
    Get {
        /// The kind: route, upstream, auth, limit, listen, shield …
        kind: String,
        /// The name; none for kinds of which there is only one.
        name: Option<String>,
    },
    /// Put a table in, or in place of the one of that name, and in force.
    Set {
        /// The kind: route, upstream, auth, limit, listen, shield …
        kind: String,
        /// The name; none for kinds of which there is only one.
        name: Option<String>,
        /// Its keys and values as TOML, such as 'match = "/v1/*"'.
        #[arg(long, value_name = "TOML", conflicts_with = "file")]
        toml: Option<String>,
        /// A file with its keys and values, TOML or (NAME.json) JSON; if neither is given, TOML from standard input.
        #[arg(long, short = 'f', value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        only: Only,
        /// Fail if there is one already.
        #[arg(long, conflicts_with = "if_match")]
        new: bool,
    },
    /// Take a table out.
    Delete {
        /// The kind: route, upstream, auth, limit, listen, shield …
        kind: String,
        /// The name; none for kinds of which there is only one.
        name: Option<String>,
        #[command(flatten)]
        only: Only,
    },
}

/// What both changes understand.
#[derive(Debug, clap::Args)]
struct Only {
    /// Only if the table still is what `get --json` showed with this etag.
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
}

/// Lists, prints, sets or deletes.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    match &arguments.verb {
        Verb::List { kind } => output.ask(common, &GetTables { kind: kind.clone(), name: None }, list),
        Verb::Get { kind, name } => {
            output.ask(common, &GetTables { kind: Some(kind.clone()), name: name.clone() }, print)
        }
        Verb::Set { kind, name, toml, file, only, new } => {
            let (toml, values) = match content(toml.as_deref(), file.as_deref()) {
                Ok(content) => content,
                Err(problem) => {
                    output.complain(problem);
                    return Exit::Failed;
                }
            };
            let none = new.then(|| "*".to_owned());
            let dry_run = only.dry_run;
            let only = Precondition { if_match: only.if_match.clone(), if_none_match: none };
            let command = SetTable { kind: kind.clone(), name: name.clone(), toml, values, only, dry_run };
            finish(output, common.call(&command), dry_run)
        }
        Verb::Delete { kind, name, only } => {
            let dry_run = only.dry_run;
            let only = Precondition { if_match: only.if_match.clone(), if_none_match: None };
            let command = DeleteTable { kind: kind.clone(), name: name.clone(), only, dry_run };
            finish(output, common.call(&command), dry_run)
        }
    }
}

/// TOML, or JSON.
type Content = (Option<String>, Option<serde_json::Value>);

fn content(toml: Option<&str>, file: Option<&Path>) -> Result<Content, String> {
    if let Some(text) = toml {
        return Ok((Some(text.to_owned()), None));
    }
    let Some(path) = file else {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| format!("standard input: {error}"))?;
        return Ok((Some(text), None));
    };
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    match path.extension().is_some_and(|end| end == "json") {
        true => Ok((None, Some(serde_json::from_str(&text).map_err(|error| wrong(&error))?))),
        false => Ok((Some(text), None)),
    }
}

fn finish(output: &Output, result: Result<TableChanged, Error>, dry_run: bool) -> Exit {
    match result {
        Ok(changed) => {
            output.answer(&changed, || text(&changed, dry_run));
            Exit::Done
        }
        Err(Error::Refused(refusal)) if refusal.status == 422 => {
            eprint!("{}", refusal.report.as_deref().unwrap_or_default());
            output.complain(refusal.detail.as_deref().unwrap_or("the configuration would not be valid"));
            Exit::Config
        }
        Err(error) => output.refused(&error),
    }
}

fn text(changed: &TableChanged, dry_run: bool) -> String {
    let mut text = changed.report.clone();
    for change in &changed.changes {
        text.push_str(&format!("{}\n", clean(change)));
    }
    let (count, file) = (changed.changes.len(), &changed.file);
    text.push_str(&match (count, dry_run) {
        (0, _) => format!("nothing changes; generation {} is in force\n", changed.generation),
        (_, true) => format!("{count} change(s); nothing was done\n"),
        (_, false) => format!("{count} change(s) in {file}; generation {} is in force\n", changed.generation),
    });
    if let Some(undo) = changed.undo.as_ref().filter(|_| !dry_run) {
        text.push_str(&format!("undo with: {undo}\n"));
    }
    text
}

fn list(tables: &Tables) -> String {
    let mut table = Table::new(&["kind", "name", "at", "by", "etag"]);
    for View { kind, name, file, line, managed, etag, .. } in &tables.tables {
        let by = if *managed { "this command" } else { "hand" };
        let name = name.as_deref().unwrap_or("-");
        table.row([kind.clone(), name.to_owned(), format!("{file}:{line}"), by.to_owned(), etag.clone()]);
    }
    if table.is_empty() { "there are no such tables\n".into() } else { table.text() }
}

fn print(tables: &Tables) -> String {
    let one = |table: &View| {
        let by = if table.managed { "" } else { ", written by hand" };
        format!("# {}:{}{by}\n{}", table.file, table.line, table.toml)
    };
    tables.tables.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_with_its_inverse_and_a_dry_run_without() {
        let changed = TableChanged {
            created: true,
            changes: vec!["+ route shop".into()],
            report: String::new(),
            generation: 3,
            number: Some(7),
            etag: Some("ab".into()),
            file: "conf.d/managed.toml".into(),
            undo: Some("portcullis config delete route shop".into()),
        };
        assert_eq!(
            text(&changed, false),
            "+ route shop\n1 change(s) in conf.d/managed.toml; generation 3 is in force\n\
             undo with: portcullis config delete route shop\n"
        );
        assert_eq!(text(&changed, true), "+ route shop\n1 change(s); nothing was done\n");
    }
}
