//! `cargo xtask`: every command that builds, runs, tests or measures the project.
fn main() {}
