//! The addresses of large CDNs. Behind each there are many people, none of whom the kernel can tell from the others.
//!
//! As published by Cloudflare (<https://www.cloudflare.com/ips/>) and Fastly (<https://api.fastly.com/public-ip-list>),
//! as of [`AS_OF`]. Both change a few times in ten years. A range that is missing here is one that `shield.never` or
//! `gateway.trusted-proxies` must name; one that is too many is never banned in the kernel, and `shield.cdn = false`
//! leaves the list out.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Year and month of the lists.
pub const AS_OF: &str = "2025-11";

/// Every range.
pub fn ranges() -> impl Iterator<Item = IpNet> {
    RANGES.into_iter()
}

const fn v4(a: u8, b: u8, c: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), length))
}

const fn v6(a: u16, b: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length))
}

const RANGES: [IpNet; 43] = [
    // Cloudflare
    v4(103, 21, 244, 22),
    v4(103, 22, 200, 22),
    v4(103, 31, 4, 22),
    v4(104, 16, 0, 13),
    v4(104, 24, 0, 14),
    v4(108, 162, 192, 18),
    v4(131, 0, 72, 22),
    v4(141, 101, 64, 18),
    v4(162, 158, 0, 15),
    v4(172, 64, 0, 13),
    v4(173, 245, 48, 20),
    v4(188, 114, 96, 20),
    v4(190, 93, 240, 20),
    v4(197, 234, 240, 22),
    v4(198, 41, 128, 17),
    v6(0x2400, 0xcb00, 32),
    v6(0x2405, 0x8100, 32),
    v6(0x2405, 0xb500, 32),
    v6(0x2606, 0x4700, 32),
    v6(0x2803, 0xf800, 32),
    v6(0x2a06, 0x98c0, 29),
    v6(0x2c0f, 0xf248, 32),
    // Fastly
    v4(23, 235, 32, 20),
    v4(43, 249, 72, 22),
    v4(103, 244, 50, 24),
    v4(103, 245, 222, 23),
    v4(103, 245, 224, 24),
    v4(104, 156, 80, 20),
    v4(140, 248, 64, 18),
    v4(140, 248, 128, 17),
    v4(146, 75, 0, 17),
    v4(151, 101, 0, 16),
    v4(157, 52, 64, 18),
    v4(167, 82, 0, 17),
    v4(167, 82, 128, 20),
    v4(167, 82, 160, 20),
    v4(167, 82, 224, 20),
    v4(172, 111, 64, 18),
    v4(185, 31, 16, 22),
    v4(199, 27, 72, 21),
    v4(199, 232, 0, 16),
    v6(0x2a04, 0x4e40, 32),
    v6(0x2a04, 0x4e42, 32),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_canonical_and_none_lies_in_another() {
        for (index, range) in RANGES.iter().enumerate() {
            assert_eq!(*range, range.trunc(), "{range} has host bits");
            let others = RANGES.iter().enumerate().filter(|(other, _)| *other != index);
            assert!(others.into_iter().all(|(_, other)| !other.contains(range)), "{range}");
        }
    }
}
