//! The configuration: read from files, checked as a whole, compiled into a snapshot, replaced in one step.

pub mod live;
pub mod model;
