//! The admin API: its types, the server in the gateway (on a Unix socket, and over TCP if it is asked for), and the client
//! in the command line.

pub mod access;
pub mod api;
pub mod audit;
pub mod certificate;
pub mod client;
pub mod connection;
pub mod handlers;
pub mod peer;
pub mod problem;
pub mod remote;
pub mod resource;
pub mod server;
pub mod socket;
pub mod tls;
