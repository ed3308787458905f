//! Seeing what happens: metrics, access log, trace context, readiness.

pub mod names;
pub mod timestamp;
