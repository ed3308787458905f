//! The kernel stage behind the abuse loop: [`Dataplane`] as an [`Enforcer`], and whether there is one at all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gateway_common::verdict::Reason;
use ipnet::IpNet;

use crate::abuse::enforcer::{Drops, Enforcer, Entry, Held, Lease, ListLease, Listed, NoKernel};
use crate::admin::api::{self, KernelStatus, ShedSource};
use crate::config::model::{Attach, Budget, Shield};
use crate::dataplane::{
    self, AttachMode, Budgets, Changes, Claim, Comparison, Dataplane, DenyEntry, Drift, Error, Mode, Options,
    Parole, Room, clock,
};
use crate::observe::readiness::{self, Readiness};

use super::pressure::{self, Watch};
use super::shed::Shed;

/// Entries that each second's housekeeping asks the kernel about.
const RECONCILE_SAMPLE: usize = 64;
/// Sampled drops that each second's housekeeping takes out of the ring, which holds some 5400.
const EVENTS_PER_TICK: usize = 8192;

/// Lines about differences that each second logs at most.
const DRIFT_LINES_MAX: usize = 16;

/// Differences by kind, in the order of [`Drift::KINDS`].
#[derive(Default)]
pub struct Drifted([AtomicU64; Drift::KINDS.len()]);

impl Drifted {
    fn note(&self, drifted: &[Drift]) {
        for drift in drifted {
            self.0[drift.kind()].fetch_add(1, Relaxed);
        }
        for drift in drifted.iter().take(DRIFT_LINES_MAX) {
            tracing::error!("the kernel was not as this gateway had left it: {drift}");
        }
        if let Some(more) = drifted.len().checked_sub(DRIFT_LINES_MAX + 1) {
            tracing::error!("the kernel was not as this gateway had left it: {} more", more + 1);
        }
    }

    /// Each kind with its count.
    pub fn by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Drift::KINDS.into_iter().zip(self.0.iter().map(|count| count.load(Relaxed)))
    }
}

/// The kernel stage, or why there is none.
#[derive(Clone)]
pub enum Kernel {
    /// It is loaded; attached since [`Kernel::attach`].
    On {
        /// Locked for a map operation at a time; the keeper is its one writer.
        dataplane: Arc<Mutex<Dataplane>>,
        /// What was found otherwise than it was written, since the start; all was put right.
        drift: Arc<Drifted>,
        /// Whether something presses, and when the SYN budget is armed.
        pressure: Arc<pressure::Shared>,
        /// Keeps other gateways off the pins for as long as the stage is held.
        #[expect(dead_code, reason = "held as long as the stage is, not used")]
        claim: Arc<Claim>,
    },
    /// It is off.
    Off {
        /// Why.
        because: Arc<str>,
        /// Whether the configuration asked for it.
        wanted: bool,
    },
}

impl Kernel {
    /// Loads what the configuration asks for, with the maps, and touches no interface. Without the privilege, or
    /// without the program in the binary, the gateway goes on as a plain gateway; any other failure is an error.
    pub fn load(shield: Option<&Shield>) -> Result<Kernel, Error> {
        let off = |because: &str, wanted| Kernel::Off { because: because.into(), wanted };
        let Some(shield) = shield else { return Ok(off("the configuration has no [shield]", false)) };
        if shield.interfaces.is_empty() {
            return Ok(off("[shield] names no interfaces", false));
        }
        let load = || Ok((Claim::take(&shield.pins)?, load(shield)?));
        match load() {
            Ok((claim, dataplane)) => Ok(Kernel::On {
                dataplane: Arc::new(Mutex::new(dataplane)),
                drift: Arc::default(),
                pressure: Arc::new(pressure::Shared::new(shield)),
                claim: Arc::new(claim),
            }),
            Err(error @ (Error::Privilege { .. } | Error::NoProgram)) => Ok(off(&error.to_string(), true)),
            Err(error) => Err(error),
        }
    }

