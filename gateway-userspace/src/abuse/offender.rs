//! Who was banned before, so that a ban gets longer with each return.
//!
//! An offence is remembered for [`MEMORY`] after its ban's end. At most [`OFFENDERS_MAX`] targets (about 20 MiB); above
//! that the one that would be forgotten first is forgotten now.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use super::target::Target;

/// How long after the end of its last ban a source is remembered.
pub const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// Most targets that are remembered.
pub const OFFENDERS_MAX: usize = 65_536;

/// How often each target was banned by rule.
#[derive(Debug, Default)]
pub struct Offenders {
    by_target: HashMap<Target, Past, foldhash::quality::RandomState>,
    by_time: BTreeSet<(SystemTime, Target)>,
}

#[derive(Debug, Clone, Copy)]
struct Past {
    count: u32,
    forget_at: SystemTime,
}

impl Offenders {
    /// How many offences are remembered for the target.
    pub fn count(&self, target: &Target, now: SystemTime) -> u32 {
        self.by_target.get(target).filter(|past| past.forget_at > now).map_or(0, |past| past.count)
    }

    /// Sets how many there were, the last of which ends at `until`; none forgets the target.
    pub fn set(&mut self, target: Target, count: u32, until: SystemTime) {
        if let Some((target, past)) = self.by_target.remove_entry(&target) {
            self.by_time.remove(&(past.forget_at, target));
        }
        if count == 0 {
            return;
        }
        let forget_at = until.checked_add(MEMORY).unwrap_or(until);
        self.by_time.insert((forget_at, target.clone()));
        self.by_target.insert(target, Past { count, forget_at });
        while self.by_target.len() > OFFENDERS_MAX {
            self.forget_first();
        }
    }

    /// Forgets those whose time is over.
    pub fn sweep(&mut self, now: SystemTime) {
        while self.by_time.first().is_some_and(|(forget_at, _)| *forget_at <= now) {
            self.forget_first();
        }
    }

    /// Every target, how often it was banned, and when its last ban ends.
    pub fn iter(&self) -> impl Iterator<Item = (&Target, u32, SystemTime)> {
        self.by_target.iter().map(|(target, past)| (target, past.count, past.forget_at - MEMORY))
    }

    fn forget_first(&mut self) {
        if let Some((_, target)) = self.by_time.pop_first() {
            self.by_target.remove(&target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(address: [u8; 4]) -> Target {
        Target::Prefix(std::net::IpAddr::from(address).into())
    }

    #[test]
    fn a_source_is_remembered_for_a_day_after_its_ban_and_then_forgotten() {
        let source = target([203, 0, 113, 9]);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut offenders = Offenders::default();
        offenders.set(source.clone(), 1, end);
        offenders.set(source.clone(), 2, end);
        assert_eq!(offenders.count(&source, end + MEMORY - Duration::from_secs(1)), 2);
        assert_eq!(offenders.count(&source, end + MEMORY), 0);
        offenders.sweep(end + MEMORY - Duration::from_secs(1));
        assert_eq!(offenders.iter().collect::<Vec<_>>(), [(&source, 2, end)]);
        offenders.sweep(end + MEMORY);
        assert_eq!(offenders.iter().count(), 0);
        assert!(offenders.by_time.is_empty());
    }

    #[test]
    fn when_it_is_full_the_one_to_be_forgotten_first_goes() {
        let end = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let source = |n: u32| target(n.to_be_bytes());
        let mut offenders = Offenders::default();
        for n in 0..=OFFENDERS_MAX as u32 {
            offenders.set(source(n), 1, end(u64::from(n)));
        }
        assert_eq!(offenders.by_target.len(), OFFENDERS_MAX);
        assert_eq!(offenders.by_time.len(), OFFENDERS_MAX);
        assert_eq!(offenders.count(&source(0), end(0)), 0);
        assert_eq!(offenders.count(&source(1), end(0)), 1);
    }
}
