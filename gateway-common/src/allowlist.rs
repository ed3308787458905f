//! Entries of the allowlist: prefixes that are never dropped.
//!
//! The kernel reads it only before a drop, so it costs a clean packet nothing. Keys are those of the
//! denylist's tries, and an entry that matches at any length wins over every deny entry.

use crate::kernel_pod;

kernel_pod! {
    /// What the kernel knows about an allowed prefix. Presence is all that counts today.
    pub struct AllowValue (size = 8, align = 8) {
        /// Reserved, zero.
        pub reserved: u64,
    }
}
