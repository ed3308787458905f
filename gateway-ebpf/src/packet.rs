//! Parsing, as far as each step needs it and no further.
//!
//! The fast path reads the Ethernet type, at most two VLAN tags and the source address: IPv4 options, IPv6
//! extension headers and fragments need no handling there. Tags that the network card has stripped are not
//! in the frame and need none either.

use core::{hint, mem};

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};

const ETHERNET_BYTES: usize = 14;
const VLAN_BYTES: usize = 4;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_QINQ: u16 = 0x88a8;
/// IPv4 header without options (RFC 791, section 3.1).
pub const IPV4_BYTES: usize = 20;
/// IPv6 fixed header (RFC 8200, section 3).
pub const IPV6_BYTES: usize = 40;
const IPV4_SOURCE: usize = 12;
const IPV6_SOURCE: usize = 8;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
const TCP_FLAGS: usize = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
/// No header that we read starts further into a frame than this: two VLAN tags, then an IPv4 header with
/// options, or IPv6 with the extension headers that [`exemptions`](crate::exemptions) walks.
const OFFSET_MAX: usize = 2048;

/// Where the network header starts, and its family: a number, because it travels into functions that the
/// verifier checks as BPF-to-BPF calls, which take only numbers and pointers.
#[derive(Clone, Copy)]
pub struct Header(pub u64);

impl Header {
    const V6: u64 = 1 << 16;

    #[inline(always)]
    pub fn is_v6(self) -> bool {
        self.0 & Self::V6 != 0
    }

    /// Offset of the network header in the frame: 14, 18 or 22.
    #[inline(always)]
    pub fn offset(self) -> usize {
        (self.0 & 0xff) as usize
    }
}

/// A parsed frame: the header with the IPv4 source as a number, or with the /64 of the IPv6 source.
pub enum Parsed {
    V4(Header, u32),
    V6(Header, u64),
    NotIp,
    Truncated,
}

/// The context of a function that is called and not inlined. The compiler must not see through the pointer,
/// or it passes the packet pointers themselves as numbers, which the verifier refuses.
#[inline(always)]
pub fn opaque(context: *mut xdp_md) -> XdpContext {
    XdpContext::new(hint::black_box(context))
}

/// Parses up to the source address.
#[inline(always)]
pub fn parse(context: &XdpContext) -> Parsed {
    let mut offset = ETHERNET_BYTES;
    let Some(mut ether_type) = read_u16(context, ETHERNET_BYTES - 2) else { return Parsed::Truncated };
    // Written out: a loop over two tags costs more instructions than the two tests.
    if is_vlan(ether_type) {
        let Some(inner) = read_u16(context, offset + 2) else { return Parsed::Truncated };
        ether_type = inner;
        offset += VLAN_BYTES;
        if is_vlan(ether_type) {
            let Some(inner) = read_u16(context, offset + 2) else { return Parsed::Truncated };
            ether_type = inner;
            offset += VLAN_BYTES;
        }
    }
    match ether_type {
        TYPE_IPV4 => match pointer::<[u8; IPV4_BYTES]>(context, offset) {
            // SAFETY: the whole header was checked to lie in the frame, and the source is in it.
            Some(start) => Parsed::V4(Header(offset as u64), unsafe {
                u32::from_be(start.byte_add(IPV4_SOURCE).cast::<u32>().read_unaligned())
            }),
            None => Parsed::Truncated,
        },
        TYPE_IPV6 => match pointer::<[u8; IPV6_BYTES]>(context, offset) {
            // SAFETY: the whole header was checked to lie in the frame, and the source is in it.
            Some(start) => Parsed::V6(Header(offset as u64 | Header::V6), unsafe {
                u64::from_be(start.byte_add(IPV6_SOURCE).cast::<u64>().read_unaligned())
            }),
            None => Parsed::Truncated,
        },
        _ => Parsed::NotIp,
    }
}

#[inline(always)]
fn is_vlan(ether_type: u16) -> bool {
    ether_type == TYPE_VLAN || ether_type == TYPE_QINQ
}

/// The IPv4 source in network order.
#[inline(always)]
pub fn source4(context: &XdpContext, header: Header) -> Option<[u8; 4]> {
    read(context, header.offset() + IPV4_SOURCE)
}

/// The IPv6 source in network order.
#[inline(always)]
pub fn source6(context: &XdpContext, header: Header) -> Option<[u8; 16]> {
    read(context, header.offset() + IPV6_SOURCE)
}

/// Whether the packet opens a TCP connection. IPv6 extension headers are not walked here, and a fragment
/// other than the first has no TCP header: neither is a SYN for the budget.
#[inline(always)]
pub fn is_syn(context: &XdpContext, header: Header) -> bool {
    let start = header.offset();
    let tcp = if header.is_v6() {
        if read::<u8>(context, start + 6) != Some(TCP) {
            return false;
        }
        start + IPV6_BYTES
    } else {
        if read::<u8>(context, start + 9) != Some(TCP) || is_later_fragment4(context, start) {
            return false;
        }
        start + ipv4_header_bytes(context, start)
    };
    match read::<u8>(context, tcp + TCP_FLAGS) {
        Some(flags) => flags & (TCP_SYN | TCP_ACK) == TCP_SYN,
        None => false,
    }
}

/// Whether an IPv4 header belongs to a fragment other than the first (RFC 791: fragment offset, 13 bits).
#[inline(always)]
pub fn is_later_fragment4(context: &XdpContext, start: usize) -> bool {
    match read_u16(context, start + 6) {
        Some(field) => field & 0x1fff != 0,
        None => true,
    }
}

/// Length of an IPv4 header with its options, 0 to 60 bytes.
#[inline(always)]
pub fn ipv4_header_bytes(context: &XdpContext, start: usize) -> usize {
    match read::<u8>(context, start) {
        Some(first) => ((first & 0x0f) as usize) * 4,
        None => 0,
    }
}

/// Reads a number in network order.
#[inline(always)]
pub fn read_u16(context: &XdpContext, offset: usize) -> Option<u16> {
    read::<u16>(context, offset).map(u16::from_be)
}

/// Reads a value at `offset`, or `None` if the frame ends before its end.
#[inline(always)]
pub fn read<T: Copy>(context: &XdpContext, offset: usize) -> Option<T> {
    // SAFETY: the pointer was checked to have `size_of::<T>()` bytes of the frame behind it. `T` is an
    // integer or an array of them wherever this is called.
    pointer(context, offset).map(|start: *const T| unsafe { start.read_unaligned() })
}

#[inline(always)]
fn pointer<T>(context: &XdpContext, offset: usize) -> Option<*const T> {
    // The verifier wants an upper bound of a computed offset before it is added to a packet pointer.
    if offset > OFFSET_MAX {
        return None;
    }
    let start = context.data() + offset;
    // For a single byte the compiler writes `start >= end`, from which the verifier learns nothing about a
    // computed offset. No header ends with a byte that we read, so asking for two is the same.
    let bytes = if mem::size_of::<T>() == 1 { 2 } else { mem::size_of::<T>() };
    if start + bytes > context.data_end() { None } else { Some(start as *const T) }
}
