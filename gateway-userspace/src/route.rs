//! Which route serves a request: hosts, paths, methods, and the one normal form of a path.

pub mod pattern;
