//! The real program on made-up frames, by `BPF_PROG_TEST_RUN`: no interface, no other machine.
//!
//! Each test loads the program with maps of its own below its own pin directory. Without root the tests
//! print `SKIPPED`; `PORTCULLIS_REQUIRE_KERNEL=1` makes that a failure.

mod attachment;
mod budgets;
mod capacity;
mod comparison;
mod exemptions;
mod leases;
mod list_changes;
mod listed;
mod lists;
mod migration;
mod namespace;
mod parole;
mod parsing;
mod persistence;
mod pressure;
mod reporting;
mod sharing;
mod spoof;
