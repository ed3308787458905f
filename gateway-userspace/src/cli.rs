//! The command line: arguments in, an [`Exit`] out.
//!
//! Verbs either work on files (`check`, `fmt`, `diff OLD NEW`, `explain C014`, `key create`, `budget suggest`, `deny convert`) or ask the running gateway over its admin socket.
//! Every verb that changes something prints the command that undoes it.

mod allow;
mod apply;
mod ban;
mod bans;
mod budget;
mod check;
mod completions;
mod config;
mod demo;
mod deny;
mod diff;
mod doctor;
mod exit;
mod explain;
mod fmt;
mod history;
mod key;
mod offender;
mod output;
mod promote;
mod reload;
mod rollback;
mod routes;
mod run;
mod schema;
mod status;
mod suppress;
mod table;
mod top;

use std::path::PathBuf;

use clap::{ColorChoice, Parser, Subcommand};

use crate::admin::api::Command;
use crate::admin::client::{self, Address, Credentials, Remote};
use crate::config::Environment;

pub use exit::Exit;
use output::Output;

/// Where the configuration is if nothing else is said.
pub const CONFIG: &str = "/etc/portcullis/gateway.toml";
/// An API gateway that drops abusers in the kernel.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 110, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb understands.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The configuration file.
    #[arg(short, long, global = true, value_name = "FILE", default_value = CONFIG)]
    pub config: PathBuf,
    /// The admin socket, or https://HOST:PORT; if not given, the socket that the configuration names.
    #[arg(long, global = true, value_name = "PATH|URL", env = "PORTCULLIS_SOCKET", hide_env_values = true)]
    pub socket: Option<String>,
    /// For https: PEM file with the client's certificate.
    #[arg(long, global = true, value_name = "FILE", env = "PORTCULLIS_CERT", hide_env_values = true)]
    pub cert: Option<PathBuf>,
    /// For https: PEM file with the certificate's key.
    #[arg(long, global = true, value_name = "FILE", env = "PORTCULLIS_KEY", hide_env_values = true)]
    pub key: Option<PathBuf>,
    /// For https: PEM file with the CA of the gateway; if not given, what the system trusts.
    #[arg(long, global = true, value_name = "FILE", env = "PORTCULLIS_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors only.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// When to use colours; NO_COLOR turns them off too.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

impl Common {
    /// Where the gateway is administered: as given, else as configured, else the usual socket.
    pub fn address(&self) -> Result<Address, client::Error> {
        Ok(match &self.socket {
            Some(url) if url.contains("://") => {
                let (certificate, key, ca) = (self.cert.clone(), self.key.clone(), self.ca.clone());
                Address::Remote(Remote::parse(url, Credentials { certificate, key, ca })?)
            }
            Some(path) => Address::Socket(path.into()),
            None => Address::Socket(crate::admin::socket::find(crate::config::admin_socket(
                &self.config,
                &Environment::of_process(),
            ))),
        })
    }

