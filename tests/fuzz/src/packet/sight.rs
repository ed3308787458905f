//! A second reading of a frame, on slices and straight from the RFCs: what the kernel program must see in it.
//!
//! Where the program has a limit of its own, it is written here as it is documented there: two VLAN tags, five extension
//! headers, nothing that begins beyond byte 2048, and of a field of one byte the one behind it must be there too.

use gateway_common::filter::Probe;

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Too short for the headers that it announces.
    Truncated,
    /// Neither IPv4 nor IPv6 behind at most two tags.
    NotIp,
    /// One of them.
    Ip(Ip),
}

/// What counts of its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    pub is_v6: bool,
    /// Four or sixteen bytes.
    pub source: Vec<u8>,
    pub destination: Vec<u8>,
    pub hop_limit: u8,
    /// None of a later fragment, and where it is not found.
    pub transport: Option<Transport>,
}

/// The header behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    pub protocol: u8,
    /// Its first byte: the type of an ICMP message.
    pub kind: Option<u8>,
    /// Its first four bytes, the ports of TCP and UDP, as they stand.
    pub ports: Option<[u8; 4]>,
    /// The four behind, the sequence number of TCP.
    pub sequence: Option<[u8; 4]>,
    /// The second two bytes.
    pub destination_port: Option<u16>,
    /// The fourteenth byte, the flags of TCP.
    pub flags: Option<u8>,
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const TAGS_MAX: usize = 2;
const EXTENSIONS_MAX: usize = 5;
const OFFSET_MAX: usize = 2048;

/// `N` bytes at an offset, if they are there and the program looks so far.
fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied().filter(|_| at <= OFFSET_MAX)
}

fn byte(frame: &[u8], at: usize) -> Option<u8> {
    bytes::<2>(frame, at).map(|[byte, _]| byte)
}

fn number(frame: &[u8], at: usize) -> Option<u16> {
    bytes(frame, at).map(u16::from_be_bytes)
}

impl Sight {
    /// Reads a frame.
    pub fn of(frame: &[u8]) -> Sight {
        let mut kind_at = 12;
        for _ in 0..TAGS_MAX {
            if matches!(number(frame, kind_at), Some(0x8100 | 0x88a8)) {
                kind_at += 4;
            }
        }
        let packet = frame.get(kind_at + 2..).unwrap_or_default();
        match number(frame, kind_at) {
            None => Sight::Truncated,
            Some(0x0800) if packet.len() >= 20 => Sight::Ip(Ip::v4(frame, packet, kind_at + 2)),
            Some(0x86dd) if packet.len() >= 40 => Sight::Ip(Ip::v6(frame, packet, kind_at + 2)),
            Some(0x0800 | 0x86dd) => Sight::Truncated,
            Some(_) => Sight::NotIp,
        }
    }
}

impl Ip {
    /// RFC 791, section 3.1.
    fn v4(frame: &[u8], packet: &[u8], start: usize) -> Ip {
        let header_bytes = usize::from(packet[0] & 15) * 4;
        let is_first = u16::from_be_bytes([packet[6], packet[7]]) << 3 == 0;
        Ip {
            is_v6: false,
            source: packet[12..16].to_vec(),
            destination: packet[16..20].to_vec(),
            hop_limit: packet[8],
            transport: is_first.then(|| Transport::at(frame, packet[9], start + header_bytes)),
        }
    }

    /// RFC 8200, sections 3 and 4.
    fn v6(frame: &[u8], packet: &[u8], start: usize) -> Ip {
        Ip {
            is_v6: true,
            source: packet[8..24].to_vec(),
            destination: packet[24..40].to_vec(),
            hop_limit: packet[7],
            transport: behind_extensions(frame, packet[6], start + 40, EXTENSIONS_MAX),
        }
    }

    /// The IPv6 /64, or the IPv4 address, as a number.
    pub fn host(&self) -> u64 {
        self.source.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Where the filter is asked about it.
    pub fn probe(&self) -> Probe {
        if self.is_v6 { Probe::v6(self.host()) } else { Probe::v4(self.host() as u32) }
    }

    /// Whether it passes whatever is listed: link-local, or no address yet.
    pub fn is_of_the_link(&self) -> bool {
        let is_link_local = self.source[0] == 0xfe && self.source[1] & 0xc0 == 0x80;
        self.is_v6 && (is_link_local || self.source[..8] == [0; 8])
    }

    /// Whether it opens a TCP connection.
    pub fn is_syn(&self) -> bool {
        self.transport.as_ref().is_some_and(Transport::is_syn)
    }
}

/// Walks the headers that announce another one.
fn behind_extensions(frame: &[u8], kind: u8, at: usize, left: usize) -> Option<Transport> {
    let bytes = match kind {
        // Hop-by-hop, routing and destination options: in units of eight bytes, the first not counted.
        0 | 43 | 60 => (usize::from(byte(frame, at + 1)?) + 1) * 8,
        // Authentication (RFC 4302): in units of four, the first two not counted.
        51 => (usize::from(byte(frame, at + 1)?) + 2) * 4,
        // Fragment: only the first has what follows.
        44 if number(frame, at + 2)? >> 3 == 0 => 8,
        44 => return None,
        _ if at > OFFSET_MAX => return None,
        _ => return Some(Transport::at(frame, kind, at)),
    };
    if left == 0 {
        return None;
    }
    behind_extensions(frame, byte(frame, at)?, at + bytes, left - 1)
}

impl Transport {
    fn at(frame: &[u8], protocol: u8, start: usize) -> Transport {
        Transport {
            protocol,
            kind: byte(frame, start),
            ports: bytes(frame, start),
            sequence: bytes(frame, start + 4),
            destination_port: number(frame, start + 2),
            flags: byte(frame, start + 13),
        }
    }

    /// SYN without ACK (RFC 9293, section 3.1).
    pub fn is_syn(&self) -> bool {
        self.protocol == TCP && self.flags.is_some_and(|flags| flags & 0x12 == 0x02)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tests::packet::{Packet, SYN};

    #[test]
    fn the_headers_of_a_tagged_segment_behind_an_extension_are_seen() {
        let frame = Packet::from("2001:db8::7").extension(60, 2).tcp(443, SYN).tagged(0x8100).build();
        let Sight::Ip(ip) = Sight::of(&frame) else { panic!("an IPv6 packet") };
        let transport = ip.transport.as_ref().expect("a segment");
        assert_eq!((ip.is_v6, ip.hop_limit, ip.host()), (true, 64, 0x2001_0db8_0000_0000));
        assert_eq!((transport.protocol, transport.destination_port), (TCP, Some(443)));
        assert!(ip.is_syn() && !ip.is_of_the_link());
        assert_eq!(Sight::of(&frame[..40]), Sight::Truncated);
    }
}
