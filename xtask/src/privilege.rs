//! Becoming root for the few commands that need it: packages, mounts, the gateway itself, kernel tests.
//!
//! Cargo never runs as root through here, so the build's files keep their owner.

use std::{ffi::OsStr, io::IsTerminal, process::Command};

use crate::paths;

/// How this process can run something as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// It is root.
    Root,
    /// It is not root, but `sudo` is installed; a password may be asked for on the terminal.
    Sudo,
    /// Neither.
    None,
}

impl Privilege {
    /// What holds for this process.
    pub fn current() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Root
        } else if paths::executable("sudo").is_some() {
            Self::Sudo
        } else {
            Self::None
        }
    }

    /// A command that runs `program` as root, or `None` where that is not possible. `keep` names the environment
    /// variables that must survive sudo. Without a terminal sudo must not ask, so it fails instead of hanging.
    pub fn command(self, program: impl AsRef<OsStr>, keep: &[&str]) -> Option<Command> {
        match self {
            Self::Root => Some(Command::new(program)),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(sudo_options(keep)).arg("--").arg(program);
                Some(command)
            }
            Self::None => None,
        }
    }
}

/// The options of sudo that keep the environment variables `keep` and never wait for an absent terminal.
pub fn sudo_options(keep: &[&str]) -> Vec<String> {
    let mut options = Vec::new();
    if !std::io::stdin().is_terminal() {
        options.push("--non-interactive".to_owned());
    }
    if !keep.is_empty() {
        options.push(format!("--preserve-env={}", keep.join(",")));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_runs_the_program_itself_and_nobody_runs_nothing() {
        assert_eq!(Privilege::Root.command("id", &["A"]).unwrap().get_program(), "id");
        assert!(Privilege::None.command("id", &[]).is_none());
    }

    #[test]
    fn sudo_keeps_the_named_variables_and_separates_its_options_from_the_program() {
        let command = Privilege::Sudo.command("id", &["A", "B"]).unwrap();
        let arguments: Vec<_> = command.get_args().collect();
        assert!(arguments.contains(&OsStr::new("--preserve-env=A,B")));
        assert_eq!(&arguments[arguments.len() - 2..], ["--", "id"]);
    }
}
