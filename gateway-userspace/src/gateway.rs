//! The composition root: every part is made here, and here alone they learn of each other.
//!
//! The control thread runs the admin socket, the operations listener, name resolution and signals; workers run requests;
//! the keeper decides about bans; one thread fetches keys, one lists, and one writes the log. Nothing on the request path waits for
//! any of them.

mod apply;
mod backend;
mod configuration;
mod explain;
mod feeds;
mod kernel;
mod log;
mod metrics;
mod pressure;
mod reload;
mod shed;
mod tables;
mod workers;

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use self::feeds::{Feeds, Wanted};
use self::kernel::Kernel;
use self::log::LastReload;
use self::reload::{Listeners, Ready};
use self::workers::Workers;
use crate::abuse::keeper::{self, Keeper};
use crate::admin::remote::Remote;
use crate::admin::{server, socket};
use crate::config::compile::{Compiled, State};
use crate::config::history::Author;
use crate::config::live::Live;
use crate::config::model::Config;
use crate::config::overlay::Overlay;
use crate::config::snapshot::Snapshot;
use crate::diagnostic::{Problem, Report};
use crate::keyring::Keyring;
use crate::keyring::fetch::Fetcher;
use crate::listener::{self, BindError, Listener};
use crate::observe::access_log::Writer;
use crate::observe::metrics::Registry;
use crate::observe::operations::{self, Operations};
use crate::observe::readiness::Readiness;
use crate::policy::jwt::kept::Kept;
use crate::policy::rate_limit::States;
use crate::upstream::registry;
use crate::{abuse, dataplane, worker};

