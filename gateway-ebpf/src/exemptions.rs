//! Packets that are never dropped, whoever sends them: asked on the drop path only.
//!
//! - ICMP types 3 and 4, ICMPv6 type 2: errors about our own packets, sent by routers on the way. Without
//!   them path MTU discovery fails.
//! - ICMPv6 types 133 to 137 with hop limit 255: neighbour discovery, without which the link is dead. Every
//!   router on the way takes one off, so nobody beyond the link can have it (RFC 4861, section 3.1).
//! - DHCP: UDP to ports 67, 68, 546 and 547.
//! - TCP and UDP to a management port: the operator's way back in.
//!
//! Limits: a fragment other than the first has no transport header and is not exempt, nor is a packet with more
//! IPv6 extension headers than are walked. ARP and link-local sources pass before this.

use aya_ebpf::programs::XdpContext;
use gateway_common::{settings::Settings, verdict::Reason};

use crate::packet::{self, Header, Transport};

const ICMP: u8 = 1;
const TCP: u8 = packet::TCP;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const IPV6_HOP_LIMIT: usize = 7;

/// Why the packet must pass, if it must.
#[inline(always)]
pub fn of(context: &XdpContext, settings: &Settings, header: Header, transport: Transport) -> Option<Reason> {
    let start = transport.start;
    let exempt = match (transport.protocol, header.is_v6()) {
        (ICMPV6, true) => match packet::read::<u8>(context, start)? {
            2 => true,
            133..=137 => packet::read::<u8>(context, header.offset() + IPV6_HOP_LIMIT)? == u8::MAX,
            _ => false,
        },
        (ICMP, false) => matches!(packet::read::<u8>(context, start)?, 3 | 4),
        (UDP, true) => matches!(packet::read_u16(context, start + 2)?, 546 | 547),
        (UDP, false) => matches!(packet::read_u16(context, start + 2)?, 67 | 68),
        _ => false,
    };
    if exempt { Some(Reason::ExemptProtocol) } else { management(context, settings, transport) }
}

#[inline(always)]
fn management(context: &XdpContext, settings: &Settings, transport: Transport) -> Option<Reason> {
    if transport.protocol != TCP && transport.protocol != UDP {
        return None;
    }
    let port = packet::read_u16(context, transport.start + 2)?;
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
