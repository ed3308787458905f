//! The kernel stage, seen from userspace: load, attach, deny, allow, count.
//!
//! [`Dataplane`] is the only writer of the maps and the only user of `aya`. It is synchronous and owned by
//! one thread. Everything it makes is pinned below `Options::pin_root`, so the kernel goes on enforcing
//! when this process is gone, and the next one takes over the same maps and the same links: its picture of
//! the entries is rebuilt from the maps, not from a file.
//!
//! Limits: one gateway per pin directory (two would not see each other's entries); another capacity takes a
//! new start, which replaces the maps. The clock is `CLOCK_MONOTONIC`, so entries do not outlive a reboot.

mod allowlist;
mod attach;
mod budgets;
pub mod clock;
mod counters;
mod denylist;
mod diagnostics;
mod dispatcher;
mod error;
mod events;
pub mod features;
mod filter;
mod load;
mod mapped;
mod migrate;
mod netlink;
mod options;
mod pins;
mod prefix;
mod reconcile;
mod resize;
mod settings;
mod staged;
mod syscall;
mod verify;
mod walk;
mod wire;

use std::{path::PathBuf, time::Duration};

use gateway_common::{settings::ARMED, verdict::Reason};
use ipnet::IpNet;

use self::{
    allowlist::Allowlist,
    attach::Links,
    counters::KernelCounters,
    denylist::Denylist,
    diagnostics::Diagnostics,
    events::Events,
    load::{Change, Loaded, Program},
    migrate::Counted,
    settings::SettingsMap,
};

pub use self::{
    attach::{Attachment, Changes, Lost, Mode},
    counters::{BanCounters, Counters, Tally},
    denylist::{DenyEntry, ListLease, Listed, Parole, Room},
    dispatcher::Problem,
    error::Error,
    events::Event,
    options::{AttachMode, Budgets, Options},
    reconcile::{Drift, Reconciliation},
    verify::{Comparison, Verified},
};

