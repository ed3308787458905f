//! `portcullis suppress`: whom rules do not ban for a while. `unban ID --suppress TIME` makes the entries.

use crate::admin::api::{ListSuppressions, Suppressions, Unsuppress};

use super::output::changed;
use super::table::Table;
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// List them, which is what it does without arguments too.
    #[arg(long, conflicts_with = "remove")]
    list: bool,
    /// Let the rule ban again.
    #[arg(long, value_name = "NUMBER")]
    remove: Option<u32>,
    /// Only say what would happen.
    #[arg(long, requires = "remove")]
    dry_run: bool,
}

/// Lists or removes.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let dry_run = arguments.dry_run;
    match arguments.remove {
        Some(number) => output.ask(common, &Unsuppress { number, dry_run }, |reply| changed(reply, dry_run)),
        None => output.ask(common, &ListSuppressions {}, list),
    }
}

fn list(suppressions: &Suppressions) -> String {
    if suppressions.suppressions.is_empty() {
        return "every rule bans whoever meets it\n".into();
    }
    let mut table = Table::new(&["number", "rule", "does not ban", "until"]);
    for one in &suppressions.suppressions {
        table.row([one.number.to_string(), one.rule.clone(), one.target.clone(), one.until.clone()]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::Suppression;

    #[test]
    fn the_list_has_one_line_for_each() {
        let one = Suppression {
            number: 3,
            rule: "scan".into(),
            target: "203.0.113.9".into(),
            until: "2026-11-22T05:20:00.000Z".into(),
        };
        assert_eq!(
            list(&Suppressions { suppressions: vec![one] }),
            "number  rule  does not ban  until\n     3  scan  203.0.113.9   2026-11-22T05:20:00.000Z\n"
        );
        assert_eq!(list(&Suppressions { suppressions: vec![] }), "every rule bans whoever meets it\n");
    }
}
