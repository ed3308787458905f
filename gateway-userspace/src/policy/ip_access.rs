//! Which client addresses a route admits: ordered rules, the first that matches decides.
//!
//! The address is the client's by the trusted-proxy rule, not the socket's. IPv4 addresses mapped into IPv6
//! (RFC 4291 §2.5.5.2) count as IPv4 on both sides. The rules are tried one after the other, about a nanosecond each;
//! for lists of many thousands the kernel's denylist is the better place.

pub mod config;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::http::rejection::Rejection;

/// Compiled rules.
#[derive(Debug)]
pub struct Access {
    v4: Box<[Rule<u32>]>,
    v6: Box<[Rule<u128>]>,
}

/// `address & mask == network` decides.
#[derive(Debug)]
struct Rule<B> {
    network: B,
    mask: B,
    allow: bool,
}

impl Access {
    /// Compiles the rules; `None` when there is none, so that a route without rules pays nothing.
    pub fn new(config: &config::Config) -> Option<Access> {
        if config.rules.is_empty() {
            return None;
        }
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for &config::Rule { allow, prefix } in &config.rules {
            match prefix.map(canonical) {
                None => {
                    v4.push(Rule { network: 0, mask: 0, allow });
                    v6.push(Rule { network: 0, mask: 0, allow });
                }
                Some(IpNet::V4(net)) => {
                    v4.push(Rule { network: net.network().into(), mask: net.netmask().into(), allow });
                }
                Some(IpNet::V6(net)) => {
                    v6.push(Rule { network: net.network().into(), mask: net.netmask().into(), allow });
                }
            }
        }
        Some(Access { v4: v4.into(), v6: v6.into() })
    }

    /// Whether the client may come in. An address that no rule matches may.
    pub fn check(&self, client: IpAddr) -> Result<(), Rejection> {
        let allow = match client.to_canonical() {
            IpAddr::V4(address) => decide(&self.v4, u32::from(address)),
            IpAddr::V6(address) => decide(&self.v6, u128::from(address)),
        };
        if allow.unwrap_or(true) { Ok(()) } else { Err(Rejection::AddressDenied) }
    }
}

fn decide<B: Copy + PartialEq + std::ops::BitAnd<Output = B>>(rules: &[Rule<B>], address: B) -> Option<bool> {
    rules.iter().find(|rule| address & rule.mask == rule.network).map(|rule| rule.allow)
}

/// A prefix of mapped addresses as the IPv4 prefix that it stands for.
fn canonical(prefix: IpNet) -> IpNet {
    const MAPPED_LENGTH: u8 = 96;
    if let IpNet::V6(net) = prefix
        && let Some(length) = net.prefix_len().checked_sub(MAPPED_LENGTH)
        && let Some(address) = net.addr().to_ipv4_mapped()
        && let Ok(net) = IpNet::new(address.into(), length)
    {
        return net;
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::config::{Config, Rule};
    use super::{Access, Rejection};

    fn access(rules: &[&str]) -> Access {
        let rules = rules.iter().map(|text| {
            let (verb, prefix) = text.split_once(' ').expect("two words");
            let prefix = (prefix != "all").then(|| prefix.parse().expect("a prefix"));
            Rule { allow: verb == "allow", prefix }
        });
        Access::new(&Config { rules: rules.collect() }).expect("there are rules")
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = ["deny 10.0.0.7/32", "allow 10.0.0.0/8", "allow 2001:db8::/32", "deny all"];
        for (client, admitted) in [
            ("10.0.0.7", false),
            ("10.0.0.8", true),
            ("::ffff:10.0.0.7", false),
            ("::ffff:10.0.0.8", true),
            ("11.0.0.1", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            let verdict = access(&rules).check(client.parse().expect("an address"));
            assert_eq!(verdict, if admitted { Ok(()) } else { Err(Rejection::AddressDenied) }, "{client}");
        }
    }

    #[test]
    fn an_address_that_no_rule_matches_is_admitted() {
        let access = access(&["deny 10.0.0.0/8"]);
        assert_eq!(access.check([192, 0, 2, 1].into()), Ok(()));
        assert_eq!(access.check([10, 0, 0, 1].into()), Err(Rejection::AddressDenied));
        assert!(Access::new(&Config::default()).is_none());
    }

    #[test]
    fn a_mapped_prefix_is_the_ipv4_prefix_and_host_bits_do_not_matter() {
        let access = access(&["deny ::ffff:10.1.2.3/104", "deny 192.0.2.77/24"]);
        assert!(access.check([10, 9, 9, 9].into()).is_err());
        assert!(access.check([11, 9, 9, 9].into()).is_ok());
        assert!(access.check([192, 0, 2, 1].into()).is_err());
    }
}