    /// Attaches the program, whose maps have been filled meanwhile, and tells `readiness` where it is now. On an error
    /// nothing new stays attached.
    pub fn attach(&self, readiness: &Readiness) -> Result<(), Error> {
        if let Kernel::On { dataplane, .. } = self {
            let mut dataplane = lock(dataplane);
            dataplane.attach()?;
            for at in dataplane.attachments().iter().filter(|at| at.shared.is_some()) {
                tracing::info!(
                    interface = at.interface,
                    mode = mode(at.mode),
                    "the kernel stage stands beside other programs, in the dispatcher of libxdp"
                );
            }
        }
        readiness.kernel(self.readiness());
        Ok(())
    }

    /// What an earlier run, or another gateway, left attached although this one has no kernel stage: it enforces what
    /// it was told last, and nothing that is said to this gateway changes it. In one sentence with the way out.
    pub fn left_behind(&self, shield: Option<&Shield>) -> Option<String> {
        let Kernel::Off { .. } = self else { return None };
        let pins = shield.map_or(Options::default().pin_root, |shield| shield.pins.clone());
        let interfaces = dataplane::attached_by(&pins);
        let shared = dataplane::shared_by(&pins);
        let detach: Vec<_> = shared.iter().map(|(interface, program)| unload(interface, *program)).collect();
        (!interfaces.is_empty()).then(|| {
            format!(
                "a kernel stage that this gateway does not control is attached to {}; if no other gateway needs it, \
                 take it off with: {}rm -r {}",
                interfaces.join(", "),
                detach.concat(),
                pins.display()
            )
        })
    }

    /// What stays in force when this process has ended, with the way to take it off.
    pub fn stays(&self, shield: Option<&Shield>) -> Option<String> {
        let Kernel::On { dataplane, .. } = self else { return None };
        let attachments = lock(dataplane).attachments();
        let attached: Vec<_> = attachments.iter().map(|at| at.interface.as_str()).collect();
        let pins = shield.map_or(Options::default().pin_root, |shield| shield.pins.clone());
        let shared = attachments.iter().filter(|at| at.shared.is_some());
        let detach: Vec<_> = shared.map(|at| unload(&at.interface, at.shared)).collect();
        Some(format!(
            "the kernel stage stays attached to {} and goes on enforcing; take it off with: {}rm -r {}",
            attached.join(", "),
            detach.concat(),
            pins.display()
        ))
    }

    /// What the abuse loop writes to. It tells `readiness` when it changes where the stage is attached.
    pub fn enforcer(&self, readiness: Arc<Readiness>) -> Box<dyn Enforcer> {
        match self {
            Kernel::On { dataplane, drift, pressure, .. } => Box::new(KernelEnforcer {
                dataplane: dataplane.clone(),
                drift: drift.clone(),
                readiness,
                full: None,
                shed: Shed::new(Instant::now()),
                pressure: Watch::new(pressure.clone(), Instant::now()),
                comparison: Comparison::default(),
            }),
            Kernel::Off { because, .. } => Box::new(NoKernel { because: because.to_string() }),
        }
    }

    fn readiness(&self) -> readiness::Kernel {
        match self {
            Kernel::On { dataplane, .. } => readiness_of(&lock(dataplane)),
            Kernel::Off { because, wanted: true } => readiness::Kernel::Degraded((**because).into()),
            Kernel::Off { wanted: false, .. } => readiness::Kernel::Off,
        }
    }

    /// Takes over what a reload may change: budgets, when that of SYNs is armed, and whether verdicts drop.
    pub fn reconfigure(&self, shield: &Shield) -> Result<(), Error> {
        let Kernel::On { dataplane, pressure, .. } = self else { return Ok(()) };
        pressure.configure(shield);
        let mut dataplane = lock(dataplane);
        dataplane.set_budgets(&budgets(shield))?;
        dataplane.set_enforcing(shield.enforce)
    }
}

fn load(shield: &Shield) -> Result<Dataplane, Error> {
    let dataplane = Dataplane::load(&options(shield))?;
    if dataplane.is_resizing() {
        tracing::info!(capacity = shield.capacity, "the kernel's lists move to new maps");
    }
    if let Some(entries) = dataplane.is_migrating() {
        tracing::info!(entries, "the kernel's lists move from the maps of the version before");
    }
    Ok(dataplane)
}

