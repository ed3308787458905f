//! Addresses as lists write them: one, a network, or a range from one to another.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Subnets};

/// The longest text of an address: IPv6 with an IPv4 address at its end.
const ADDRESS_BYTES_MAX: usize = 45;

/// Some addresses in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// A network, perhaps of one address.
    Network(IpNet),
    /// From the first to the last of one family.
    Range(IpAddr, IpAddr),
}

impl Span {
    /// Reads `192.0.2.7`, `192.0.2.0/24` (host bits are masked) or `192.0.2.7-192.0.2.19`, without white space.
    pub fn read(text: &[u8]) -> Option<Span> {
        if let Some(dash) = memchr::memchr(b'-', &text[..text.len().min(ADDRESS_BYTES_MAX + 1)]) {
            return Span::range(&text[..dash], &text[dash + 1..]);
        }
        let Some(slash) = memchr::memchr(b'/', &text[..text.len().min(ADDRESS_BYTES_MAX + 1)]) else {
            return Some(Span::Network(address(text)?.into()));
        };
        let (base, bits) = (address(&text[..slash])?, number(&text[slash + 1..])?);
        Some(Span::Network(IpNet::new(base, bits).ok()?.trunc()))
    }

    /// From one address to another of the same family that is not before it.
    pub fn range(first: &[u8], last: &[u8]) -> Option<Span> {
        let (first, last) = (address(first)?, address(last)?);
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Span::Range(first, last))
    }

    /// An address as the network of `bits` around it, for sets that keep networks of one size; a network stays.
    pub fn widened(self, bits: u8) -> Option<Span> {
        match self {
            Span::Network(net) if net.prefix_len() == net.max_prefix_len() => {
                IpNet::new(net.addr(), bits).ok().map(|net| Span::Network(net.trunc()))
            }
            Span::Network(_) => Some(self),
            Span::Range(..) => None,
        }
    }

    /// The networks it is made of: at most 62 of IPv4, 254 of IPv6.
    pub fn each(self, take: &mut dyn FnMut(IpNet)) {
        match self {
            Span::Network(net) => take(canonical(net)),
            Span::Range(IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).for_each(|net| take(IpNet::V4(net)));
            }
            Span::Range(IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).for_each(|net| take(canonical(IpNet::V6(net))));
            }
            Span::Range(..) => unreachable!("`Span::range` makes none of two families"),
        }
    }
}

/// `::ffff:192.0.2.0/120` is 192.0.2.0/24: a packet of it has that source.
fn canonical(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED_BITS => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - MAPPED_BITS).map_or(net, IpNet::V4),
            None => net,
        },
        _ => net,
    }
}

/// The length of `::ffff:0:0/96`.
const MAPPED_BITS: u8 = 96;

fn address(text: &[u8]) -> Option<IpAddr> {
    if text.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    IpAddr::from_str(std::str::from_utf8(text).ok()?).ok()
}

/// One to three digits, as the length of a prefix.
fn number(text: &[u8]) -> Option<u8> {
    let digits = (1..=3).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// The length of a prefix of IPv4 or IPv6, in an option of a set.
pub fn prefix_length(text: &[u8], is_ipv4: bool) -> Option<u8> {
    number(text).filter(|bits| *bits <= if is_ipv4 { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> Option<Vec<String>> {
        let mut networks = Vec::new();
        Span::read(text.as_bytes())?.each(&mut |net| networks.push(net.to_string()));
        Some(networks)
    }

    #[test]
    fn addresses_networks_and_ranges_become_networks_without_host_bits() {
        let table: &[(&str, &[&str])] = &[
            ("192.0.2.7", &["192.0.2.7/32"]),
            ("192.0.2.7/24", &["192.0.2.0/24"]),
            ("0.0.0.0/0", &["0.0.0.0/0"]),
            ("2001:db8::1", &["2001:db8::1/128"]),
            ("2001:db8::1/32", &["2001:db8::/32"]),
            ("::ffff:192.0.2.7", &["192.0.2.7/32"]),
            ("::ffff:192.0.2.7/120", &["192.0.2.0/24"]),
            ("::ffff:0:0/95", &["::fffe:0:0/95"]),
            ("192.0.2.1-192.0.2.4", &["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/32"]),
            ("192.0.2.4-192.0.2.4", &["192.0.2.4/32"]),
            ("0.0.0.0-255.255.255.255", &["0.0.0.0/0"]),
            ("255.255.255.254-255.255.255.255", &["255.255.255.254/31"]),
            ("2001:db8::-2001:db8::2", &["2001:db8::/127", "2001:db8::2/128"]),
            ("::ffff:1.2.3.4-::ffff:1.2.3.5", &["1.2.3.4/31"]),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["::/0"]),
        ];
        for (text, expected) in table {
            assert_eq!(networks(text).unwrap_or_default(), *expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_an_address_is_none() {
        let long = "1".repeat(100);
        for bad in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3.4/0024",
            "::1/129",
            "fe80::1%eth0",
            "1.2.3.9-1.2.3.4",
            "1.2.3.4-::1",
            "::1-1.2.3.4",
            "1.2.3.4-",
            "-1.2.3.4",
            "1.2.3.4-5",
            "1.2.3.0/24-1.2.4.0/24",
            "1.2.3.4/24/1",
            "example.com",
            "0x01020304",
            "１.2.3.4",
            &long,
        ] {
            assert_eq!(networks(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_widest_fan_of_a_range_is_bounded() {
        assert_eq!(networks("0.0.0.1-255.255.255.254").map(|all| all.len()), Some(62));
        let widest = "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe";
        assert_eq!(networks(widest).map(|all| all.len()), Some(254));
    }
}
