//! Why an operator's command was not carried out.

use ipnet::IpNet;

use super::Stopped;
use crate::abuse::exempt::Because;
use crate::abuse::source::display;

/// A command that was refused. The text says what to do instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// An exempt address lies in the prefix.
    #[error("{prefix} covers {}, which is never banned ({because}); with --force the rest of it is banned", display(*exempt))]
    Covers { prefix: IpNet, exempt: IpNet, because: Because },
    /// The whole prefix is exempt, so a ban would do nothing.
    #[error("{} is never banned: {} is on the list as {because}", display(*prefix), display(*exempt))]
    Exempt { prefix: IpNet, exempt: IpNet, because: Because },
    /// Wider than /8, or /19 for IPv6.
    #[error("{prefix} is wider than /{limit}; with --force it is banned all the same")]
    TooWide { prefix: IpNet, limit: u8 },
    /// A ban of no length.
    #[error("a ban lasts at least one second")]
    NoTime,
    /// No ban has the id.
    #[error("there is no ban {0}")]
    UnknownBan(u32),
    /// No ban that is remembered followed from the request.
    #[error("no ban followed from the request {0}, or it is over and forgotten")]
    UnknownTicket(String),
    /// The ban is over.
    #[error("ban {0} is over")]
    Over(u32),
    /// Nothing in the prefix is banned.
    #[error("{} is not banned", display(*.0))]
    NotBanned(IpNet),
    /// Banned only by a wider ban.
    #[error(
        "{} is banned only as part of {} (ban {id}); `portcullis unban {id}` lifts that one, \
         `portcullis allow {}` lets it alone pass", display(*prefix), wider, display(*prefix)
    )]
    Wider { prefix: IpNet, wider: String, id: u32 },
    /// None of prefix, id and all was given.
    #[error("say which ban: a prefix, an id, or all")]
    Nothing,
    /// The list of bans is full.
    #[error("there are {0} bans in force already, twice shield.capacity, which is as many as there may be")]
    Full(usize),
    /// The operator's list is full.
    #[error("{0} prefixes are allowed already, as many as there may be")]
    AllowedFull(usize),
    /// The prefix is not on the operator's list.
    #[error("{} was not allowed by command", display(*.0))]
    NotAllowed(IpNet),
    /// The prefix is on the list for a reason that a command cannot take away.
    #[error("{} is on the list as {because}, not by command", display(*prefix))]
    NotByCommand { prefix: IpNet, because: Because },
    /// The kernel's map.
    #[error("the kernel refused: {0}")]
    Kernel(String),
    /// The keeper has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
