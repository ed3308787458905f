//! How fast lists come into the kernel, in pieces as the gateway tells them, beside as many bans.
//!
//! Measured by the clock on a thread like any other: another one writes some half of each piece, so that one which is
//! fixed to a CPU would show half of the speed.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use gateway_common::bench::scatter;
use gateway_userspace::dataplane::{DenyEntry, ListLease, clock};
use ipnet::IpNet;

use crate::{Ours, table::Report};

/// Prefixes that are told at once: `gateway_userspace::abuse::enforcer::LIST_PIECE`.
const PIECE: usize = 8192;
/// The number of the list.
const ID: u32 = 7;
/// Rounds, of which the best counts.
const ROUNDS: u32 = 3;

/// Tells a list of so many addresses that look random, tells it again with a later lease, takes it away; and denies as
/// many one by one.
pub fn run(entries: u32, report: &mut Report) -> Result<()> {
    let list: Vec<IpNet> =
        (0..entries).map(|number| IpAddr::from(Ipv4Addr::from(scatter(number))).into()).collect();
    let bans: Vec<_> = list.iter().map(|prefix| (*prefix, DenyEntry::forever(1))).collect();
    let subjects = ["told as a list", "told again", "taken away", "denied as bans"];
    let mut best = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        let mut ours = Ours::load(entries)?;
        let times = [
            tell(&mut ours, &list)?,
            tell(&mut ours, &list)?,
            tell(&mut ours, &[])?,
            timed(|| Ok(ours.dataplane.deny_many(&bans)?))?,
        ];
        best.iter_mut().zip(times).for_each(|(best, time)| *best = time.min(*best));
    }
    for (subject, time) in subjects.into_iter().zip(best) {
        report.add_rate(&format!("{entries} entries"), subject, f64::from(entries) / time.as_secs_f64());
    }
    Ok(())
}

fn tell(ours: &mut Ours, list: &[IpNet]) -> Result<Duration> {
    let before = ours.dataplane.rooms()[0].entries;
    let time = timed(|| {
        let until_ns = Some(clock::monotonic_ns_after(Duration::from_secs(3600)));
        ours.dataplane.list_begin(ListLease { id: ID, until_ns, observe: false })?;
        for piece in list.chunks(PIECE) {
            ours.dataplane.list_add(ID, piece)?;
        }
        while ours.dataplane.list_commit(ID)?.is_none() {}
        Ok(())
    })?;
    let after = ours.dataplane.rooms()[0].entries;
    (after == list.len()).then_some(time).with_context(|| format!("from {before} entries to {after}"))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}
