//! `portcullis promote`: makes a shadow ban drop.

use crate::admin::api::Promote;

use super::output::changed;
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The id of the shadow ban.
    #[arg(value_name = "ID", value_parser = id)]
    id: u32,
    /// Even if it would have kept out good requests or logins.
    #[arg(long)]
    force: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

/// Promotes.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let Arguments { id, force, dry_run } = *arguments;
    output.ask(common, &Promote { id, force, dry_run }, |reply| changed(reply, dry_run))
}

/// `7`, or `#7`.
fn id(text: &str) -> Result<u32, String> {
    text.strip_prefix('#').unwrap_or(text).parse().map_err(|_| "expected the id of a ban, such as 7".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_named_by_its_number() {
        assert_eq!((id("7"), id("#7")), (Ok(7), Ok(7)));
        assert!(id("203.0.113.9").is_err() && id("-1").is_err());
    }
}
