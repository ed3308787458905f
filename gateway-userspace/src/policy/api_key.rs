//! API keys: a random secret in a header, a query parameter or a cookie, kept as its SHA-256.

pub mod config;
