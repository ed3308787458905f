//! The HTTP message layer: connections, bodies, client addresses, hop-by-hop fields and what a refusal looks like.
//!
//! Invariant: nothing here knows of routes, policies or upstreams.

pub mod answer;
pub mod client_address;
pub mod hop_by_hop;
pub mod rejection;
