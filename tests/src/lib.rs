//! The harness of the tests: one file for each thing a test starts or makes.

pub mod curl;
pub mod echo;
pub mod gateway;
pub mod kernel;
pub mod load;
pub mod nginx;
pub mod origin;
pub mod packet;
pub mod privilege;
pub mod receiver;
pub mod request_bench;
