//! The keeper on a clock that the test moves, with maps and a state file that outlive it.

mod command;
mod crowd;
mod lists;
mod parole;
mod restart;
mod rule;
mod shadow;
mod suppression;
mod thread;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use super::owner::Owner;
use super::*;
use crate::abuse::ban::{By, Now, Terms};
use crate::abuse::enforcer::{Drops, Entry, Held, LIST_PIECE, Lease, ListLease, Listed, NoKernel};
use crate::abuse::parole::Parole;
use crate::abuse::signal::{Evidence, Kind, Kinds, Signal};
use crate::abuse::standing::Standing;

const ABUSER: &str = "203.0.113.9";
const MINUTE: Duration = Duration::from_secs(60);

/// The kernel's maps as far as the keeper can see them; they outlive an owner as pinned maps do.
#[derive(Clone, Default)]
struct Maps(Arc<Mutex<Inner>>, Passed, Vec<Entry>);

/// Time since the test began.
type Passed = Arc<Mutex<Duration>>;

#[derive(Default)]
struct Inner {
    /// Ban, end as time since the test began, and whether it only counts.
    deny: BTreeMap<IpNet, (Option<u32>, Option<Duration>, bool)>,
    paroles: BTreeMap<IpNet, Parole>,
    allow: BTreeSet<IpNet>,
    lists: BTreeMap<u32, HeldList>,
    broken: bool,
    /// How often it was asked for the counters of a ban.
    asked: usize,
    /// Entries that there is room for, if that is limited.
    room: Option<usize>,
    /// The same for IPv6.
    room6: Option<usize>,
}

/// A list in the maps.
#[derive(Default)]
struct HeldList {
    left: Option<Duration>,
    observe: bool,
    prefixes: BTreeSet<IpNet>,
    /// What is told anew.
    fresh: BTreeSet<IpNet>,
}

