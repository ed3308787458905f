//! Parsing, as far as each step needs it and no further.
//!
//! The fast path reads the Ethernet type, at most two VLAN tags and the source address: IPv4 options, IPv6
//! extension headers and fragments need no handling there. Tags that the network card has stripped are not
//! in the frame and need none either.

use core::{hint, mem};

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use gateway_common::settings::Settings;

const ETHERNET_BYTES: usize = 14;
const VLAN_BYTES: usize = 4;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_QINQ: u16 = 0x88a8;
/// IPv4 header without options (RFC 791, section 3.1).
const IPV4_BYTES: usize = 20;
/// IPv6 fixed header (RFC 8200, section 3).
const IPV6_BYTES: usize = 40;
const IPV4_SOURCE: usize = 12;
const IPV6_SOURCE: usize = 8;
const IPV6_NEXT_HEADER: usize = 6;
/// IPv6 extension headers that are walked (RFC 8200, section 4.1 recommends at most seven, each of another kind).
const EXTENSIONS_MAX: usize = 5;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
const TCP_FLAGS: usize = 13;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;
/// No header that we read starts further into a frame than this: two VLAN tags, then an IPv4 header with
/// options, or IPv6 with the extension headers that [`Transport`] walks.
const OFFSET_MAX: usize = 2048;
/// Holds every offset up to that.
const START_MASK: usize = 0xfff;

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

/// The same number, of which the verifier knows nothing more: what follows is checked once, and not once for each
/// number of tags and extension headers. The field is zero, which the verifier cannot know.
#[inline(always)]
pub fn blurred(number: u64, settings: &Settings) -> u64 {
    number ^ u64::from(settings.reserved)
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

/// Both addresses of IPv4, in network order.
#[inline(always)]
pub fn addresses4(context: &XdpContext, header: Header) -> Option<[u32; 2]> {
    read(context, header.offset() + IPV4_SOURCE)
}

/// Both addresses of IPv6, in network order.
#[inline(always)]
pub fn addresses6(context: &XdpContext, header: Header) -> Option<[[u32; 4]; 2]> {
    read(context, header.offset() + IPV6_SOURCE)
}

/// The /64s of both addresses of IPv6.
#[inline(always)]
pub fn networks6(context: &XdpContext, header: Header) -> Option<[u64; 2]> {
    let [source, _, destination, _] = read::<[u64; 4]>(context, header.offset() + IPV6_SOURCE)?;
    Some([u64::from_be(source), u64::from_be(destination)])
}

/// The transport header: its protocol, and where it starts in the frame.
#[derive(Clone, Copy)]
pub struct Transport {
    pub protocol: u8,
    pub start: usize,
}

impl Transport {
    /// Finds it. A fragment other than the first has none, nor has a packet with more IPv6 extension headers
    /// than [`EXTENSIONS_MAX`].
    #[inline(always)]
    pub fn of(context: &XdpContext, header: Header) -> Option<Self> {
        if header.is_v6() { Self::of6(context, header.offset()) } else { Self::of4(context, header.offset()) }
    }

    #[inline(always)]
    fn of4(context: &XdpContext, start: usize) -> Option<Self> {
        if is_later_fragment4(context, start) {
            return None;
        }
        let protocol = read::<u8>(context, start + 9)?;
        Some(Self { protocol, start: start + ipv4_header_bytes(context, start) })
    }

    /// Walks the extension headers.
    #[inline(always)]
    fn of6(context: &XdpContext, start: usize) -> Option<Self> {
        let mut protocol = read::<u8>(context, start + IPV6_NEXT_HEADER)?;
        let mut offset = start + IPV6_BYTES;
        // One more than those: what they announce.
        for _ in 0..EXTENSIONS_MAX + 1 {
            let bytes = match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION => (read::<u8>(context, offset + 1)? as usize + 1) * 8,
                AUTHENTICATION => (read::<u8>(context, offset + 1)? as usize + 2) * 4,
                FRAGMENT if read_u16(context, offset + 2)? & 0xfff8 == 0 => 8,
                FRAGMENT => return None,
                _ if offset > OFFSET_MAX => return None,
                _ => return Some(Self { protocol, start: offset }),
            };
            protocol = read::<u8>(context, offset)?;
            offset += bytes;
        }
        None
    }

    /// As a number, for a function that is called.
    #[inline(always)]
    pub fn pack(self) -> u64 {
        (self.start as u64) << 8 | self.protocol as u64
    }

    /// From such a number.
    #[inline(always)]
    pub fn unpack(number: u64) -> Self {
        Self { protocol: number as u8, start: (number >> 8) as usize & START_MASK }
    }

    /// Whether it opens a TCP connection: SYN without ACK.
    #[inline(always)]
    pub fn is_syn(self, context: &XdpContext) -> bool {
        self.protocol == TCP
            && match read::<u8>(context, self.start + TCP_FLAGS) {
                Some(flags) => flags & (TCP_SYN | TCP_ACK) == TCP_SYN,
                None => false,
            }
    }
}

/// Whether the packet opens a TCP connection. What is neither TCP nor behind an extension header is told apart
/// here, the rest elsewhere.
#[inline(always)]
pub fn is_syn(context: &XdpContext, settings: &Settings, header: Header) -> bool {
    let start = header.offset();
    if !header.is_v6() {
        return read::<u8>(context, start + 9) == Some(TCP)
            && match Transport::of4(context, start) {
                Some(transport) => transport.is_syn(context),
                None => false,
            };
    }
    match read::<u8>(context, start + IPV6_NEXT_HEADER) {
        Some(TCP) => Transport { protocol: TCP, start: start + IPV6_BYTES }.is_syn(context),
        Some(HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) => {
            is_syn_behind_extensions(context.ctx, blurred(header.0, settings)) != 0
        }
        _ => false,
    }
}

#[inline(never)]
fn is_syn_behind_extensions(context: *mut xdp_md, header: u64) -> u64 {
    let context = opaque(context);
    match Transport::of6(&context, Header(header).offset()) {
        Some(transport) => transport.is_syn(&context) as u64,
        None => 0,
    }
}

/// Whether an IPv4 header belongs to a fragment other than the first (RFC 791: fragment offset, 13 bits).
#[inline(always)]
fn is_later_fragment4(context: &XdpContext, start: usize) -> bool {
    match read_u16(context, start + 6) {
        Some(field) => field & 0x1fff != 0,
        None => true,
    }
}

/// Length of an IPv4 header with its options, 0 to 60 bytes.
#[inline(always)]
fn ipv4_header_bytes(context: &XdpContext, start: usize) -> usize {
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
