//! What an operator does not want to see again: a rule that banned somebody by mistake bans him no more, for a while.
//!
//! At most [`SUPPRESSIONS_MAX`], kept in the state file. Each has a number, by which it is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;

use super::target::{Subject, Target};

/// Most that there may be at once.
pub const SUPPRESSIONS_MAX: usize = 1_024;

/// One.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The rule that bans nobody here.
    pub rule: Arc<str>,
    /// Whom it does not ban.
    pub target: Target,
    /// Until when.
    pub until: SystemTime,
}

/// All of them, by number.
#[derive(Debug, Default)]
pub struct Suppressions {
    entries: BTreeMap<u32, Suppression>,
    last: u32,
}

impl Suppressions {
    /// Adds one and tells its number; none if there is no room.
    pub fn add(&mut self, suppression: Suppression) -> Option<u32> {
        let number = self.last.checked_add(1)?;
        self.restore(number, suppression).then_some(number)
    }

    /// Adds one by the number that it had; whether there was room.
    pub fn restore(&mut self, number: u32, suppression: Suppression) -> bool {
        let room = self.entries.len() < SUPPRESSIONS_MAX || self.entries.contains_key(&number);
        if room {
            self.last = self.last.max(number);
            self.entries.insert(number, suppression);
        }
        room
    }

    /// The highest number that was given.
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Gives no number up to this one again.
    pub fn reserve(&mut self, last: u32) {
        self.last = self.last.max(last);
    }

    /// Takes one back.
    pub fn remove(&mut self, number: u32) -> Option<Suppression> {
        self.entries.remove(&number)
    }

    /// The one that an offence falls under: of the rule, at this source, by this client if it is known whose it was.
    pub fn of(&self, rule: &str, source: IpNet, who: Option<&Subject>, now: SystemTime) -> Option<u32> {
        let falls = |suppression: &Suppression| {
            let for_target = match &suppression.target {
                Target::Prefix(prefix) => prefix.contains(&source) || source.contains(prefix),
                Target::Subject { who: client, at } => {
                    who == Some(client) && at.is_none_or(|at| at.contains(&source))
                }
            };
            for_target && *suppression.rule == *rule && suppression.until > now
        };
        self.entries.iter().find(|(_, suppression)| falls(suppression)).map(|(number, _)| *number)
    }

    /// Takes out those whose time is over.
    pub fn sweep(&mut self, now: SystemTime) {
        self.entries.retain(|_, suppression| suppression.until > now);
    }

    /// All of them, lowest number first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Suppression)> {
        self.entries.iter().map(|(number, suppression)| (*number, suppression))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn one(target: Target, seconds: u64) -> Suppression {
        Suppression { rule: "scan".into(), target, until: NOW + Duration::from_secs(seconds) }
    }

    #[test]
    fn it_holds_for_its_rule_its_target_and_its_time() {
        let who: Subject = "users/alice".parse().unwrap();
        let mut suppressions = Suppressions::default();
        let (address, client) = (net("203.0.113.9/32"), net("198.51.100.1/32"));
        assert_eq!(suppressions.add(one(Target::Prefix(address), 60)), Some(1));
        let target = Target::Subject { who: who.clone(), at: Some(client) };
        assert_eq!(suppressions.add(one(target, 90)), Some(2));
        let late = NOW + Duration::from_secs(60);
        for (rule, source, by, now, number) in [
            ("scan", address, None, NOW, Some(1)),
            ("scan", address, Some(&who), NOW, Some(1)),
            ("shield", address, None, NOW, None),
            ("scan", address, None, late, None),
            ("scan", client, Some(&who), late, Some(2)),
            ("scan", client, None, NOW, None),
            ("scan", net("198.51.100.2/32"), Some(&who), NOW, None),
        ] {
            assert_eq!(suppressions.of(rule, source, by, now), number, "{rule} {source}");
        }
        suppressions.sweep(late);
        assert_eq!(suppressions.iter().map(|(number, _)| number).collect::<Vec<_>>(), [2]);
        assert!(suppressions.remove(2).is_some() && suppressions.remove(2).is_none());
        assert_eq!(suppressions.add(one(Target::Prefix(address), 60)), Some(3), "numbers are not used again");
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let mut suppressions = Suppressions::default();
        let target = Target::Prefix(net("203.0.113.9/32"));
        let added = (0..SUPPRESSIONS_MAX + 2).filter(|_| suppressions.add(one(target.clone(), 60)).is_some());
        assert_eq!(added.count(), SUPPRESSIONS_MAX);
        assert!(suppressions.restore(7, one(target.clone(), 90)), "in place of itself");
        suppressions.sweep(NOW + Duration::from_secs(100));
        suppressions.reserve(5_000);
        suppressions.reserve(7);
        assert_eq!((suppressions.add(one(target, 60)), suppressions.last()), (Some(5_001), 5_001));
    }
}
