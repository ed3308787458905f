//! Reading a list: entry by entry to a function of the caller's, whatever the format.
//!
//! The bytes may come from strangers. Nothing that stands in them is an error: what cannot be taken is skipped and
//! counted, and the first of them are kept to be shown. Time is linear in the bytes, a line of text costs no allocation,
//! and memory grows with nothing but the number of sets that a list of ipset declares.

mod address;
mod crowdsec;
mod duration;
mod ipset;
mod json;
mod nft;
mod text;

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use super::format::{BYTE_ORDER_MARK, Format};
use address::Span;

/// Most skipped entries that are kept to be shown.
pub const FIRST_BAD_MAX: usize = 10;
/// Most bytes that are kept of one.
pub const BAD_TEXT_BYTES_MAX: usize = 80;
/// The longest time of an entry; what is longer is cut to it, so that it can be added to any clock. A hundred years.
pub const LASTS_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Most networks that are taken of a list if nothing else is said.
pub const ENTRIES_MAX: usize = 1_000_000;

/// What an entry says. A range is as many items as it takes networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its addresses, without host bits. IPv4 addresses within IPv6 (`::ffff:192.0.2.7`) are IPv4.
    pub prefix: IpNet,
    /// How long it is to last from now on, at most [`LASTS_MAX`]; `None` if it names no end.
    pub lasts: Option<Duration>,
    /// It is no longer on the list. These hold before those of the same list that are on it, wherever they stand:
    /// CrowdSec writes them first or last.
    pub gone: bool,
}

/// What became of the entries. In text and ipset an entry is a line, in nft an element, in CrowdSec a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it was read as, never [`Format::Auto`].
    pub format: Format,
    /// Entries that were taken, those that are gone included.
    pub taken: u64,
    /// Entries that were not.
    pub skipped: u64,
    /// The first of these, at most [`FIRST_BAD_MAX`].
    pub first_bad: Vec<Bad>,
}

/// An entry that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Where it stands.
    pub place: Place,
    /// How it begins, at most [`BAD_TEXT_BYTES_MAX`] bytes. From outside: not safe for a terminal.
    pub text: Box<str>,
}

/// Where an entry stands, from 1. JSON has no lines to speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In that line.
    Line(u64),
    /// It is the one of that number.
    Entry(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(number) => write!(f, "line {number}"),
            Place::Entry(number) => write!(f, "entry {number}"),
        }
    }
}

/// A list says more than what is taken of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list holds more than {0} addresses and networks")]
pub struct TooMany(pub usize);

/// Reads `list` whole, if its entries are no more than `most` networks, ranges counted as what they take. Memory is
/// bounded by that, and time stays linear in the bytes whatever the ranges would expand to.
pub fn read(list: &[u8], format: Format, most: usize) -> Result<(Vec<Item>, Outcome), TooMany> {
    let mut items = Vec::new();
    let mut take = |item| items.push(item);
    let (outcome, is_whole) = parse_up_to(list, format, most, &mut take);
    if is_whole { Ok((items, outcome)) } else { Err(TooMany(most)) }
}

/// Reads `list` and hands over what its entries say, in their order.
pub fn parse(list: &[u8], format: Format, take: &mut dyn FnMut(Item)) -> Outcome {
    parse_up_to(list, format, usize::MAX, take).0
}

/// The same up to so many items; whether those were all.
fn parse_up_to(list: &[u8], format: Format, most: usize, take: &mut dyn FnMut(Item)) -> (Outcome, bool) {
    let list = list.strip_prefix(BYTE_ORDER_MARK).unwrap_or(list);
    let format = match format {
        Format::Auto => Format::detect(list),
        format => format,
    };
    let outcome = Outcome { format, taken: 0, skipped: 0, first_bad: Vec::new() };
    let mut take = |_, item| take(item);
    let mut sink = Sink::new(&mut take, outcome, most);
    match format {
        Format::Auto | Format::Text => text::parse(list, &mut sink),
        Format::CrowdSec => crowdsec::parse(list, &mut sink),
        Format::Nft => nft::parse(list, &mut sink),
        Format::Ipset => ipset::parse(list, &mut sink),
    }
    (sink.outcome, !sink.is_overfull)
}

/// How CrowdSec's API knows a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Of its row in the database, 0 without one.
    pub number: i64,
    /// Who has made it.
    pub origin: Origin,
}

