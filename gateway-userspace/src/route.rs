//! Which route serves a request: hosts, paths and methods.

pub mod conflict;
mod found;
mod literal;
mod methods;
pub mod pattern;
pub mod table;
mod tree;

pub use found::Found;
pub use table::Table;
