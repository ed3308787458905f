//! The admin API over a Unix socket: its types, the server in the gateway, and the client in the command line.

pub mod api;
pub mod client;
pub mod handlers;
pub mod peer;
pub mod problem;
pub mod resource;
pub mod server;
pub mod socket;
