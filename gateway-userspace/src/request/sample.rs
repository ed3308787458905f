//! Requests for tests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::head::{Authority, Parts, Version};
use super::{Context, Head, Identity, Peer, RequestId, Scheme};
use crate::header::{Fields, Name, Value};

/// `GET` of a target in origin form, on `example.com` over TLS.
pub(crate) fn head(target: &str, fields: &[(&str, &str)]) -> Head {
    head_for("example.com", target, fields)
}

/// The same on another host.
pub(crate) fn head_for(host: &str, target: &str, fields: &[(&str, &str)]) -> Head {
    let mut lines = Fields::default();
    for (name, value) in fields {
        let name = Name::parse(name).expect("a field name");
        lines.add(name, Value::parse(value.as_bytes()).expect("a field value"));
    }
    Head::new(Parts {
        method: http::Method::GET,
        scheme: Scheme::Https,
        version: Version::Http11,
        authority: Authority::Owned(host.into()),
        target: target.parse().expect("a target"),
        path: None,
        fields: lines,
    })
}

/// A request of a client on route `route`.
pub(crate) fn context(client: &str, identity: Option<Identity>) -> Context {
    let client: IpAddr = client.parse().expect("an address");
    let peer = Peer {
        socket: (client, 40_000).into(),
        source: (client, 40_000).into(),
        local: ([127, 0, 0, 1], 443).into(),
        trusted: false,
        tls: None,
    };
    Context {
        id: RequestId(Value::from_static("0197-test")),
        peer: Arc::new(peer),
        client,
        started: Instant::now(),
        started_at: SystemTime::now(),
        route: Some(Arc::from("route")),
        parameters: Vec::new(),
        identity: identity.map(Arc::new),
        shadow: None,
        banned: None,
        parole: None,
        limit: None,
    }
}
