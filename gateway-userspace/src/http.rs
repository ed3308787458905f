//! The HTTP message layer: connections, bodies, client addresses, hop-by-hop fields and what a refusal looks like.
//!
//! Invariant: nothing here knows of routes, policies or upstreams. A connection is served for a
//! [`connection::Handler`], which the composition root supplies.

pub mod answer;
pub mod body;
pub mod client_address;
pub mod connection;
pub mod error_body;
pub mod forwarded;
pub mod hop_by_hop;
pub mod incoming;
pub mod intake;
pub mod rejection;
