//! `portcullis rollback [NUMBER]`: puts an earlier configuration in force again.

use crate::admin::api::RollBack;

use super::{Common, Exit, Output, apply};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A number of `portcullis history`; if not given, what was in force before the last change.
    number: Option<u64>,
    /// What for; kept in the history.
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit with 2 if anything would change.
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
}

/// Asks for it.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let Arguments { number, why, dry_run, exit_code } = arguments;
    let command = RollBack { number: *number, why: why.clone(), dry_run: *dry_run };
    let applied = match common.call(&command) {
        Ok(applied) => applied,
        Err(error) => return output.refused(&error),
    };
    if applied.reloaded.ok && !common.json && !common.quiet {
        if let Some(number) = applied.back_to {
            output.raw(&format!("back to number {number}\n"));
        }
        if !dry_run {
            output.raw(&apply::differences(&applied));
        }
    }
    apply::show(common, output, &applied, *dry_run, *exit_code)
}
