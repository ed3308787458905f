//! Fuzzers for what parses bytes of strangers: the packets that the kernel program sees, the lists of addresses that it is fed
//! from, and HTTP/1.
//!
//! There is one engine for all: [`mutate`] makes inputs out of seeds and out of those that showed something new, [`run`]
//! tries them, [`record`] keeps the one that is tried on disk, so that it is still there when the process is not. A
//! [`run::Target`] says whether what happened is right. All of it is a function of the seed, so a run is repeated by its
//! seed and an input by its file.

pub mod guarded;
pub mod http;
pub mod list;
pub mod mutate;
pub mod packet;
pub mod record;
pub mod run;
