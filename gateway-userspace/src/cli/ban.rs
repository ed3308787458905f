//! `portcullis ban` and `portcullis unban`.

use std::time::Duration;

use ipnet::IpNet;

use crate::abuse::target::Subject;
use crate::admin::api::{BanPrefix, Changed, Unban};
use crate::admin::client::Error;
use crate::config::{units, value};

use super::output::changed;
use super::{Common, Exit, Output};

/// The arguments of `ban`.
#[derive(Debug, clap::Args)]
pub struct BanArguments {
    /// An address, or a network such as 203.0.113.0/24.
    #[arg(value_name = "PREFIX", value_parser = prefix, required_unless_present = "client")]
    prefix: Option<IpNet>,
    /// Only this client, by the `[auth.AUTH]` that knows it and its name there; from PREFIX alone if that is given.
    #[arg(long, value_name = "AUTH/NAME")]
    client: Option<Subject>,
    /// How long, such as 10m or 1h30m; `ever` until it is lifted.
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
    time: Time,
    /// Why, for those who look at it later.
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// Even if it covers an address that is never to be dropped, is very wide, or would cut good clients.
    #[arg(long)]
    force: bool,
    /// Count what it would drop, and drop nothing: `bans --shadow` says what that was.
    #[arg(long)]
    observe: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

/// The arguments of `unban`.
#[derive(Debug, clap::Args)]
pub struct UnbanArguments {
    /// An address, a network, or the id of a ban.
    #[arg(value_name = "PREFIX|ID", value_parser = target, required_unless_present = "all")]
    target: Option<Target>,
    /// Every ban in force.
    #[arg(long, conflicts_with = "target")]
    all: bool,
    /// Only what was banned for this reason: leaves the bans of rules and of other tools alone.
    #[arg(long, value_name = "TEXT", conflicts_with = "all")]
    reason: Option<String>,
    /// Keep its rule from banning the same again, for so long.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "all")]
    suppress: Option<Duration>,
    /// Do not fail if there is no such ban, for scripts.
    #[arg(long, conflicts_with = "all")]
    if_banned: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

/// A time, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    For(Duration),
    Ever,
}

/// What `unban` lifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Id(u32),
    Prefix(IpNet),
}

/// Bans.
pub fn ban(common: &Common, output: &Output, arguments: &BanArguments) -> Exit {
    let command = BanPrefix {
        prefix: arguments.prefix,
        client: arguments.client.clone(),
        for_s: match arguments.time {
            Time::For(time) => Some(time.as_secs().max(1)),
            Time::Ever => None,
        },
        reason: arguments.reason.clone(),
        force: arguments.force,
        observe: arguments.observe,
        dry_run: arguments.dry_run,
    };
    output.ask(common, &command, |reply| changed(reply, arguments.dry_run))
}

/// Lifts.
pub fn unban(common: &Common, output: &Output, arguments: &UnbanArguments) -> Exit {
    let (id, prefix) = match arguments.target {
        Some(Target::Id(id)) => (Some(id), None),
        Some(Target::Prefix(prefix)) => (None, Some(prefix)),
        None => (None, None),
    };
    let suppress_s = arguments.suppress.map(|time| time.as_secs().max(1));
    let command = Unban {
        prefix,
        id,
        all: arguments.all,
        reason: arguments.reason.clone(),
        suppress_s,
        dry_run: arguments.dry_run,
    };
    let reply = match common.call(&command) {
        Err(Error::Refused(refusal)) if arguments.if_banned && refusal.status == NOT_FOUND => {
            Changed { changes: Vec::new(), undo: None }
        }
        Err(error) => return output.refused(&error),
        Ok(reply) => reply,
    };
    output.answer(&reply, || changed(&reply, arguments.dry_run));
    Exit::Done
}

/// The API's answer if there is no such ban.
const NOT_FOUND: u16 = 404;

/// An address or a network, for clap.
pub fn prefix(text: &str) -> Result<IpNet, String> {
    value::parse_prefix(text)
        .ok_or_else(|| "expected an address or a network, such as 203.0.113.9 or 2001:db8::/32".into())
}

pub fn time(text: &str) -> Result<Time, String> {
    match text {
        "ever" => Ok(Time::Ever),
        _ => duration(text).map(Time::For),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|fault| format!("{}; {}", fault.message, fault.help))
}

fn target(text: &str) -> Result<Target, String> {
    match text.strip_prefix('#').unwrap_or(text).parse() {
        Ok(id) => Ok(Target::Id(id)),
        Err(_) => prefix(text).map(Target::Prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lifted_is_an_id_or_a_prefix() {
        assert_eq!(target("#12"), Ok(Target::Id(12)));
        assert_eq!(target("12"), Ok(Target::Id(12)));
        assert_eq!(target("192.0.2.7"), Ok(Target::Prefix("192.0.2.7/32".parse().unwrap())));
        assert_eq!(target("192.0.2.7/24"), Ok(Target::Prefix("192.0.2.0/24".parse().unwrap())));
        assert!(target("here").is_err());
    }

    #[test]
    fn a_time_has_a_unit_or_is_for_ever() {
        assert_eq!(time("10m"), Ok(Time::For(Duration::from_secs(600))));
        assert_eq!(time("ever"), Ok(Time::Ever));
        assert_eq!(time("10"), Err("`10` has no unit; write `\"10s\"`".into()));
    }

    #[test]
    fn what_is_printed_to_undo_a_lift_is_taken_as_it_is() {
        use clap::Parser;

        use crate::abuse::target::Target;

        #[derive(Debug, Parser)]
        struct Line {
            #[command(flatten)]
            ban: BanArguments,
        }
        let who: Subject = "users/alice".parse().unwrap();
        let at = Some("203.0.113.9/32".parse().unwrap());
        for target in [
            Target::Subject { who: who.clone(), at: None },
            Target::Subject { who, at },
            Target::Prefix("203.0.113.0/24".parse().unwrap()),
        ] {
            let line = format!("ban {} --for 9m --force", target.argument());
            let Line { ban } = Line::try_parse_from(line.split(' ')).expect(&line);
            let said = match ban.client {
                Some(who) => Target::Subject { who, at: ban.prefix },
                None => Target::Prefix(ban.prefix.expect("one of them")),
            };
            assert_eq!(said, target, "{line}");
        }
        assert!(Line::try_parse_from(["ban"]).is_err());
        assert!(Line::try_parse_from(["ban", "--client", "alice"]).is_err());
    }
}
