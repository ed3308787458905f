//! Packets that are never dropped, whoever sends them: asked on the drop path only.
//!
//! - ICMP types 3 and 4, ICMPv6 type 2: errors about our own packets, sent by routers on the way. Without
//!   them path MTU discovery fails.
//! - ICMPv6 types 133 to 137 with hop limit 255: neighbour discovery, without which the link is dead. Every
//!   router on the way takes one off, so nobody beyond the link can have it (RFC 4861, section 3.1).
//! - DHCP: UDP to ports 67, 68, 546 and 547.
//! - TCP and UDP to a management port: the operator's way back in.
//!
//! Limits: a fragment other than the first has no transport header and is not exempt. At most
//! [`EXTENSIONS_MAX`] IPv6 extension headers are walked. ARP and link-local sources pass before this.

use aya_ebpf::programs::XdpContext;
use gateway_common::{settings::Settings, verdict::Reason};

use crate::packet::{self, Header, IPV6_BYTES};

/// IPv6 extension headers that are walked (RFC 8200, section 4.1 recommends at most seven kinds).
const EXTENSIONS_MAX: usize = 6;

const ICMP: u8 = 1;
const TCP: u8 = packet::TCP;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const IPV6_HOP_LIMIT: usize = 7;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Why the packet must pass, if it must.
#[inline(always)]
pub fn of(context: &XdpContext, settings: &Settings, header: Header) -> Option<Reason> {
    let start = header.offset();
    if header.is_v6() {
        let (protocol, transport) = transport6(context, start)?;
        let exempt = match protocol {
            ICMPV6 => match packet::read::<u8>(context, transport)? {
                2 => true,
                133..=137 => packet::read::<u8>(context, start + IPV6_HOP_LIMIT)? == u8::MAX,
                _ => false,
            },
            UDP => matches!(packet::read_u16(context, transport + 2)?, 546 | 547),
            _ => false,
        };
        if exempt { Some(Reason::ExemptProtocol) } else { management(context, settings, protocol, transport) }
    } else {
        if packet::is_later_fragment4(context, start) {
            return None;
        }
        let protocol = packet::read::<u8>(context, start + 9)?;
        let transport = start + packet::ipv4_header_bytes(context, start);
        let exempt = match protocol {
            ICMP => matches!(packet::read::<u8>(context, transport)?, 3 | 4),
            UDP => matches!(packet::read_u16(context, transport + 2)?, 67 | 68),
            _ => false,
        };
        if exempt { Some(Reason::ExemptProtocol) } else { management(context, settings, protocol, transport) }
    }
}

#[inline(always)]
fn management(context: &XdpContext, settings: &Settings, protocol: u8, transport: usize) -> Option<Reason> {
    if protocol != TCP && protocol != UDP {
        return None;
    }
    let port = packet::read_u16(context, transport + 2)?;
    if port == 0 {
        return None;
    }
    for managed in settings.management_ports {
        if managed == port {
            return Some(Reason::ExemptPort);
        }
    }
    None
}

/// Walks the extension headers to the transport header: its protocol and offset.
#[inline(always)]
fn transport6(context: &XdpContext, start: usize) -> Option<(u8, usize)> {
    let mut protocol = packet::read::<u8>(context, start + 6)?;
    let mut offset = start + IPV6_BYTES;
    for _ in 0..EXTENSIONS_MAX {
        let bytes = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => (packet::read::<u8>(context, offset + 1)? as usize + 1) * 8,
            AUTHENTICATION => (packet::read::<u8>(context, offset + 1)? as usize + 2) * 4,
            FRAGMENT if packet::read_u16(context, offset + 2)? & 0xfff8 == 0 => 8,
            FRAGMENT => return None,
            _ => return Some((protocol, offset)),
        };
        protocol = packet::read::<u8>(context, offset)?;
        offset += bytes;
    }
    None
}
