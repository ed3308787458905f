//! `portcullis reload`: waits until the new configuration is in force, and says what changed.

use crate::admin::api::{Reload, Reloaded};

use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: exit with 2 if anything would change.
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
}

/// Asks for a reload.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    ask(common, output, arguments.dry_run, arguments.exit_code)
}

/// Asks the gateway to reload, or with `dry_run` what a reload would change; `exit_code` tells of differences.
pub fn ask(common: &Common, output: &Output, dry_run: bool, exit_code: bool) -> Exit {
    let reply = match common.call(&Reload { dry_run }) {
        Ok(reply) => reply,
        Err(error) => return output.refused(&error),
    };
    if !reply.ok && !common.json {
        eprint!("{}", reply.report);
    }
    output.answer(&reply, || text(&reply, dry_run));
    match reply.ok {
        false => Exit::Config,
        true if exit_code && !reply.changes.is_empty() => Exit::Differs,
        true => Exit::Done,
    }
}

fn text(reply: &Reloaded, dry_run: bool) -> String {
    if !reply.ok {
        return format!(
            "{} problem(s); the running configuration was not changed, generation {} stays in force\n",
            reply.errors, reply.generation
        );
    }
    let mut text = String::new();
    if reply.warnings > 0 {
        text.push_str(&reply.report);
    }
    for change in &reply.changes {
        text.push_str(&format!("{change}\n"));
    }
    text.push_str(&match (reply.changes.is_empty(), dry_run) {
        (true, _) => format!("nothing changes; generation {} is in force\n", reply.generation),
        (false, true) => {
            format!("{} change(s); put in force with: portcullis reload\n", reply.changes.len())
        }
        (false, false) => format!(
            "{} change(s); generation {} is in force\nundo with: {}\n",
            reply.changes.len(),
            reply.generation,
            reply.undo.as_deref().unwrap_or("restore the file and run portcullis reload")
        ),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_says_what_changed_and_how_to_go_back() {
        let mut reply = Reloaded {
            ok: true,
            generation: 4,
            changes: vec!["+ route users".into()],
            report: String::new(),
            errors: 0,
            warnings: 0,
            undo: None,
        };
        assert_eq!(
            text(&reply, false),
            "+ route users\n1 change(s); generation 4 is in force\nundo with: restore the file and run portcullis reload\n"
        );
        reply.undo = Some("portcullis rollback 3".into());
        assert!(text(&reply, false).ends_with("undo with: portcullis rollback 3\n"));
        assert!(text(&reply, true).ends_with("put in force with: portcullis reload\n"));
        reply.changes.clear();
        assert_eq!(text(&reply, false), "nothing changes; generation 4 is in force\n");
        (reply.ok, reply.errors) = (false, 2);
        assert_eq!(
            text(&reply, false),
            "2 problem(s); the running configuration was not changed, generation 4 stays in force\n"
        );
    }
}