/// What takes the program out of a dispatcher, which holds it even without our pins. Where the kernel does not tell its
/// id, `xdp-loader status` does to who may ask.
fn unload(interface: &str, program: Option<u32>) -> String {
    let id = program.map_or_else(|| String::from("ID"), |program| program.to_string());
    format!("xdp-loader unload {interface} --id {id}; ")
}

struct KernelEnforcer {
    dataplane: Arc<Mutex<Dataplane>>,
    drift: Arc<Drifted>,
    readiness: Arc<Readiness>,
    /// The lists that were full a second ago, if that was looked at.
    full: Option<Vec<String>>,
    shed: Shed,
    pressure: Watch,
    /// How far the kernel has been compared with what was written there.
    comparison: Comparison,
}

impl Enforcer for KernelEnforcer {
    fn in_kernel(&self) -> bool {
        true
    }

    fn install(&mut self, lease: &Lease) -> Result<(), String> {
        let Lease { prefix, left, ban_id, observe, parole } = *lease;
        let entry = left.map_or_else(|| DenyEntry::forever(ban_id), |time| DenyEntry::lasting(time, ban_id));
        let entry = if observe { entry.observed() } else { entry };
        let entry = match (parole, entry.until_ns) {
            (Some(parole), Some(until_ns)) => entry.paroled(Parole {
                from_ns: until_ns
                    .saturating_sub(u64::try_from(parole.before_end.as_nanos()).unwrap_or(u64::MAX)),
                every: parole.every,
            }),
            _ => entry,
        };
        lock(&self.dataplane).deny(prefix, entry).map_err(told)
    }

    fn lift(&mut self, prefix: IpNet) -> Result<bool, String> {
        lock(&self.dataplane).lift(prefix).map_err(told)
    }

    fn allow(&mut self, prefix: IpNet) -> Result<(), String> {
        lock(&self.dataplane).allow(prefix).map_err(told)
    }

    fn disallow(&mut self, prefix: IpNet) -> Result<(), String> {
        lock(&self.dataplane).disallow(prefix).map(drop).map_err(told)
    }

    fn allowed(&mut self) -> Vec<IpNet> {
        lock(&self.dataplane).allowed().collect()
    }

    fn drops(&mut self, ban_id: u32) -> Drops {
        match lock(&self.dataplane).ban_counters(ban_id) {
            Ok(Some(counters)) => {
                Drops { packets: counters.packets, bytes: counters.bytes, syns: counters.syns }
            }
            Ok(None) => Drops::default(),
            Err(error) => {
                tracing::warn!(ban = ban_id, error = told(error), "cannot read what a ban has dropped");
                Drops::default()
            }
        }
    }

    fn entries(&mut self) -> Vec<Entry> {
        let now_ns = clock::monotonic_ns();
        let dataplane = lock(&self.dataplane);
        let live = dataplane.entries().filter(|(_, entry)| entry.is_live(now_ns));
        live.map(|(prefix, entry)| entry_of(prefix, &entry, now_ns)).collect()
    }

    fn verify_begin(&mut self) -> bool {
        self.comparison = Comparison::default();
        true
    }

    fn verify_next(&mut self) -> Result<Option<Held>, String> {
        let next = lock(&self.dataplane).verify_next(&mut self.comparison);
        let Some(verified) = next.map_err(told)? else { return Ok(None) };
        let now_ns = clock::monotonic_ns();
        let entries = verified.entries.iter().map(|(prefix, entry)| entry_of(*prefix, entry, now_ns));
        let differences = verified.drifted.iter().map(|drift| (Drift::KINDS[drift.kind()], drift.prefix()));
        Ok(Some(Held {
            of_lists: verified.of_lists,
            entries: entries.collect(),
            allowed: verified.allowed,
            filter_words: verified.filter_words,
            differences: differences.collect(),
        }))
    }

