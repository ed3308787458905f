//! The gateway as a library: the binary, the tests and the benches build on the same modules.
//!
//! The modules stand in the order in which data flows: coming in, deciding, going out, keeping out, seeing, running.

// 1 Coming in
pub mod listener;
pub mod tls;

pub mod header;
pub mod http;
pub mod http1;
pub mod request;
pub mod response;

// 2 Deciding
pub mod pipeline;

pub mod keyring;
pub mod policy;
pub mod route;

// 3 Going out
pub mod action;
pub mod dial;
pub mod upstream;

// 4 Keeping out
pub mod abuse;
pub mod dataplane;
pub mod feeds;

// 5 Seeing
pub mod observe;

// 6 Running
pub mod admin;
pub mod config;
pub mod diagnostic;
pub mod gateway;
pub mod lock;
pub mod worker;

// Using it
pub mod cli;
pub mod demo;
