//! An upstream with nothing left to check: what a snapshot holds of it, the same for all workers.

use std::sync::Arc;

use http::HeaderValue;
use http::uri::{Authority, Scheme};

use super::config::{Config, HostHeader, Target};
use super::connect;
use super::endpoint::Endpoint;

/// A compiled upstream. Made by [`super::registry::Registry::compile`], opened by each worker for itself.
#[derive(Debug)]
pub struct Plan {
    /// What it was made from.
    pub config: Config,
    /// `HostHeader::Fixed`, ready to send.
    pub(crate) fixed_host: Option<Host>,
    /// The targets, in the order of the config.
    pub(crate) targets: Box<[PlannedTarget]>,
}

/// A target, ready to be spoken to.
#[derive(Debug)]
pub(crate) struct PlannedTarget {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) tls: Option<connect::Tls>,
    /// Its own authority.
    pub(crate) host: Host,
    /// `http` or `https`.
    pub(crate) scheme: Scheme,
}

/// `host[:port]` in the form of each HTTP version.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// For the `Host` field.
    pub(crate) field: HeaderValue,
    /// For `:authority`.
    pub(crate) authority: Authority,
}

/// Why a config cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] super::tls::Error),
    /// A host or authority that cannot stand in a request.
    #[error("`{text}` is not a host with an optional port")]
    Host {
        /// What it is.
        text: Box<str>,
        /// Why.
        source: http::uri::InvalidUri,
    },
    /// There is nothing to send requests to.
    #[error("an upstream needs a target")]
    NoTarget,
}

impl Host {
    pub(crate) fn parse(text: &str) -> Result<Host, Error> {
        let authority =
            Authority::try_from(text).map_err(|source| Error::Host { text: text.into(), source })?;
        let field = HeaderValue::from_str(authority.as_str()).expect("an authority is visible ASCII");
        Ok(Host { field, authority })
    }
}

impl PlannedTarget {
    /// What the config says.
    pub(crate) fn config(&self) -> &Target {
        &self.endpoint.target
    }
}

impl Plan {
    pub(super) fn new(config: Config, targets: Vec<PlannedTarget>) -> Result<Plan, Error> {
        if targets.is_empty() {
            return Err(Error::NoTarget);
        }
        let fixed_host = match &config.host {
            HostHeader::Fixed(text) => Some(Host::parse(text)?),
            HostHeader::Preserve | HostHeader::Target => None,
        };
        Ok(Plan { config, fixed_host, targets: targets.into() })
    }

    /// What is known of the targets, for `status` and for metrics.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.targets.iter().map(|target| &target.endpoint)
    }
}
