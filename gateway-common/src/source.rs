//! Source addresses as the maps see them.
//!
//! A source is a host: one IPv4 address, or one IPv6 /64. A single IPv6 host owns at least a /64 (SLAAC,
//! privacy addresses), so anything finer would be free to evade. A *site* is the neighbourhood that shares
//! one line of the membership filter: an IPv4 /24, an IPv6 /48.

/// Bits of the IPv6 prefix that counts as one host.
pub const HOST_BITS6: u8 = 64;

/// The first eight bytes of an IPv6 address as a number: the /64 that counts as one source.
#[inline(always)]
pub const fn network64(address: [u8; 16]) -> u64 {
    u64::from_be_bytes([
        address[0], address[1], address[2], address[3], address[4], address[5], address[6], address[7],
    ])
}

/// `fe80::/10`, given the /64 of the address: link-local sources carry neighbour discovery and router
/// advertisements, and cannot come from beyond the link.
#[inline(always)]
pub const fn is_link_local6(network: u64) -> bool {
    network >> 54 == 0xfe80 >> 6
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;

    fn network(text: &str) -> u64 {
        network64(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    #[test]
    fn the_source_of_an_ipv6_packet_is_its_slash_64() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), 0x2001_0db8_0001_0002);
        assert_eq!(network("2001:db8:1:2::"), network("2001:db8:1:2:ffff::1"));
        assert_ne!(network("2001:db8:1:2::"), network("2001:db8:1:3::"));
    }

    #[test]
    fn link_local_is_fe80_slash_10_and_nothing_else() {
        assert!(is_link_local6(network("fe80::1")));
        assert!(is_link_local6(network("febf:ffff::1")));
        assert!(!is_link_local6(network("fec0::1")));
        assert!(!is_link_local6(network("fe7f:ffff::1")));
        assert!(!is_link_local6(network("::")));
    }
}
