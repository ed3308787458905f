//! `portcullis allow`: who is never dropped.

use ipnet::IpNet;

use crate::admin::api::{AllowPrefix, Allowed, ListAllowed};

use super::output::changed;
use super::table::Table;
use super::{Common, Exit, Output, ban};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An address or a network.
    #[arg(value_name = "PREFIX", value_parser = ban::prefix, required_unless_present = "list")]
    prefix: Option<IpNet>,
    /// List who is never dropped, and why.
    #[arg(long, conflicts_with_all = ["prefix", "remove", "dry_run"])]
    list: bool,
    /// Take it off the list.
    #[arg(long)]
    remove: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

/// Allows, or lists.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let Some(prefix) = arguments.prefix else { return output.ask(common, &ListAllowed {}, list) };
    let command = AllowPrefix { prefix, remove: arguments.remove, dry_run: arguments.dry_run };
    output.ask(common, &command, |reply| changed(reply, arguments.dry_run))
}

fn list(allowed: &Allowed) -> String {
    let mut table = Table::new(&["prefix", "because"]);
    for entry in &allowed.allowed {
        table.row([entry.prefix.to_string(), entry.because.clone()]);
    }
    table.text()
}
