//! The kernel around the program: its clocks and its sockets, as whoever runs the program sets them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};

use crate::bindings::bpf_sock;

/// `CLOCK_MONOTONIC`, coarse, in nanoseconds.
pub static COARSE_NS: AtomicU64 = AtomicU64::new(0);
/// `jiffies64`
pub static TICKS: AtomicU64 = AtomicU64::new(0);
/// State of the socket that every look-up finds (`net/tcp_states.h`); 0: none is found.
pub static SOCKET_STATE: AtomicU32 = AtomicU32::new(0);
/// Sockets that were found and not given back.
pub static SOCKETS_HELD: AtomicI32 = AtomicI32::new(0);
/// The bytes of the tuple of the last look-up.
pub static LOOKED_UP: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// The socket itself. A look-up gives it away by address, and nobody writes through that.
pub(crate) static SOCKETS: [bpf_sock; 16] = {
    let mut all = [bpf_sock { state: 0 }; 16];
    let mut state = 0;
    while state < 16 {
        all[state].state = state as u32;
        state += 1;
    }
    all
};
