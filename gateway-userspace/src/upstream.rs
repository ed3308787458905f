//! Where requests go: targets, connections to them, and how one is chosen.

pub mod config;
