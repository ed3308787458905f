//! Why an operator's command was not carried out.

use ipnet::IpNet;

use super::Stopped;
use super::promote::numbers;
use crate::abuse::crowd::Others;
use crate::abuse::exempt::Because;
use crate::abuse::harm::Harm;
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
    /// Others are behind the addresses.
    #[error(
        "it would cut {}; with --force it is banned all the same, and `portcullis ban --client AUTH/NAME` bans one \
         client", .0.text()
    )]
    Collateral(Others),
    /// Neither addresses nor a client was given.
    #[error("say whom: addresses, a client, or both")]
    NoTarget,
    /// A ban of no length.
    #[error("a ban lasts at least one second")]
    NoTime,
    /// No ban has the id.
    #[error("there is no ban {0}")]
    UnknownBan(u32),
    /// No ban that is remembered followed from the request.
    #[error("no ban followed from the request {0}, or it is over and forgotten")]
    UnknownTicket(String),
    /// Only what a rule did can be suppressed.
    #[error("ban {0} is by no rule, so there is nothing to suppress")]
    NotByRule(u32),
    /// Which ban is not to come again must be clear.
    #[error("one ban at a time is suppressed: name it by its id")]
    SuppressOne,
    /// The list is full.
    #[error("{0} suppressions are in force already, as many as there may be")]
    SuppressionsFull(usize),
    /// No suppression has the number.
    #[error("there is no suppression {0}")]
    UnknownSuppression(u32),
    /// The ban is over.
    #[error("ban {0} is over")]
    Over(u32),
    /// Nothing in the prefix is banned.
    #[error("{} is not banned", display(*.0))]
    NotBanned(IpNet),
    /// What is banned is so for another reason than the one that was given.
    #[error("ban {id} was not made for that reason, but for: {reason}")]
    AnotherReason { id: u32, reason: String },
    /// Banned only by a wider ban.
    #[error(
        "{} is banned only as part of {} (ban {id}); `portcullis unban {id}` lifts that one, \
         `portcullis allow {}` lets it alone pass", display(*prefix), wider, display(*prefix)
    )]
    Wider { prefix: IpNet, wider: String, id: u32 },
    /// None of prefix, id and all was given.
    #[error("say which ban: a prefix, an id, or all")]
    Nothing,
    /// An operator would observe what is banned.
    #[error(
        "{target} is banned (ban {id}), so what is dropped cannot be observed; `portcullis unban {id}` first"
    )]
    Held { target: String, id: u32 },
    /// The ban drops already.
    #[error("ban {0} does not only count: there is nothing to promote")]
    NotObserved(u32),
    /// All bans only count.
    #[error("the shield observes, so no ban drops anything; `mode = \"enforce\"` in [shield] arms it")]
    ShieldObserves,
    /// A shadow ban would have kept out those whom it must not.
    #[error(
        "ban {id} would have dropped {} in the last 24 hours; with --force it does so from now on",
        numbers(harm)
    )]
    Harm { id: u32, harm: Harm },
    /// No rule in force has the name.
    #[error("no rule `{0}` is in force; a ban is named by its id, a rule as in [ban.NAME]")]
    UnknownRule(String),
    /// The rule bans already.
    #[error("the rule {0} does not only observe: there is nothing to promote")]
    RuleEnforces(String),
    /// The bans of a rule would have kept out those whom they must not.
    #[error(
        "the bans of {rule} would have dropped {} in the last 24 hours; with --force they do so from now on",
        numbers(harm)
    )]
    RuleHarm { rule: String, harm: Harm },
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
    /// There are as many lists as there may be.
    #[error("there are {0} lists already, as many as there may be")]
    ListsFull(usize),
    /// The kernel's map.
    #[error("the kernel refused: {0}")]
    Kernel(String),
    /// What was to be compared.
    #[error("it cannot be read: {0}")]
    Unread(String),
    /// One comparison at a time.
    #[error("bans, kernel and state file are being compared already; ask again when that is through")]
    Verifying,
    /// The keeper has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
