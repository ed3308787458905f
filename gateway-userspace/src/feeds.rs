//! Lists of addresses that others keep: read in the formats in which they are given out, and written in those that
//! others read. What an entry then means is for the caller to decide; nothing here knows of bans or of the kernel.

pub mod decisions;
pub mod fetch;
pub mod format;
pub mod parse;
pub mod schedule;
pub mod write;

pub use format::Format;
pub use write::Export;
