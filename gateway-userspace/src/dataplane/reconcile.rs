//! Asks the kernel whether it enforces what we believe it does.
//!
//! A ban that is listed and not enforced is the worst failure of such a system, because nobody sees it. So
//! a sample of the entries is looked up by the kernel's own code, through `BPF_PROG_TEST_RUN`, which neither
//! counts nor charges, and read back; an entry that it does not find, or has another value for, is written again and
//! reported.

use std::net::IpAddr;

use gateway_common::verdict::Reason;
use ipnet::IpNet;

use super::{Error, allowlist::Allowlist, clock, denylist::Denylist, load::Program};

/// What one round found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Entries asked about.
    pub checked: usize,
    /// Entries that the kernel did not know, or knew otherwise, and that were written again.
    pub drifted: Vec<IpNet>,
}

/// Checks up to `sample` entries after those of the last round.
pub fn run(
    program: &Program,
    denylist: &mut Denylist,
    allowlist: &Allowlist,
    sample: usize,
) -> Result<Reconciliation, Error> {
    let now_ns = clock::monotonic_ns();
    let mut round = Reconciliation::default();
    for (prefix, entry) in denylist.next_sample(sample) {
        // One that ends while we look at it is not drift.
        if !entry.is_live(now_ns.saturating_add(100_000_000)) {
            continue;
        }
        round.checked += 1;
        let enforced = program.probe(&frame_from(prefix.network()))? != Reason::Clean;
        if !enforced || !denylist.is_in_kernel(allowlist, prefix)? {
            denylist.repair(allowlist, prefix)?;
            round.drifted.push(prefix);
        }
    }
    Ok(round)
}

/// The shortest frame that has a source address.
fn frame_from(source: IpAddr) -> Vec<u8> {
    let mut frame = vec![0; 12];
    match source {
        IpAddr::V4(source) => {
            frame.extend([0x08, 0x00, 0x45]);
            frame.extend([0; 11]);
            frame.extend(source.octets());
            frame.extend([0; 4]);
        }
        IpAddr::V6(source) => {
            frame.extend([0x86, 0xdd, 0x60]);
            frame.extend([0; 7]);
            frame.extend(source.octets());
            frame.extend([0; 16]);
        }
    }
    frame
}
