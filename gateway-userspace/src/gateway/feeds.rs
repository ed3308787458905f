//! The thread that brings lists which others keep into force: it reads, fetches and parses, so that neither the keeper
//! nor the control thread ever waits for a list.
//!
//! Each list of the configuration has a task ([`refresh`]). Commands are carried out here too. Only one list is told to
//! the keeper at a time, in pieces ([`tell`]), and what was told is kept in the state folder ([`kept`]), so that a reboot,
//! and a server that says "unchanged", need nothing else.

mod commands;
mod kept;
mod refresh;
mod tell;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};

use self::tell::Teller;
use crate::abuse::keeper::{self, Refusal};
use crate::abuse::lists::Terms;
use crate::admin::api;
use crate::config::model::{Config, List};
use crate::diagnostic::located::Sources;
use crate::feeds::Format;
use crate::feeds::parse::TooMany;

/// How long the start waits for what was kept of lists.
const RESTORE_PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether an import's time is over.
const LOOK_AT_ENDS_EVERY: Duration = Duration::from_secs(1);

/// The lists of a configuration.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Each with where it stands, for people.
    pub lists: Vec<(List, String)>,
    /// Whether lists drop; else all of them only count.
    pub enforce: bool,
}

/// A list that somebody brings.
#[derive(Debug)]
pub struct Import {
    /// What and how.
    pub request: api::ImportDeny,
    /// Where it comes from, for people.
    pub by: String,
    /// The address that the command comes from, if it comes from another machine.
    pub own: Option<IpAddr>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The name cannot be a file's, or a table's.
    #[error("`{0}` cannot be the name of a list: letters, digits, `-`, `_` and `.`, at most 64")]
    Name(String),
    /// No such list.
    #[error("there is no list `{0}`")]
    Unknown(String),
    /// The configuration has it.
    #[error("[list.{name}] stands at {place}; change it there and run portcullis reload")]
    Configured { name: String, place: String },
    /// A format that there is not.
    #[error("{0}")]
    Format(String),
    /// A list that is not taken.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A time of no length.
    #[error("a list holds at least one second")]
    NoTime,
    /// What was kept of it.
    #[error("what is kept of the list `{0}` cannot be read")]
    Kept(String, #[source] io::Error),
    /// The keeper.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The thread has ended.
    #[error("lists are not looked after any more")]
    Stopped,
}

/// A list that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No byte.
    #[error("the list is empty")]
    Empty,
    /// No entry, but other things.
    #[error("nothing in it could be taken as an entry of {format}; it begins with `{begins}`")]
    NoEntry {
        /// What it was read as.
        format: Format,
        /// The first of what was skipped, without control characters.
        begins: String,
    },
    /// More than is taken.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

impl From<keeper::Stopped> for Fault {
    fn from(stopped: keeper::Stopped) -> Fault {
        Refusal::from(stopped).into()
    }
}

/// The way to the running thread, which ends with the last of them; what was told stays in force until its lease ends.
#[derive(Clone)]
pub struct Feeds {
    orders: mpsc::UnboundedSender<Order>,
}

enum Order {
    Keep(Wanted),
    Import(Box<Import>, oneshot::Sender<Result<api::DenyImported, Fault>>),
    Export(api::ExportDeny, oneshot::Sender<Result<api::DenyExported, Fault>>),
    Remove(api::RemoveDeny, oneshot::Sender<Result<api::Changed, Fault>>),
}

impl Feeds {
    /// Starts the thread, and waits until what was kept of earlier runs is in force again.
    pub fn start(keeper: keeper::Handle, state: Option<PathBuf>, wanted: Wanted) -> io::Result<Feeds> {
        let (orders, received) = mpsc::unbounded_channel();
        let (restored, is_restored) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(String::from("feeds")).spawn(move || {
            let teller = Rc::new(Teller::new(keeper, state));
            LocalSet::new().block_on(&runtime, async move {
                let supervisor = Supervisor { teller, configured: Rc::default(), enforce: wanted.enforce };
                if supervisor.restore(&wanted).await.is_err() {
                    return;
                }
                // Whoever waits has given up, or goes on now.
                let _ = restored.send(());
                supervisor.run(wanted, received).await;
            });
        })?;
        if is_restored.recv_timeout(RESTORE_PATIENCE).is_err() {
            tracing::warn!("the lists of earlier runs are not in force yet");
        }
        Ok(Feeds { orders })
    }

    /// Replaces the lists of the configuration.
    pub fn keep(&self, wanted: Wanted) {
        // The thread ends only when every sender is dropped.
        let _ = self.orders.send(Order::Keep(wanted));
    }

    /// `portcullis deny import`
    pub async fn import(&self, import: Import) -> Result<api::DenyImported, Fault> {
        self.ask(|answer| Order::Import(Box::new(import), answer)).await
    }

    /// `portcullis deny export`
    pub async fn export(&self, request: api::ExportDeny) -> Result<api::DenyExported, Fault> {
        self.ask(|answer| Order::Export(request, answer)).await
    }

    /// `portcullis deny remove`
    pub async fn remove(&self, request: api::RemoveDeny) -> Result<api::Changed, Fault> {
        self.ask(|answer| Order::Remove(request, answer)).await
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, Fault>>) -> Order,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).map_err(|_| Fault::Stopped)?;
        answered.await.unwrap_or(Err(Fault::Stopped))
    }
}

