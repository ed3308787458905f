//! What is checked and changed on the way of a request. One folder for each policy; none knows of another.

pub mod api_key;
pub mod identity_headers;
pub mod ip_access;
pub mod jwt;
pub mod rate_limit;
pub mod request_limits;
pub mod response_headers;
pub mod signed_identity;
pub mod upstream_headers;
