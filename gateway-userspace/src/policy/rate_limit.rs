//! Rate limits by GCRA, exact within the process, in bounded memory.

pub mod config;
