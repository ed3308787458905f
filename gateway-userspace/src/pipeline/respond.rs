//! What decides a request: its route, the route's policies in their order, and its action.

use std::future::Future;
use std::sync::Arc;

use super::fault;
use super::finish::Record;
use crate::abuse::parole::Visit;
use crate::abuse::standing::Standing;
use crate::action::{Body, forward};
use crate::config::snapshot::{Action, Authentication};
use crate::header::AUTHORIZATION;
use crate::http::body::{RequestBody, Watch};
use crate::http::connection::Connection;
use crate::http::forwarded;
use crate::http::incoming::Incoming;
use crate::http::rejection::{Challenge, CredentialFault, Rejection};
use crate::observe::metrics::Label;
use crate::policy::api_key::config::Location;
use crate::policy::jwt;
use crate::policy::rate_limit::tighter;
use crate::request::{Context, Head, Identity, Parameter};
use crate::response;
use crate::route::Found;
use crate::worker::View;

/// The head of an answer, and its body.
pub type Answer = (response::Head, Body<RequestBody>);

/// What an upstream gives.
pub type Forwarded = Result<forward::Forwarded<RequestBody>, forward::Failure>;

/// How a request goes on.
pub enum Step<F> {
    /// It is answered.
    Answered(Answer),
    /// Its upstream has been asked; [`settle`] what comes.
    Forwarded(F),
    /// It brings a credential that is not known yet: [`judge`] it.
    Unknown(Head, Incoming),
}

/// What the bans in force say about the client: it is kept out, or the request carries what covers it.
pub fn stand(connection: &Connection, record: &mut Record) -> Result<(), Rejection> {
    let context = &record.context;
    let peer = context.peer.socket_address();
    match record.worker().deny.standing_on(context.client, peer, connection.turn()) {
        Standing::Free => {}
        Standing::Observed(shadows) => record.context.shadow = Some(shadows),
        Standing::Paroled(turn) => {
            let begin = || Visit::new(turn, record.worker().reporter.paroles());
            record.context.parole = Some(connection.visit(turn, begin));
        }
        Standing::Banned(ban) => {
            record.context.banned = Some(ban);
            return Err(Rejection::Banned);
        }
    }
    Ok(())
}

/// Finds the route and does what it says, as far as that goes without waiting.
pub fn respond(
    connection: &Connection,
    record: &mut Record,
    mut head: Head,
    body: Incoming,
) -> Result<Step<impl Future<Output = Forwarded> + use<>>, Rejection> {
    if let Some(access) = &connection.settings().access {
        access.check(record.context.client)?;
    }
    let view = record.view().clone();
    let found = view.shared.table.find(&head)?;
    let route = &view.shared.routes[found.route];
    record.route = Some(found.route);
    let context = &mut record.context;
    context.route = Some(route.name.clone());
    if route.uses_parameters {
        let parameters = found.parameters(head.path()).map(|(name, value)| Parameter {
            name: name.into(),
            value: value.into(),
            canonical: found.canonical(name, value).into(),
        });
        context.parameters = parameters.collect();
    }
    let policies = &route.policies;
    if let Some(access) = &policies.access {
        access.check(context.client)?;
    }
    context.limit = policies.address_limits.check(context, &head, context.started)?;
    if recall(&policies.authentication, context, &mut head)? {
        act(&view, &found, connection, record, head, body)
    } else {
        Ok(Step::Unknown(head, body))
    }
}

/// Goes on with a request whose credential is not known: judging it may take waiting for an issuer's keys.
pub async fn judge(
    connection: &Connection,
    record: &mut Record,
    mut head: Head,
    body: Incoming,
) -> Result<Answer, Rejection> {
    let view = record.view().clone();
    let found = view.shared.table.find(&head)?;
    let policies = &view.shared.routes[found.route].policies;
    authenticate(&policies.authentication, &mut record.context, &mut head).await?;
    match act(&view, &found, connection, record, head, body)? {
        Step::Answered(answer) => Ok(answer),
        Step::Forwarded(answer) => settle(record, answer.await),
        Step::Unknown(..) => Err(Rejection::Internal),
    }
}

/// What comes after authentication: whether the client is banned, limits of the identity, and the route's action.
fn act(
    view: &View,
    found: &Found<'_>,
    connection: &Connection,
    record: &mut Record,
    mut head: Head,
    body: Incoming,
) -> Result<Step<impl Future<Output = Forwarded> + use<>>, Rejection> {
    let route = &view.shared.routes[found.route];
    if let Some(identity) = &record.context.identity {
        let (auth, principal) = (&*identity.auth, &*identity.principal);
        match record.worker().deny.client_standing(auth, principal, record.context.client) {
            Standing::Banned(ban) => {
                record.context.banned = Some(ban);
                return Err(Rejection::Banned);
            }
            Standing::Observed(shadows) => match &mut record.context.shadow {
                Some(known) => known.extend(shadows),
                none => *none = Some(shadows),
            },
            _ => {}
        }
    }
    let context = &mut record.context;
    let limit = route.policies.identity_limits.check(context, &head, context.started)?;
    context.limit = tighter(context.limit.take(), limit);
    fault::point(head.path());
    match &route.action {
        Action::Respond(answer) => Ok(Step::Answered(answer.respond(&head))),
        Action::Forward { plan, replace_prefix } => {
            let shared = &view.shared;
            let with_forwarded = shared.config.gateway.forwarded;
            forwarded::tell_upstream(&mut head, connection, context.client, with_forwarded);
            head.fields.set(crate::header::X_REQUEST_ID, context.id.0.clone());
            // After the forwarding fields, which remove every `X-Forwarded-…` of the client's, and before those of the
            // identity, so that these are never displaced.
            route.upstream_headers.apply(&mut head.fields, context);
            shared.identity_headers.apply(&mut head.fields, context.identity.as_deref());
            if let (Some(signed), Some(identity)) = (&shared.signed_identity, &context.identity) {
                let upstream = &shared.plans[*plan].config.name;
                signed.apply(&mut head.fields, identity, &context.id, upstream, context.started_at);
            }
            let path = replace_prefix
                .as_deref()
                .map(|replacement| found.replace_prefix(head.path(), replacement).into_owned());
            let mut body = RequestBody::new(body, &head.fields, &route.policies.requests)?;
            body.refuse_trailers(shared.identity_trailers.clone());
            record.body = Some(body.watch());
            let upstream = &view.upstreams[*plan];
            let mapping = path
                .as_deref()
                .zip(replace_prefix.as_deref())
                .map(|(path, replacement)| forward::Mapping { path, prefix: found.prefix, replacement });
            Ok(Step::Forwarded(forward::forward(&record.context, head, mapping, body, upstream)?))
        }
    }
}

