//! The harness of the tests: one file for each thing a test starts or makes.

pub mod authority;
pub mod boot;
pub mod bpf;
pub mod chromium;
pub mod curl;
pub mod echo;
pub mod gateway;
pub mod golden;
pub mod haproxy;
pub mod kernel;
pub mod load;
pub mod nginx;
pub mod node;
pub mod origin;
pub mod packet;
pub mod privilege;
pub mod raw;
pub mod receiver;
pub mod request_bench;
pub mod slowhttptest;
pub mod stop;
pub mod volume;