/// A configured list and its task.
struct Running {
    list: List,
    place: String,
    task: AbortHandle,
}

struct Supervisor {
    teller: Rc<Teller>,
    configured: Rc<RefCell<HashMap<Arc<str>, Running>>>,
    enforce: bool,
}

impl Supervisor {
    /// Brings into force what was kept, and forgets what the configuration has no more.
    async fn restore(&self, wanted: &Wanted) -> Result<(), Fault> {
        for known in self.teller.keeper.ask(|owner| owner.lists_known()).await? {
            let name = &known.name;
            let configured = wanted.lists.iter().find(|(list, _)| list.name == *name);
            if configured.is_none() && (known.terms.is_configured || known.is_over) {
                self.teller.remove(name).await?;
                continue;
            }
            if known.is_over {
                continue;
            }
            let terms = Terms {
                is_configured: configured.is_some(),
                observe: configured.map_or(known.terms.observe, |(list, _)| list.observe),
                ..known.terms.clone()
            };
            match self.teller.kept.read(name) {
                Ok(prefixes) => {
                    self.teller.retell(name, terms, prefixes, known.counts, known.guarded.clone()).await?;
                }
                Err(error) => {
                    tracing::error!(list = %name, %error, "what was kept of a list cannot be read");
                    if configured.is_none() && error.kind() == io::ErrorKind::NotFound {
                        self.teller.remove(name).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn run(mut self, wanted: Wanted, mut received: mpsc::UnboundedReceiver<Order>) {
        self.keep(wanted);
        let mut look = tokio::time::interval(LOOK_AT_ENDS_EVERY);
        loop {
            tokio::select! {
                order = received.recv() => match order {
                    Some(order) => self.heed(order),
                    None => return,
                },
                _ = look.tick() => self.teller.end_imports().await,
            }
        }
    }

    fn heed(&mut self, order: Order) {
        let (teller, configured) = (self.teller.clone(), self.configured.clone());
        // Whoever asked may have gone away; then nobody misses the answer.
        match order {
            Order::Keep(wanted) => self.keep(wanted),
            Order::Import(import, answer) => drop(tokio::task::spawn_local(async move {
                let result = match is_configured(&configured, &import.request.name) {
                    Some(fault) => Err(fault),
                    None => teller.import(*import).await,
                };
                let _ = answer.send(result);
            })),
            Order::Export(request, answer) => drop(answer.send(teller.export(&request))),
            Order::Remove(request, answer) => drop(tokio::task::spawn_local(async move {
                let result = match is_configured(&configured, &request.name) {
                    Some(fault) => Err(fault),
                    None => teller.remove_by_command(&request).await,
                };
                let _ = answer.send(result);
            })),
        }
    }

    /// Lists that are as they were go on undisturbed.
    fn keep(&mut self, wanted: Wanted) {
        let Wanted { lists, enforce } = wanted;
        let rearmed = std::mem::replace(&mut self.enforce, enforce) != enforce;
        let mut before = std::mem::take(&mut *self.configured.borrow_mut());
        let mut running = HashMap::new();
        for (list, place) in lists {
            let name = list.name.clone();
            let task = match before.remove(&name) {
                Some(known) if same(&known.list, &list) => known.task,
                replaced => {
                    if let Some(known) = replaced {
                        known.task.abort();
                    }
                    tokio::task::spawn_local(refresh::keep(list.clone(), self.teller.clone())).abort_handle()
                }
            };
            running.insert(name, Running { list, place, task });
        }
        self.configured.replace(running);
        let teller = self.teller.clone();
        let gone: Vec<Arc<str>> = before
            .into_iter()
            .map(|(name, known)| {
                known.task.abort();
                name
            })
            .collect();
        tokio::task::spawn_local(async move {
            for name in gone {
                // Without a keeper nothing is in force any more.
                let _ = teller.remove(&name).await;
            }
            if rearmed {
                let _ = teller.retell_all().await;
            }
        });
    }
}

fn is_configured(configured: &RefCell<HashMap<Arc<str>, Running>>, name: &str) -> Option<Fault> {
    let place = configured.borrow().get(name).map(|running| running.place.clone())?;
    Some(Fault::Configured { name: name.into(), place })
}

/// Whether two tables say the same, wherever they stand.
fn same(one: &List, other: &List) -> bool {
    let List { name, place: _, source, format, refresh, jitter, lease, observe, entries_max } = one;
    *name == other.name
        && *source == other.source
        && *format == other.format
        && *refresh == other.refresh
        && *jitter == other.jitter
        && *lease == other.lease
        && *observe == other.observe
        && *entries_max == other.entries_max
}

impl Wanted {
    /// Of a configuration that was read from these files.
    pub fn of(config: &Config, sources: &Sources) -> Wanted {
        let place = |list: &List| {
            let path =
                sources.get(list.place.file).map_or_else(String::new, |(path, _)| path.display().to_string());
            format!("{path}:{}", sources.line_column(&list.place).0)
        };
        let lists = config.list.iter().map(|list| (list.clone(), place(list)));
        Wanted { lists: lists.collect(), enforce: config.shield.as_ref().is_none_or(|shield| shield.enforce) }
    }
}
