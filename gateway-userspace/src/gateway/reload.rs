//! From a file to a configuration in force: at the start, and again at every reload.
//!
//! Whatever can fail comes first (the file, the snapshot, the sockets, the log), and only then is anything replaced.
//! So an error leaves everything as it was, and requests see the old configuration or the new one, never half of each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::Gateway;
use super::feeds::Wanted;
use crate::abuse::ban::Terms;
use crate::abuse::cdn;
use crate::abuse::exempt::Because;
use crate::abuse::keeper::Settings;
use crate::abuse::score;
use crate::admin::remote;
use crate::config::compile::{self, Compiled, State};
use crate::config::files::Files;
use crate::config::history::Author;
use crate::config::model::{Ban, Config, Listen, Shield};
use crate::config::overlay::Overlay;
use crate::config::snapshot::Snapshot;
use crate::config::{self, Environment, Loaded, codes};
use crate::diagnostic::{Problem, Report};
use crate::listener::{self, Listener};
use crate::tls::Tls;

/// A configuration that could be put in force.
pub struct Ready {
    /// With its snapshot.
    pub compiled: Compiled,
    /// Settings of each listener, by its address, in the order of the configuration.
    pub listeners: Vec<(SocketAddr, listener::Settings)>,
    /// Where the admin API listens beside its socket, and with which certificates.
    pub admin: remote::Wanted,
    /// The files that it was made of.
    pub files: Files,
    /// Warnings only.
    pub report: Report,
}

/// Loads, checks and compiles a configuration as the overlay shows it; touches nothing that is in force.
pub fn prepare(path: &Path, overlay: &Overlay, state: &State) -> Result<Ready, Report> {
    let Loaded { config, mut report, files } =
        config::load_over(path, overlay, &Environment::of_process(), true)?;
    let listens = config.listen.clone();
    let admin = admin_listener(&config);
    match compile::compile(config, state) {
        Ok(mut compiled) => {
            report.problems.append(&mut compiled.warnings);
            match (listener_settings(&listens, &compiled.snapshot), admin) {
                (Ok(listeners), Ok(admin)) => Ok(Ready { compiled, listeners, admin, files, report }),
                (listeners, admin) => {
                    let problems = listeners.err().into_iter().flatten();
                    Err(with(report, problems.chain(admin.err().map(|problem| *problem)).collect()))
                }
            }
        }
        Err(problems) => Err(with(report, problems)),
    }
}

fn admin_listener(config: &Config) -> Result<remote::Wanted, Box<Problem>> {
    let Some(listen) = &config.admin.listen else { return Ok(None) };
    match crate::admin::tls::load(&listen.tls) {
        Ok(tls) => Ok(Some((listen.address.value, tls))),
        Err(error) => {
            let place = listen.address.place.clone();
            Err(Box::new(Problem::error(codes::BAD_CERTIFICATE, super::chain(&error), place)))
        }
    }
}

fn with(mut report: Report, problems: Vec<Problem>) -> Report {
    report.problems.extend(problems);
    report
}

