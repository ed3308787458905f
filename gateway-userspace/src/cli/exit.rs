//! How the process ends. systemd shows the numbers from 64 on by their names in `sysexits.h`.

use std::process::{ExitCode, Termination};

use crate::admin::client::Error;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// The operation failed.
    Failed = 1,
    /// `diff --exit-code`, `reload --dry-run --exit-code`: there are differences.
    Differs = 2,
    /// `status`: the gateway is not running (as in LSB).
    NotRunning = 3,
    /// The arguments are wrong (EX_USAGE).
    Usage = 64,
    /// `deny convert`: what is given is no list (EX_DATAERR).
    Data = 65,
    /// The admin socket cannot be reached (EX_UNAVAILABLE).
    Unreachable = 69,
    /// Not enough privilege (EX_NOPERM).
    Privilege = 77,
    /// The configuration is not valid (EX_CONFIG).
    Config = 78,
}

impl Exit {
    /// What a failed call of the admin API ends with.
    pub fn of(error: &Error) -> Exit {
        match error {
            Error::NotRunning { .. } | Error::Broken { .. } => Exit::Unreachable,
            Error::NotAllowed { .. } => Exit::Privilege,
            Error::Refused(refusal) if refusal.status == 403 => Exit::Privilege,
            Error::Credentials(_) => Exit::Usage,
            Error::Refused(_) | Error::NotUnderstood(_) => Exit::Failed,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
