//! The harness of the tests: one file for each thing a test starts or makes.

pub mod load;
pub mod origin;
pub mod request_bench;