/// Takes note of what an upstream gave.
pub fn settle(record: &mut Record, forwarded: Forwarded) -> Result<Answer, Rejection> {
    let view = record.view();
    let plan = record.route.and_then(|route| view.shared.routes[route].action.plan());
    let (name, label) = plan.map_or(("", Label::NONE), |plan| {
        (&*view.shared.plans[plan].config.name, view.labels.upstreams[plan])
    });
    match forwarded {
        Ok((head, body, timing)) => {
            record.worker().cells.upstream_answered(label, timing.to_head);
            record.upstream = Some(timing);
            Ok((head, body))
        }
        Err(failure) => {
            let rejection = failure.rejection(&record.context, name);
            // The body knows better than the connection that carried it why it broke.
            Err(record.body.as_ref().and_then(Watch::fault).map_or(rejection, Rejection::from))
        }
    }
}

/// Authenticates by what is remembered; `false` when that is not enough. A route without ways is open.
fn recall(ways: &[Authentication], context: &mut Context, head: &mut Head) -> Result<bool, Rejection> {
    let mut hearing = Hearing::default();
    for (index, way) in ways.iter().enumerate() {
        let Some(judged) = way.recall(head, context) else { return Ok(false) };
        if let Some(identity) = hearing.hear(way, judged)? {
            accept(ways, index, identity, context, head);
            return Ok(true);
        }
    }
    hearing.end().map(|()| true)
}

/// The same, with everything that it takes to find out.
async fn authenticate(
    ways: &[Authentication],
    context: &mut Context,
    head: &mut Head,
) -> Result<(), Rejection> {
    let mut hearing = Hearing::default();
    for (index, way) in ways.iter().enumerate() {
        let judged = way.judge(head, context).await;
        if let Some(identity) = hearing.hear(way, judged)? {
            accept(ways, index, identity, context, head);
            return Ok(());
        }
    }
    hearing.end()
}

/// What one way says: nothing, as there is no credential of its kind; or whose it is.
type Judged = Option<Result<Arc<Identity>, Rejection>>;

/// Any of the ways is enough. A credential that one way cannot place may be another's (a second issuer, a second list of
/// keys), so the next one is asked; one that is known and not good decides: an expired token is not made good by a key.
/// Of several refusals the client is told the first.
#[derive(Default)]
struct Hearing {
    refused: Option<Rejection>,
    challenge: Option<Challenge>,
}

impl Hearing {
    /// Takes what a way says; the identity, if that decides.
    fn hear(&mut self, way: &Authentication, judged: Judged) -> Result<Option<Arc<Identity>>, Rejection> {
        match judged {
            None => self.challenge = self.challenge.or(Some(way.challenge())),
            Some(Ok(identity)) => return Ok(Some(identity)),
            Some(Err(rejection)) if may_be_anothers(&rejection) => {
                self.refused = self.refused.take().or(Some(rejection));
            }
            Some(Err(rejection)) => return Err(self.refused.take().unwrap_or(rejection)),
        }
        Ok(None)
    }

    /// No way has accepted; without any, there is nothing to accept.
    fn end(self) -> Result<(), Rejection> {
        match self.refused.or(self.challenge.map(Rejection::NoCredential)) {
            Some(rejection) => Err(rejection),
            None => Ok(()),
        }
    }
}

fn accept(
    ways: &[Authentication],
    index: usize,
    identity: Arc<Identity>,
    context: &mut Context,
    head: &mut Head,
) {
    context.identity = Some(identity);
    strip(ways, index, head);
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
    async fn judge(&self, head: &Head, context: &Context) -> Judged {
        match self {
            Authentication::Jwt(tokens) => {
                judged(tokens.authenticate(head, context.started_at, context.started).await)
            }
            Authentication::ApiKey(keys) => keys.authenticate(head, context.started_at, context.client),
        }
    }

    /// The same, if it is known without judging.
    fn recall(&self, head: &Head, context: &Context) -> Option<Judged> {
        match self {
            Authentication::Jwt(tokens) => tokens.recall(head, context.started_at).map(judged),
            Authentication::ApiKey(keys) => Some(keys.authenticate(head, context.started_at, context.client)),
        }
    }

    fn challenge(&self) -> Challenge {
        match self {
            Authentication::Jwt(_) => Challenge::Bearer,
            Authentication::ApiKey(_) => Challenge::ApiKey,
        }
    }
}

fn judged(outcome: jwt::Outcome) -> Judged {
    match outcome {
        jwt::Outcome::Absent => None,
        jwt::Outcome::Accepted(identity) => Some(Ok(identity)),
        jwt::Outcome::Refused(rejection) => Some(Err(rejection)),
    }
}
