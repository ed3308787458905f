//! The contract between the kernel program and userspace.
//!
//! Both sides compile this crate, so it is `no_std`, imports nothing, and holds only layouts, constants and
//! pure functions whose result must be the same on both sides.
#![no_std]
