//! What the gateway does for a client: the real binary, real peers, no privilege.

mod acceptance;
mod administration;
mod answers;
mod api_keys;
mod authentication;
mod bad_input;
mod budgets;
mod client_address;
mod cross_origin;
mod doctor;
mod express;
mod forwarding;
mod history;
mod hostile;
mod limits;
mod observability;
mod operation;
mod paths;
mod provider;
mod refusals;
mod routing;
mod slow_clients;
mod tables;
mod tls;
mod unprivileged;
mod volume;
