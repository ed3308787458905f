//! What the gateway does for a client: the real binary, real peers, no privilege.

mod acceptance;
mod administration;
mod authentication;
mod bad_input;
mod forwarding;
mod history;
mod hostile;
mod limits;
mod observability;
mod operation;
mod refusals;
mod routing;
mod tables;
mod tls;
