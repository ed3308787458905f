//! What the tests of everything that goes out share: real upstreams on loopback, and requests to them.

pub(crate) mod origin;
pub(crate) mod raw;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

use super::config::{Config, Target};
use super::registry::Registry;
use super::{Upstream, Upstreams};
use crate::header::{Fields, Name, Value};
use crate::request::head::{Authority, Parts, Version};
use crate::request::{Context, Head, Peer, RequestId, Scheme};

/// The request body of all tests.
pub(crate) type TestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Runs a test the way a worker runs: one thread, one `LocalSet`. A test that hangs fails after a minute.
pub(crate) fn on_a_worker<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs");
    });
}

/// A cleartext target.
pub(crate) fn target(address: SocketAddr) -> Target {
    Target {
        tls: false,
        host: address.ip().to_string().into(),
        port: address.port(),
        authority: address.to_string().into(),
    }
}

/// The defaults for these targets.
pub(crate) fn config(addresses: &[SocketAddr]) -> Config {
    Config::new(Arc::from("origin"), addresses.iter().copied().map(target).collect())
}

/// Opens a config on a worker of its own.
pub(crate) fn open(config: Config) -> Upstream<TestBody> {
    let plan = Registry::new().compile(config).expect("a valid upstream");
    Upstreams::new(0).open(Arc::new(plan))
}

/// A head for `http://api.test`.
pub(crate) fn head(method: &str, target: &str) -> Head {
    head_with(method, target, &[])
}

/// The same with fields.
pub(crate) fn head_with(method: &str, target: &str, fields: &[(&'static str, &'static str)]) -> Head {
    let mut all = Fields::default();
    for (name, value) in fields {
        all.add(Name::from_static(name), Value::from_static(value));
    }
    Head::new(Parts {
        method: method.parse().expect("a method"),
        scheme: Scheme::Https,
        version: Version::Http11,
        authority: Authority::Field(Value::from_static("api.test")),
        target: target.parse().expect("a target"),
        path: None,
        fields: all,
    })
}

/// A context as the pipeline makes one.
pub(crate) fn context() -> Context {
    let local = SocketAddr::from(([127, 0, 0, 1], 443));
    let peer = Peer { socket: local, source: local, local, trusted: false, tls: None };
    Context {
        id: RequestId(Value::from_static("test")),
        client: peer.source.ip(),
        peer: Arc::new(peer),
        started: Instant::now(),
        started_at: SystemTime::now(),
        route: None,
        parameters: Vec::new(),
        identity: None,
        shadow: None,
        banned: None,
        parole: None,
        limit: None,
    }
}

/// No body.
pub(crate) fn no_body() -> TestBody {
    Empty::new().map_err(never).boxed_unsync()
}

/// A body of known length.
pub(crate) fn full_body(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into()).map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> Box<dyn std::error::Error + Send + Sync> {
    match never {}
}

#[test]
fn pools_of_upstreams_that_are_gone_do_not_pile_up() {
    on_a_worker(async {
        let (registry, upstreams) = (Registry::new(), Upstreams::<TestBody>::new(0));
        // Kept, so that no two targets have the same place in memory, by which pools are told apart.
        let mut plans = Vec::new();
        for round in 0..100 {
            let targets = [1, 2, 3].map(|target| SocketAddr::from(([127, 0, round, target], 80)));
            let plan = Arc::new(registry.compile(config(&targets)).expect("a valid upstream"));
            drop(upstreams.open(plan.clone()));
            plans.push(plan);
        }
        let known = upstreams.pools.borrow().len();
        assert!(known < 30, "{known} of 300 pools are still known");
    });
}
