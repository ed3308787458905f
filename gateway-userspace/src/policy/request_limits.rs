//! How large a request may be and how slowly its body may arrive.
//!
//! The size itself is counted where the body is read; here are the two counters that need more than a sum.

pub mod config;
pub mod meter;
pub mod parts;
