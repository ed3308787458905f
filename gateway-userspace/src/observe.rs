
pub mod access_log;
pub mod metrics;
pub mod names;
pub mod random;
pub mod request_id;
pub mod timestamp;
pub mod trace_context;
