//! Who a request was found to come from.

use std::sync::Arc;

use crate::header::{Name, Value};

/// The result of authentication. Made once per credential and then shared out of a cache.
#[derive(Debug)]
pub struct Identity {
    /// The `[auth.NAME]` that accepted the credential.
    pub auth: Arc<str>,
    /// What stands for the client in limits and logs: the token's subject, or the key's consumer.
    pub principal: Arc<str>,
    /// What kind of credential it was.
    pub credential: Credential,
    /// Claims of the token; empty for API keys.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Headers that tell the upstream who it is, ready to set.
    pub headers: Box<[(Name, Value)]>,
}

/// The kind of credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A bearer token (RFC 6750).
    Token,
    /// An API key, by its public id (never the key itself).
    Key {
        /// Name of the key in the config.
        id: Arc<str>,
    },
}