/// The right to a pin directory, for as long as this lives: two gateways in one would undo each other's work.
pub struct Claim(#[expect(dead_code, reason = "it is held, not used")] std::fs::File);

impl Claim {
    /// Makes the directory if it is not there, and claims it.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process has it, and the errors of [`Dataplane::load`] about privilege and the BPF
    /// file system.
    pub fn take(pin_root: &std::path::Path) -> Result<Self, Error> {
        load::check_possible()?;
        pins::prepare(pin_root)?;
        let failed = |source| Error::Pin { doing: "lock", path: pin_root.into(), source };
        let directory = std::fs::File::open(pin_root).map_err(failed)?;
        match crate::lock::take(&directory).map_err(failed)? {
            true => Ok(Self(directory)),
            false => Err(Error::InUse { path: pin_root.into() }),
        }
    }
}

/// The interfaces that the pins in a directory keep a program attached to, whoever left them there.
pub fn attached_by(pin_root: &std::path::Path) -> Vec<String> {
    let pins = pins::links(pin_root).into_iter().chain(pins::shares(pin_root));
    pins.map(|(interface, _)| interface).collect()
}

/// Those of them where the program stands in a dispatcher of libxdp, which holds it even without the pins, with the
/// program's id there; `None` if the kernel does not tell it to this process.
pub fn shared_by(pin_root: &std::path::Path) -> Vec<(String, Option<u32>)> {
    let shares = pins::shares(pin_root).into_iter();
    shares.map(|(interface, pin)| (interface, dispatcher::pinned(&pin))).collect()
}

/// The loaded program with its maps and its links.
pub struct Dataplane {
    program: Program,
    settings: SettingsMap,
    denylist: Denylist,
    allowlist: Allowlist,
    counters: KernelCounters,
    events: Events,
    diagnostics: Diagnostics,
    links: Links,
    pin_root: PathBuf,
    change: Option<Change>,
}

impl Dataplane {
    /// Loads the program and attaches it: [`Dataplane::load`], then [`Dataplane::attach`].
    ///
    /// # Errors
    /// See [`Error`]: each says what is missing and what to do about it.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let mut this = Self::load(options)?;
        this.attach()?;
        Ok(this)
    }

    /// Loads the program and takes over or makes the pinned maps, without touching an interface.
    ///
    /// An owner with a state file (after a reboot, or an upgrade that changes the layout of the maps) fills
    /// the lists between this and [`Dataplane::attach`], so that no packet passes in between.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(options: &Options) -> Result<Self, Error> {
        let Loaded { program, mut maps, diagnostics, change } = load::load(options)?;
        let mut settings = SettingsMap::open(&mut maps, options)?;
        let allowlist = Allowlist::open(&mut maps)?;
        let denylist = Denylist::open(&mut maps, &mut settings, &allowlist)?;
        let counters = KernelCounters::open(&mut maps)?;
        let events = Events::open(&mut maps)?;
        let (links, pin_root) = (Links::new(options), options.pin_root.clone());
        Ok(Self {
            program,
            settings,
            denylist,
            allowlist,
            counters,
            events,
            diagnostics,
            links,
            pin_root,
            change,
        })
    }

    /// Attaches to every interface of the options, taking over links that are there. Where the capacity has
    /// changed, or the version before has left its maps, the new maps take the place of the old ones with it.
    ///
    /// On an error nothing new stays attached: links made by this call are removed again, links that were
    /// there before keep enforcing.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::Occupied`], [`Error::CannotShare`], [`Error::Attach`], [`Error::Refused`], [`Error::Pin`].
    pub fn attach(&mut self) -> Result<(), Error> {
        self.links.attach_all(&self.program)?;
        // The program before may have noted what its own maps held.
        self.denylist.forget_findings();
        if let Some(change) = self.change.take() {
            let Counted { reasons, bans } = change.finish()?;
            self.counters.carry(reasons);
            self.denylist.carry(&bans);
            self.program.maps_are_settled();
        }
        migrate::remove_old(&self.pin_root)
    }

    /// Whether the maps are being replaced, because another capacity is asked for than they have. Ends with
    /// [`Dataplane::attach`].
    pub fn is_resizing(&self) -> bool {
        matches!(self.change, Some(Change::Resize(_)))
    }

    /// How many entries move from the maps of the version before, if it has left some. Ends with
    /// [`Dataplane::attach`].
    pub fn is_migrating(&self) -> Option<usize> {
        match &self.change {
            Some(Change::Migration(migration)) => Some(migration.entries()),
            _ => None,
        }
    }

    // === impl Dataplane: entries ===

    /// Denies a prefix. An entry for the same prefix is replaced.
    ///
    /// IPv4 /32 and IPv6 /64 are exact entries, every other length is a prefix entry. A longer IPv6 prefix
    /// (a /128, say) denies exactly that prefix, though its host can leave it: the caller decides.
    ///
    /// # Errors
    /// [`Error::Full`] if there is no room, [`Error::Map`] if the kernel refuses.
    pub fn deny(&mut self, prefix: IpNet, entry: DenyEntry) -> Result<(), Error> {
        self.denylist.deny(&mut self.settings, &self.allowlist, prefix, entry)
    }

    /// Denies many prefixes: a list at start, a feed. Several times faster than one by one.
    ///
    /// # Errors
    /// As [`Dataplane::deny`], for the first entry that does not go in; those before it are in.
    pub fn deny_many(&mut self, entries: &[(IpNet, DenyEntry)]) -> Result<(), Error> {
        self.denylist.deny_many(&mut self.settings, &self.allowlist, entries)
    }

    /// Takes a deny entry back. `Ok(false)` if there was none.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn lift(&mut self, prefix: IpNet) -> Result<bool, Error> {
        self.denylist.lift(&self.allowlist, prefix)
    }

    /// Never drops packets from a prefix, whatever the denylist and the budgets say.
    ///
    /// # Errors
    /// [`Error::Full`] if there is no room, [`Error::Map`] if the kernel refuses.
    pub fn allow(&mut self, prefix: IpNet) -> Result<(), Error> {
        self.allowlist.allow(prefix)?;
        self.denylist.reconsider(&self.allowlist, prefix)
    }

    /// Takes an allowed prefix back. `Ok(false)` if there was none.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn disallow(&mut self, prefix: IpNet) -> Result<bool, Error> {
        let was_there = self.allowlist.disallow(prefix)?;
        self.denylist.reconsider(&self.allowlist, prefix)?;
        Ok(was_there)
    }

    /// All deny entries but those of lists, in the order of their prefixes, expired ones included until they are swept.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (IpNet, DenyEntry)> + '_ {
        self.denylist.entries()
    }

    /// How full the lists are: addresses of both families, then prefixes.
    pub fn rooms(&self) -> [Room; 4] {
        self.denylist.rooms()
    }

    /// All allowed prefixes, in order.
    pub fn allowed(&self) -> impl ExactSizeIterator<Item = IpNet> + '_ {
        self.allowlist.iter()
    }

    /// Removes the entries whose lease was over at `now_ns` (`CLOCK_MONOTONIC`), with their filter bits,
    /// and returns the prefixes of those that are not of lists. The kernel stopped enforcing them by itself: this
    /// frees the room. Takes time for what it removes only; of lists that are some 30 thousand at most, the rest comes
    /// with the next call.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn sweep(&mut self, now_ns: u64) -> Result<Vec<IpNet>, Error> {
        self.denylist.sweep(&self.allowlist, now_ns)
    }

    /// Asks the kernel about up to `sample` live entries, going on where the last call ended, reads a slice of the
    /// maps back, some 64 times as many entries, and puts right what differs from what was written.
    ///
    /// # Errors
    /// [`Error::TestRun`] if the kernel does not answer, [`Error::Map`] if a repair is refused.
    pub fn reconcile(&mut self, sample: usize) -> Result<Reconciliation, Error> {
        let Self { program, denylist, allowlist, settings, .. } = self;
        reconcile::run(program, denylist, allowlist, settings, sample)
    }

    /// Reads everything back and says what it holds and in what it is not as it was written. Repairs nothing. A second
    /// for a million entries: see [`Dataplane::verify_next`].
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel does not let itself be read.
    pub fn verify(&self) -> Result<Verified, Error> {
        let (mut comparison, mut all) = (Comparison::default(), Verified::default());
        while let Some(piece) = self.verify_next(&mut comparison)? {
            all = all.and(piece);
        }
        Ok(all)
    }

    /// The same for the next piece, some 4000 entries; `None` after the last one. In between entries may come and go.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel does not let itself be read.
    pub fn verify_next(&self, comparison: &mut Comparison) -> Result<Option<Verified>, Error> {
        comparison.next(&self.denylist, &self.allowlist, &self.settings)
    }

    /// Whether the kernel itself has an entry for a prefix of [`Dataplane::deny`], or a list's in its place.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel does not let itself be read.
    pub fn holds(&self, prefix: IpNet) -> Result<bool, Error> {
        self.denylist.holds(prefix::canonical(prefix))
    }

    // === impl Dataplane: lists ===

    /// Begins to tell a list anew: [`Dataplane::list_add`] as often as it takes, then [`Dataplane::list_commit`]. What
    /// it had before stays until then; what was told and never committed goes when it is begun once more.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn list_begin(&mut self, lease: ListLease) -> Result<(), Error> {
        self.denylist.list_begin(&self.allowlist, lease)
    }

    /// Adds prefixes to a list that was begun. They are in force at once, unless an entry of [`Dataplane::deny`] or
    /// another list denies the same prefix: one that drops goes before one that observes, then one without a parole,
    /// then the one that ends last, then that of a ban before a list. An IPv6 prefix longer than 64 bits stands for its /64.
    ///
    /// Lists leave a sixteenth of each map for bans. What does not fit is left out.
    ///
    /// # Errors
    /// [`Error::NotBegun`]; [`Error::Map`] if the kernel refuses some of them, which are left out then.
    pub fn list_add(&mut self, id: u32, prefixes: &[IpNet]) -> Result<(), Error> {
        self.denylist.list_add(&mut self.settings, &self.allowlist, id, prefixes)
    }

    /// Takes away what a list had before and was not told again, some 8000 entries in each call; at last it returns what
    /// has become of the list. One that was told nothing is gone.
    ///
    /// # Errors
    /// [`Error::NotBegun`], [`Error::Map`] if the kernel refuses.
    pub fn list_commit(&mut self, id: u32) -> Result<Option<Listed>, Error> {
        self.denylist.list_commit(&mut self.settings, &self.allowlist, id)
    }

    /// Takes prefixes off a list that was told and puts others on it, at once and without writing the rest; what has become
    /// of it. The others hold as long as the rest does: the lease is for a list that has nothing. What one call changes
    /// is written in one go.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses some of it.
    pub fn list_change(&mut self, lease: ListLease, gone: &[IpNet], new: &[IpNet]) -> Result<Listed, Error> {
        self.denylist.list_change(&mut self.settings, &self.allowlist, lease, gone, new)
    }

    /// The lists that have entries, in order.
    pub fn lists(&self) -> Vec<u32> {
        self.denylist.lists()
    }

    // === impl Dataplane: settings ===

    /// Replaces the packet budgets. Sources keep what they have used.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn set_budgets(&mut self, budgets: &Budgets) -> Result<(), Error> {
        self.settings.set_budgets(budgets)
    }

    /// Lets the SYN budget rest for a while: SYNs are charged as any other packet. Called again before the time
    /// is over it rests on; after the time, as after the end of this process, it is armed. It is armed from the
    /// start. `Duration::MAX` is for ever.
    ///
    /// # Errors
    /// [`Error::TestRun`] if the kernel does not tell its clock, [`Error::Map`] if it refuses.
    pub fn calm(&mut self, for_: Duration) -> Result<(), Error> {
        let until = match u64::try_from(for_.as_nanos()) {
            Ok(for_ns) => self.program.ticks()?.saturating_add(for_ns.div_ceil(clock::tick_ns().into())),
            Err(_) => u64::MAX,
        };
        self.settings.set_calm_until(until)
    }

    /// Arms the SYN budget at once.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn arm(&mut self) -> Result<(), Error> {
        self.settings.set_calm_until(ARMED)
    }

    /// Whether the SYN budget is armed; none if there is no SYN budget.
    ///
    /// # Errors
    /// [`Error::TestRun`] if the kernel does not tell its clock.
    pub fn armed(&self) -> Result<Option<bool>, Error> {
        if !self.settings.limits_syns() {
            return Ok(None);
        }
        Ok(Some(self.program.ticks()? >= self.settings.calm_until()))
    }

    /// Drops (`true`) or only counts what would be dropped (`false`).
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn set_enforcing(&mut self, enforce: bool) -> Result<(), Error> {
        self.settings.set_enforcing(enforce)
    }

    /// Whether it drops, or only counts.
    pub fn enforcing(&self) -> bool {
        self.settings.enforcing()
    }

    // === impl Dataplane: what happened ===

    /// Packets and bytes by reason since the maps were made, over all CPUs.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn counters(&self) -> Result<Counters, Error> {
        self.counters.read()
    }

    /// What a ban has dropped, or would have dropped if it observes. Also known for a while after its last
    /// entry is gone. `None` for a ban that was never seen or is long gone.
    ///
    /// # Errors
    /// [`Error::Map`] if the kernel refuses.
    pub fn ban_counters(&self, ban_id: u32) -> Result<Option<BanCounters>, Error> {
        self.denylist.ban_counters(ban_id)
    }

    /// Takes the sampled drops out of the ring, oldest first, at most `limit`.
    pub fn drain_events(&mut self, limit: usize) -> Vec<Event> {
        self.events.drain(limit)
    }

    /// For how many drops under one reason on one CPU an event of [`Dataplane::drain_events`] stands, the
    /// first of a ban excepted.
    pub fn drops_per_event(&self) -> u64 {
        self.settings.drops_per_event()
    }

    /// Takes out what the program has said in words since the last call, oldest first: one line for each
    /// ban and CPU, when it drops its first packet. At most some 500; lines that found no room are lost.
    pub fn drain_diagnostics(&mut self) -> Vec<String> {
        let mut lines = self.diagnostics.drain();
        lines.extend(self.links.drain_diagnostics());
        lines
    }

    // === impl Dataplane: interfaces ===

    /// The interfaces the program is attached to, and how, as far as the last [`Dataplane::watch`] has seen.
    pub fn attachments(&self) -> Vec<Attachment> {
        self.links.attachments()
    }

    /// The interfaces on which nothing is enforced although it should be, as far as the last
    /// [`Dataplane::watch`] has seen.
    pub fn lost(&self) -> Vec<Lost> {
        self.links.lost()
    }

    /// Looks whether every interface is still there and attached, and attaches again where it is not: an
    /// interface was deleted and made anew, or somebody detached the program. Call it every second or so. Before
    /// [`Dataplane::attach`] it does nothing.
    pub fn watch(&mut self) -> Changes {
        self.links.watch(&self.program)
    }

    /// Detaches from every interface and removes the pinned links. With `remove_maps` the pinned maps go
    /// too, and with them all entries, once this value is dropped.
    ///
    /// # Errors
    /// [`Error::Pin`] if a pin cannot be removed; the others are tried all the same.
    pub fn detach(&mut self, remove_maps: bool) -> Result<(), Error> {
        let links = self.links.detach_all();
        let maps = if remove_maps { self.program.unpin_maps() } else { Ok(()) };
        links.and(maps)
    }

    // === impl Dataplane: tests and benches ===

    /// Runs the program on a frame without sending it (`BPF_PROG_TEST_RUN`). Returns the XDP action of the
    /// last run and the mean time of one. Counts and charges like the real thing.
    ///
    /// # Errors
    /// [`Error::TestRun`], for one if the frame is shorter than an Ethernet header (14 bytes).
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<(u32, Duration), Error> {
        self.program.test_run(frame, repeat)
    }

    /// What the kernel holds for the source of a frame: [`Reason::Clean`] if it is not listed. Counts and
    /// charges nothing.
    ///
    /// # Errors
    /// [`Error::TestRun`], as for [`Dataplane::test_run`].
    pub fn probe(&self, frame: &[u8]) -> Result<Reason, Error> {
        self.program.probe(frame)
    }

    /// Descriptor of the loaded program, for a bench that calls it from another program.
    pub fn program_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.program.fd()
    }
}