impl Enforcer for Maps {
    fn in_kernel(&self) -> bool {
        true
    }
    fn install(&mut self, lease: &Lease) -> Result<(), String> {
        let end = lease.left.map(|left| left + *self.1.lock().unwrap());
        let mut maps = self.0.lock().unwrap();
        if maps.broken {
            return Err("no space left on device".into());
        }
        let is_v4 = lease.prefix.addr().is_ipv4();
        let room = if is_v4 { maps.room } else { maps.room6 };
        let held = maps.deny.keys().filter(|prefix| prefix.addr().is_ipv4() == is_v4).count();
        if !maps.deny.contains_key(&lease.prefix) && room.is_some_and(|room| held >= room) {
            return Err("the denylist of this family is full".into());
        }
        maps.paroles.remove(&lease.prefix);
        maps.paroles.extend(lease.parole.map(|parole| (lease.prefix, parole)));
        maps.deny.insert(lease.prefix, (Some(lease.ban_id), end, lease.observe));
        Ok(())
    }
    fn lift(&mut self, prefix: IpNet) -> Result<bool, String> {
        Ok(self.0.lock().unwrap().deny.remove(&prefix).is_some())
    }
    fn allow(&mut self, prefix: IpNet) -> Result<(), String> {
        self.0.lock().unwrap().allow.insert(prefix);
        Ok(())
    }
    fn disallow(&mut self, prefix: IpNet) -> Result<(), String> {
        self.0.lock().unwrap().allow.remove(&prefix);
        Ok(())
    }
    fn allowed(&mut self) -> Vec<IpNet> {
        self.0.lock().unwrap().allow.iter().copied().collect()
    }
    fn drops(&mut self, ban_id: u32) -> Drops {
        self.0.lock().unwrap().asked += 1;
        let packets = u64::from(ban_id) * 10;
        Drops { packets, bytes: packets * 60, syns: packets }
    }
    fn entries(&mut self) -> Vec<Entry> {
        let now = *self.1.lock().unwrap();
        let entry =
            |(prefix, (ban_id, end, observe)): (&IpNet, &(Option<u32>, Option<Duration>, bool))| Entry {
                prefix: *prefix,
                ban_id: *ban_id,
                left: end.map(|end| end.saturating_sub(now)),
                observe: *observe,
            };
        self.0.lock().unwrap().deny.iter().map(entry).collect()
    }
    fn list_begin(&mut self, lease: &ListLease) -> Result<(), String> {
        let mut maps = self.0.lock().unwrap();
        if maps.broken {
            return Err("no space left on device".into());
        }
        let list = maps.lists.entry(lease.id).or_default();
        (list.left, list.observe, list.fresh) = (lease.left, lease.observe, BTreeSet::new());
        Ok(())
    }
    fn list_add(&mut self, id: u32, prefixes: &[IpNet]) -> Result<(), String> {
        assert!(prefixes.len() <= LIST_PIECE);
        let mut maps = self.0.lock().unwrap();
        let list = maps.lists.get_mut(&id).expect("it was begun");
        list.fresh.extend(prefixes);
        list.prefixes.extend(prefixes);
        Ok(())
    }
    /// One prefix at a time is taken away.
    fn list_commit(&mut self, id: u32) -> Result<Option<Listed>, String> {
        let mut maps = self.0.lock().unwrap();
        let list = maps.lists.get_mut(&id).expect("it was begun");
        if let Some(gone) = list.prefixes.difference(&list.fresh).next().copied() {
            list.prefixes.remove(&gone);
            return Ok(None);
        }
        let entries = list.prefixes.len();
        if entries == 0 {
            maps.lists.remove(&id);
        }
        Ok(Some(Listed { entries, ..Listed::default() }))
    }
    fn list_change(&mut self, lease: &ListLease, gone: &[IpNet], new: &[IpNet]) -> Result<Listed, String> {
        assert!(gone.len() + new.len() <= LIST_PIECE);
        let mut maps = self.0.lock().unwrap();
        if maps.broken {
            return Err("no space left on device".into());
        }
        let room = maps.room.unwrap_or(usize::MAX);
        let list = maps.lists.entry(lease.id).or_insert_with(|| HeldList {
            left: lease.left,
            observe: lease.observe,
            ..HeldList::default()
        });
        list.prefixes.retain(|prefix| !gone.contains(prefix));
        let room = room.saturating_sub(list.prefixes.len());
        list.prefixes.extend(new.iter().take(room));
        Ok(Listed { entries: list.prefixes.len(), ..Listed::default() })
    }
    fn lists(&mut self) -> Vec<u32> {
        self.0.lock().unwrap().lists.keys().copied().collect()
    }
    fn verify_begin(&mut self) -> bool {
        self.2 = self.entries();
        true
    }
    /// One entry at a time, as far as it is still there.
    fn verify_next(&mut self) -> Result<Option<Held>, String> {
        let Some(Entry { prefix, .. }) = self.2.pop() else { return Ok(None) };
        let entries = self.entries().into_iter().filter(|entry| entry.prefix == prefix).collect();
        Ok(Some(Held { entries, ..Held::default() }))
    }
    fn holds(&mut self, prefixes: &[IpNet]) -> Result<Vec<bool>, String> {
        let maps = self.0.lock().unwrap();
        Ok(prefixes.iter().map(|prefix| maps.deny.contains_key(prefix)).collect())
    }
    fn tick(&mut self) {}
    fn status(&mut self) -> api::KernelStatus {
        api::KernelStatus { on: true, ..Default::default() }
    }
}

impl Maps {
    fn denied(&self) -> Vec<String> {
        self.0.lock().unwrap().deny.keys().map(IpNet::to_string).collect()
    }

    fn parole(&self, prefix: &str) -> Option<Parole> {
        self.0.lock().unwrap().paroles.get(&net(prefix)).copied()
    }

    fn entry(&self, prefix: &str) -> Option<(Option<u32>, Option<Duration>, bool)> {
        let now = *self.1.lock().unwrap();
        let (id, end, observe) = self.0.lock().unwrap().deny.get(&net(prefix)).copied()?;
        Some((id, end.map(|end| end.saturating_sub(now)), observe))
    }
}

/// An owner on a clock that the test moves, with maps and a state folder that outlive it.
struct Bench {
    owner: Option<Owner>,
    maps: Maps,
    offset: Passed,
    start: Now,
    folder: PathBuf,
    settings: Settings,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let folder = std::env::temp_dir().join(format!("portcullis-keeper-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let settings = Settings {
            rules: vec![rule("shield", 20)],
            enforce: true,
            parole: Some(Duration::from_secs(30)),
            capacity: 1_000,
            collateral: 0,
            exempt: vec![
                (net("192.0.2.10/32"), Because::Upstream),
                (net("10.0.0.0/8"), Because::TrustedProxy),
            ],
        };
        let start = Now::system();
        let offset = Passed::default();
        let maps = Maps(Arc::default(), offset.clone(), Vec::new());
        let mut bench = Bench { owner: None, maps, offset, start, folder, settings };
        bench.start();
        bench
    }

