//! Seeing what happens: metrics, access log, request ids, trace context, readiness and where they are asked for.

pub mod access_log;
pub mod metrics;
pub mod names;
pub mod operations;
pub mod random;
pub mod readiness;
pub mod request_id;
pub mod timestamp;
pub mod trace_context;