    /// Asks the gateway.
    pub fn call<C: Command>(&self, command: &C) -> Result<C::Reply, client::Error> {
        client::call(&self.address()?, command)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway in the foreground, with the configuration of --config.
    Run,
    /// Show the gateway at work in network namespaces of its own.
    Demo(demo::Arguments),
    /// Check a configuration and print every problem in it.
    #[command(visible_alias = "validate")]
    Check(check::Arguments),
    /// Put the configuration in force, or say what would change.
    Reload(reload::Arguments),
    /// Say what a reload would change, or what differs between two files.
    #[command(visible_alias = "plan")]
    Diff(diff::Arguments),
    /// Put the configuration of a file in force and in place of the running one.
    Apply(apply::Arguments),
    /// Put an earlier configuration in force again.
    Rollback(rollback::Arguments),
    /// List the configurations that were in force, or show one.
    History(history::Arguments),
    /// Format configuration files, or say which are not formatted.
    Fmt(fmt::Arguments),
    /// Say what would happen to a request, or what a code such as C014 means.
    Explain(explain::Arguments),
    /// Drop everything from an address or a network, or refuse one client.
    Ban(ban::BanArguments),
    /// Lift a ban.
    Unban(ban::UnbanArguments),
    /// List the bans, or show why one was made.
    Bans(bans::Arguments),
    /// Have a shadow ban drop what it only counted.
    Promote(promote::Arguments),
    /// List whom rules do not ban for a while, or let them again.
    Suppress(suppress::Arguments),
    /// Say where a client was served, or who was served at an address, and which bans there are and were.
    Offender(offender::Arguments),
    /// Never drop anything from an address or a network.
    Allow(allow::Arguments),
    /// Drop whom lists of others name, and write such lists in other formats.
    Deny(deny::Arguments),
    /// Propose budgets of packets and SYNs that fit the rest of the configuration.
    Budget(budget::Arguments),
    /// Make, list or revoke API keys.
    Key(key::Arguments),
    /// Say how the gateway does; exits with 3 if it is not running.
    Status,
    /// Say what the kernel stage needs of this machine, and what it costs where that is missing.
    Doctor,
    /// Show routes and sources live.
    Top(top::Arguments),
    /// Look at tables of the configuration, set them, or delete them.
    Config(config::Arguments),
    /// List the routes, or show one with all that holds for it.
    Routes(routes::Arguments),
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
    /// Print a JSON Schema of the configuration, for editors.
    Schema,
    /// Print the reference of the configuration.
    #[command(hide = true)]
    Reference,
}

/// Reads the arguments of the process and does what they say.
pub fn main() -> Exit {
    match Arguments::try_parse() {
        Ok(arguments) => dispatch(arguments),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    }
}

fn dispatch(arguments: Arguments) -> Exit {
    let common = &arguments.common;
    let output = &Output::new(common);
    match arguments.verb {
        Verb::Run => run::run(common, output),
        Verb::Demo(arguments) => demo::run(output, &arguments),
        Verb::Check(arguments) => check::run(common, output, &arguments),
        Verb::Reload(arguments) => reload::run(common, output, &arguments),
        Verb::Diff(arguments) => diff::run(common, output, &arguments),
        Verb::Apply(arguments) => apply::run(common, output, &arguments),
        Verb::Rollback(arguments) => rollback::run(common, output, &arguments),
        Verb::History(arguments) => history::run(common, output, &arguments),
        Verb::Fmt(arguments) => fmt::run(common, output, &arguments),
        Verb::Explain(arguments) => explain::run(common, output, &arguments),
        Verb::Ban(arguments) => ban::ban(common, output, &arguments),
        Verb::Unban(arguments) => ban::unban(common, output, &arguments),
        Verb::Bans(arguments) => bans::run(common, output, &arguments),
        Verb::Promote(arguments) => promote::run(common, output, &arguments),
        Verb::Suppress(arguments) => suppress::run(common, output, &arguments),
        Verb::Offender(arguments) => offender::run(common, output, &arguments),
        Verb::Allow(arguments) => allow::run(common, output, &arguments),
        Verb::Deny(arguments) => deny::run(common, output, &arguments),
        Verb::Budget(arguments) => budget::run(common, output, &arguments),
        Verb::Key(arguments) => key::run(common, output, &arguments),
        Verb::Status => status::run(common, output),
        Verb::Doctor => doctor::run(common, output),
        Verb::Top(arguments) => top::run(common, output, &arguments),
        Verb::Config(arguments) => config::run(common, output, &arguments),
        Verb::Routes(arguments) => routes::run(common, output, &arguments),
        Verb::Completions(arguments) => completions::run(output, &arguments),
        Verb::Schema => schema::run(output),
        Verb::Reference => {
            output.raw(&crate::config::reference::markdown());
            Exit::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn verbs_that_others_call_otherwise_have_that_name_too() {
        for (other, own) in [("plan", "diff"), ("validate", "check")] {
            let parse = |verb| format!("{:?}", Arguments::try_parse_from(["portcullis", verb]).unwrap().verb);
            assert_eq!(parse(other), parse(own));
        }
    }

    #[test]
    fn common_flags_are_understood_before_and_behind_the_verb() {
        for line in ["portcullis --json --socket /s status", "portcullis status --socket /s --json"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(arguments.common.json, "{line}");
            assert_eq!(arguments.common.address().unwrap(), Address::Socket("/s".into()));
            assert_eq!(arguments.common.config, PathBuf::from(CONFIG));
        }
    }
}
