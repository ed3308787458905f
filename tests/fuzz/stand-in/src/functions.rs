//! Functions of the kernel that the program calls.

/// The number of the CPU: there is one.
///
/// # Safety
/// None is needed; the real one is declared like this.
pub unsafe fn bpf_get_smp_processor_id() -> u32 {
    0
}

/// Those that aya's generator writes.
pub mod generated {
    use std::ffi::c_void;
    use std::ptr;
    use std::sync::PoisonError;
    use std::sync::atomic::Ordering::Relaxed;

    use crate::bindings::{bpf_sock, bpf_sock_tuple};
    use crate::machine;

    /// The coarse clock.
    ///
    /// # Safety
    /// None is needed; the real one is declared like this.
    pub unsafe fn bpf_ktime_get_coarse_ns() -> u64 {
        machine::COARSE_NS.load(Relaxed)
    }

    /// The tick.
    ///
    /// # Safety
    /// None is needed; the real one is declared like this.
    pub unsafe fn bpf_jiffies64() -> u64 {
        machine::TICKS.load(Relaxed)
    }

    /// Looks a socket up, and notes by what.
    ///
    /// # Safety
    /// `tuple` points to `bytes` bytes.
    pub unsafe fn bpf_skc_lookup_tcp(
        _context: *mut c_void,
        tuple: *mut bpf_sock_tuple,
        bytes: u32,
        _namespace: u64,
        _flags: u64,
    ) -> *mut bpf_sock {
        // SAFETY: the caller vouches for the length.
        let asked = unsafe { std::slice::from_raw_parts(tuple.cast::<u8>(), bytes as usize) };
        *machine::LOOKED_UP.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked.to_vec());
        match machine::SOCKET_STATE.load(Relaxed) {
            0 => ptr::null_mut(),
            state => {
                machine::SOCKETS_HELD.fetch_add(1, Relaxed);
                ptr::from_ref(&machine::SOCKETS[state as usize % machine::SOCKETS.len()]).cast_mut()
            }
        }
    }

    /// Gives it back.
    ///
    /// # Safety
    /// None is needed; the real one is declared like this.
    pub unsafe fn bpf_sk_release(_socket: *mut c_void) -> i64 {
        machine::SOCKETS_HELD.fetch_sub(1, Relaxed);
        0
    }
}
