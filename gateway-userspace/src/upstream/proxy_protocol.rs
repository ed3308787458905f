//! The PROXY protocol towards an upstream: the first bytes of a connection say for whom it was opened.
//!
//! After HAProxy's `proxy-protocol.txt` (2020/03/05), without TLVs. A header speaks for a connection and all of its
//! requests, so a connection with one serves only requests with the same [`Addresses`]; the pool keeps to that.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Which form the header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Whom a connection is opened for. Both are of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    source: SocketAddr,
    destination: SocketAddr,
}

/// `PROXY TCP6`, two addresses and two ports at their longest.
const LINE_BYTES_MAX: usize = 107;

impl Addresses {
    /// A client, and where it connected to. An IPv4 address stays one unless the other end is IPv6.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Addresses {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (canonical(source), canonical(destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return Addresses { source, destination };
        }
        Addresses { source: as_ipv6(source), destination: as_ipv6(destination) }
    }

    /// The header.
    pub fn header(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V1 => self.line(),
            Version::V2 => self.binary(),
        }
    }

    fn line(&self) -> Vec<u8> {
        let Addresses { source, destination } = self;
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
        debug_assert!(line.len() <= LINE_BYTES_MAX);
        line.into_bytes()
    }

    fn binary(&self) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        // Version 2, command PROXY; then the family with STREAM, and the length of what follows.
        header.push(0x21);
        header.extend_from_slice(if self.source.is_ipv4() { &[0x11, 0, 12] } else { &[0x21, 0, 36] });
        for address in [self.source, self.destination] {
            match address.ip() {
                IpAddr::V4(ip) => header.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => header.extend_from_slice(&ip.octets()),
            }
        }
        header.extend_from_slice(&self.source.port().to_be_bytes());
        header.extend_from_slice(&self.destination.port().to_be_bytes());
        header
    }
}

fn as_ipv6(address: SocketAddr) -> SocketAddr {
    let ip: Ipv6Addr = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::proxy_protocol::{Header, parse};

    fn addresses(source: &str, destination: &str) -> Addresses {
        Addresses::new(source.parse().expect("an address"), destination.parse().expect("an address"))
    }

    #[test]
    fn headers_are_those_of_the_specification() {
        let client = addresses("192.0.2.7:51000", "[::ffff:198.51.100.1]:443");
        assert_eq!(
            client.header(Version::V1),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n",
            "mapped addresses are IPv4"
        );
        let expected =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xc7\x38\x01\xbb";
        assert_eq!(client.header(Version::V2), expected);
        let mixed = addresses("192.0.2.7:0", "[2001:db8::1]:443");
        assert_eq!(mixed.header(Version::V1), b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 0 443\r\n");
    }

    #[test]
    fn what_is_written_is_what_a_listener_reads() {
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        for (source, destination) in
            [("10.0.0.1:1", "10.0.0.2:2"), ("[2001:db8::1]:0", "[2001:db8::2]:443"), (longest, longest)]
        {
            let addresses = addresses(source, destination);
            for version in [Version::V1, Version::V2] {
                let header = addresses.header(version);
                let Addresses { source, destination } = addresses;
                let read = (Header::Proxied { source, destination }, header.len());
                assert_eq!(parse(&header), Ok(Some(read)), "{source} {version:?}");
            }
        }
    }
}