    /// As after `kill -9`: the maps and the file stay, nothing is written on the way out.
    fn restart(&mut self) {
        self.owner = None;
        self.start();
    }

    /// As after a reboot: only the file stays.
    fn reboot(&mut self) {
        self.owner = None;
        self.maps = Maps(Arc::default(), self.offset.clone(), Vec::new());
        self.start();
    }

    fn start(&mut self) {
        let (start, offset) = (self.start, self.offset.clone());
        let clock = move || {
            let offset = *offset.lock().unwrap();
            Now { instant: start.instant + offset, wall: start.wall + offset }
        };
        let options = Options { settings: self.settings.clone(), state: Some(self.folder.clone()) };
        let owner = Owner::open_with(options, Box::new(self.maps.clone()), Box::new(clock), Vec::new);
        self.owner = Some(owner.unwrap());
    }

    fn owner(&mut self) -> &mut Owner {
        self.owner.as_mut().unwrap()
    }

    fn pass(&mut self, time: Duration) {
        *self.offset.lock().unwrap() += time;
    }

    fn deny(&mut self, source: &str, count: usize) {
        for nth in 0..count {
            let at = self.owner().now().instant;
            self.owner().signal(signal(source, at, nth));
        }
    }

    fn bans(&mut self, ended: bool) -> Vec<api::Ban> {
        self.owner().list(&api::ListBans { ended, ..api::ListBans::default() }).unwrap().bans
    }

    fn ban(&mut self, prefix: &str) -> Result<api::Changed, Refusal> {
        self.ban_with(prefix, Some(600), false, false)
    }

    fn observe(&mut self, prefix: &str) -> Result<api::Changed, Refusal> {
        let request = api::BanPrefix {
            prefix: Some(net(prefix)),
            client: None,
            for_s: Some(600),
            reason: "who is that".into(),
            force: false,
            observe: true,
            dry_run: false,
        };
        self.owner().ban(&request, By::Operator(1000))
    }

    fn ban_with(
        &mut self,
        prefix: &str,
        for_s: Option<u64>,
        force: bool,
        dry_run: bool,
    ) -> Result<api::Changed, Refusal> {
        let request = api::BanPrefix {
            prefix: Some(net(prefix)),
            client: None,
            for_s,
            reason: "scanner".into(),
            force,
            observe: false,
            dry_run,
        };
        self.owner().ban(&request, By::Operator(1000))
    }

    fn unban(&mut self, prefix: Option<&str>, id: Option<u32>) -> Result<api::Changed, Refusal> {
        self.owner().unban(&api::Unban {
            prefix: prefix.map(net),
            id,
            all: false,
            reason: None,
            suppress_s: None,
            dry_run: false,
        })
    }

    fn allow(&mut self, prefix: &str, remove: bool) -> Result<api::Changed, Refusal> {
        self.owner().allow(&api::AllowPrefix { prefix: net(prefix), remove, dry_run: false })
    }

    fn refused_at_layer_7(&mut self, address: &str) -> bool {
        matches!(self.standing(address), Standing::Banned(_))
    }

    fn standing(&mut self, address: &str) -> Standing {
        Arc::clone(&self.owner().deny).reader().standing(address.parse().unwrap(), address.parse().unwrap())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.owner = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn net(text: &str) -> IpNet {
    text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).unwrap()
}

/// So many denials in 10 s.
fn rule(name: &str, denials: u32) -> score::Rule {
    score::Rule {
        name: name.into(),
        asks: score::When::Denials(denials),
        within: Duration::from_secs(10),
        kinds: Kinds::USUAL,
        route: None,
        observe: false,
        terms: Terms { first: 10 * MINUTE, up_to: 24 * 60 * MINUTE },
    }
}

fn signal(source: &str, at: Instant, nth: usize) -> Signal {
    let evidence = Evidence {
        time: SystemTime::now(),
        request_id: format!("request-{nth}"),
        method: "GET".into(),
        host: "api.example.com".into(),
        path: "/v1/users".into(),
        status: 429,
        reason: "rate-limited".into(),
        route: Some("users".into()),
        auth: None,
        principal: None,
        ja4: None,
    };
    let source = source.parse().unwrap();
    Signal {
        source,
        trusted_proxy: false,
        kind: Kind::RateLimited,
        at,
        cost: Duration::ZERO,
        evidence: Some(Box::new(evidence)),
    }
}
