//! What the tests share: packets, privileges, a loaded kernel program.

pub mod kernel;
pub mod packet;
pub mod privilege;
