//! Sizes and rates of requests, for a listener and for a route.

use std::time::Duration;

/// What a route lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Largest body in bytes, default 10 MiB; more is answered with 413.
    pub body_bytes_max: u64,
    /// Most parts in a `multipart/*` body, if limited; default 1000, as in Go, Werkzeug, Django and Starlette.
    pub parts_max: Option<u32>,
    /// Least rate of an upload in bytes per second, default 500, measured after `body_grace`; 0 is off.
    pub body_rate_min: u64,
    /// Time that a body has before the least rate applies, default 10 s; also the longest pause.
    pub body_grace: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            body_bytes_max: 10 << 20,
            parts_max: Some(1000),
            body_rate_min: 500,
            body_grace: Duration::from_secs(10),
        }
    }
}
