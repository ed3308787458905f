//! Tests that need the kernel: skipped loudly without it, and failing where a skip is not allowed.
//!
//! Without privilege such a test prints `SKIPPED name: reason` and passes. With
//! `PORTCULLIS_REQUIRE_KERNEL=1`, which CI sets, the same is a failure: a suite that skips everything and
//! is green proves nothing.
//!
//! What the kernel of this host refuses whatever the privilege is told as `SKIPPED-ON-KERNEL name: reason` and is never a
//! failure here: the tier `boot` runs the same tests on kernels that do not refuse it. Neither is `SKIPPED-UNAVAILABLE name:
//! reason`, of a peer that this machine's archive does not have; where it could be had, `cargo xtask setup` misses it.

use std::{
    env,
    io::{self, Write as _},
};

/// Set to `1` to turn a skip into a failure.
pub const REQUIRE_KERNEL: &str = "PORTCULLIS_REQUIRE_KERNEL";

/// How the line of a test begins that was skipped by [`skip_on_kernel`].
pub const ON_KERNEL: &str = "SKIPPED-ON-KERNEL";

/// Reports that a test is skipped.
///
/// # Panics
/// If `PORTCULLIS_REQUIRE_KERNEL` is `1`.
pub fn skip(test: &str, reason: &str) {
    assert!(
        env::var_os(REQUIRE_KERNEL).is_none_or(|value| value != "1"),
        "{test} cannot run, and {REQUIRE_KERNEL}=1 forbids to skip it: {reason}"
    );
    tell("SKIPPED", test, reason);
}

/// Reports that a test is skipped because of what this kernel is or was built with: no privilege and no
/// package would change it, so it is never a failure.
pub fn skip_on_kernel(test: &str, reason: &str) {
    tell(ON_KERNEL, test, reason);
}

/// Reports that a test is skipped because its peer is not to be had on this machine, so it is never a failure.
pub fn skip_unavailable(test: &str, reason: &str) {
    tell("SKIPPED-UNAVAILABLE", test, reason);
}

fn tell(word: &str, test: &str, reason: &str) {
    // Not `println!`: the test harness keeps that to itself when a test passes. Standard output, because `cargo xtask
    // test` counts there; a line of its own, because libtest may have begun one.
    let _ = writeln!(io::stdout(), "\n{word} {test}: {reason}");
}
