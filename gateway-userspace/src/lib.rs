//! The gateway as a library: the binary, the tests and the benches build on the same modules.

pub mod dataplane;
