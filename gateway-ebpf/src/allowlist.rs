//! The allowlist: asked only before a drop, so it costs a clean packet nothing.

use aya_ebpf::{btf_maps::lpm_trie::Key, programs::XdpContext};
use gateway_common::denylist::prefix_data4;

use crate::{
    maps::{ALLOW4, ALLOW6},
    packet::{self, Header},
};

/// Whether the source is in an allowed prefix.
#[inline(always)]
pub fn holds(context: &XdpContext, header: Header) -> bool {
    if header.is_v6() {
        match packet::source6(context, header) {
            Some(address) => ALLOW6.get(&Key { prefix_len: 128, data: address }).is_some(),
            None => false,
        }
    } else {
        match packet::source4(context, header) {
            Some(address) => ALLOW4.get(&Key { prefix_len: 32, data: prefix_data4(address) }).is_some(),
            None => false,
        }
    }
}