/// How soon an upstream's new address is exempt.
const LOOK_AT_UPSTREAMS_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether workers and log have ended.
const LOOK_AT_END_EVERY: Duration = Duration::from_millis(10);
/// How long the access log may take to send what waits once the last worker has ended: what is left of the time to
/// drain, but at least this, for a local disk or daemon, …
const LOG_TIME_MIN: Duration = Duration::from_millis(500);
/// … and at most this, so that a receiver that is away does not make each stop a long one.
const LOG_TIME_MAX: Duration = Duration::from_secs(10);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not valid; the report says why.
    #[error("the configuration is not valid")]
    Config(Box<Report>),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The operations listener.
    #[error("the operations listener cannot listen on {address}")]
    Operations {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The admin socket.
    #[error(transparent)]
    Admin(#[from] socket::Error),
    /// The admin listener.
    #[error("the admin API cannot listen on {}", address.map_or_else(String::new, |address| address.to_string()))]
    Administration {
        /// Where.
        address: Option<std::net::SocketAddr>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel stage.
    #[error("the kernel stage cannot start")]
    Kernel(#[from] dataplane::Error),
    /// The state file.
    #[error("the bans of earlier runs cannot be read")]
    State(#[from] abuse::state::Error),
    /// A thread or a runtime.
    #[error("the process cannot start a thread")]
    Thread(#[from] io::Error),
    /// The access log.
    #[error("{0}")]
    Log(String),
}

/// The running gateway, as the control thread sees it.
pub struct Gateway {
    path: PathBuf,
    started: Instant,
    state: Arc<State>,
    live: Arc<Live<Snapshot>>,
    registry: Arc<Registry>,
    readiness: Arc<Readiness>,
    listeners: RefCell<Listeners>,
    workers: Workers,
    kernel: Kernel,
    keeper: keeper::Handle,
    fetcher: Fetcher,
    feeds: Feeds,
    log: Arc<Writer>,
    last_reload: Arc<LastReload>,
    door: Rc<server::Door>,
    remote: Rc<Remote>,
    history: apply::Kept,
}

/// Runs the gateway until it is told to stop. The configuration's warnings are given to `warn`.
pub fn run(path: &Path, warn: impl FnOnce(&Report)) -> Result<(), Error> {
    // The provider is named wherever TLS is set up; a default serves whoever asks for one all the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, control(path, warn))
}

/// Where the admin socket is made; said if it is not where it usually is.
fn admin_socket(config: &Config) -> PathBuf {
    let path = socket::place(config.admin.socket.clone());
    if path != config.admin.socket {
        let (usual, instead) = (config.admin.socket.display(), path.display());
        tracing::warn!(
            "this user cannot make {usual}: the admin socket is {instead}; `[admin] socket` names another"
        );
    }
    path
}

async fn control(path: &Path, warn: impl FnOnce(&Report)) -> Result<(), Error> {
    let state = Arc::new(State {
        upstreams: registry::Registry::new(),
        keyring: Keyring::new(),
        tokens: Kept::default(),
        limits: States::new(Instant::now()),
    });
    apply::recover(path);
    let ready = reload::prepare(path, &Overlay::default(), &state)
        .map_err(|report| Error::Config(Box::new(report)))?;
    warn(&ready.report);
    raise_file_limit();
    let config = &ready.compiled.snapshot.config;
    let (drain, operations_address) =
        (config.gateway.drain, config.operations.as_ref().map(|operations| operations.address.value));
    // First of all what tells that another gateway is running, before anything of it is touched.
    let admin = server::Server::bind(server::Options {
        socket: admin_socket(config),
        grants: config.admin.grants.clone(),
    })?;
    let operations = match operations_address {
        Some(address) => Some(
            tokio::net::TcpListener::bind(address)
                .await
                .map_err(|source| Error::Operations { address, source })?,
        ),
        None => None,
    };
    let remote = Rc::new(Remote::default());
    let listening = remote.prepare(ready.admin.clone()).map_err(|source| Error::Administration {
        address: ready.admin.as_ref().map(|(address, _)| *address),
        source,
    })?;
    let (gateway, keeper) = assemble(path, state, ready, admin.door(), remote.clone())?;
    let gateway = Rc::new(gateway);

    let door = admin.door();
    let admin = tokio::task::spawn_local(admin.serve(gateway.clone()));
    remote.change(listening);
    let remote = tokio::task::spawn_local(remote.serve(door, gateway.clone()));
    let resolving = gateway.state.clone();
    tokio::task::spawn_local(async move { resolving.upstreams.keep_resolving().await });
    let (stop_operations, operations_stopped) = tokio::sync::oneshot::channel::<()>();
    if let Some(listener) = operations {
        let shown =
            Arc::new(Operations { registry: gateway.registry.clone(), readiness: gateway.readiness.clone() });
        tokio::task::spawn_local(operations::serve(listener, shown, async {
            let _ = operations_stopped.await;
        }));
    }
    let exempting = gateway.clone();
    tokio::task::spawn_local(async move { exempting.keep_upstreams_exempt().await });
    tracing::info!(config = %path.display(), workers = gateway.workers.count(), "ready");
    gateway.heed_signals(drain).await?;
    admin.abort();
    remote.abort();
    drop(stop_operations);
    keeper.stop();
    let (_, snapshot) = gateway.live.current();
    if let Some(stays) = gateway.kernel.stays(snapshot.config.shield.as_ref()) {
        tracing::info!("{stays}");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Makes every part, in the order in which a failure costs least, and joins them.
fn assemble(
    path: &Path,
    state: Arc<State>,
    ready: Ready,
    door: Rc<server::Door>,
    remote: Rc<Remote>,
) -> Result<(Gateway, Keeper), Error> {
    let Ready { compiled, listeners, files, report, .. } = ready;
    let Compiled { snapshot, jobs, limit_states, .. } = compiled;
    let config = &snapshot.config;
    let workers = config.gateway.workers;
    let mut reserved = Vec::new();
    for (address, settings) in listeners {
        let sockets = listener::reserve(&settings.name, address, workers)?;
        reserved.push((address, settings, sockets));
    }
    let writer = open_log(config).map_err(|problem| Error::Log(problem.message))?;
    let kernel = Kernel::load(config.shield.as_ref())?;
    if let Kernel::Off { because, wanted: true } = &kernel {
        tracing::warn!("the kernel stage is off: {because}");
    }
    if let Some(left_behind) = kernel.left_behind(config.shield.as_ref()) {
        tracing::warn!("{left_behind}");
    }
    let readiness = Arc::new(Readiness::new());
    let (keeper, kept_in) = keep(config, &state, &kernel, &readiness)?;
    let feeds = Feeds::start(keeper.handle(), kept_in, Wanted::of(config, &report.sources))?;
    // Behind the keeper, which has filled the maps: a program that is attached has its bans from its first packet.
    if let Err(error) = kernel.attach(&readiness) {
        keeper.stop();
        return Err(error.into());
    }
    // Behind the keeper, whose lock on the state folder tells that no other gateway uses it.
    let history = apply::Kept::open(&config.gateway.state);
    history.record(&files, &Author::new("start", "start"), &[]);

    let live = Arc::new(Live::new(Arc::new(snapshot)));
    let registry = Arc::new(Registry::new());
    let parts = (0..workers).map(|index| worker::Parts {
        index,
        live: live.clone(),
        registry: registry.clone(),
        deny: keeper.handle().deny(),
        reporter: keeper.handle().reporter(),
        log: writer.log(),
    });
    let gateway = Gateway {
        path: path.to_owned(),
        started: Instant::now(),
        workers: Workers::start(parts.collect())?,
        fetcher: Fetcher::start()?,
        feeds,
        log: Arc::new(writer),
        last_reload: Arc::default(),
        listeners: RefCell::default(),
        keeper: keeper.handle(),
        state,
        live,
        registry,
        readiness,
        kernel,
        door,
        remote,
        history,
    };
    gateway.state.limits.adopt(limit_states);
    gateway.fetcher.keep(jobs);
    metrics::register(&gateway.registry, &gateway);
    gateway.readiness.config_loaded();
    // Last, with the bans in force: before the kernel stage is attached, the kernel would let anybody in.
    for (address, settings, sockets) in reserved {
        let sockets = sockets.listen()?;
        let listener = Listener::new(reload::bound_address(&sockets, address), settings);
        tracing::info!(listener = %listener.settings().name, address = %listener.address(), "listening");
        gateway.workers.accept(&listener, sockets);
        gateway.listeners.borrow_mut().insert(address, listener);
    }
    gateway.readiness.listeners_bound();
    Ok((gateway, keeper))
}

/// The access log with the sinks that the configuration names.
fn open_log(config: &Config) -> Result<Writer, Box<Problem>> {
    let writer = Writer::default();
    let opened = writer.prepare(log::targets(config)?);
    if let Some(sinks) = opened.map_err(|error| log::unusable(chain(&error)))? {
        writer.adopt(sinks);
    }
    Ok(writer)
}

/// Starts the abuse loop; with the folder of its state. Where its state cannot be kept, for want of permission, the gateway serves all the same.
fn keep(
    config: &Config,
    state: &State,
    kernel: &Kernel,
    readiness: &Arc<Readiness>,
) -> Result<(Keeper, Option<PathBuf>), abuse::state::Error> {
    let spawn = |folder: Option<PathBuf>| -> Result<_, abuse::state::Error> {
        let settings = reload::keeper_settings(config, state);
        let options = keeper::Options { settings, state: folder.clone() };
        Ok((Keeper::spawn(options, kernel.enforcer(readiness.clone()))?, folder))
    };
    match spawn(Some(config.gateway.state.clone())) {
        Err(error) if error.is_unwritable() => {
            tracing::warn!(
                error = chain(&error),
                "bans are not kept over a restart; let this user write to gateway.state, or name another folder"
            );
            spawn(None)
        }
        result => result,
    }
}

impl Gateway {
    /// SIGHUP reloads, SIGUSR1 reopens the log, SIGTERM, SIGINT and SIGQUIT drain; a second of those ends at once.
    async fn heed_signals(&self, drain: Duration) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup())?;
        let mut reopen = signal(SignalKind::user_defined1())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload_on_signal(),
                _ = reopen.recv() => self.log.reopen(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = quit.recv() => break,
            }
        }
        tracing::info!(patience = ?drain, "draining");
        let drained_by = Instant::now() + drain;
        self.readiness.draining();
        self.listeners.borrow().values().for_each(|listener| listener.stop());
        self.workers.drain(drain);
        let mut look = tokio::time::interval(LOOK_AT_END_EVERY);
        let mut log_ends_by = None;
        // The log ends when no worker writes to it any more.
        while log_ends_by.is_none_or(|by| !self.log.ended() && Instant::now() < by) {
            if log_ends_by.is_none() && self.workers.ended() {
                let now = Instant::now();
                let by = drained_by.clamp(now + LOG_TIME_MIN, now + LOG_TIME_MAX);
                self.log.end(by);
                // A little later, so that a sink that gives up has counted what it gives up.
                log_ends_by = Some(by + 5 * LOOK_AT_END_EVERY);
            }
            tokio::select! {
                _ = look.tick() => {}
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = quit.recv() => break,
            }
        }
        Ok(())
    }

    fn reload_on_signal(&self) {
        match self.reload(&Author::new("SIGHUP", "reload"), false) {
            Ok(reloaded) => {
                tracing::info!(
                    generation = reloaded.generation,
                    changes = reloaded.changes.len(),
                    "reloaded"
                );
            }
            Err(report) => {
                let problems = crate::diagnostic::render::lines(&report);
                tracing::error!(
                    "the configuration was not reloaded, the old one stays in force:\n{problems}"
                );
            }
        }
    }

    /// Who may use the admin API from now on.
    fn administrate(&self, config: &Config) {
        if let Err(error) = self.door.change(config.admin.grants.clone()) {
            tracing::error!(%error, "the admin socket's permissions could not be changed");
        }
    }

    /// Tells the keeper when upstreams resolve to other addresses: they must never be banned.
    async fn keep_upstreams_exempt(&self) {
        let mut look = tokio::time::interval(LOOK_AT_UPSTREAMS_EVERY);
        let mut told = Vec::new();
        loop {
            look.tick().await;
            let (_, snapshot) = self.live.current();
            let settings = reload::keeper_settings(&snapshot.config, &self.state);
            if settings.exempt != told {
                told.clone_from(&settings.exempt);
                self.configure_keeper(settings);
            }
        }
    }

    /// The same, and then whoever tells it lists: whether they drop is for the keeper to say.
    fn configure_lists(&self, settings: keeper::Settings, lists: Wanted) {
        let (keeper, feeds) = (self.keeper.clone(), self.feeds.clone());
        tokio::task::spawn_local(async move {
            if keeper.configure(settings).await.is_err() {
                tracing::error!("the abuse loop has stopped");
            }
            feeds.keep(lists);
        });
    }

    /// Tells the keeper what it is to do from now on, without waiting for it.
    fn configure_keeper(&self, settings: keeper::Settings) {
        let keeper = self.keeper.clone();
        tokio::task::spawn_local(async move {
            if keeper.configure(settings).await.is_err() {
                tracing::error!("the abuse loop has stopped");
            }
        });
    }
}

/// An error with its causes, in one line. Some errors show their cause themselves; it is not said twice.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// As many files as the process may have: a proxied connection needs two.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::warn!("the limit on open files could not be raised");
    }
}
