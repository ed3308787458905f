//! Names that are referred to, and tables that nothing refers to.

use std::collections::HashSet;
use std::sync::Arc;

use rapidhash::quality::RandomState;

use crate::config::codes;
use crate::config::decode::{Declared, Decoder, Reference};
use crate::config::near::nearest;
use crate::diagnostic::Problem;

/// The kinds of tables that exist only to be referred to.
const KINDS: [&str; 4] = ["auth", "limit", "upstream", "sink"];
/// The kinds that are something by themselves, and can be referred to as well.
const ALSO: [&str; 1] = ["route"];

/// Reports names without a table, and tables without a user.
pub fn check(d: &mut Decoder<'_>) {
    for kind in KINDS.into_iter().chain(ALSO) {
        let declared: Vec<&Declared> = d.declared.iter().filter(|table| table.kind == kind).collect();
        let names: HashSet<&Arc<str>, RandomState> = declared.iter().map(|table| &table.name.value).collect();
        let references: Vec<&Reference> = d.references.iter().filter(|user| user.kind == kind).collect();
        let used: HashSet<&Arc<str>, RandomState> = references.iter().map(|user| &user.name.value).collect();
        let missing = references.iter().filter(|user| !names.contains(&user.name.value));
        let mut found: Vec<Problem> = missing.map(|reference| undefined(reference, &declared)).collect();
        // A table that seems unused may be the one that a wrong name was meant for.
        if found.is_empty() && !d.incomplete && KINDS.contains(&kind) {
            found.extend(
                declared.iter().filter(|table| !used.contains(&table.name.value)).map(|table| unused(table)),
            );
        }
        d.report.problems.extend(found);
    }
}

fn undefined(reference: &Reference, declared: &[&Declared]) -> Problem {
    let Reference { user, kind, name } = reference;
    let message = format!("{user} uses {kind} `{}`, which is not defined", name.value);
    let problem = Problem::error(codes::UNDEFINED, message, name.place.clone());
    let problem = problem.label(format!("no [{kind}] table has this name"));
    let near = nearest(&name.value, declared.iter().map(|table| &*table.name.value));
    match declared.iter().find(|table| Some(&*table.name.value) == near) {
        Some(table) => {
            let near = &table.name.value;
            let problem = problem.related(table.name.place.clone(), format!("`{near}` is defined here"));
            problem.help(format!("did you mean `{near}`?"))
        }
        None => match nearest(&name.value, super::super::file::log::WORDS).filter(|_| *kind == "sink") {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help(format!("write a table `[{kind}.{}]`", name.value)),
        },
    }
}

fn unused(table: &Declared) -> Problem {
    let Declared { kind, name } = table;
    let name_text = &name.value;
    let (message, help) = match *kind {
        "sink" => (
            format!("sink `{name_text}` is defined, and the log does not go to it"),
            format!("write `to = [\"{name_text}\"]` in `[log]`, or delete it"),
        ),
        _ => (
            format!("{kind} `{name_text}` is defined, and no route uses it"),
            format!("write `{kind} = \"{name_text}\"` in the routes that are meant, or delete it"),
        ),
    };
    Problem::warning(codes::UNUSED, message, name.place.clone()).help(help)
}
