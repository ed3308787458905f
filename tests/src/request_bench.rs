//! What it costs to proxy a request: the parts of `cargo xtask bench request`.

pub mod case;
pub mod processors;
pub mod proxy;
pub mod report;
pub mod secrets;
pub mod subject;
