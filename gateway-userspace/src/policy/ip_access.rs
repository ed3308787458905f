//! Which client addresses a route admits: ordered rules, the first that matches decides.

pub mod config;