    fn holds(&mut self, prefixes: &[IpNet]) -> Result<Vec<bool>, String> {
        let dataplane = lock(&self.dataplane);
        prefixes.iter().map(|prefix| dataplane.holds(*prefix).map_err(told)).collect()
    }

    fn list_begin(&mut self, lease: &ListLease) -> Result<(), String> {
        lock(&self.dataplane).list_begin(lease_of(lease)).map_err(told)
    }

    fn list_add(&mut self, id: u32, prefixes: &[IpNet]) -> Result<(), String> {
        lock(&self.dataplane).list_add(id, prefixes).map_err(told)
    }

    fn list_commit(&mut self, id: u32) -> Result<Option<Listed>, String> {
        let listed = lock(&self.dataplane).list_commit(id).map_err(told)?;
        Ok(listed.map(listed_of))
    }

    fn list_change(&mut self, lease: &ListLease, gone: &[IpNet], new: &[IpNet]) -> Result<Listed, String> {
        let listed = lock(&self.dataplane).list_change(lease_of(lease), gone, new).map_err(told)?;
        Ok(listed_of(listed))
    }

    fn lists(&mut self) -> Vec<u32> {
        lock(&self.dataplane).lists()
    }

    fn tick(&mut self) {
        let mut dataplane = lock(&self.dataplane);
        listen(&mut dataplane, &mut self.shed);
        if let Err(error) = self.pressure.turn(&mut dataplane) {
            tracing::warn!(error = told(error), "cannot let the SYN budget rest, or arm it");
        }
        if let Err(error) = dataplane.sweep(clock::monotonic_ns()) {
            tracing::warn!(error = told(error), "cannot sweep the kernel's denylist");
        }
        match dataplane.reconcile(RECONCILE_SAMPLE) {
            Ok(round) => self.drift.note(&round.drifted),
            Err(error) => tracing::warn!(error = told(error), "cannot ask the kernel what it enforces"),
        }
        let changes = dataplane.watch();
        for lost in &changes.lost {
            tracing::error!(
                interface = lost.interface,
                because = lost.because,
                "kernel stage lost an interface"
            );
        }
        for at in &changes.attached {
            tracing::warn!(interface = at.interface, mode = mode(at.mode), "kernel stage attached again");
        }
        let full = full(&dataplane);
        let filled = self.full.as_ref() != Some(&full);
        if filled && !full.is_empty() {
            tracing::error!(
                "the kernel's lists are full, new bans hold at layer 7 only: {}",
                full.join(", ")
            );
        }
        if changes != Changes::default() || filled {
            self.full = Some(full);
            self.readiness.kernel(readiness_of(&dataplane));
        }
    }

    fn shed(&mut self, count: usize) -> Vec<ShedSource> {
        self.shed.turn(Instant::now());
        self.shed.top(count)
    }

    fn status(&mut self) -> KernelStatus {
        let dataplane = lock(&self.dataplane);
        let counters = dataplane.counters().unwrap_or_default();
        KernelStatus {
            on: true,
            off_because: None,
            mode: String::from(if dataplane.enforcing() { "enforce" } else { "observe" }),
            attachments: dataplane
                .attachments()
                .into_iter()
                .map(|at| api::Attachment {
                    interface: at.interface,
                    mode: mode(at.mode).to_owned(),
                    shared: at.shared.is_some(),
                })
                .collect(),
            lost: dataplane
                .lost()
                .into_iter()
                .map(|lost| api::LostInterface { interface: lost.interface, because: lost.because })
                .collect(),
            counters: Reason::ALL
                .into_iter()
                .map(|reason| api::Counter {
                    verdict: reason.name().to_owned(),
                    packets: counters.of(reason).packets,
                })
                .collect(),
            entries: dataplane.rooms().iter().map(|room| room.entries).sum(),
            full: full(&dataplane),
            drift: self.drift.by_kind().map(|(_, count)| count).sum(),
            pressure: self.pressure.presses(),
            syns_armed: dataplane.armed().unwrap_or(None),
        }
    }
}

