
pub mod metrics;
pub mod names;
pub mod timestamp;
