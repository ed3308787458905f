//! Keeping abusers out: from a refused request to a ban in the kernel, and back.

pub mod signal;
