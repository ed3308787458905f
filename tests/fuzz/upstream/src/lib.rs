//! HTTP/1 to an upstream: the gateway's own sources, unmodified, over a connection in memory in place of a socket. Nothing when
//! this is built for tests, for those within the sources are the gateway's.

// Those sources find it here.
#[cfg(not(test))]
use gateway_userspace::http1;

#[cfg(not(test))]
mod upstream;

#[cfg(not(test))]
pub use upstream::{Answer, Idle, Socket, connect::Stream};
