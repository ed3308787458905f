//! The HTTP message layer: connections, bodies, client addresses, hop-by-hop fields and what a refusal looks like.

pub mod hop_by_hop;
pub mod rejection;
