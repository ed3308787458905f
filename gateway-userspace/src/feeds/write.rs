//! Writing a list in the formats that others read. What is written is read back as the same by [`super::parse`], but for
//! what a format has no word for.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::parse::Item;

/// What a list is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// An address or a network a line; times are left out.
    Text,
    /// A table of nftables with the sets `deny4` and `deny6`, for `nft -f`. An element may not lie in another, so only
    /// the wider one is written.
    Nft,
    /// The sets `portcullis4` and `portcullis6`, for `ipset restore`. The longest time that ipset has is 24 days.
    Ipset,
    /// A stream of decisions as CrowdSec's local API gives it, see [`super::Format::CrowdSec`]; those without an end
    /// have no `duration`.
    Json,
}

/// Not the name of a format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lists are not written as `{0}`; expected text, nft, ipset or json")]
pub struct UnknownExport(Box<str>);

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Entries that were.
    pub entries: u64,
    /// Entries that were not, for they lie within a wider one.
    pub covered: u64,
    /// Entries whose time was cut to the longest that the format has.
    pub shortened: u64,
}

impl Export {
    /// All of them.
    pub const ALL: [Export; 4] = [Export::Text, Export::Nft, Export::Ipset, Export::Json];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Export::Text => "text",
            Export::Nft => "nft",
            Export::Ipset => "ipset",
            Export::Json => "json",
        }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Export {
    type Err = UnknownExport;

    fn from_str(text: &str) -> Result<Export, UnknownExport> {
        let found = Export::ALL.into_iter().find(|export| export.name() == text);
        found.ok_or_else(|| UnknownExport(text.into()))
    }
}

/// What a list says in the end: each prefix once, in order, with the longest of its times. Those that are gone are left
/// out, for they hold before the rest.
pub fn settle(mut items: Vec<Item>) -> Vec<Item> {
    items.retain(|item| !item.gone);
    // The longest time first, and no end is longer than any.
    let order = |item: &Item| (item.prefix, item.lasts.is_some(), std::cmp::Reverse(item.lasts));
    items.sort_unstable_by_key(order);
    items.dedup_by_key(|item| item.prefix);
    items
}

/// Writes entries as [`settle`] leaves them. Times are rounded up to what the format counts in, and none is less than one of
/// those.
pub fn write(entries: &[Item], to: Export, out: &mut dyn Write) -> io::Result<Written> {
    match to {
        Export::Text => text(entries, out),
        Export::Nft => nft(entries, out),
        Export::Ipset => ipset(entries, out),
        Export::Json => json(entries, out),
    }
}

/// One address is written without its length, which some readers do not take.
struct Short(IpNet);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => self.0.addr().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

fn text(entries: &[Item], out: &mut dyn Write) -> io::Result<Written> {
    for entry in entries {
        writeln!(out, "{}", Short(entry.prefix))?;
    }
    Ok(Written { entries: entries.len() as u64, ..Written::default() })
}

/// The entries of one family; they stand together, IPv4 first.
fn families(entries: &[Item]) -> [&[Item]; 2] {
    let (v4, v6) = entries.split_at(entries.partition_point(|entry| matches!(entry.prefix, IpNet::V4(_))));
    [v4, v6]
}

fn nft(entries: &[Item], out: &mut dyn Write) -> io::Result<Written> {
    let mut written = Written::default();
    writeln!(out, "table inet portcullis {{")?;
    for (entries, (set, kind)) in
        families(entries).into_iter().zip([("deny4", "ipv4_addr"), ("deny6", "ipv6_addr")])
    {
        writeln!(out, "\tset {set} {{\n\t\ttype {kind}\n\t\tflags interval,timeout")?;
        let mut widest: Option<IpNet> = None;
        for entry in entries {
            if widest.is_some_and(|widest| widest.contains(&entry.prefix)) {
                written.covered += 1;
                continue;
            }
            let before = if widest.is_none() { "\t\telements = { " } else { ",\n\t\t\t     " };
            write!(out, "{before}{}", Short(entry.prefix))?;
            if let Some(lasts) = entry.lasts {
                write!(out, " timeout {}", Units(lasts))?;
            }
            written.entries += 1;
            widest = Some(entry.prefix);
        }
        writeln!(out, "{}\t}}", if widest.is_some() { " }\n" } else { "" })?;
    }
    writeln!(out, "}}")?;
    Ok(written)
}

/// A time as nft reads it, in milliseconds and rounded up: eight digits at most of each unit.
struct Units(Duration);

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos().div_ceil(1_000_000).max(1);
        for (unit, milliseconds) in
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
        {
            if rest >= milliseconds {
                write!(f, "{}{unit}", rest / milliseconds)?;
                rest %= milliseconds;
            }
        }
        Ok(())
    }
}

/// In seconds: the kernel counts milliseconds in 32 bits, of which ipset takes half.
const IPSET_LONGEST: u64 = 2_147_483;

fn ipset(entries: &[Item], out: &mut dyn Write) -> io::Result<Written> {
    let mut written = Written { entries: entries.len() as u64, ..Written::default() };
    for (entries, (set, family)) in
        families(entries).into_iter().zip([("portcullis4", "inet"), ("portcullis6", "inet6")])
    {
        // One more than there are, for a /0 is written as its halves.
        let most = (entries.len() + 1).max(65_536);
        writeln!(out, "create {set} hash:net family {family} maxelem {most} timeout 0")?;
        for entry in entries {
            let seconds =
                entry.lasts.map_or(0, |lasts| lasts.as_nanos().div_ceil(1_000_000_000).max(1) as u64);
            written.shortened += u64::from(seconds > IPSET_LONGEST);
            let seconds = seconds.min(IPSET_LONGEST);
            let halves = match entry.prefix.prefix_len() {
                // A set of networks takes none of length 0.
                0 => entry.prefix.subnets(1).map(|halves| halves.collect()).unwrap_or_default(),
                _ => vec![entry.prefix],
            };
            for prefix in halves {
                writeln!(out, "add {set} {} timeout {seconds}", Short(prefix))?;
            }
        }
    }
    Ok(written)
}

fn json(entries: &[Item], out: &mut dyn Write) -> io::Result<Written> {
    write!(out, "{{\"deleted\":null,\"new\":[")?;
    for (number, entry) in entries.iter().enumerate() {
        let (between, id) = (if number > 0 { "," } else { "" }, number + 1);
        let is_host = entry.prefix.prefix_len() == entry.prefix.max_prefix_len();
        let scope = if is_host { "Ip" } else { "Range" };
        write!(out, "{between}\n{{")?;
        if let Some(lasts) = entry.lasts {
            write!(out, "\"duration\":\"{}\",", Go(lasts.max(Duration::from_nanos(1))))?;
        }
        write!(out, "\"id\":{id},\"origin\":\"portcullis\",\"scenario\":\"list\",\"scope\":\"{scope}\",")?;
        write!(out, "\"type\":\"ban\",\"value\":\"{}\"}}", Short(entry.prefix))?;
    }
    writeln!(out, "\n]}}")?;
    Ok(Written { entries: entries.len() as u64, ..Written::default() })
}

/// A time in seconds, as Go reads it.
struct Go(Duration);

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_nanos() {
            0 => write!(f, "{}s", self.0.as_secs()),
            nanoseconds => {
                let fraction = format!("{nanoseconds:09}");
                write!(f, "{}.{}s", self.0.as_secs(), fraction.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests;
