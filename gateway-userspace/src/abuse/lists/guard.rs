//! What a list may not drop, whoever wrote it: who is never banned, a large part of the Internet, and the operator who
//! brings it.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use crate::abuse::exempt::{Because, Exempt};
use crate::abuse::ranges::Ranges;
use crate::abuse::source::display;

/// Widest prefix that is taken without force.
pub const WIDEST_V4: u8 = 8;
/// The same for IPv6.
pub const WIDEST_V6: u8 = 19;
/// Prefixes that are named of those that are kept out.
pub const NAMED_MAX: usize = 10;

/// Why a prefix is kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It lies in what is never banned.
    Exempt(IpNet, Because),
    /// It covers what is never banned.
    Covers(IpNet, Because),
    /// Wider than that.
    TooWide(u8),
    /// Whoever brings the list comes from there.
    Own(IpAddr),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Exempt(exempt, because) => write!(f, "{} is never banned ({because})", display(*exempt)),
            Why::Covers(exempt, because) => {
                write!(f, "it covers {}, which is never banned ({because})", display(*exempt))
            }
            Why::TooWide(widest) => write!(f, "it is wider than /{widest}"),
            Why::Own(address) => write!(f, "it covers {address}, where this command comes from"),
        }
    }
}

/// A copy of what is never banned, for a thread that is not the keeper's.
#[derive(Debug, Clone)]
pub struct Guard {
    exempt: Vec<(IpNet, Because)>,
    ranges: Ranges,
    own: Option<IpAddr>,
}

/// What a guard leaves of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sifted {
    /// What is taken.
    pub prefixes: Vec<IpNet>,
    /// How many are not.
    pub guarded: usize,
    /// The first of these, at most [`NAMED_MAX`].
    pub first: Vec<(IpNet, Why)>,
}

impl Guard {
    /// As things are now.
    pub fn new(exempt: &Exempt) -> Guard {
        let exempt: Vec<_> = exempt.iter().collect();
        let prefixes: Vec<_> = exempt.iter().map(|(prefix, _)| *prefix).collect();
        Guard { exempt, ranges: Ranges::of(&prefixes), own: None }
    }

    /// Spares the address from which a list is brought, too.
    pub fn sparing(self, own: Option<IpAddr>) -> Guard {
        Guard { own: own.map(|own| own.to_canonical()), ..self }
    }

    /// What may be dropped. With `force` also what is very wide or covers exempt addresses, which then pass by the
    /// allowlist; never what is exempt as a whole, nor the operator's own address.
    pub fn sift(&self, mut prefixes: Vec<IpNet>, force: bool) -> Sifted {
        let (mut guarded, mut first) = (0, Vec::new());
        // As the kernel drops them, so that requests meet the same.
        prefixes.iter_mut().for_each(|prefix| *prefix = site(*prefix));
        prefixes.dedup();
        prefixes.retain(|prefix| {
            let is_kept_out = self.keeps_out(*prefix, force);
            if is_kept_out {
                guarded += 1;
                if first.len() < NAMED_MAX {
                    first.push((*prefix, self.why(*prefix)));
                }
            }
            !is_kept_out
        });
        Sifted { prefixes, guarded, first }
    }

    /// Two binary searches at most: a list may have millions of entries, and the machine thousands of exemptions.
    fn keeps_out(&self, prefix: IpNet, force: bool) -> bool {
        if self.own.is_some_and(|own| prefix.contains(&own)) || self.ranges.cover(prefix) {
            return true;
        }
        !force && (prefix.prefix_len() < widest(prefix) || self.ranges.touch(prefix))
    }

    fn why(&self, prefix: IpNet) -> Why {
        if let Some(own) = self.own.filter(|own| prefix.contains(own)) {
            return Why::Own(own);
        }
        let containing = self.exempt.iter().find(|(exempt, _)| exempt.contains(&prefix));
        let inside = || self.exempt.iter().find(|(exempt, _)| prefix.contains(exempt));
        match (containing, inside()) {
            (Some((exempt, because)), _) => Why::Exempt(*exempt, *because),
            (None, Some((exempt, because))) => Why::Covers(*exempt, *because),
            (None, None) => Why::TooWide(widest(prefix)),
        }
    }
}

/// An IPv6 address stands for its /64, as for a ban: whoever has one has them all.
fn site(prefix: IpNet) -> IpNet {
    match prefix {
        IpNet::V6(net) if net.prefix_len() > 64 => {
            Ipv6Net::new(net.addr(), 64).map_or(prefix, |site| IpNet::V6(site.trunc()))
        }
        _ => prefix,
    }
}

fn widest(prefix: IpNet) -> u8 {
    if prefix.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn guard() -> Guard {
        let mut exempt = Exempt::new();
        exempt.configure(vec![
            (net("10.0.0.0/8"), Because::TrustedProxy),
            (net("192.0.2.10/32"), Because::Upstream),
        ]);
        exempt.allow(net("2001:db8:5::/48"));
        Guard::new(&exempt).sparing("::ffff:198.51.100.7".parse().ok())
    }

    #[test]
    fn what_must_not_be_dropped_is_kept_out_and_said_why() {
        for (prefix, why, forced) in [
            ("203.0.113.0/24", None, false),
            ("10.1.2.3/32", Some("10.0.0.0/8 is never banned (trusted proxy)"), true),
            ("192.0.2.0/24", Some("it covers 192.0.2.10, which is never banned (upstream)"), false),
            ("64.0.0.0/7", Some("it is wider than /8"), false),
            ("64.0.0.0/8", None, false),
            ("2a00::/18", Some("it is wider than /19"), false),
            ("2001:db8::/32", Some("it covers 2001:db8:5::/48, which is never banned (operator)"), false),
            ("198.51.100.0/24", Some("it covers 198.51.100.7, where this command comes from"), true),
            ("127.0.0.1/32", Some("127.0.0.0/8 is never banned (loopback)"), true),
        ] {
            let sifted = guard().sift(vec![net(prefix)], false);
            let said = sifted.first.first().map(|(_, why)| why.to_string());
            assert_eq!(said.as_deref(), why, "{prefix}");
            assert_eq!(sifted.guarded, usize::from(why.is_some()), "{prefix}");
            assert_eq!(
                guard().sift(vec![net(prefix)], true).guarded,
                usize::from(forced),
                "{prefix} by force"
            );
        }
    }

    #[test]
    fn an_ipv6_address_stands_for_its_64_also_where_the_command_comes_from() {
        let nets = |texts: &[&str]| texts.iter().map(|text| net(text)).collect::<Vec<_>>();
        let guard = Guard { own: "2001:db8:1::5".parse().ok(), ..guard() };
        let list = nets(&["2001:db8:1::6/128", "2001:db8:2::6/128", "2001:db8:2::7/128", "2001:db8:3::/64"]);
        let sifted = guard.sift(list, true);
        assert_eq!((sifted.prefixes, sifted.guarded), (nets(&["2001:db8:2::/64", "2001:db8:3::/64"]), 1));
    }

    #[test]
    fn all_are_counted_and_the_first_are_named() {
        let mut list: Vec<IpNet> = (0..30).map(|n| net(&format!("10.0.0.{n}/32"))).collect();
        list.push(net("203.0.113.9/32"));
        let sifted = guard().sift(list, false);
        assert_eq!(
            (sifted.prefixes, sifted.guarded, sifted.first.len()),
            (vec![net("203.0.113.9/32")], 30, 10)
        );
        assert_eq!(sifted.first[9].0, net("10.0.0.9/32"));
    }
}
