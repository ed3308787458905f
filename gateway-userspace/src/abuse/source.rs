//! What counts as one source: an IPv4 address, or an IPv6 /64, which one client can fill with addresses as it likes.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The prefix that an address is scored and banned as: IPv4 /32 (also for IPv4-mapped IPv6), IPv6 /64.
pub fn of(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpNet::V4(Ipv4Net::from(v4)),
        IpAddr::V6(v6) => IpNet::V6(Ipv6Net::new_assert(v6, 64).trunc()),
    }
}

/// The same prefix with no bits set behind its length, and IPv4-mapped IPv6 as IPv4.
pub fn canonical(prefix: IpNet) -> IpNet {
    if let IpNet::V6(v6) = prefix
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.addr().to_ipv4_mapped()
    {
        return IpNet::V4(Ipv4Net::new_assert(v4, v6.prefix_len() - 96).trunc());
    }
    prefix.trunc()
}

/// A prefix for people: without its length where it is a single address.
pub fn display(prefix: IpNet) -> String {
    if prefix.prefix_len() == prefix.max_prefix_len() {
        prefix.addr().to_string()
    } else {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_scored_with_its_64_and_a_mapped_one_as_ipv4() {
        for (address, source) in [
            ("203.0.113.9", "203.0.113.9/32"),
            ("::ffff:203.0.113.9", "203.0.113.9/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(of(address.parse().unwrap()).to_string(), source, "{address}");
        }
    }

    #[test]
    fn a_prefix_loses_its_host_bits_and_its_mapping() {
        for (written, meant) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
        ] {
            assert_eq!(canonical(written.parse().unwrap()).to_string(), meant, "{written}");
        }
        assert_eq!(display("10.0.0.1/32".parse().unwrap()), "10.0.0.1");
        assert_eq!(display("10.0.0.0/24".parse().unwrap()), "10.0.0.0/24");
    }
}
