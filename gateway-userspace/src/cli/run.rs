//! `portcullis run`: the gateway in the foreground, until a signal ends it.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::admin::socket;
use crate::dataplane;
use crate::diagnostic::{Report, render};
use crate::gateway::{self, Error};

use super::{Common, Exit, Output};

/// Runs it. Events go to standard error, as text on a terminal and as JSON elsewhere; `PORTCULLIS_LOG` filters them.
pub fn run(common: &Common, output: &Output) -> Exit {
    log_events(common);
    let show = |report: &Report| {
        if !report.problems.is_empty() {
            let _ = io::stderr().write_all(render::human(report, output.colour_of_errors).as_bytes());
        }
    };
    match gateway::run(&common.config, show) {
        Ok(()) => Exit::Done,
        Err(Error::Config(report)) => {
            show(&report);
            let _ = writeln!(io::stderr(), "{}", render::summary(&report, &common.config));
            Exit::Config
        }
        Err(error) => {
            output.error(&error);
            exit_of(&error)
        }
    }
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Kernel(dataplane::Error::Privilege { .. } | dataplane::Error::Refused { .. }) => {
            Exit::Privilege
        }
        Error::Listen(error) if error.needs_privilege() => Exit::Privilege,
        Error::Operations { source, .. } | Error::Admin(socket::Error::System { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Exit::Privilege
        }
        _ => Exit::Failed,
    }
}

fn log_events(common: &Common) {
    let default = if common.quiet { "warn" } else { "info" };
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Only a second call in one process fails, and there is none.
    let _ = if io::stderr().is_terminal() && !common.json {
        builder.with_ansi(true).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_more_privilege_would_help_has_an_exit_code_of_its_own() {
        let address = "127.0.0.1:82".parse().unwrap();
        for (kind, exit) in
            [(io::ErrorKind::PermissionDenied, Exit::Privilege), (io::ErrorKind::AddrInUse, Exit::Failed)]
        {
            assert_eq!(exit_of(&Error::Operations { address, source: kind.into() }), exit);
            let path = "/run/portcullis/admin.sock".into();
            let error = socket::Error::System { what: "create the folder of", path, source: kind.into() };
            assert_eq!(exit_of(&Error::Admin(error)), exit);
        }
    }
}
