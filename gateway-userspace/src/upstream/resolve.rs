//! Names of targets, resolved off the request path.
//!
//! The system's resolver is asked (`getaddrinfo`: `/etc/hosts` and search domains count), every 30 s, or every second
//! while a name has no address yet. An answer replaces the addresses for connections to come; a failure or an empty
//! answer changes nothing. Records' times to live are not visible this way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::registry::Registry;

/// How long an answer is used.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon a name without any address is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the resolver failed")]
    Resolver(#[source] std::io::Error),
    #[error("no answer in {} s", ANSWER_TIMEOUT.as_secs())]
    Timeout,
    #[error("the name exists and has no address")]
    Empty,
}

impl Registry {
    /// Resolves every name once, all at the same time; at most 5 s. To be awaited before a first snapshot goes live.
    /// Says whether every name has an address.
    pub async fn resolve(&self) -> bool {
        let mut lookups = JoinSet::new();
        for endpoint in self.endpoints() {
            if endpoint.target.host.parse::<std::net::IpAddr>().is_err() {
                lookups.spawn(async move { refresh(&endpoint).await });
            }
        }
        let mut complete = true;
        while let Some(resolved) = lookups.join_next().await {
            complete &= resolved.unwrap_or(false);
        }
        complete
    }

    /// Keeps names resolved for as long as it is polled; runs once, beside the workers.
    pub async fn keep_resolving(&self) {
        loop {
            let pause = if self.resolve().await { REFRESH } else { RETRY };
            // A new plan's names are not kept waiting; no answer (an elapsed pause) is the usual case.
            let _elapsed = timeout(pause, self.names_wanted.notified()).await;
        }
    }
}

/// Says whether the endpoint has an address now.
async fn refresh(endpoint: &Endpoint) -> bool {
    let known = endpoint.addresses();
    match lookup(&endpoint.target.host, endpoint.target.port).await {
        Ok(addresses) => {
            if addresses != known {
                tracing::info!(target = %endpoint.target.authority, ?addresses, "target resolved");
                endpoint.set_addresses(addresses);
            }
            true
        }
        Err(cause) => {
            let cause: &dyn std::error::Error = &cause;
            tracing::warn!(target = %endpoint.target.authority, cause, kept = known.len(), "cannot resolve");
            !known.is_empty()
        }
    }
}

/// The addresses of a name, sorted, so that an answer in another order is the same answer.
async fn lookup(host: &str, port: u16) -> Result<Arc<[SocketAddr]>, Error> {
    let answer = timeout(ANSWER_TIMEOUT, tokio::net::lookup_host((host, port)));
    let mut addresses: Vec<SocketAddr> =
        answer.await.map_err(|_elapsed| Error::Timeout)?.map_err(Error::Resolver)?.collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err(Error::Empty) } else { Ok(addresses.into()) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::upstream::config::Target;
    use crate::upstream::connect;
    use crate::upstream::endpoint::Standing;

    fn endpoint(host: &str) -> Endpoint {
        let target = Target { tls: false, host: host.into(), port: 8080, authority: host.into() };
        Endpoint::new(Arc::from("users"), target, Instant::now())
    }

    #[tokio::test]
    async fn a_name_that_gets_its_first_address_is_up_at_once() {
        let endpoint = endpoint("localhost");
        endpoint.failed(Instant::now(), &connect::Error::NoAddress);
        assert_eq!(endpoint.standing(Instant::now()), Standing::Down);
        assert!(refresh(&endpoint).await);
        assert!(
            endpoint.addresses().iter().all(|address| address.ip().is_loopback() && address.port() == 8080)
        );
        assert_eq!(endpoint.standing(Instant::now()), Standing::Up);
    }

    #[tokio::test]
    async fn a_name_that_no_longer_resolves_keeps_its_last_addresses() {
        // Never resolves, and never leaves the machine: RFC 6761 §6.4, and too long a label besides.
        let endpoint = endpoint(&format!("{}.invalid", "a".repeat(64)));
        assert!(!refresh(&endpoint).await);
        let last: Arc<[SocketAddr]> = Arc::new([SocketAddr::from(([10, 0, 0, 1], 8080))]);
        endpoint.set_addresses(last.clone());
        assert!(refresh(&endpoint).await);
        assert_eq!(endpoint.addresses(), last);
    }
}
