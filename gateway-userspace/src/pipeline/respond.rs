//! What decides a request: its route, the route's policies in their order, and its action.

use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;

use super::fault;
use super::finish::Record;
use crate::action::{Body, forward};
use crate::config::snapshot::{Action, Authentication, RoutePolicies};
use crate::header::AUTHORIZATION;
use crate::http::body::RequestBody;
use crate::http::connection::Connection;
use crate::http::forwarded;
use crate::http::rejection::{Challenge, CredentialFault, Rejection};
use crate::policy::api_key::config::Location;
use crate::policy::jwt;
use crate::policy::rate_limit::tighter;
use crate::request::{Context, Head, Identity};
use crate::response;
use crate::worker::{View, Worker};

/// Finds the route and does what it says.
pub async fn respond(
    worker: &Worker,
    view: &Rc<View>,
    connection: &Connection,
    record: &mut Record,
    mut head: Head,
    body: Incoming,
) -> Result<(response::Head, Body<RequestBody>), Rejection> {
    if worker.deny.is_banned(record.context.client) {
        return Err(Rejection::Banned);
    }
    if let Some(access) = &connection.settings().access {
        access.check(record.context.client)?;
    }
    let snapshot = &view.shared;
    let found = snapshot.table.find(&head)?;
    let route = &snapshot.routes[found.route];
    record.route = Some(found.route);
    let context = &mut record.context;
    context.route = Some(route.name.clone());
    if route.uses_parameters {
        let parameters = found.parameters(head.path());
        context.parameters = parameters.map(|(name, value)| (name.into(), value.into())).collect();
    }

    check(&route.policies, context, &mut head).await?;
    fault::point(head.path());

    match &route.action {
        Action::Respond(answer) => Ok(answer.respond(&head)),
        Action::Forward { plan, replace_prefix } => {
            // Before those of the identity, so that these are never displaced.
            route.upstream_headers.apply(&mut head.fields, context);
            snapshot.identity_headers.apply(&mut head.fields, context.identity.as_deref());
            if let (Some(signed), Some(identity)) = (&snapshot.signed_identity, &context.identity) {
                let upstream = &snapshot.plans[*plan].config.name;
                signed.apply(&mut head.fields, identity, &context.id, upstream, context.started_at);
            }
            let with_forwarded = snapshot.config.gateway.forwarded;
            forwarded::tell_upstream(&mut head, connection, context.client, with_forwarded);
            head.fields.set(crate::header::X_REQUEST_ID, context.id.0.clone());
            let path = replace_prefix
                .as_deref()
                .map(|replacement| found.replace_prefix(head.path(), replacement).into_owned());
            let mut body = RequestBody::new(body, &head.fields, &route.policies.requests)?;
            body.refuse_trailers(snapshot.identity_trailers.clone());
            let watch = body.watch();
            record.body = Some(watch.clone());
            let upstream = &view.upstreams[*plan];
            let mapping = path
                .as_deref()
                .zip(replace_prefix.as_deref())
                .map(|(path, replacement)| forward::Mapping { path, prefix: found.prefix, replacement });
            let (head, body, timing) = forward::forward(context, head, mapping, body, upstream)
                .await
                // The body knows better than the connection that carried it why it broke.
                .map_err(|rejection| watch.fault().map_or(rejection, Rejection::from))?;
            worker.cells.upstream_answered(view.labels.upstreams[*plan], timing.to_head);
            record.upstream = Some(timing);
            Ok((head, body))
        }
    }
}

/// A route's policies, in the order that [`RoutePolicies`] explains.
async fn check(policies: &RoutePolicies, context: &mut Context, head: &mut Head) -> Result<(), Rejection> {
    if let Some(access) = &policies.access {
        access.check(context.client)?;
    }
    context.limit = policies.address_limits.check(context, head, context.started)?;
    authenticate(&policies.authentication, context, head).await?;
    let limit = policies.identity_limits.check(context, head, context.started)?;
    context.limit = tighter(context.limit.take(), limit);
    Ok(())
}

/// Any of the ways is enough. A credential that one way cannot place may be another's (a second issuer, a second list of
/// keys), so the next one is asked; one that is known and not good decides: an expired token is not made good by a key.
/// Of several refusals the client is told the first.
async fn authenticate(
    ways: &[Authentication],
    context: &mut Context,
    head: &mut Head,
) -> Result<(), Rejection> {
    let (mut refused, mut challenge) = (None, None);
    for (index, way) in ways.iter().enumerate() {
        match way.judge(head, context).await {
            None => challenge = challenge.or(Some(way.challenge())),
            Some(Ok(identity)) => {
                context.identity = Some(identity);
                strip(ways, index, head);
                return Ok(());
            }
            Some(Err(rejection)) if may_be_anothers(&rejection) => refused = refused.or(Some(rejection)),
            Some(Err(rejection)) => return Err(refused.unwrap_or(rejection)),
        }
    }
    match refused.or(challenge.map(Rejection::NoCredential)) {
        Some(rejection) => Err(rejection),
        None => Ok(()),
    }
}

/// Whether a way only says that the credential is none of its own.
fn may_be_anothers(rejection: &Rejection) -> bool {
    use CredentialFault as F;
    let Rejection::BadCredential(_, fault) = rejection else { return false };
    match fault {
        F::Issuer
        | F::Audience
        | F::Algorithm
        | F::UnknownKey
        | F::Signature
        | F::UnknownCredential
        | F::Malformed => true,
        F::Repeated | F::Expired | F::NotYetValid | F::Critical | F::Disabled => false,
    }
}

/// Removes credentials from what goes upstream: the one that was accepted where its configuration says so, and every
/// other that nobody has judged, since an upstream behind a gateway takes a token that it sees for a verified one.
fn strip(ways: &[Authentication], accepted: usize, head: &mut Head) {
    let keep: &[Location] = match &ways[accepted] {
        Authentication::Jwt(tokens) => {
            if !tokens.config().forward {
                head.fields.remove(&AUTHORIZATION);
            }
            &[Location::Header(AUTHORIZATION)]
        }
        Authentication::ApiKey(keys) => {
            keys.strip(head);
            keys.locations()
        }
    };
    let others = ways.iter().enumerate().filter(|(index, _)| *index != accepted);
    for (_, other) in others {
        match other {
            Authentication::Jwt(_) if keep.contains(&Location::Header(AUTHORIZATION)) => {}
            Authentication::Jwt(_) => jwt::remove_bearer(head),
            Authentication::ApiKey(keys) => keys.remove(head, keep),
        }
    }
}

impl Authentication {
    /// Who the request's credential of this kind belongs to; `None` when it has none.
    async fn judge(&self, head: &Head, context: &Context) -> Option<Result<Arc<Identity>, Rejection>> {
        match self {
            Authentication::Jwt(tokens) => {
                match tokens.authenticate(head, context.started_at, context.started).await {
                    jwt::Outcome::Absent => None,
                    jwt::Outcome::Accepted(identity) => Some(Ok(identity)),
                    jwt::Outcome::Refused(rejection) => Some(Err(rejection)),
                }
            }
            Authentication::ApiKey(keys) => keys.authenticate(head, context.started_at, context.client),
        }
    }

    fn challenge(&self) -> Challenge {
        match self {
            Authentication::Jwt(_) => Challenge::Bearer,
            Authentication::ApiKey(_) => Challenge::ApiKey,
        }
    }
}
