//! What is written is read back as the same, but for what a format has no word for.

use std::time::Duration;

use gateway_userspace::feeds::parse::Item;
use gateway_userspace::feeds::write::{Written, settle, write};
use gateway_userspace::feeds::{Export, Format};
use ipnet::IpNet;

use super::read;

/// The longest time that ipset takes, in seconds.
const IPSET_LONGEST: u64 = 2_147_483;

/// Writes entries, which are settled, in every format, and reads them back.
pub fn reads_back(entries: &[Item]) -> Result<(), String> {
    for to in Export::ALL {
        let mut list = Vec::new();
        let written = write(entries, to, &mut list).map_err(|error| format!("{to}: {error}"))?;
        let expected = expected(entries, to);
        let format = match to {
            Export::Text => Format::Text,
            Export::Nft => Format::Nft,
            Export::Ipset => Format::Ipset,
            Export::Json => Format::CrowdSec,
        };
        for format in [Format::Auto, format] {
            let (items, outcome) = read(&list, format);
            let found = settle(items);
            if found != expected || outcome.skipped != 0 {
                let first = found.iter().zip(&expected).find(|(found, expected)| found != expected);
                let counts = (found.len(), expected.len(), outcome.skipped);
                return Err(format!("{to} read as {format}: {counts:?} found, expected, skipped; {first:?}"));
            }
        }
        adds_up(entries, &written, to)?;
    }
    Ok(())
}

fn adds_up(entries: &[Item], written: &Written, to: Export) -> Result<(), String> {
    if written.entries + written.covered == entries.len() as u64 {
        return Ok(());
    }
    Err(format!("{to} counts {written:?} of {}", entries.len()))
}

fn expected(entries: &[Item], to: Export) -> Vec<Item> {
    let lasts = |item: &Item| match to {
        Export::Text => None,
        Export::Json => item.lasts,
        Export::Nft => {
            item.lasts.map(|time| Duration::from_millis(time.as_nanos().div_ceil(1_000_000) as u64))
        }
        Export::Ipset => item.lasts.map(|time| {
            Duration::from_secs((time.as_nanos().div_ceil(1_000_000_000) as u64).min(IPSET_LONGEST))
        }),
    };
    let mut widest: Option<IpNet> = None;
    let mut all = Vec::new();
    for item in entries {
        let is_covered = widest.is_some_and(|widest| widest.contains(&item.prefix));
        if to == Export::Nft && is_covered {
            continue;
        }
        widest = if is_covered { widest } else { Some(item.prefix) };
        // A set of networks in ipset has no /0: it is written as its halves.
        let prefixes = match (to, item.prefix.prefix_len()) {
            (Export::Ipset, 0) => item.prefix.subnets(1).map_or(Vec::new(), Iterator::collect),
            _ => vec![item.prefix],
        };
        all.extend(prefixes.into_iter().map(|prefix| Item { prefix, lasts: lasts(item), gone: false }));
    }
    settle(all)
}
