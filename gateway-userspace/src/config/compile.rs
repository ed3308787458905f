//! From a checked configuration to a [`Snapshot`], against the state that outlives configurations.
//!
//! Names become indices and shared objects here. What can still fail is what only the doing shows: keys that cannot be
//! parsed, a CA file that went away since the check. Nothing in force is touched until the whole snapshot stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::codes;
use super::model::{self, AuthKind, Config, UpstreamRef};
use super::snapshot::{Action, Authentication, Route, RoutePolicies, Snapshot};
use crate::action::respond::Respond;
use crate::diagnostic::{Place, Problem};
use crate::header::Name;
use crate::http::client_address::TrustedProxies;
use crate::keyring::Keyring;
use crate::policy::identity_headers::IdentityHeaders;
use crate::policy::ip_access::Access;
use crate::policy::rate_limit::{self, Limit, Limits, States};
use crate::policy::response_headers::ResponseHeaders;
use crate::policy::signed_identity::SignedIdentity;
use crate::policy::upstream_headers::UpstreamHeaders;
use crate::policy::{api_key, jwt};
use crate::route::table::Table;
use crate::upstream::plan::Plan;
use crate::upstream::registry::Registry;

/// What outlives a configuration: a reload finds it again by name.
pub struct State {
    /// State of upstream targets, and their TLS sessions.
    pub upstreams: Registry,
    /// Issuers and their keys.
    pub keyring: Keyring,
    /// Token authentications and what they remember.
    pub tokens: jwt::kept::Kept,
    /// What limits have counted.
    pub limits: States,
}

/// A snapshot and what was odd about it.
pub struct Compiled {
    /// Ready to be published.
    pub snapshot: Snapshot,
    /// What the key fetcher has to do for it.
    pub jobs: Vec<crate::keyring::fetch::Job>,
    /// Counts of its limits, to be adopted when it is in force.
    pub limit_states: LimitStates,
    /// Problems that do not prevent it.
    pub warnings: Vec<Problem>,
}

/// Compiles a configuration; all errors that are found, not only the first.
pub fn compile(config: Config, state: &State) -> Result<Compiled, Vec<Problem>> {
    let mut compiler = Compiler { state, errors: Vec::new(), warnings: Vec::new() };
    let auth = compiler.authentications(&config);
    let (limits, limit_states) = compiler.limits(&config);
    let (plans, plan_of) = compiler.plans(&config);
    let routes: Vec<Option<Route>> =
        config.route.iter().map(|route| compiler.route(&config, route, &auth, &limits, &plan_of)).collect();
    if !compiler.errors.is_empty() {
        return Err(compiler.errors);
    }
    let patterns =
        config.route.iter().enumerate().flat_map(|(index, route)| {
            route.matches.iter().map(move |pattern| (pattern.value.clone(), index))
        });
    let jobs = auth
        .values()
        .filter_map(|authentication| match authentication {
            Authentication::Jwt(authenticator) => authenticator.job(),
            Authentication::ApiKey(_) => None,
        })
        .collect();
    let snapshot = Snapshot {
        table: Table::new(patterns),
        routes: routes.into_iter().flatten().collect(),
        plans: plans.into(),
        identity_headers: IdentityHeaders::new(identity_header_names(&config)),
        signed_identity: config.identity.as_ref().map(SignedIdentity::new),
        identity_trailers: identity_header_names(&config).filter_map(|name| with_hyphens(&name)).collect(),
        headers: ResponseHeaders::new(&config.headers, &Default::default()),
        trusted: Arc::new(TrustedProxies::new(&config.gateway.trusted_proxies)),
        config,
    };
    Ok(Compiled { snapshot, jobs, limit_states, warnings: compiler.warnings })
}

/// Compiled objects by their names in the configuration.
type ByName<T> = HashMap<Arc<str>, T>;

/// Counts of limits by the limits' names.
pub type LimitStates = Vec<(Arc<str>, Arc<rate_limit::State>)>;

