//! `portcullis promote`: makes a shadow ban, or a rule that observes, drop.

use crate::admin::api::{Promote, PromoteRule};

use super::output::changed;
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The id of the shadow ban, or the name of the rule.
    #[arg(value_name = "ID|RULE", value_parser = what)]
    what: What,
    /// Even if it would have kept out good requests or logins.
    #[arg(long)]
    force: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

/// What is promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Ban(u32),
    Rule(String),
}

/// Promotes.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let Arguments { ref what, force, dry_run } = *arguments;
    match what.clone() {
        What::Ban(id) => output.ask(common, &Promote { id, force, dry_run }, |reply| changed(reply, dry_run)),
        What::Rule(rule) => {
            output.ask(common, &PromoteRule { rule, force, dry_run }, |reply| changed(reply, dry_run))
        }
    }
}

/// `7`, `#7`, or `scrapers`.
fn what(text: &str) -> Result<What, String> {
    match text.strip_prefix('#').unwrap_or(text).parse() {
        Ok(id) => Ok(What::Ban(id)),
        Err(_) if text.starts_with(|letter: char| letter.is_ascii_alphabetic()) => {
            Ok(What::Rule(text.into()))
        }
        Err(_) => Err("expected the id of a ban, such as 7, or the name of a rule, such as scrapers".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_named_by_its_number_and_a_rule_by_its_name() {
        assert_eq!((what("7"), what("#7")), (Ok(What::Ban(7)), Ok(What::Ban(7))));
        assert_eq!(what("scrapers"), Ok(What::Rule("scrapers".into())));
        assert!(what("203.0.113.9").is_err() && what("-1").is_err() && what("").is_err());
    }
}
