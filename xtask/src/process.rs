//! Child processes: started with a clean environment, reported with their command line when they fail.
//!
//! `cargo xtask` is itself run by cargo, which sets variables that would change what a cargo underneath builds (and
//! make it build everything twice). [`cargo`] starts a cargo as if it had been typed into the shell.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::paths;

/// A heartbeat line is printed this often for a command whose output goes to a file.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many lines of a failed command's log are shown.
const LOG_LINES_MAX: usize = 30;

/// The cargo that runs this program, in the repository's root and with the environment of the user's shell.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    scrub(&mut command);
    command.current_dir(paths::root());
    command
}

/// Removes what an outer `cargo run` adds to the environment of its child.
pub fn scrub(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(set_by_cargo) {
            command.env_remove(name);
        }
    }
    match library_path() {
        Some(path) => command.env("LD_LIBRARY_PATH", path),
        None => command.env_remove("LD_LIBRARY_PATH"),
    };
}

fn set_by_cargo(name: &str) -> bool {
    matches!(name, "CARGO" | "OUT_DIR" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE")
        || name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
}

/// The user's `LD_LIBRARY_PATH` without the folders of the outer cargo: another compiler must not load its LLVM.
fn library_path() -> Option<OsString> {
    let path = env::var_os("LD_LIBRARY_PATH")?;
    let target = paths::target();
    let foreign =
        |folder: &PathBuf| folder.starts_with(&target) || folder.to_string_lossy().contains("/rustlib/");
    let toolchain = |folder: &PathBuf| folder.to_string_lossy().contains("/toolchains/");
    let kept: Vec<_> =
        env::split_paths(&path).filter(|folder| !foreign(folder) && !toolchain(folder)).collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

/// Runs `command` with this terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let status = spawn(command)?.wait().with_context(|| format!("waiting for `{}`", line(command)))?;
    check(command, status)
}

/// Starts `command`; a program that cannot be started is named in the error.
pub fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start `{}`", line(command)))
}

/// Runs `command` and returns what it wrote to standard output; its standard error becomes part of the error.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", line(command), output.status, reason.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with its output in the file `log`, tells about every 15 s that it is still at `task`, and shows
/// the end of the log if it fails.
pub fn run_logged(command: &mut Command, task: &str, log: &Path) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let started = Instant::now();
    println!("    {task} …");
    let mut child = spawn(command.stdout(file.try_clone()?).stderr(file))?;
    let mut next = HEARTBEAT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() >= next {
            println!("    {task} … {}", elapsed(started));
            next += HEARTBEAT;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        eprintln!("{}", last_lines(&fs::read_to_string(log).unwrap_or_default(), LOG_LINES_MAX));
        check(command, status).with_context(|| format!("{task} (the whole log: {})", paths::short(log)))?;
    }
    println!("    {task}: done in {}", elapsed(started));
    Ok(())
}

fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// `command` as one would type it, with the path of the program shortened to its name and a script to `…`.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program).chain(command.get_args()).map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.contains('\n') {
        return "…".into();
    }
    let plain = |character: char| character.is_alphanumeric() || "-_=+./:,@%".contains(character);
    if !word.is_empty() && word.chars().all(plain) { word.into_owned() } else { format!("'{word}'") }
}

/// The time since `started` for a person: `0.8 s`, `42 s`, `3 min 05 s`.
pub fn elapsed(started: Instant) -> String {
    readable(started.elapsed())
}

fn readable(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{} s", time.as_secs()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// Announces a step of a longer task, in bold on a terminal.
pub fn announce(step: &str) {
    let mut out = std::io::stdout();
    let (bold, plain) = if out.is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    // A closed standard output must not end the work that was asked for.
    drop(writeln!(out, "{bold}==> {step}{plain}"));
    drop(out.flush());
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_named_with_its_exit_code_and_its_reason() {
        let error = capture(Command::new("sh").args(["-c", "echo no luck >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("sh -c") && text.contains("exit status: 3") && text.contains("no luck"),
            "{text}"
        );
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = run(&mut Command::new("no-such-program-anywhere")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot start `no-such-program-anywhere`"));
    }

    #[test]
    fn arguments_with_blanks_are_quoted() {
        let mut command = Command::new("/usr/bin/printf");
        command.args(["%s", "two words", ""]);
        assert_eq!(line(&command), "printf %s 'two words' ''");
    }

    #[test]
    fn a_script_does_not_fill_the_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "first\nsecond", "setup", "nginx"]);
        assert_eq!(line(&command), "sh -c … setup nginx");
    }

    #[test]
    fn the_outer_cargo_leaves_no_trace_but_the_users_settings_stay() {
        assert!(
            set_by_cargo("CARGO_PKG_NAME") && set_by_cargo("CARGO_MANIFEST_DIR") && set_by_cargo("CARGO")
        );
        assert!(
            !set_by_cargo("CARGO_HOME")
                && !set_by_cargo("CARGO_TARGET_DIR")
                && !set_by_cargo("CARGO_NET_OFFLINE")
        );
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(readable(Duration::from_millis(840)), "0.8 s");
        assert_eq!(readable(Duration::from_secs(42)), "42 s");
        assert_eq!(readable(Duration::from_secs(185)), "3 min 05 s");
    }

    #[test]
    fn a_log_is_cut_to_its_end() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
