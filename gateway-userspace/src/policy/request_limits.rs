//! How large a request may be and how slowly its body may arrive.

pub mod config;
