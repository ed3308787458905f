//! `portcullis apply FILE`: shows what it would change, then puts it in force and in place of the running files.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::admin::api::{Applied, Apply, DropIn};

use crate::config::read::DROP_INS;

use super::table::clean;
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The new main file, or `-` for standard input. `conf.d/*.toml` beside it become drop-ins.
    file: PathBuf,
    /// Remove the drop-ins that the running configuration has and that do not stand beside FILE.
    #[arg(long)]
    prune: bool,
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

/// Reads, shows, applies.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let (text, drop_ins) = match read(&arguments.file) {
        Ok(files) => files,
        Err((path, error)) => {
            output.complain(format!("{} cannot be read: {error}", path.display()));
            return Exit::Failed;
        }
    };
    let (prune, why) = (arguments.prune, arguments.why.clone());
    let mut command = Apply { text: Some(text), drop_ins, prune, expected: None, why, dry_run: true };
    let looked = match common.call(&command) {
        Ok(looked) => looked,
        Err(error) => return output.refused(&error),
    };
    if arguments.dry_run || !looked.reloaded.ok {
        return show(common, output, &looked, true, arguments.exit_code);
    }
    if !common.json && !common.quiet {
        output.raw(&differences(&looked));
    }
    // What was shown is what is applied: not if the files have become others since.
    (command.dry_run, command.expected) = (false, Some(looked.found));
    match common.call(&command) {
        Ok(applied) => show(common, output, &applied, false, false),
        Err(error) => output.refused(&error),
    }
}

/// Prints what an `apply` or a `rollback` did or would do. What differs was printed before, unless it is a dry run.
pub fn show(common: &Common, output: &Output, applied: &Applied, dry_run: bool, exit_code: bool) -> Exit {
    let reloaded = &applied.reloaded;
    if !reloaded.ok && !common.json {
        eprint!("{}", reloaded.report);
    }
    output.answer(applied, || {
        let shown = if dry_run && reloaded.ok { differences(applied) } else { String::new() };
        shown + &result(applied, dry_run)
    });
    match reloaded.ok {
        false => Exit::Config,
        true if exit_code && !reloaded.changes.is_empty() => Exit::Differs,
        true => Exit::Done,
    }
}

/// Warnings, and one line for each difference.
pub fn differences(applied: &Applied) -> String {
    let reloaded = &applied.reloaded;
    let mut text = if reloaded.warnings > 0 { reloaded.report.clone() } else { String::new() };
    for change in &reloaded.changes {
        text.push_str(&format!("{}\n", clean(change)));
    }
    text
}

fn result(applied: &Applied, dry_run: bool) -> String {
    let reloaded = &applied.reloaded;
    let (changes, generation) = (reloaded.changes.len(), reloaded.generation);
    if !reloaded.ok {
        return format!(
            "{} problem(s); nothing was written, generation {generation} stays in force\n",
            reloaded.errors
        );
    }
    if dry_run {
        return format!("{changes} change(s) would be made; generation {generation} is in force\n");
    }
    let mut text = format!("{changes} change(s); generation {generation} is in force");
    if let Some(number) = applied.number {
        text.push_str(&format!(", number {number} of the history"));
    }
    text.push('\n');
    if let Some(undo) = &reloaded.undo {
        text.push_str(&format!("undo with: {undo}\n"));
    }
    text
}

/// The main file's text, and the drop-ins beside it.
fn read(file: &Path) -> Result<(String, Vec<DropIn>), (PathBuf, std::io::Error)> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| ("standard input".into(), error))?;
        return Ok((text, Vec::new()));
    }
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| (path.to_owned(), error));
    let text = read(file)?;
    let folder = file.parent().unwrap_or(Path::new("")).join(DROP_INS);
    let mut drop_ins = Vec::new();
    // No folder: no drop-ins.
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") && !name.starts_with('.') {
            drop_ins.push(DropIn { name, text: Some(read(&entry.path())?) });
        }
    }
    drop_ins.sort_by(|one, other| one.name.cmp(&other.name));
    Ok((text, drop_ins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::Reloaded;

    #[test]
    fn an_apply_says_what_changed_and_how_to_go_back() {
        let mut applied = Applied {
            reloaded: Reloaded {
                ok: true,
                generation: 4,
                changes: vec!["+ route users".into()],
                report: String::new(),
                errors: 0,
                warnings: 0,
                undo: Some("portcullis rollback 7".into()),
            },
            number: Some(8),
            back_to: None,
            found: String::new(),
        };
        assert_eq!(differences(&applied), "+ route users\n");
        assert_eq!(
            result(&applied, false),
            "1 change(s); generation 4 is in force, number 8 of the history\nundo with: portcullis rollback 7\n"
        );
        assert_eq!(result(&applied, true), "1 change(s) would be made; generation 4 is in force\n");
        (applied.reloaded.ok, applied.reloaded.errors) = (false, 2);
        assert_eq!(
            result(&applied, false),
            "2 problem(s); nothing was written, generation 4 stays in force\n"
        );
    }
}
