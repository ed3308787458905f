//! The harness of the tests: one file for each thing a test starts or makes.

pub mod curl;
pub mod echo;
pub mod gateway;
pub mod kernel;
pub mod nginx;
pub mod packet;
pub mod privilege;
