//! Frames, built byte by byte. Checksums are zero unless asked for: the kernel program does not read them.

use std::net::{IpAddr, Ipv4Addr};

/// TCP flag.
pub const SYN: u8 = 0x02;
/// TCP flag.
pub const RST: u8 = 0x04;
/// TCP flag.
pub const ACK: u8 = 0x10;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A frame in the making: who sends it, and what lies around the IP header.
#[derive(Clone, Debug)]
pub struct Packet {
    source: IpAddr,
    destination: Option<IpAddr>,
    tags: Vec<u16>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment_offset: u16,
    hop_limit: u8,
    protocol: u8,
    transport: Vec<u8>,
}

impl Packet {
    /// A packet from a source, as yet without a transport header (protocol 253, for experiments).
    ///
    /// # Panics
    /// If the address does not parse.
    pub fn from(source: &str) -> Self {
        Self {
            source: source.parse().expect("an address"),
            destination: None,
            tags: Vec::new(),
            options: Vec::new(),
            extensions: Vec::new(),
            fragment_offset: 0,
            hop_limit: 64,
            protocol: 253,
            transport: vec![0; 8],
        }
    }

    /// A TCP segment to a port.
    pub fn tcp(mut self, port: u16, flags: u8) -> Self {
        self.protocol = TCP;
        self.transport = vec![0; 20];
        self.transport[..2].copy_from_slice(&40_000_u16.to_be_bytes());
        self.transport[2..4].copy_from_slice(&port.to_be_bytes());
        self.transport[12] = 5 << 4;
        self.transport[13] = flags;
        self
    }

    /// The port that a TCP segment or UDP datagram comes from, after [`tcp`](Self::tcp) or [`udp`](Self::udp).
    pub fn source_port(mut self, port: u16) -> Self {
        self.transport[..2].copy_from_slice(&port.to_be_bytes());
        self
    }

    /// The sequence number of a TCP segment.
    pub fn sequence(mut self, number: u32) -> Self {
        self.transport[4..8].copy_from_slice(&number.to_be_bytes());
        self
    }

    /// Another destination than 198.51.100.1 or 2001:db8:ffff::1; of the same family.
    pub fn to(mut self, destination: IpAddr) -> Self {
        self.destination = Some(destination);
        self
    }

    /// A UDP datagram to a port.
    pub fn udp(mut self, port: u16) -> Self {
        self.protocol = UDP;
        self.transport = vec![0; 8];
        self.transport[2..4].copy_from_slice(&port.to_be_bytes());
        self
    }

    /// An ICMP or ICMPv6 message of a type.
    pub fn icmp(mut self, kind: u8) -> Self {
        self.protocol = if self.source.is_ipv4() { ICMP } else { ICMPV6 };
        self.transport = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        self
    }

    /// A VLAN tag outside of those that are there, with its Ethernet type (0x8100, 0x88a8).
    pub fn tagged(mut self, ether_type: u16) -> Self {
        self.tags.insert(0, ether_type);
        self
    }

    /// IPv4 options, in words of four bytes (no-operation).
    pub fn options(mut self, words: usize) -> Self {
        self.options = vec![1; words * 4];
        self
    }

    /// An IPv6 extension header of a kind (0 hop-by-hop, 43 routing, 60 destination) and some words of
    /// eight bytes.
    pub fn extension(mut self, kind: u8, words: usize) -> Self {
        let mut body = vec![0; words * 8];
        body[1] = (words - 1) as u8;
        self.extensions.push((kind, body));
        self
    }

    /// Makes it a fragment at an offset, in units of eight bytes.
    pub fn fragment(mut self, offset: u16) -> Self {
        self.fragment_offset = offset;
        if self.source.is_ipv6() {
            let mut body = vec![0; 8];
            body[2..4].copy_from_slice(&(offset << 3 | 1).to_be_bytes());
            self.extensions.push((44, body));
        }
        self
    }

