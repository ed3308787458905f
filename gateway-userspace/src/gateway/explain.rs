//! `portcullis explain METHOD URL`: the way of a request through the configuration in force, without sending it.
//!
//! Everything is asked of the objects that serve requests. Limits are named and not charged; credentials are looked at
//! as a request's would be, the issuer's keys included.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Instant, SystemTime};

use super::Gateway;
use crate::abuse::standing::Standing;
use crate::admin::api::{self, Explanation, Step};
use crate::admin::problem::Problem;
use crate::config::snapshot::{Action, Authentication, Route, Snapshot};
use crate::header::{Fields, Name, Value};
use crate::http::rejection::{Challenge, Rejection};
use crate::policy::jwt;
use crate::request::head::{self, Authority, Head, Version};
use crate::request::path::{self, EncodedSlash};
use crate::request::{Identity, Scheme};

/// Follows a request.
pub async fn explain(gateway: &Gateway, request: api::Explain) -> Result<Explanation, Problem> {
    let (_, snapshot) = gateway.live.current();
    let client = request.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
    let mut steps = Steps::default();
    let ban = gateway.keeper.explain(client).await.map_err(crate::abuse::keeper::Refusal::from)?;
    steps.add("ban", ban);
    // As behind a proxy, so that asking takes nobody's place on parole.
    let standing = gateway.keeper.deny().standing(client, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let banned = matches!(standing, Standing::Banned(_));
    let outcome = match head_of(&request)? {
        _ if banned => String::from("dropped by the kernel stage where it is on, else 403 banned"),
        Ok(head) => match follow(&snapshot, &head, client, &mut steps).await {
            Ok(outcome) => outcome,
            Err(rejection) => refused(&rejection),
        },
        Err(rejection) => {
            steps.add("path", "the target is not valid");
            refused(&rejection)
        }
    };
    Ok(Explanation { steps: steps.0, outcome })
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn add(&mut self, step: &str, finding: impl Into<String>) {
        self.0.push(Step { step: step.to_owned(), finding: finding.into() });
    }
}

/// The head that the URL and the fields make; the inner error is what a client would get for it.
fn head_of(request: &api::Explain) -> Result<Result<Head, Rejection>, Problem> {
    let not_a = |what: &str| Problem::bad_request(format!("{what} is not valid"));
    let target: http::Uri = request.url.parse().map_err(|_| not_a("the URL"))?;
    let method = http::Method::from_bytes(request.method.as_bytes()).map_err(|_| not_a("the method"))?;
    let scheme = match target.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(not_a("the URL: it begins with neither http:// nor https://, so it")),
    };
    let authority = target.authority().ok_or_else(|| not_a("the URL's host"))?.as_str().to_ascii_lowercase();
    let mut fields = Fields::default();
    for (name, value) in &request.headers {
        let name_parsed = Name::parse(name).ok_or_else(|| not_a(&format!("the header name `{name}`")))?;
        let value = Value::parse(value.as_bytes()).ok_or_else(|| not_a(&format!("the value of `{name}`")))?;
        fields.add(name_parsed, value);
    }
    let Ok(path) = path::normalise(target.path(), EncodedSlash::Reject) else {
        return Ok(Err(Rejection::BadTarget));
    };
    Ok(Ok(Head::new(head::Parts {
        method,
        scheme,
        version: Version::Http11,
        authority: Authority::Owned(authority.into()),
        target,
        path,
        fields,
    })))
}

async fn follow(
    snapshot: &Snapshot,
    head: &Head,
    client: IpAddr,
    steps: &mut Steps,
) -> Result<String, Rejection> {
    steps.add("path", format!("{} {} on host {}", head.method(), head.path(), head.host()));
    let found = snapshot.table.find(head)?;
    let route = &snapshot.routes[found.route];
    let parameters: Vec<String> =
        found.parameters(head.path()).map(|(name, value)| format!(", {name} = {value}")).collect();
    steps.add("route", format!("{} by {}{}", route.name, found.pattern.text, parameters.concat()));
    if let Some(access) = &route.policies.access {
        let admitted = access.check(client);
        steps.add(
            "address",
            format!("{client} is {}", if admitted.is_ok() { "admitted" } else { "not admitted" }),
        );
        admitted?;
    }
    authenticate(route, head, client, steps).await?;
    for limit in &snapshot.config.route[found.route].limits {
        steps.add("limit", format!("{} would be charged", limit.value));
    }
    Ok(match &route.action {
        Action::Respond(_) => String::from("answered by the gateway"),
        Action::Forward { plan, replace_prefix } => {
            let plan = &snapshot.plans[*plan];
            let now = Instant::now();
            for endpoint in plan.endpoints() {
                let addresses: Vec<String> = endpoint.addresses().iter().map(SocketAddr::to_string).collect();
                let standing = endpoint.standing(now);
                steps.add(
                    "upstream",
                    format!("{} ({}) is {standing:?}", endpoint.target.authority, addresses.join(", ")),
                );
            }
            let path = replace_prefix
                .as_deref()
                .map_or_else(|| head.path().into(), |with| found.replace_prefix(head.path(), with));
            format!("forwarded to {} as {path}", plan.config.name)
        }
    })
}

async fn authenticate(
    route: &Route,
    head: &Head,
    client: IpAddr,
    steps: &mut Steps,
) -> Result<(), Rejection> {
    let ways = &route.policies.authentication;
    if ways.is_empty() {
        steps.add("auth", "none: the route is open");
        return Ok(());
    }
    for way in ways {
        let outcome = match way {
            Authentication::Jwt(tokens) => {
                match tokens.authenticate(head, SystemTime::now(), Instant::now()).await {
                    jwt::Outcome::Absent => None,
                    jwt::Outcome::Accepted(identity) => Some(Ok(identity)),
                    jwt::Outcome::Refused(rejection) => Some(Err(rejection)),
                }
            }
            Authentication::ApiKey(keys) => keys.authenticate(head, SystemTime::now(), client),
        };
        match outcome {
            None => {}
            Some(Ok(identity)) => {
                steps.add("auth", who(&identity));
                return Ok(());
            }
            Some(Err(rejection)) => {
                steps.add("auth", refused(&rejection));
                return Err(rejection);
            }
        }
    }
    steps.add("auth", "the request brings no credential that the route asks for");
    Err(Rejection::NoCredential(match ways[0] {
        Authentication::Jwt(_) => Challenge::Bearer,
        Authentication::ApiKey(_) => Challenge::ApiKey,
    }))
}

fn who(identity: &Identity) -> String {
    format!("{} by auth {}", identity.principal, identity.auth)
}

fn refused(rejection: &Rejection) -> String {
    let appearance = rejection.appearance();
    let detail = match rejection {
        Rejection::BadCredential(_, fault) => format!(" ({})", fault.as_str()),
        Rejection::MethodNotAllowed { allow } => format!(" (allowed: {allow})"),
        _ => String::new(),
    };
    format!("{} {}{detail}", appearance.status, appearance.reason)
}