fn listener_settings(
    listens: &[Listen],
    snapshot: &Snapshot,
) -> Result<Vec<(SocketAddr, listener::Settings)>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut settings = Vec::new();
    let fingerprint = snapshot.config.fingerprints_clients();
    for listen in listens {
        let tls = match listen.tls.as_slice() {
            [] => Ok(None),
            certificates => Tls::load(certificates, listen.http2).map(Some),
        };
        match tls {
            Ok(tls) => {
                let trusted = snapshot.trusted.clone();
                let made = listener::Settings::new(listen, tls, fingerprint, trusted);
                settings.push((listen.address.value, made));
            }
            Err(errors) => problems.extend(errors.into_iter().map(|error| {
                Problem::error(codes::BAD_CERTIFICATE, super::chain(&error), listen.place.clone())
            })),
        }
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// Listeners by the address that the configuration names.
pub type Listeners = HashMap<SocketAddr, Arc<Listener>>;

impl Gateway {
    /// Replaces the configuration in force by the file's, or says why not.
    pub fn reload(&self, author: &Author, dry_run: bool) -> Result<Reloaded, Report> {
        let result = prepare(&self.path, &Overlay::default(), &self.state).and_then(|ready| {
            let files = ready.files.clone();
            Ok((self.put_in_force(ready, dry_run)?, files))
        });
        let result = result.map(|(reloaded, files)| {
            if !dry_run {
                self.history.record(&files, author, &reloaded.changes);
            }
            reloaded
        });
        if !dry_run {
            let error =
                result.as_ref().err().map(|report| crate::diagnostic::render::summary(report, &self.path));
            self.last_reload.set(error);
        }
        result
    }

    /// Publishes it, or with `dry_run` says what would change.
    pub fn put_in_force(&self, ready: Ready, dry_run: bool) -> Result<Reloaded, Report> {
        let Ready { compiled, listeners, admin, files: _, mut report } = ready;
        let (_, before) = self.live.current();
        let changes = config::diff::changes(&before.config, &compiled.snapshot.config);
        report.problems.extend(fixed(&before.config, &compiled.snapshot.config));
        if dry_run {
            return Ok(Reloaded { generation: self.live.generation(), changes, report });
        }
        let added = match self.bind_added(&listeners) {
            Ok(added) => added,
            Err(problem) => return Err(with(report, vec![*problem])),
        };
        let admin = match self.remote.prepare(admin) {
            Ok(admin) => admin,
            Err(error) => {
                let message = format!("the admin API cannot listen: {error}");
                return Err(with(report, vec![Problem::unplaced(codes::ADDRESS_UNAVAILABLE, message)]));
            }
        };
        let targets = super::log::targets(&compiled.snapshot.config);
        let opened = targets.and_then(|targets| {
            self.log.prepare(targets).map_err(|error| super::log::unusable(super::chain(&error)))
        });
        let sinks = match opened {
            Ok(sinks) => sinks,
            Err(problem) => return Err(with(report, vec![*problem])),
        };
        // From here on nothing fails.
        if let Some(shield) = &compiled.snapshot.config.shield
            && let Err(error) = self.kernel.reconfigure(shield)
        {
            tracing::error!(error = super::chain(&error), "the kernel stage did not take the new budgets");
        }
        let Compiled { snapshot, jobs, limit_states, .. } = compiled;
        let settings = keeper_settings(&snapshot.config, &self.state);
        let lists = Wanted::of(&snapshot.config, &report.sources);
        self.administrate(&snapshot.config);
        self.remote.change(admin);
        let generation = self.live.publish(Arc::new(snapshot));
        self.state.limits.adopt(limit_states);
        self.fetcher.keep(jobs);
        self.keep_listeners(listeners, added);
        if let Some(sinks) = sinks {
            self.log.adopt(sinks);
            self.workers.replace_logs(|| self.log.log());
        }
        self.configure_lists(settings, lists);
        Ok(Reloaded { generation, changes, report })
    }

    /// Binds the addresses that are new; in force only once [`Gateway::keep_listeners`] hands them out.
    fn bind_added(
        &self,
        wanted: &[(SocketAddr, listener::Settings)],
    ) -> Result<HashMap<SocketAddr, Vec<std::net::TcpListener>>, Box<Problem>> {
        let known = self.listeners.borrow();
        let mut added = HashMap::new();
        for (address, settings) in wanted.iter().filter(|(address, _)| !known.contains_key(address)) {
            let sockets =
                listener::bind(&settings.name, *address, self.workers.count()).map_err(|error| {
                    Box::new(Problem::unplaced(codes::ADDRESS_UNAVAILABLE, super::chain(&error)))
                })?;
            added.insert(*address, sockets);
        }
        Ok(added)
    }

    fn keep_listeners(
        &self,
        wanted: Vec<(SocketAddr, listener::Settings)>,
        mut added: HashMap<SocketAddr, Vec<std::net::TcpListener>>,
    ) {
        let mut listeners = self.listeners.borrow_mut();
        let mut before = std::mem::take(&mut *listeners);
        for (address, settings) in wanted {
            let listener = match (before.remove(&address), added.remove(&address)) {
                (Some(listener), _) => {
                    listener.update(settings);
                    listener
                }
                (None, sockets) => {
                    let sockets = sockets.unwrap_or_default();
                    let listener = Listener::new(bound_address(&sockets, address), settings);
                    self.workers.accept(&listener, sockets);
                    listener
                }
            };
            listeners.insert(address, listener);
        }
        before.into_values().for_each(|gone| gone.stop());
    }
}

/// A configuration that came into force.
pub struct Reloaded {
    /// Its generation.
    pub generation: u64,
    /// What changed.
    pub changes: Vec<String>,
    /// Warnings.
    pub report: Report,
}

/// The address that sockets are bound to: the configured one, with the port that the kernel chose for port 0.
pub fn bound_address(sockets: &[std::net::TcpListener], configured: SocketAddr) -> SocketAddr {
    sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(configured)
}

/// What a change of the file does not change before the next start.
fn fixed(before: &Config, after: &Config) -> Vec<Problem> {
    let interfaces = |config: &Config| {
        let shield = config.shield.as_ref()?;
        let names: Vec<Box<str>> = shield.interfaces.iter().map(|name| name.value.clone()).collect();
        let capacities = (shield.capacity, shield.capacity6);
        Some((names, shield.attach, shield.pins.clone(), capacities, shield.management_ports.clone()))
    };
    let differs = [
        ("gateway.workers", before.gateway.workers != after.gateway.workers),
        ("gateway.state", before.gateway.state != after.gateway.state),
        ("admin.socket", before.admin.socket != after.admin.socket),
        (
            "operations",
            before.operations.as_ref().map(|operations| operations.address.value)
                != after.operations.as_ref().map(|operations| operations.address.value),
        ),
        (
            "shield: interfaces, attach, pins, capacity, capacity-ipv6 and management-ports",
            interfaces(before) != interfaces(after),
        ),
    ];
    let changed = differs.into_iter().filter(|(_, differs)| *differs);
    changed
        .map(|(what, _)| {
            let mut problem = Problem::unplaced(
                codes::NEEDS_RESTART,
                format!("{what}: a change takes effect at the next start"),
            );
            problem.severity = crate::diagnostic::Severity::Warning;
            problem
        })
        .collect()
}

/// What the abuse loop is to do.
pub fn keeper_settings(config: &Config, state: &State) -> Settings {
    let shield = config.shield.as_ref();
    let never = shield.map_or(&[][..], |shield| &shield.never);
    let proxies = &config.gateway.trusted_proxies;
    let targets = state.upstreams.endpoints();
    let upstreams = targets.iter().flat_map(|endpoint| endpoint.addresses().to_vec());
    let with_cdns = shield.is_none_or(|shield| shield.cdn);
    let mut exempt: Vec<_> = never
        .iter()
        .map(|prefix| (*prefix, Because::Never))
        .chain(proxies.iter().map(|prefix| (*prefix, Because::TrustedProxy)))
        .chain(cdn::ranges().filter(|_| with_cdns).map(|range| (range, Because::Cdn)))
        .chain(upstreams.map(|address| (address.ip().to_canonical().into(), Because::Upstream)))
        .collect();
    exempt.sort_unstable();
    exempt.dedup();
    Settings {
        rules: config.ban_rules().map(rule).collect(),
        parole: shield.map_or(Some(DEFAULT_PAROLE), |shield| shield.parole),
        enforce: shield.is_none_or(|shield| shield.enforce),
        capacity: shield.map_or(DEFAULT_CAPACITY, |shield: &Shield| shield.capacity as usize),
        collateral: shield.map_or(0, |shield| shield.collateral),
        exempt,
    }
}

fn rule(ban: &Ban) -> score::Rule {
    score::Rule {
        name: ban.name.clone(),
        asks: ban.when.asks,
        within: ban.when.within,
        kinds: ban.kinds,
        route: ban.route.as_ref().map(|route| route.value.clone()),
        observe: ban.observe,
        terms: Terms { first: ban.first, up_to: ban.up_to },
    }
}

const DEFAULT_PAROLE: std::time::Duration = std::time::Duration::from_secs(30);
const DEFAULT_CAPACITY: usize = 262_144;
