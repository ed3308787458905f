//! Rate limits by GCRA, exact within the process, in bounded memory.
//!
//! [`gcra`] is the arithmetic, [`table`] keeps one arrival time for each key, [`key`] says what is counted, [`state`]
//! outlives reloads, and [`limit`] puts them together for a route.

pub mod config;
pub mod gcra;
pub mod key;
pub mod limit;
pub mod state;
pub mod table;

pub use limit::{Limit, Limits, tighter};
pub use state::{State, States};
