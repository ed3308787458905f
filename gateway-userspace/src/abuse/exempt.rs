//! Who is never banned: a ban of any of these would cut the gateway off from what it needs, or the operator from it.
//!
//! Every entry says why it is there. Three groups change at different times: what the configuration says (with each
//! reload), what the machine's surroundings are (looked at every half minute), and what the operator allowed (by
//! command, kept over a restart). Loopback is always in it; so a client on the same machine can be refused, but never
//! banned, and the log says so when a rule would have banned it.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;

use super::source;

/// Most prefixes that an operator may allow by command.
pub const ALLOWED_MAX: usize = 1_024;

/// Why something is never banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Because {
    /// An operator allowed it by command.
    Operator,
    /// `shield.never` in the configuration.
    Never,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// An address of this machine.
    OwnAddress,
    /// The next hop of a default route.
    NextHop,
    /// `gateway.trusted_proxies`: all its clients would be cut off.
    TrustedProxy,
    /// An upstream's target.
    Upstream,
    /// Where the operator's SSH session comes from.
    SshSession,
    /// A range of a large CDN: all its clients would be cut off.
    Cdn,
}

impl Because {
    /// As the admin API and the log say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Because::Operator => "operator",
            Because::Never => "never",
            Because::Loopback => "loopback",
            Because::OwnAddress => "own address",
            Because::NextHop => "next hop",
            Because::TrustedProxy => "trusted proxy",
            Because::Upstream => "upstream",
            Because::SshSession => "ssh session",
            Because::Cdn => "cdn",
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The list. A few dozen entries, at most some thousand, so it is simply searched: offences are rare.
#[derive(Debug, Default)]
pub struct Exempt {
    configured: Vec<(IpNet, Because)>,
    surroundings: Vec<(IpNet, Because)>,
    operator: BTreeSet<IpNet>,
}

impl Exempt {
    /// Loopback only.
    pub fn new() -> Exempt {
        Exempt::default()
    }

    /// Replaces what the configuration says.
    pub fn configure(&mut self, entries: Vec<(IpNet, Because)>) {
        self.configured = canonical(entries);
    }

    /// Replaces what the machine's surroundings are; whether that changed anything.
    pub fn surround(&mut self, entries: Vec<(IpNet, Because)>) -> bool {
        let entries = canonical(entries);
        let changed = self.surroundings != entries;
        self.surroundings = entries;
        changed
    }

    /// Adds a prefix for the operator; false if it was there. Above [`ALLOWED_MAX`] the caller must not.
    pub fn allow(&mut self, prefix: IpNet) -> bool {
        self.operator.insert(source::canonical(prefix))
    }

    /// Takes an operator's prefix off the list; false if it was not on it.
    pub fn disallow(&mut self, prefix: &IpNet) -> bool {
        self.operator.remove(prefix)
    }

    /// How many prefixes an operator has allowed.
    pub fn allowed_by_operator(&self) -> &BTreeSet<IpNet> {
        &self.operator
    }

    /// The entry that shares an address with the prefix: contains it, or lies in it.
    pub fn covers(&self, prefix: IpNet) -> Option<(IpNet, Because)> {
        self.iter().find(|(entry, _)| entry.contains(&prefix) || prefix.contains(entry))
    }

    /// The entry that contains the whole prefix.
    pub fn contains(&self, prefix: IpNet) -> Option<(IpNet, Because)> {
        self.iter().find(|(entry, _)| entry.contains(&prefix))
    }

    /// Every entry, the operator's first. The same prefix may stand there for several reasons.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, Because)> {
        let operator = self.operator.iter().map(|prefix| (*prefix, Because::Operator));
        let configured = self.configured.iter().chain(&self.surroundings).copied();
        operator.chain(configured).chain(LOOPBACK.map(|prefix| (prefix, Because::Loopback)))
    }
}

const LOOPBACK: [IpNet; 2] = [
    IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128)),
];

fn canonical(entries: Vec<(IpNet, Because)>) -> Vec<(IpNet, Because)> {
    let sorted: BTreeSet<_> =
        entries.into_iter().map(|(prefix, because)| (source::canonical(prefix), because)).collect();
    sorted.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn each_kind_of_entry_exempts_what_shares_an_address_with_it() {
        let mut exempt = Exempt::new();
        exempt.configure(vec![
            (net("10.0.0.0/8"), Because::TrustedProxy),
            (net("192.0.2.10/32"), Because::Upstream),
            (net("::ffff:198.51.100.0/120"), Because::Never),
        ]);
        exempt.surround(vec![(net("2001:db8::5/128"), Because::OwnAddress)]);
        exempt.allow(net("203.0.113.7/32"));
        for (prefix, because) in [
            ("127.0.0.1/32", Some(Because::Loopback)),
            ("::1/128", Some(Because::Loopback)),
            ("10.200.0.1/32", Some(Because::TrustedProxy)),
            ("192.0.2.10/32", Some(Because::Upstream)),
            ("192.0.2.0/24", Some(Because::Upstream)),
            ("192.0.2.11/32", None),
            ("198.51.100.77/32", Some(Because::Never)),
            ("2001:db8::/64", Some(Because::OwnAddress)),
            ("2001:db8:0:1::/64", None),
            ("203.0.113.7/32", Some(Because::Operator)),
            ("203.0.113.8/32", None),
        ] {
            assert_eq!(exempt.covers(net(prefix)).map(|(_, because)| because), because, "{prefix}");
        }
        assert_eq!(exempt.contains(net("192.0.2.0/24")), None, "only a part of it is exempt");
        assert!(exempt.contains(net("10.0.0.0/9")).is_some());
    }

    #[test]
    fn a_reload_replaces_the_configuration_and_keeps_what_the_operator_allowed() {
        let mut exempt = Exempt::new();
        exempt.configure(vec![(net("10.0.0.0/8"), Because::Never)]);
        exempt.allow(net("203.0.113.7/32"));
        exempt.configure(vec![]);
        assert_eq!(exempt.covers(net("10.0.0.1/32")), None);
        assert!(exempt.covers(net("203.0.113.7/32")).is_some());
        assert!(exempt.disallow(&net("203.0.113.7/32")));
        assert!(!exempt.disallow(&net("203.0.113.7/32")));
        assert_eq!(exempt.covers(net("203.0.113.7/32")), None);
    }

    #[test]
    fn surroundings_that_did_not_change_are_not_a_change() {
        let mut exempt = Exempt::new();
        let found =
            vec![(net("192.0.2.1/32"), Because::OwnAddress), (net("192.0.2.254/32"), Because::NextHop)];
        assert!(exempt.surround(found.clone()));
        assert!(!exempt.surround(found.into_iter().rev().collect()));
    }
}
