//! When many neighbours in IPv6 are banned, their network is: one tenant of a provider may have 256 or 65536 of the /64
//! that bans are for.
//!
//! A /56 with [`NARROW_MIN`] banned /64 in it, and a /48 with [`WIDE_MIN`] of them, or with [`GROUPS_MIN`] banned /56. Only
//! bans by rule count, and only those that somebody feels. IPv4 is never widened: neighbours there are strangers.

use ipnet::{IpNet, Ipv6Net};

use super::ban::{Ban, By, Ledger};

/// Banned /64 in a /56.
pub const NARROW_MIN: usize = 8;
/// Banned /64 in a /48.
pub const WIDE_MIN: usize = 32;
/// Banned /56 in a /48.
pub const GROUPS_MIN: usize = 4;

/// What a ban of this source may be widened to, widest first, with the bans that it takes the place of.
pub fn candidates(ledger: &Ledger, source: IpNet) -> Vec<(IpNet, Vec<u32>)> {
    let IpNet::V6(v6) = source else { return Vec::new() };
    [48, 56].into_iter().filter_map(|length| candidate(ledger, v6, length)).collect()
}

fn candidate(ledger: &Ledger, source: Ipv6Net, length: u8) -> Option<(IpNet, Vec<u32>)> {
    let network = Ipv6Net::new(source.addr(), length).ok()?.trunc();
    if source.prefix_len() <= length {
        return None;
    }
    let inside: Vec<&Ban> = ledger.inside(network.into()).filter(|ban| counts(ban)).collect();
    let of_length = |wanted| inside.iter().filter(move |ban| length_of(ban) == Some(wanted));
    let groups = of_length(56).count();
    // A /56 stands for the bans that it took the place of.
    let in_groups: usize = of_length(56).map(|ban| ban.derived_from.len()).sum();
    let narrow = of_length(64).count() + in_groups;
    let enough = match length {
        56 => narrow >= NARROW_MIN,
        _ => narrow >= WIDE_MIN || groups >= GROUPS_MIN,
    };
    enough.then(|| (network.into(), inside.iter().map(|ban| ban.id).collect()))
}

fn counts(ban: &Ban) -> bool {
    ban.by == By::Rule && !ban.observed
}

fn length_of(ban: &Ban) -> Option<u8> {
    ban.target.prefix().map(|prefix| prefix.prefix_len())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::abuse::ban::{Enforced, Now, State};
    use crate::abuse::enforcer::Drops;
    use crate::abuse::target::Target;

    fn ban(ledger: &mut Ledger, prefix: &str, by: By, derived_from: &[u32]) {
        let now = Now::system();
        let id = ledger.take_id();
        ledger.enact(Ban {
            id,
            target: Target::Prefix(prefix.parse().unwrap()),
            state: State::Active,
            reason: "test".into(),
            rule: None,
            others: None,
            derived_from: derived_from.into(),
            by,
            enforced: Enforced::Kernel,
            observed: false,
            since: now.wall,
            until: now.wall.checked_add(Duration::from_secs(60)),
            lease_end: now.instant.checked_add(Duration::from_secs(60)),
            offence: 1,
            parole: None,
            renewed: None,
            latency_us: None,
            drops: Drops::default(),
        });
    }

    fn widened(ledger: &Ledger, source: &str) -> Vec<String> {
        let candidates = candidates(ledger, source.parse().unwrap());
        candidates.iter().map(|(network, bans)| format!("{network} {}", bans.len())).collect()
    }

    #[test]
    fn eight_of_a_56_are_its_ban_and_seven_are_not() {
        let mut ledger = Ledger::new(1_000);
        for n in 0..7 {
            ban(&mut ledger, &format!("2001:db8:0:{n:x}::/64"), By::Rule, &[]);
        }
        ban(&mut ledger, "2001:db8:0:100::/64", By::Rule, &[]);
        ban(&mut ledger, "2001:db8:0:8::/64", By::Operator(0), &[]);
        assert!(widened(&ledger, "2001:db8:0:6::/64").is_empty());
        ban(&mut ledger, "2001:db8:0:7::/64", By::Rule, &[]);
        assert_eq!(widened(&ledger, "2001:db8:0:7::/64"), ["2001:db8::/56 8"]);
        assert!(widened(&ledger, "203.0.113.9/32").is_empty());
    }

    #[test]
    fn four_groups_or_thirty_two_sources_of_a_48_are_its_ban() {
        let mut ledger = Ledger::new(1_000);
        for n in 0..3 {
            ban(&mut ledger, &format!("2001:db8:0:{n:x}00::/56"), By::Rule, &[1, 2, 3, 4, 5, 6, 7, 8]);
        }
        for n in 0..7 {
            ban(&mut ledger, &format!("2001:db8:0:a{n:x}0::/64"), By::Rule, &[]);
        }
        assert!(widened(&ledger, "2001:db8:0:a60::/64").is_empty(), "31 in all");
        ban(&mut ledger, "2001:db8:0:b00::/64", By::Rule, &[]);
        assert_eq!(widened(&ledger, "2001:db8:0:b00::/64"), ["2001:db8::/48 11"]);

        let mut ledger = Ledger::new(1_000);
        for n in 0..4 {
            ban(&mut ledger, &format!("2001:db8:0:{n:x}00::/56"), By::Rule, &[1]);
        }
        assert_eq!(widened(&ledger, "2001:db8:0:300::/56"), ["2001:db8::/48 4"]);
    }
}
