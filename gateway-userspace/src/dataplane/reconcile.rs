//! Asks the kernel whether it enforces what we believe it does, and nothing else.
//!
//! A ban that is listed and not enforced is the worst failure of such a system, because nobody sees it; one that is
//! enforced and not listed has no reason and no undo. So each round looks from both sides. A sample of the entries is
//! looked up by the kernel's own code, through `BPF_PROG_TEST_RUN`, which neither counts nor charges, and read back.
//! And a slice of the maps is read and compared with what was written into them: entries, filter, and each time the
//! whole allowlist and the settings.
//!
//! What differs was written by something else, for nobody but us has a reason to. It is put right and reported: also an
//! entry that we did not make is removed, not adopted. (At a start it is adopted, see the keeper: then the state file
//! may have been lost, or this process may have died between the kernel and the file.) What the program writes itself,
//! the parole of an entry, is no difference.

use std::{fmt, net::IpAddr};

use gateway_common::verdict::Reason;
use ipnet::IpNet;

use super::{Error, allowlist::Allowlist, clock, denylist::Denylist, load::Program, settings::SettingsMap};

/// Entries that are read back for each one that is asked about: it costs a hundredth of that.
const READ_PER_SAMPLE: usize = 64;
/// Lines of the filter that are compared for each entry that is asked about.
const LINES_PER_SAMPLE: usize = 16;

/// What one round found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Entries asked about.
    pub checked: usize,
    /// Entries read back.
    pub read: usize,
    /// What was not as it should be. It is now.
    pub drifted: Vec<Drift>,
}

/// Something in the kernel that was not as we had written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// An entry was not there.
    Missing(IpNet),
    /// An entry that we did not make; none if its key is no prefix.
    Extra(Option<IpNet>),
    /// An entry had another end, ban, slot or flag.
    Different(IpNet),
    /// An allowed prefix was not there, or one was that we did not allow.
    Allow(IpNet),
    /// The settings were others.
    Settings,
    /// Words of the filter had other bits: so many.
    Filter(usize),
}

impl Drift {
    /// All kinds, as metrics name them.
    pub const KINDS: [&str; 6] = ["missing", "extra", "different", "allow", "settings", "filter"];

    /// The prefix that it is about, if it is about one.
    pub const fn prefix(&self) -> Option<IpNet> {
        match self {
            Self::Missing(prefix) | Self::Different(prefix) | Self::Allow(prefix) => Some(*prefix),
            Self::Extra(prefix) => *prefix,
            Self::Settings | Self::Filter(_) => None,
        }
    }

    /// Index of the kind in [`Drift::KINDS`].
    pub const fn kind(&self) -> usize {
        match self {
            Self::Missing(_) => 0,
            Self::Extra(_) => 1,
            Self::Different(_) => 2,
            Self::Allow(_) => 3,
            Self::Settings => 4,
            Self::Filter(_) => 5,
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(prefix) => {
                write!(formatter, "the entry of {prefix} was missing and is there again")
            }
            Self::Extra(Some(prefix)) => {
                write!(formatter, "an entry of {prefix} that this gateway did not make was removed")
            }
            Self::Extra(None) => formatter
                .write_str("an entry that this gateway did not make and that is no prefix was removed"),
            Self::Different(prefix) => {
                write!(formatter, "the entry of {prefix} had been changed and is as it was")
            }
            Self::Allow(prefix) => {
                write!(formatter, "the allowlist had been changed at {prefix} and is as it was")
            }
            Self::Settings => formatter.write_str("the settings had been changed and are as they were"),
            Self::Filter(words) => {
                write!(formatter, "{words} words of the filter had been changed and are as they were")
            }
        }
    }
}

/// Checks up to `sample` entries after those of the last round, and a slice of the maps.
pub fn run(
    program: &Program,
    denylist: &mut Denylist,
    allowlist: &mut Allowlist,
    settings: &mut SettingsMap,
    sample: usize,
) -> Result<Reconciliation, Error> {
    let mut round = Reconciliation::default();
    // First of all: they say how the filter is read.
    if settings.read_back()? {
        round.drifted.push(Drift::Settings);
    }
    round.drifted.extend(allowlist.read_back()?.into_iter().map(Drift::Allow));
    let now_ns = clock::monotonic_ns();
    for (prefix, entry) in denylist.next_sample(sample) {
        // One that ends while we look at it is not drift.
        if !entry.is_live(now_ns.saturating_add(100_000_000)) {
            continue;
        }
        round.checked += 1;
        let enforced = program.probe(&frame_from(prefix.network()))? != Reason::Clean;
        round.drifted.extend(denylist.check(allowlist, prefix)?);
        if !enforced {
            let words = denylist.repair_bits(prefix);
            round.drifted.extend((words > 0).then_some(Drift::Filter(words)));
        }
    }
    let (read, drifted) = denylist.read_back(allowlist, sample.saturating_mul(READ_PER_SAMPLE))?;
    round.read = read;
    round.drifted.extend(drifted);
    let words = denylist.read_filter_back(sample.saturating_mul(LINES_PER_SAMPLE));
    round.drifted.extend((words > 0).then_some(Drift::Filter(words)));
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