    /// Sets the hop limit (IPv4: time to live), 64 by itself.
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// The frame.
    pub fn build(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 100]);
        }
        match self.source {
            IpAddr::V4(source) => self.ipv4(&mut frame, source.octets()),
            IpAddr::V6(source) => self.ipv6(&mut frame, source.octets()),
        }
        frame
    }

    /// A TCP segment over IPv4 that a stack takes: to a station and an address, with checksums.
    ///
    /// # Panics
    /// If it is another kind of packet, or has tags.
    pub fn build_for(&self, station: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
        assert!(self.source.is_ipv4() && self.protocol == TCP && self.tags.is_empty());
        let mut frame = self.build();
        frame[..6].copy_from_slice(&station);
        let (_, packet) = frame.split_at_mut(14);
        packet[16..20].copy_from_slice(&address.octets());
        let header = 20 + self.options.len();
        let sum = checksum(&[&packet[..header]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let length = (packet.len() - header) as u16;
        let sum = checksum(&[&packet[12..20], &[0, TCP], &length.to_be_bytes(), &packet[header..]]);
        packet[header + 16..header + 18].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    fn ipv4(&self, frame: &mut Vec<u8>, source: [u8; 4]) {
        let header = 20 + self.options.len();
        frame.extend([0x08, 0x00, 0x40 | (header / 4) as u8, 0]);
        frame.extend(((header + self.transport.len()) as u16).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(self.fragment_offset.to_be_bytes());
        frame.extend([self.hop_limit, self.protocol, 0, 0]);
        frame.extend(source);
        match self.destination {
            Some(IpAddr::V4(destination)) => frame.extend(destination.octets()),
            _ => frame.extend([198, 51, 100, 1]),
        }
        frame.extend(&self.options);
        frame.extend(&self.transport);
    }

    fn ipv6(&self, frame: &mut Vec<u8>, source: [u8; 16]) {
        let extensions: usize = self.extensions.iter().map(|(_, body)| body.len()).sum();
        let kinds: Vec<u8> = self.extensions.iter().map(|(kind, _)| *kind).chain([self.protocol]).collect();
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(((extensions + self.transport.len()) as u16).to_be_bytes());
        frame.extend([kinds[0], self.hop_limit]);
        frame.extend(source);
        match self.destination {
            Some(IpAddr::V6(destination)) => frame.extend(destination.octets()),
            _ => frame.extend([0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        }
        for ((_, body), next) in self.extensions.iter().zip(&kinds[1..]) {
            frame.push(*next);
            frame.extend(&body[1..]);
        }
        frame.extend(&self.transport);
    }
}

/// The checksum of the internet (RFC 1071) over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks_exact(2));
    let sum = words.fold(0, |sum: u32, word| sum + u32::from(word[0]) * 256 + u32::from(word[1]));
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// An ARP request: not IP, so it passes whatever is listed.
pub fn arp() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 2, 0x08, 0x06]);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([0; 20]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_segment_has_its_fields_where_the_rfcs_say() {
        let frame = Packet::from("192.0.2.1").tcp(443, SYN).build();
        assert_eq!(frame.len(), 14 + 20 + 20);
        assert_eq!(frame[12..14], [0x08, 0x00]);
        assert_eq!(frame[26..30], [192, 0, 2, 1]);
        assert_eq!(frame[36..38], 443_u16.to_be_bytes());
        assert_eq!(frame[47], SYN);
        let to = Packet::from("192.0.2.1").tcp(443, SYN).source_port(1).sequence(2).to([192, 0, 2, 2].into());
        let frame = to.build();
        assert_eq!(frame[30..36], [192, 0, 2, 2, 0, 1]);
        assert_eq!(frame[38..42], [0, 0, 0, 2]);
    }

    #[test]
    fn checksums_of_a_segment_for_a_stack_add_up() {
        let to = Ipv4Addr::new(192, 0, 2, 9);
        let frame = Packet::from("192.0.2.1").tcp(443, SYN).source_port(5).build_for([2; 6], to);
        assert_eq!((&frame[..6], &frame[30..36]), (&[2; 6][..], &[192, 0, 2, 9, 0, 5][..]));
        assert_eq!(checksum(&[&frame[14..34]]), 0);
        assert_eq!(checksum(&[&frame[26..34], &[0, TCP], &[0, 20], &frame[34..]]), 0);
        assert_eq!(
            checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]),
            !0xddf2,
            "RFC 1071's example"
        );
    }

    #[test]
    fn extension_headers_name_their_successors() {
        let frame = Packet::from("2001:db8::1").extension(0, 1).extension(60, 2).udp(53).build();
        assert_eq!(frame[20], 0, "the fixed header names hop-by-hop");
        assert_eq!(frame[54], 60, "hop-by-hop names destination options");
        assert_eq!(frame[62], UDP, "destination options name the transport");
        assert_eq!(frame.len(), 14 + 40 + 8 + 16 + 8);
    }
}
