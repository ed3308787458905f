//! `[upstream.NAME]`, or `to` of a route.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::proxy_protocol;

/// Settings of one upstream.
#[derive(Debug, Clone)]
pub struct Config {
    /// The `[upstream.NAME]`, or the route's name when the targets stand in the route.
    pub name: Arc<str>,
    /// Targets, at least one.
    pub targets: Vec<Target>,
    /// Which HTTP version to speak.
    pub protocol: Protocol,
    /// Whether each connection begins with a PROXY protocol header; never with HTTP/2, whose connections many share.
    pub proxy_protocol: Option<proxy_protocol::Version>,
    /// What the upstream sees as `Host`.
    pub host: HostHeader,
    /// Time for TCP and TLS together, default 5 s.
    pub connect_timeout: Duration,
    /// Time from the end of the request to the head of the answer, default 30 s.
    pub response_timeout: Duration,
    /// Longest pause within a body in either direction, default 60 s.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept, default 60 s.
    pub keep_alive: Duration,
    /// Idle connections kept for each worker and target, default 32.
    pub idle_connections: usize,
    /// CA certificates for the targets' TLS, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address, brackets removed.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// `host:port` for the `Host` field, the port left out where it is the scheme's own.
    pub authority: Box<str>,
}

/// Which HTTP version an upstream is spoken to with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1; over TLS what ALPN agrees on is not asked.
    Http1,
    /// HTTP/2, over TLS by ALPN, else with prior knowledge.
    Http2,
}

/// What the upstream gets as `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client sent.
    Preserve,
    /// The target's own authority; `Location` and cookie domains of answers are rewritten back.
    Target,
    /// This.
    Fixed(Box<str>),
}

impl Config {
    /// The defaults with these targets.
    pub fn new(name: Arc<str>, targets: Vec<Target>) -> Config {
        Config {
            name,
            targets,
            protocol: Protocol::Http1,
            proxy_protocol: None,
            host: HostHeader::Preserve,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(60),
            idle_connections: 32,
            ca: None,
        }
    }
}
