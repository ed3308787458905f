//! What decides a request: its route, the route's policies in their order, and its action.

use std::rc::Rc;

use hyper::body::Incoming;

use super::finish::Record;
use crate::action::{Body, forward};
use crate::config::snapshot::{Action, Authentication, RoutePolicies};
use crate::http::body::RequestBody;
use crate::http::connection::Connection;
use crate::http::forwarded;
use crate::http::rejection::{Challenge, Rejection};
use crate::policy::jwt;
use crate::policy::rate_limit::tighter;
use crate::request::{Context, Head};
use crate::response;
use crate::worker::{View, Worker};

/// Finds the route and does what it says.
pub async fn respond(
    worker: &Worker,
    view: &Rc<View>,
    connection: &Connection,
    context: &mut Context,
    record: &mut Record,
    mut head: Head,
    body: Incoming,
) -> Result<(response::Head, Body<RequestBody>), Rejection> {
    if worker.deny.is_banned(context.client) {
        return Err(Rejection::Banned);
    }
    if let Some(access) = &connection.settings().access {
        access.check(context.client)?;
    }
    let snapshot = &view.shared;
    let found = snapshot.table.find(&head)?;
    let route = &snapshot.routes[found.route];
    record.route = Some(found.route);
    context.route = Some(route.name.clone());

    check(&route.policies, context, &mut head).await?;

    match &route.action {
        Action::Respond(answer) => Ok(answer.respond(&head)),
        Action::Forward { plan, replace_prefix } => {
            snapshot.identity_headers.apply(&mut head.fields, context.identity.as_deref());
            forwarded::tell_upstream(&mut head, connection, context.client);
            head.fields.set(crate::header::X_REQUEST_ID, context.id.0.clone());
            let path = replace_prefix
                .as_deref()
                .map(|replacement| found.replace_prefix(head.path(), replacement).into_owned());
            let mut body = RequestBody::new(body, &head.fields, &route.policies.requests)?;
            body.refuse_trailers(snapshot.identity_trailers.clone());
            let received = body.received();
            record.received = received.clone();
            let upstream = &view.upstreams[*plan];
            let (head, body, timing) = forward::forward(context, head, path.as_deref(), body, upstream)
                .await
                // The body knows better than the connection that carried it why it broke.
                .map_err(|rejection| received.fault().map_or(rejection, Rejection::from))?;
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

/// Any of the ways is enough. The first credential that is there decides: a wrong token is not made good by a key.
async fn authenticate(
    ways: &[Authentication],
    context: &mut Context,
    head: &mut Head,
) -> Result<(), Rejection> {
    let mut challenge = None;
    for way in ways {
        let identity = match way {
            Authentication::Jwt(tokens) => {
                match tokens.authenticate(head, context.started_at, context.started).await {
                    jwt::Outcome::Absent => None,
                    jwt::Outcome::Accepted(identity) => Some(identity),
                    jwt::Outcome::Refused(rejection) => return Err(rejection),
                }
            }
            Authentication::ApiKey(keys) => keys.authenticate(head).transpose()?,
        };
        if let Some(identity) = identity {
            context.identity = Some(identity);
            ways.iter().for_each(|way| way.strip(head));
            return Ok(());
        }
        challenge = challenge.or(Some(way.challenge()));
    }
    challenge.map_or(Ok(()), |challenge| Err(Rejection::NoCredential(challenge)))
}

impl Authentication {
    fn challenge(&self) -> Challenge {
        match self {
            Authentication::Jwt(_) => Challenge::Bearer,
            Authentication::ApiKey(_) => Challenge::ApiKey,
        }
    }

    /// Removes the credential from what goes upstream, where the configuration says so.
    fn strip(&self, head: &mut Head) {
        match self {
            Authentication::Jwt(tokens) if !tokens.config().forward => {
                head.fields.remove(&crate::header::AUTHORIZATION);
            }
            Authentication::Jwt(_) => {}
            Authentication::ApiKey(keys) => keys.strip(head),
        }
    }
}
