//! Names that routes refer to, and tables that no route refers to.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::codes;
use crate::config::decode::{Declared, Decoder, Reference};
use crate::config::near::nearest;
use crate::diagnostic::Problem;

/// The kinds of tables that exist only to be referred to.
const KINDS: [&str; 3] = ["auth", "limit", "upstream"];

/// Reports names without a table, and tables without a user.
pub fn check(d: &mut Decoder<'_>) {
    for kind in KINDS {
        let declared: Vec<&Declared> = d.declared.iter().filter(|table| table.kind == kind).collect();
        let names: HashSet<&Arc<str>> = declared.iter().map(|table| &table.name.value).collect();
        let references: Vec<&Reference> = d.references.iter().filter(|user| user.kind == kind).collect();
        let used: HashSet<&Arc<str>> = references.iter().map(|user| &user.name.value).collect();
        for reference in references.iter().filter(|user| !names.contains(&user.name.value)) {
            d.report.problems.push(undefined(reference, &declared));
        }
        for table in declared.iter().filter(|table| !used.contains(&table.name.value) && !d.syntax_errors) {
            d.report.problems.push(unused(table));
        }
    }
}

fn undefined(reference: &Reference, declared: &[&Declared]) -> Problem {
    let Reference { route, kind, name } = reference;
    let message = format!("route `{route}` uses {kind} `{}`, which is not defined", name.value);
    let problem = Problem::error(codes::UNDEFINED, message, name.place.clone());
    let problem = problem.label(format!("no [{kind}] table has this name"));
    let near = nearest(&name.value, declared.iter().map(|table| &*table.name.value));
    match declared.iter().find(|table| Some(&*table.name.value) == near) {
        Some(table) => {
            let near = &table.name.value;
            let problem = problem.related(table.name.place.clone(), format!("`{near}` is defined here"));
            problem.help(format!("did you mean `{near}`?"))
        }
        None => problem.help(format!("write a table `[{kind}.{}]`", name.value)),
    }
}

fn unused(table: &Declared) -> Problem {
    let Declared { kind, name } = table;
    let message = format!("{kind} `{}` is defined, and no route uses it", name.value);
    let help = format!("write `{kind} = \"{}\"` in the routes that are meant, or delete it", name.value);
    Problem::warning(codes::UNUSED, message, name.place.clone()).help(help)
}
