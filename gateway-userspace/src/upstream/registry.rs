//! What upstreams keep over a reload, for the whole process: the state of every target, and TLS sessions.
//!
//! A plan holds what it uses; the registry only remembers it weakly, so what the last plan drops is gone.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use http::uri::Scheme;
use rustls::ClientConfig;
use tokio::sync::Notify;

use super::config::{Config, Protocol, Target};
use super::connect;
use super::endpoint::Endpoint;
use super::plan::{Error, Host, Plan, PlannedTarget};
use super::tls;

/// See the module. One for the process.
#[derive(Debug)]
pub struct Registry {
    epoch: Instant,
    endpoints: Mutex<HashMap<EndpointKey, Weak<Endpoint>>>,
    clients: Mutex<HashMap<(Option<PathBuf>, Protocol), Client>>,
    /// Told when a plan brings names that are not resolved yet.
    pub(super) names_wanted: Notify,
}

/// Upstream, whether TLS, host, port.
type EndpointKey = (Arc<str>, bool, Box<str>, u16);

/// TLS settings, and the CA file's bytes that they were made from.
#[derive(Debug)]
struct Client {
    pem: Vec<u8>,
    settings: Arc<ClientConfig>,
}

impl Registry {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "there is one, and making it reads the clock")]
    pub fn new() -> Registry {
        Registry {
            epoch: Instant::now(),
            endpoints: Mutex::default(),
            clients: Mutex::default(),
            names_wanted: Notify::new(),
        }
    }

    /// Compiles an upstream against what is known of its targets. Reads the CA file; does not resolve names.
    pub fn compile(&self, config: Config) -> Result<Plan, Error> {
        let client =
            if config.targets.iter().any(|target| target.tls) { Some(self.client(&config)?) } else { None };
        let mut targets = Vec::with_capacity(config.targets.len());
        for target in &config.targets {
            let tls = match &client {
                Some(client) if target.tls => {
                    Some(connect::Tls { client: client.clone(), name: tls::server_name(target)? })
                }
                _ => None,
            };
            targets.push(PlannedTarget {
                endpoint: self.endpoint(&config.name, target),
                tls,
                host: Host::parse(&target.authority)?,
                scheme: if target.tls { Scheme::HTTPS } else { Scheme::HTTP },
            });
        }
        self.names_wanted.notify_one();
        Plan::new(config, targets)
    }

    /// Every target that a plan uses.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.values().filter_map(Weak::upgrade).collect()
    }

    fn endpoint(&self, upstream: &Arc<str>, target: &Target) -> Arc<Endpoint> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (upstream.clone(), target.tls, target.host.clone(), target.port);
        if let Some(known) = endpoints.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        // Only before it would grow, so that thousands of new targets look through it a few times.
        if endpoints.len() >= endpoints.capacity() {
            endpoints.retain(|_key, endpoint| endpoint.strong_count() > 0);
        }
        let endpoint = Arc::new(Endpoint::new(upstream.clone(), target.clone(), self.epoch));
        endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }

    /// The same settings, sessions included, as long as the CA file's bytes are the same. One entry for each CA file
    /// ever named, times two.
    fn client(&self, config: &Config) -> Result<Arc<ClientConfig>, tls::Error> {
        let pem = match &config.ca {
            Some(path) => {
                std::fs::read(path).map_err(|source| tls::Error::Read { path: path.clone(), source })?
            }
            None => Vec::new(),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (config.ca.clone(), config.protocol);
        if let Some(known) = clients.get(&key).filter(|known| known.pem == pem) {
            return Ok(known.settings.clone());
        }
        let roots = match &config.ca {
            Some(path) => tls::roots_from_pem(path, &pem)?,
            None => tls::roots_of_system()?,
        };
        let settings = Arc::new(tls::client_config(config, roots));
        clients.insert(key, Client { pem, settings: settings.clone() });
        Ok(settings)
    }
}