fn lease_of(lease: &ListLease) -> dataplane::ListLease {
    let ListLease { id, left, observe } = *lease;
    dataplane::ListLease { id, until_ns: left.map(clock::monotonic_ns_after), observe }
}

fn listed_of(listed: dataplane::Listed) -> Listed {
    let dataplane::Listed { entries, added, removed, without_room } = listed;
    Listed { entries, added, removed, without_room }
}

fn entry_of(prefix: IpNet, entry: &DenyEntry, now_ns: u64) -> Entry {
    Entry {
        prefix,
        ban_id: (entry.ban_id != 0).then_some(entry.ban_id),
        left: entry.until_ns.map(|until_ns| Duration::from_nanos(until_ns.saturating_sub(now_ns))),
        observe: entry.observe,
    }
}

/// Takes in what the program has told since the last second: lines for the log, sampled drops for the table.
fn listen(dataplane: &mut Dataplane, shed: &mut Shed) {
    for line in dataplane.drain_diagnostics() {
        tracing::info!(target: "kernel", "{line}");
    }
    let packets = dataplane.drops_per_event();
    shed.turn(Instant::now());
    for event in dataplane.drain_events(EVENTS_PER_TICK) {
        shed.note(event.source, event.reason, packets);
    }
}

/// For `/readyz`: an interface on which nothing is enforced is a reason to send traffic elsewhere.
fn readiness_of(dataplane: &Dataplane) -> readiness::Kernel {
    let lost: Vec<String> =
        dataplane.lost().iter().map(|lost| format!("{}: {}", lost.interface, lost.because)).collect();
    if !lost.is_empty() {
        return readiness::Kernel::Lost(lost.join("; ").into());
    }
    let attached = dataplane.attachments();
    let interfaces: Vec<String> =
        attached.iter().map(|at| format!("{} {}{}", at.interface, mode(at.mode), beside(at))).collect();
    let interfaces = interfaces.join(", ");
    match full(dataplane) {
        full if full.is_empty() => readiness::Kernel::Attached(interfaces.into()),
        full => {
            let why = format!(
                "attached: {interfaces}; full, so that new bans hold at layer 7 only: {}",
                full.join(", ")
            );
            readiness::Kernel::Degraded(why.into())
        }
    }
}

/// The lists that have no room: `IPv4 addresses (4096)`.
fn full(dataplane: &Dataplane) -> Vec<String> {
    let rooms = dataplane.rooms().into_iter().filter(Room::is_full);
    rooms.map(|room| format!("{} ({})", room.name, room.capacity)).collect()
}

fn beside(at: &dataplane::Attachment) -> &'static str {
    if at.shared.is_some() { " beside other programs" } else { "" }
}

fn lock(dataplane: &Mutex<Dataplane>) -> MutexGuard<'_, Dataplane> {
    dataplane.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(error: Error) -> String {
    super::chain(&error)
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Native => "native",
        Mode::Generic => "generic",
    }
}

fn options(shield: &Shield) -> Options {
    Options {
        interfaces: shield.interfaces.iter().map(|interface| interface.value.to_string()).collect(),
        pin_root: shield.pins.clone(),
        mode: match shield.attach {
            Attach::Auto => AttachMode::Auto,
            Attach::Native => AttachMode::Native,
            Attach::Generic => AttachMode::Generic,
        },
        enforce: shield.enforce,
        budgets: budgets(shield),
        management_ports: shield.management_ports.clone(),
        deny_capacity: shield.capacity,
        deny6_capacity: shield.capacity6,
        ..Options::default()
    }
}

fn budgets(shield: &Shield) -> Budgets {
    let of = |budget: &Option<Budget>| {
        budget.as_ref().map_or((0, 0), |budget| (budget.per_second.value, budget.burst.value))
    };
    let (packets_per_second, packet_burst) = of(&shield.packets);
    let (syns_per_second, syn_burst) = of(&shield.syns);
    Budgets { packets_per_second, packet_burst, syns_per_second, syn_burst }
}
