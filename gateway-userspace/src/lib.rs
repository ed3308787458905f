//! The gateway as a library: the binary, the tests and the benches build on the same modules.
//!
//! The modules stand in the order in which data flows: coming in, deciding, going out, keeping out, seeing, running.

pub mod listener;
pub mod tls;

pub mod header;
pub mod http;
pub mod request;
pub mod response;

pub mod keyring;
pub mod policy;
pub mod route;

pub mod action;
pub mod upstream;

pub mod abuse;
pub mod dataplane;

pub mod observe;

pub mod admin;
pub mod cli;
pub mod config;
pub mod demo;
pub mod diagnostic;
pub mod gateway;
pub mod lock;
pub mod pipeline;
pub mod worker;