/// Who has made a decision, as far as the API treats its decisions in a way of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Those of which each one that goes is told.
    #[default]
    Own,
    /// `CAPI`, the community's blocklist.
    Community,
    /// `lists`, blocklists that are subscribed to.
    Lists,
}

/// What became of the decisions of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Of all of them, but for those behind one that was too many.
    pub outcome: Outcome,
    /// How many of those that were skipped are gone.
    pub skipped_gone: u64,
    /// How many of those that are new could not be read, while the others that were skipped are for others, or over.
    pub unreadable: u64,
    /// There are more that are gone than are taken.
    pub is_gone_overfull: bool,
    /// There are more that are new than are taken.
    pub is_new_overfull: bool,
}

/// Not a stream of decisions, with what is wrong about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no stream of decisions: {0}")]
pub struct NoStream(Box<str>);

/// Reads a stream of CrowdSec's, and hands over its decisions, those that are gone first: at most `most` networks of these,
/// and as many of those that are new. It is taken as a whole or not at all, but for what was handed over already.
pub fn decisions(stream: &[u8], most: usize, take: &mut dyn FnMut(Mark, Item)) -> Result<Decided, NoStream> {
    let outcome = Outcome { format: Format::CrowdSec, taken: 0, skipped: 0, first_bad: Vec::new() };
    let mut sink = Sink::new(take, outcome, most);
    let no_stream = |error: String| NoStream(error.into());
    let halves = crowdsec::Halves::of(stream).map_err(no_stream)?;
    halves.take_gone(&mut sink).map_err(no_stream)?;
    let is_gone_overfull = std::mem::take(&mut sink.is_overfull);
    sink.room = most;
    halves.take_new(&mut sink).map_err(no_stream)?;
    let Sink { outcome, skipped_gone, unreadable, is_overfull, .. } = sink;
    Ok(Decided { outcome, skipped_gone, unreadable, is_gone_overfull, is_new_overfull: is_overfull })
}

/// Where entries go.
struct Sink<'a> {
    /// With the mark of the entry, the default in formats that have none.
    take: &'a mut dyn FnMut(Mark, Item),
    outcome: Outcome,
    /// Skipped entries that are gone.
    skipped_gone: u64,
    /// Skipped decisions that are not gone and could not be read.
    unreadable: u64,
    /// Items that are still taken.
    room: usize,
    /// There was one more.
    is_overfull: bool,
}

impl Sink<'_> {
    fn new(take: &mut dyn FnMut(Mark, Item), outcome: Outcome, room: usize) -> Sink<'_> {
        Sink { take, outcome, skipped_gone: 0, unreadable: 0, room, is_overfull: false }
    }

    fn take(&mut self, span: Span, lasts: Option<Duration>, gone: bool) {
        self.take_marked(Mark::default(), span, lasts, gone);
    }

    fn take_marked(&mut self, mark: Mark, span: Span, lasts: Option<Duration>, gone: bool) {
        if self.is_overfull {
            return;
        }
        let lasts = lasts.map(|lasts| lasts.min(LASTS_MAX));
        span.each(&mut |prefix| match self.room.checked_sub(1) {
            Some(room) => {
                self.room = room;
                (self.take)(mark, Item { prefix, lasts, gone });
            }
            None => self.is_overfull = true,
        });
        self.outcome.taken += 1;
    }

    fn skip_line(&mut self, line: u64, text: &[u8]) {
        self.skip(Place::Line(line), text);
    }

    fn skip_entry(&mut self, text: &[u8]) {
        self.skip(Place::Entry(self.outcome.taken + self.outcome.skipped + 1), text);
    }

    fn skip(&mut self, place: Place, text: &[u8]) {
        self.outcome.skipped += 1;
        if self.outcome.first_bad.len() < FIRST_BAD_MAX {
            let text = String::from_utf8_lossy(&text[..text.len().min(BAD_TEXT_BYTES_MAX)]);
            let end = text.floor_char_boundary(BAD_TEXT_BYTES_MAX);
            self.outcome.first_bad.push(Bad { place, text: text[..end].into() });
        }
    }
}

/// The lines with their numbers, from 1, without white space around them.
fn lines(list: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = list;
    let lines = std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = (!rest.is_empty()).then(|| rest[..end].trim_ascii());
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    });
    (1..).zip(lines)
}

/// The next word, in quotes or up to white space, and what follows.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = match text {
        [b'"', rest @ ..] => memchr::memchr(b'"', rest).map_or(text.len(), |quote| quote + 2),
        _ => text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len()),
    };
    text.split_at(end)
}

#[cfg(test)]
mod tests;
