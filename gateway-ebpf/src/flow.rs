//! Whether a packet over budget belongs to a connection of this host: then whoever forges its source cannot
//! take the connection's budget away, for he does not know its ports.
//!
//! Limits: a connection whose handshake rests on a SYN cookie is known only when it is complete. Who has the
//! ports can send as that connection; what passes is held to one more budget, by connection.

use core::mem;

use aya_ebpf::{
    bindings::{
        bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2, xdp_md,
    },
    helpers::generated::{bpf_sk_release, bpf_skc_lookup_tcp},
};
use gateway_common::budget::{Class, siphash13};

use crate::{
    budget,
    maps::SETTINGS,
    packet::{self, Header, Transport},
};

/// `BPF_F_CURRENT_NETNS`: that of the interface.
const CURRENT_NAMESPACE: u64 = u64::MAX;
/// States of a socket that is no connection (`net/tcp_states.h`).
const TIME_WAIT: u32 = 6;
const CLOSE: u32 = 7;
const LISTEN: u32 = 10;

/// Whether a TCP segment belongs to a connection that is there, or to a handshake under way, and is within the
/// budget of that (1) or not (0).
#[inline(never)]
pub fn established(raw: *mut xdp_md, header: u64, transport: u64) -> u64 {
    let context = packet::opaque(raw);
    let (header, transport) = (Header(header), Transport::unpack(transport));
    let Some([sport, dport]) = packet::read::<[u16; 2]>(&context, transport.start) else { return 0 };
    // SAFETY: a union of integers.
    let mut tuple: bpf_sock_tuple = unsafe { mem::zeroed() };
    let (source, bytes) = if header.is_v6() {
        let Some([saddr, daddr]) = packet::addresses6(&context, header) else { return 0 };
        tuple.__bindgen_anon_1.ipv6 =
            bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 { saddr, daddr, sport, dport };
        let source = (saddr[0] as u64) | (saddr[1] as u64) << 32;
        (u64::from_be(source), mem::size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2>())
    } else {
        let Some([saddr, daddr]) = packet::addresses4(&context, header) else { return 0 };
        tuple.__bindgen_anon_1.ipv4 =
            bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 { saddr, daddr, sport, dport };
        (u32::from_be(saddr) as u64, mem::size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>())
    };
    // SAFETY: the tuple is as long as it says, and the reference is given back before anything else happens.
    let state = unsafe {
        let socket = bpf_skc_lookup_tcp(raw.cast(), &raw mut tuple, bytes as u32, CURRENT_NAMESPACE, 0);
        if socket.is_null() {
            return 0;
        }
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        state
    };
    if state == TIME_WAIT || state == CLOSE || state == LISTEN {
        return 0;
    }
    let Some(settings) = SETTINGS.get(0) else { return 0 };
    let class = &settings.classes[Class::Flow as usize];
    let ports = (sport as u64) << 16 | dport as u64;
    let now_ns = budget::now_ns(settings);
    (class.cost == 0 || budget::conforms(class, siphash13(class.key, source) ^ ports, now_ns)) as u64
}
