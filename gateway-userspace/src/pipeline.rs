//! The path of a request: what is done with it, in which order, and what is written down about it.

mod fault;
pub mod finish;
pub mod respond;
pub mod serve;
mod unread;

pub use serve::Pipeline;
