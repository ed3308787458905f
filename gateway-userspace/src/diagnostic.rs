//! Errors that point at the text: what was found, where, what was expected, and what to write instead.
//!
//! A leaf: it knows nothing of the gateway's configuration. Whoever reads a file collects [`Problem`]s in a
//! [`Report`] and goes on reading, so that one run shows all of them.

pub mod located;
pub mod render;
pub mod report;

pub use located::{Located, Place, Sources};
pub use report::{Code, Problem, Report, Severity};
