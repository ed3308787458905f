//! Bearer tokens: JSON Web Tokens (RFC 7519) signed by an issuer whose keys are read from a file or fetched.

pub mod config;
