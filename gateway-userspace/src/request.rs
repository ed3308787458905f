//! A request as the gateway sees it: its head, who sent it, and what has been found out about it.

pub mod context;
mod cookie;
pub mod head;
pub mod identity;
pub mod path;
pub mod peer;
pub mod query;
#[cfg(test)]
pub(crate) mod sample;
pub mod summary;

pub use context::{Context, Parameter, RequestId};
pub use head::{Head, Scheme};
pub use identity::Identity;
pub use peer::Peer;
pub use summary::Summary;
