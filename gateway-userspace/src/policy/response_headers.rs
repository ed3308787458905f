//! Header fields that every answer carries, the gateway's own refusals included.

pub mod config;