struct Compiler<'a> {
    state: &'a State,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Compiler<'_> {
    fn authentications(&mut self, config: &Config) -> ByName<Authentication> {
        let mut compiled = HashMap::new();
        for auth in &config.auth {
            if let Some(authentication) = self.authentication(auth) {
                compiled.insert(auth.name.clone(), authentication);
            }
        }
        compiled
    }

    fn authentication(&mut self, auth: &model::Auth) -> Option<Authentication> {
        match &auth.kind {
            AuthKind::Jwt(jwt) => match self.state.tokens.compile(jwt, &self.state.keyring) {
                Ok(authenticator) => {
                    for key in authenticator.skipped() {
                        let message = format!(
                            "auth `{}`: key {} of the set was left out: {}",
                            auth.name, key.index, key.reason
                        );
                        self.warnings.push(Problem::warning(codes::BAD_KEYS, message, auth.place.clone()));
                    }
                    Some(Authentication::Jwt(authenticator))
                }
                Err(error) => {
                    let message = format!("auth `{}`: its keys cannot be used: {error}", auth.name);
                    self.errors.push(Problem::error(codes::BAD_KEYS, message, auth.place.clone()));
                    None
                }
            },
            AuthKind::ApiKey(keys) => match api_key::Authenticator::new(keys) {
                Ok(authenticator) => Some(Authentication::ApiKey(Arc::new(authenticator))),
                Err(error) => {
                    let message = format!("auth `{}`: {error}", auth.name);
                    self.errors.push(Problem::error(codes::BAD_KEYS, message, auth.place.clone()));
                    None
                }
            },
        }
    }

    fn limits(&mut self, config: &Config) -> (ByName<Limit>, LimitStates) {
        let now = Instant::now();
        let prepared = config.limit.iter().map(|limit| {
            let state = self.state.limits.prepare(&limit.value, now);
            let name = limit.value.name.clone();
            ((name.clone(), Limit::new(&limit.value, state.clone())), (name, state))
        });
        prepared.unzip()
    }

    /// The named upstreams, then those that stand in a route, and where each is found by its name.
    fn plans(&mut self, config: &Config) -> (Vec<Arc<Plan>>, ByName<usize>) {
        let named = config.upstream.iter().map(|upstream| (&upstream.value, upstream.place.clone()));
        let inline = config.route.iter().filter_map(|route| match &route.action {
            model::Action::Forward { upstream: UpstreamRef::Inline(upstream), .. } => {
                Some((upstream, route.place.clone()))
            }
            _ => None,
        });
        let mut plans = Vec::new();
        let mut by_name = HashMap::new();
        for (upstream, place) in named.chain(inline) {
            if let Some(plan) = self.plan(upstream, place) {
                by_name.insert(upstream.name.clone(), plans.len());
                plans.push(plan);
            }
        }
        (plans, by_name)
    }

    fn plan(&mut self, upstream: &crate::upstream::config::Config, place: Place) -> Option<Arc<Plan>> {
        match self.state.upstreams.compile(upstream.clone()) {
            Ok(plan) => Some(Arc::new(plan)),
            Err(error) => {
                let message = format!("upstream `{}` cannot be used: {error}", upstream.name);
                self.errors.push(Problem::error(codes::BAD_TARGET, message, place));
                None
            }
        }
    }

    fn route(
        &mut self,
        config: &Config,
        route: &model::Route,
        auth: &ByName<Authentication>,
        limits: &ByName<Limit>,
        plan_of: &ByName<usize>,
    ) -> Option<Route> {
        // A name that is missing here has been reported where it failed to compile.
        let authentication: Option<Vec<_>> =
            route.auth.iter().map(|name| auth.get(&name.value).map(Authentication::share)).collect();
        let route_limits: Option<Vec<_>> =
            route.limits.iter().map(|name| limits.get(&name.value).cloned()).collect();
        let route_limits = route_limits?;
        let uses_parameters =
            !route.upstream_headers.is_empty() || route_limits.iter().any(Limit::counts_by_parameter);
        let (address_limits, identity_limits) = Limits::split(route_limits, !route.auth.is_empty());
        let authentication = authentication?;
        let realm = authentication.first().map_or_else(|| route.name.clone(), Authentication::realm);
        Some(Route {
            name: route.name.clone(),
            action: self.action(route, plan_of)?,
            uses_parameters,
            upstream_headers: UpstreamHeaders::new(&route.upstream_headers),
            login: route.login,
            log: route.log,
            policies: RoutePolicies {
                access: Access::new(&route.access),
                address_limits,
                authentication: authentication.into(),
                identity_limits,
                requests: Arc::new(route.requests.clone()),
                headers: ResponseHeaders::new(&config.headers, &route.headers),
                realm,
            },
        })
    }

    fn action(&mut self, route: &model::Route, plan_of: &ByName<usize>) -> Option<Action> {
        match &route.action {
            model::Action::Forward { upstream, replace_prefix } => {
                let name = match upstream {
                    UpstreamRef::Named(name) => &name.value,
                    UpstreamRef::Inline(upstream) => &upstream.name,
                };
                Some(Action::Forward { plan: *plan_of.get(name)?, replace_prefix: replace_prefix.clone() })
            }
            model::Action::Respond { status, body, content_type } => {
                let respond = Respond::new(*status, content_type, body);
                if respond.is_none() {
                    let message =
                        format!("route `{}`: its content type cannot stand in a header", route.name);
                    self.errors.push(Problem::error(codes::NOT_A_HEADER, message, route.place.clone()));
                }
                respond.map(Action::Respond)
            }
        }
    }
}

impl Authentication {
    fn share(&self) -> Authentication {
        match self {
            Authentication::Jwt(authenticator) => Authentication::Jwt(authenticator.clone()),
            Authentication::ApiKey(authenticator) => Authentication::ApiKey(authenticator.clone()),
        }
    }

    fn realm(&self) -> Arc<str> {
        match self {
            Authentication::Jwt(authenticator) => authenticator.config().realm.clone(),
            Authentication::ApiKey(_) => Arc::from(""),
        }
    }
}

/// Trailers with an underscore are dropped, so only the name with hyphens is left to refuse.
fn with_hyphens(name: &Name) -> Option<Name> {
    Name::parse(&name.as_str().replace('_', "-"))
}

/// Every header that says who the client is, on whatever route.
fn identity_header_names(config: &Config) -> impl Iterator<Item = Name> {
    let signed = config.identity.iter().map(|identity| identity.header.clone());
    let of_auth = config.auth.iter().flat_map(|auth| match &auth.kind {
        AuthKind::Jwt(jwt) => jwt.headers.iter().map(|mapped| mapped.header.clone()).collect::<Vec<_>>(),
        AuthKind::ApiKey(keys) => keys.consumer_header.iter().cloned().collect(),
    });
    signed.chain(of_auth)
}
