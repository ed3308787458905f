//! A configuration with nothing left to check or to look up by name: what a request is served by.

use std::sync::Arc;

use super::model::Config;
use crate::action::respond::Respond;
use crate::header::Name;
use crate::http::client_address::TrustedProxies;
use crate::policy::identity_headers::IdentityHeaders;
use crate::policy::ip_access::Access;
use crate::policy::rate_limit::Limits;
use crate::policy::response_headers::ResponseHeaders;
use crate::policy::signed_identity::SignedIdentity;
use crate::policy::upstream_headers::UpstreamHeaders;
use crate::policy::{api_key, jwt, request_limits};
use crate::route::table::Table;
use crate::upstream::plan::Plan;

/// Everything that requests are served by. Never changed once it is published.
pub struct Snapshot {
    /// What it was compiled from.
    pub config: Config,
    /// From a request to an index of `routes`.
    pub table: Table,
    /// In the order of the configuration.
    pub routes: Box<[Route]>,
    /// Upstreams; [`Action::Forward`] holds an index.
    pub plans: Box<[Arc<Plan>]>,
    /// Headers that no client may set.
    pub identity_headers: IdentityHeaders,
    /// Signs who the client is, for upstreams.
    pub signed_identity: Option<SignedIdentity>,
    /// The same names, with hyphens, which trailers may not bring in either.
    pub identity_trailers: Arc<[Name]>,
    /// Fields of answers to requests that found no route.
    pub headers: ResponseHeaders,
    /// Whose forwarding headers are believed.
    pub trusted: Arc<TrustedProxies>,
}

/// A `[route.NAME]`, compiled.
pub struct Route {
    /// Its name, in logs, metrics and errors.
    pub name: Arc<str>,
    /// What is checked and changed.
    pub policies: RoutePolicies,
    /// What is done.
    pub action: Action,
    /// Fields that the upstream gets.
    pub upstream_headers: UpstreamHeaders,
    /// Whether something of the route asks for the parameters of the path.
    pub uses_parameters: bool,
    /// Whether clients log in here.
    pub login: bool,
    /// Whether its requests are in the access log.
    pub log: bool,
}

/// What a route checks, in the order in which it is checked. The order is a security property: what is cheap and
/// needs no secret comes first, so that a stranger costs little; nothing that depends on the identity comes before
/// authentication.
pub struct RoutePolicies {
    /// Which addresses are admitted.
    pub access: Option<Access>,
    /// Limits by what is known without authentication, so that guessing credentials is limited too.
    pub address_limits: Limits,
    /// Ways to authenticate, any of which is enough; empty: the route is open.
    pub authentication: Box<[Authentication]>,
    /// Limits that need an identity, and those that all clients of the route share.
    pub identity_limits: Limits,
    /// Sizes and rates of the body, heeded while it is read.
    pub requests: Arc<request_limits::config::Config>,
    /// Fields of its answers, the gateway's included.
    pub headers: ResponseHeaders,
    /// What the client is told to authenticate for.
    pub realm: Arc<str>,
}

/// One way to authenticate.
pub enum Authentication {
    /// Bearer tokens.
    Jwt(Arc<jwt::Authenticator>),
    /// API keys.
    ApiKey(Arc<api_key::Authenticator>),
}

/// What a route does with a request that its policies let through.
pub enum Action {
    /// Sends it to an upstream.
    Forward {
        /// Index of [`Snapshot::plans`].
        plan: usize,
        /// What takes the place of the pattern's literal beginning.
        replace_prefix: Option<Box<str>>,
    },
    /// Answers it at once.
    Respond(Respond),
}

impl Action {
    /// The upstream's index in [`Snapshot::plans`], if there is one.
    pub fn plan(&self) -> Option<usize> {
        match self {
            Action::Forward { plan, .. } => Some(*plan),
            Action::Respond(_) => None,
        }
    }
}
