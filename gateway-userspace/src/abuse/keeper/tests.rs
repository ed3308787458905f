use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use super::owner::Owner;
use super::*;
use crate::abuse::ban::Now;
use crate::abuse::enforcer::{Entry, NoKernel};
use crate::abuse::signal::{Evidence, Kind, Signal};

const ABUSER: &str = "203.0.113.9";
const MINUTE: Duration = Duration::from_secs(60);

/// The kernel's maps as far as the keeper can see them; they outlive an owner as pinned maps do.
#[derive(Clone, Default)]
struct Maps(Arc<Mutex<Inner>>, Passed);

/// Time since the test began.
type Passed = Arc<Mutex<Duration>>;

#[derive(Default)]
struct Inner {
    /// Ban, end as time since the test began, and whether it only counts.
    deny: BTreeMap<IpNet, (Option<u32>, Option<Duration>, bool)>,
    allow: std::collections::BTreeSet<IpNet>,
    broken: bool,
}

impl Enforcer for Maps {
    fn in_kernel(&self) -> bool {
        true
    }
    fn install(
        &mut self,
        prefix: IpNet,
        for_: Option<Duration>,
        ban_id: u32,
        observe: bool,
    ) -> Result<(), String> {
        let end = for_.map(|for_| for_ + *self.1.lock().unwrap());
        let mut maps = self.0.lock().unwrap();
        if maps.broken {
            return Err("no space left on device".into());
        }
        maps.deny.insert(prefix, (Some(ban_id), end, observe));
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
    fn drops(&mut self, ban_id: u32) -> (u64, u64) {
        (u64::from(ban_id) * 10, u64::from(ban_id) * 600)
    }
    fn entries(&mut self) -> Vec<Entry> {
        let now = *self.1.lock().unwrap();
        let entry = |(prefix, (ban_id, end, _)): (&IpNet, &(Option<u32>, Option<Duration>, bool))| Entry {
            prefix: *prefix,
            ban_id: *ban_id,
            left: end.map(|end| end.saturating_sub(now)),
        };
        self.0.lock().unwrap().deny.iter().map(entry).collect()
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
            rule: Some(score::Rule { denials: 20, within: Duration::from_secs(10) }),
            terms: Terms { first: 10 * MINUTE, up_to: 24 * 60 * MINUTE },
            enforce: true,
            capacity: 1_000,
            exempt: vec![
                (net("192.0.2.10/32"), Because::Upstream),
                (net("10.0.0.0/8"), Because::TrustedProxy),
            ],
        };
        let start = Now::system();
        let offset = Passed::default();
        let maps = Maps(Arc::default(), offset.clone());
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
        self.maps = Maps(Arc::default(), self.offset.clone());
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
        self.owner().list(&api::ListBans { id: None, ended }).unwrap().bans
    }

    fn ban(&mut self, prefix: &str) -> Result<api::Changed, Refusal> {
        self.ban_with(prefix, Some(600), false, false)
    }

    fn ban_with(
        &mut self,
        prefix: &str,
        for_s: Option<u64>,
        force: bool,
        dry_run: bool,
    ) -> Result<api::Changed, Refusal> {
        let request = api::BanPrefix { prefix: net(prefix), for_s, reason: "scanner".into(), force, dry_run };
        self.owner().ban(&request, 1000)
    }

    fn unban(&mut self, prefix: Option<&str>, id: Option<u32>) -> Result<api::Changed, Refusal> {
        self.owner().unban(&api::Unban { prefix: prefix.map(net), id, all: false, dry_run: false })
    }

    fn allow(&mut self, prefix: &str, remove: bool) -> Result<api::Changed, Refusal> {
        self.owner().allow(&api::AllowPrefix { prefix: net(prefix), remove, dry_run: false })
    }

    fn refused_at_layer_7(&mut self, address: &str) -> bool {
        Arc::clone(&self.owner().deny).reader().is_banned(address.parse().unwrap())
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
        principal: None,
    };
    let source = source.parse().unwrap();
    Signal { source, trusted_proxy: false, kind: Kind::RateLimited, at, evidence: Some(Box::new(evidence)) }
}

// === By rule ===

#[test]
fn the_twentieth_denial_bans_with_a_receipt_and_the_nineteenth_does_not() {
    let mut bench = Bench::new("twentieth");
    bench.deny(ABUSER, 19);
    assert!(bench.maps.denied().is_empty());
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(10 * MINUTE), false)));
    assert!(bench.refused_at_layer_7(ABUSER));
    let [ban] = &bench.bans(false)[..] else { panic!("one ban") };
    assert_eq!((ban.id, ban.prefix, ban.offence), (1, net(ABUSER), 1));
    assert_eq!((ban.state.as_str(), ban.enforced.as_str(), ban.by.as_str()), ("active", "kernel", "rule"));
    assert_eq!(ban.reason, "20 denials in 10s: 20 rate-limited");
    assert_eq!((ban.left_s, ban.evidence.len(), ban.packets), (Some(600), 20, 10));
    assert_eq!((ban.undo.as_str(), ban.latency_us), ("portcullis unban 1", Some(0)));
}

#[test]
fn signals_that_come_during_a_ban_do_not_count_towards_the_next() {
    let mut bench = Bench::new("during");
    bench.deny(ABUSER, 20 + 19);
    assert_eq!(bench.bans(false).len(), 1);
    bench.pass(10 * MINUTE);
    bench.deny(ABUSER, 19);
    assert_eq!(bench.bans(true).iter().filter(|ban| ban.state == "active").count(), 0);
    bench.deny(ABUSER, 1);
    let bans = bench.bans(true);
    assert_eq!(
        bans.iter().map(|ban| (ban.id, ban.state.as_str(), ban.offence)).collect::<Vec<_>>(),
        [(2, "active", 2), (1, "expired", 1)]
    );
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(2), Some(20 * MINUTE), false)), "twice as long");
}

#[test]
fn a_ban_ends_with_its_lease_in_the_kernel_and_at_layer_7() {
    let mut bench = Bench::new("ends");
    bench.deny(ABUSER, 20);
    bench.pass(10 * MINUTE - Duration::from_nanos(1));
    bench.owner().expire();
    assert_eq!(bench.maps.denied().len(), 1);
    bench.pass(Duration::from_nanos(1));
    bench.owner().tick();
    assert!(bench.maps.denied().is_empty());
    assert!(!bench.refused_at_layer_7(ABUSER));
    let ban = &bench.bans(true)[0];
    assert_eq!((ban.state.as_str(), ban.packets, ban.bytes, ban.evidence.len()), ("expired", 10, 600, 20));
}

#[test]
fn nobody_exempt_is_banned_by_rule() {
    let mut bench = Bench::new("exempt");
    for source in ["127.0.0.1", "192.0.2.10", "10.1.2.3", "::1", "::ffff:10.1.2.3"] {
        bench.deny(source, 100);
    }
    let at = bench.owner().now().instant;
    for nth in 0..100 {
        let proxy = Signal { trusted_proxy: true, ..signal("198.51.100.1", at, nth) };
        bench.owner().signal(proxy);
    }
    assert!(bench.bans(true).is_empty());
    assert_eq!(bench.owner().counters.exempted.load(Relaxed), 25);
}

#[test]
fn a_neighbour_in_our_own_64_is_banned_alone() {
    let mut bench = Bench::new("neighbour");
    let mut settings = bench.settings.clone();
    settings.exempt.push((net("2001:db8::1"), Because::OwnAddress));
    bench.owner().configure(settings);
    bench.deny("2001:db8::66", 20 + 20);
    assert_eq!(bench.maps.denied(), ["2001:db8::66/128"]);
    assert!(bench.refused_at_layer_7("2001:db8::66") && !bench.refused_at_layer_7("2001:db8::67"));
    bench.deny("2001:db8::1", 40);
    assert_eq!(bench.maps.denied().len(), 1);
    bench.unban(Some("2001:db8::66"), None).unwrap();
    assert!(bench.maps.denied().is_empty());
}

#[test]
fn while_observing_the_kernel_counts_and_layer_7_lets_pass() {
    let mut bench = Bench::new("observe");
    let enforcing = bench.settings.clone();
    let observing = Settings { enforce: false, ..enforcing.clone() };
    bench.owner().configure(observing);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(10 * MINUTE), true)));
    assert!(!bench.refused_at_layer_7(ABUSER));
    assert_eq!(bench.bans(false)[0].enforced, "observed");
    bench.pass(MINUTE);
    bench.owner().configure(enforcing);
    assert_eq!(
        bench.maps.entry(ABUSER),
        Some((Some(1), Some(9 * MINUTE), false)),
        "armed with the time left"
    );
    assert!(bench.refused_at_layer_7(ABUSER));
}

#[test]
fn when_the_kernel_refuses_layer_7_still_holds() {
    let mut bench = Bench::new("broken");
    bench.maps.0.lock().unwrap().broken = true;
    bench.deny(ABUSER, 20);
    assert!(bench.refused_at_layer_7(ABUSER));
    assert_eq!((bench.bans(false)[0].enforced.as_str(), bench.bans(false)[0].latency_us), ("gateway", None));
    assert_eq!(bench.owner().counters.enforcer_failures.load(Relaxed), 1);
}

#[test]
fn a_full_ledger_bans_nobody_more_and_keeps_what_it_has() {
    let mut bench = Bench::new("full");
    let settings = Settings { capacity: 2, ..bench.settings.clone() };
    bench.owner().configure(settings);
    for host in 1..=3 {
        bench.deny(&format!("203.0.113.{host}"), 20);
    }
    assert_eq!(bench.maps.denied(), ["203.0.113.1/32", "203.0.113.2/32"]);
    assert_eq!(bench.ban("203.0.113.4").unwrap_err(), Refusal::Full(2));
}

// === By command ===

#[test]
fn an_operator_bans_and_the_printed_command_undoes_it() {
    let mut bench = Bench::new("operator");
    let changed = bench.ban("198.51.100.0/24").unwrap();
    assert_eq!(changed.changes, ["banned 198.51.100.0/24 for 10m (ban 1)"]);
    assert_eq!(changed.undo.as_deref(), Some("portcullis unban 1"));
    let ban = bench.bans(false).remove(0);
    assert_eq!((ban.by.as_str(), ban.reason.as_str(), ban.offence), ("operator 1000", "scanner", 1));
    bench.pass(MINUTE);
    let changed = bench.unban(None, Some(1)).unwrap();
    assert_eq!(changed.changes, ["lifted ban 1 of 198.51.100.0/24"]);
    assert_eq!(changed.undo.as_deref(), Some("portcullis ban 198.51.100.0/24 --for 9m"));
    assert!(bench.maps.denied().is_empty() && !bench.refused_at_layer_7("198.51.100.7"));
    assert_eq!(bench.unban(None, Some(1)).unwrap_err(), Refusal::Over(1));
    assert_eq!(bench.unban(None, Some(2)).unwrap_err(), Refusal::UnknownBan(2));
}

#[test]
fn what_is_too_wide_or_exempt_is_refused_and_what_can_be_forced_says_what_still_passes() {
    let mut bench = Bench::new("refused");
    for (prefix, forced) in [
        ("0.0.0.0/0", true),
        ("200.0.0.0/7", true),
        ("2001::/18", true),
        ("192.0.2.0/24", true),
        ("192.0.2.10", false),
        ("10.9.9.9", false),
        ("127.0.0.1", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
    ] {
        assert!(bench.ban(prefix).is_err(), "{prefix}");
        assert_eq!(bench.ban_with(prefix, None, true, true).is_ok(), forced, "{prefix} with force");
    }
    assert!(bench.maps.denied().is_empty(), "refusals and dry runs change nothing");
    assert!(bench.ban("200.0.0.0/8").is_ok() && bench.ban("2001::/19").is_ok());
    let changed = bench.ban_with("192.0.2.0/24", None, true, false).unwrap();
    assert_eq!(
        changed.changes,
        ["banned 192.0.2.0/24 until it is lifted (ban 3)", "192.0.2.10 still passes (upstream)"]
    );
    assert!(bench.refused_at_layer_7("192.0.2.11") && !bench.refused_at_layer_7("192.0.2.10"));
    let text = bench.ban("192.0.2.0/25").unwrap_err().to_string();
    assert_eq!(
        text,
        "192.0.2.0/25 covers 192.0.2.10, which is never banned (upstream); with --force the rest of it is banned"
    );
    assert_eq!(bench.ban_with(ABUSER, Some(0), false, false).unwrap_err(), Refusal::NoTime);
}

#[test]
fn a_ban_that_never_ends_and_one_of_absurd_length_are_both_kept() {
    let mut bench = Bench::new("long");
    bench.ban_with("203.0.113.1", None, false, false).unwrap();
    bench.ban_with("203.0.113.2", Some(u64::MAX), false, false).unwrap();
    bench.restart();
    let bans = bench.bans(false);
    assert_eq!(bans.len(), 2);
    assert_eq!((bans[1].until.as_deref(), bans[1].left_s), (None, None));
    assert!(bans[0].left_s.unwrap() > 99 * 365 * 86_400);
}

#[test]
fn a_second_ban_of_the_same_prefix_replaces_the_first_and_forgives_nothing() {
    let mut bench = Bench::new("replace");
    bench.deny(ABUSER, 20);
    let changed = bench.ban(ABUSER).unwrap();
    assert_eq!(changed.changes[1], "replaces ban 1 of the same prefix");
    assert_eq!(bench.maps.entry(ABUSER).unwrap().0, Some(2));
    assert!(bench.refused_at_layer_7(ABUSER));
    bench.restart();
    bench.pass(10 * MINUTE);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false)[0].offence, 2);
}

#[test]
fn unban_finds_what_lies_in_the_prefix_and_names_what_is_wider() {
    let mut bench = Bench::new("unban");
    bench.ban("203.0.112.0/23").unwrap();
    bench.deny("2001:db8::7", 20);
    bench.deny("198.51.100.7", 20);
    let refusal = bench.unban(Some(ABUSER), None).unwrap_err();
    assert_eq!(refusal, Refusal::Wider { prefix: net(ABUSER), wider: net("203.0.112.0/23"), id: 1 });
    assert_eq!(bench.unban(Some("192.0.2.1"), None).unwrap_err(), Refusal::NotBanned(net("192.0.2.1")));
    assert_eq!(bench.unban(None, None).unwrap_err(), Refusal::Nothing);
    let changed = bench.unban(Some("2001:db8::1"), None).unwrap();
    assert_eq!(changed.changes, ["lifted ban 2 of 2001:db8::/64"], "an address stands for its /64");
    assert_eq!(bench.unban(Some("198.51.0.0/16"), None).unwrap().changes, ["lifted ban 3 of 198.51.100.7"]);
    let all = api::Unban { prefix: None, id: None, all: true, dry_run: true };
    assert_eq!(bench.owner().unban(&all).unwrap().changes, ["would lift ban 1 of 203.0.112.0/23"]);
    assert_eq!(bench.maps.denied().len(), 1, "a dry run changes nothing");
    assert_eq!(bench.owner().unban(&api::Unban { dry_run: false, ..all }).unwrap().changes.len(), 1);
    assert!(bench.maps.denied().is_empty());
}

#[test]
fn lifting_a_narrow_ban_says_that_a_wider_one_still_holds() {
    let mut bench = Bench::new("still");
    bench.deny(ABUSER, 20);
    bench.ban("203.0.113.0/24").unwrap();
    let changed = bench.unban(None, Some(1)).unwrap();
    assert_eq!(changed.changes[1], "203.0.113.9 is still banned as part of 203.0.113.0/24 (ban 2)");
    assert!(bench.refused_at_layer_7(ABUSER));
}

#[test]
fn allowing_lifts_the_bans_in_it_and_lasts_over_a_restart() {
    let mut bench = Bench::new("allow");
    bench.deny(ABUSER, 20);
    let changed = bench.allow("203.0.113.0/24", false).unwrap();
    assert_eq!(changed.changes[1], "ban 1 of 203.0.113.9 lifted");
    assert_eq!(changed.undo.as_deref(), Some("portcullis allow --remove 203.0.113.0/24"));
    assert!(bench.maps.denied().is_empty());
    bench.restart();
    bench.deny(ABUSER, 40);
    assert!(bench.maps.denied().is_empty());
    assert!(bench.maps.0.lock().unwrap().allow.contains(&net("203.0.113.0/24")));

    bench.allow("203.0.113.0/24", true).unwrap();
    assert!(!bench.maps.0.lock().unwrap().allow.contains(&net("203.0.113.0/24")));
    assert_eq!(bench.allow("203.0.113.0/24", true).unwrap_err(), Refusal::NotAllowed(net("203.0.113.0/24")));
    let configured = Refusal::NotByCommand { prefix: net("192.0.2.10"), because: Because::Upstream };
    assert_eq!(bench.allow("192.0.2.10", true).unwrap_err(), configured);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.denied().len(), 1);
}

#[test]
fn a_reload_that_exempts_somebody_lifts_his_ban() {
    let mut bench = Bench::new("reload");
    bench.deny(ABUSER, 20);
    let mut settings = bench.settings.clone();
    settings.exempt.push((net("203.0.113.0/24"), Because::Never));
    bench.owner().configure(settings);
    assert!(bench.maps.denied().is_empty());
    assert_eq!(bench.bans(true)[0].state, "lifted");
}

#[test]
fn a_reason_cannot_forge_a_line_of_the_log() {
    let mut bench = Bench::new("reason");
    let reason = format!("bad\nguy\x1b[31m{}", "é".repeat(600));
    let request = api::BanPrefix { prefix: net(ABUSER), for_s: None, reason, force: false, dry_run: false };
    bench.owner().ban(&request, 0).unwrap();
    let reason = bench.bans(false).remove(0).reason;
    assert!(reason.starts_with("badguy[31mé") && reason.len() <= 512, "{reason}");
}

// === Over a restart ===

#[test]
fn a_restart_keeps_bans_ids_receipts_and_offences() {
    let mut bench = Bench::new("restart");
    bench.deny(ABUSER, 20);
    bench.deny("203.0.113.8", 20);
    bench.unban(Some("203.0.113.8"), None).unwrap();
    bench.pass(MINUTE);
    bench.restart();
    let bans = bench.bans(true);
    assert_eq!(
        bans.iter().map(|ban| (ban.id, ban.state.as_str(), ban.evidence.len())).collect::<Vec<_>>(),
        [(2, "lifted", 20), (1, "active", 20)]
    );
    assert!(bench.refused_at_layer_7(ABUSER));
    bench.deny("203.0.113.7", 20);
    assert_eq!(bench.bans(false)[0].id, 3);
    bench.pass(11 * MINUTE);
    bench.restart();
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false)[0].offence, 2);
}

#[test]
fn after_a_reboot_bans_come_back_with_the_time_left_by_the_wall_clock() {
    let mut bench = Bench::new("reboot");
    bench.deny(ABUSER, 20);
    bench.pass(4 * MINUTE);
    bench.reboot();
    let (id, left, observe) = bench.maps.entry(ABUSER).unwrap();
    let left = left.unwrap();
    assert!(left > 6 * MINUTE - Duration::from_millis(2) && left <= 6 * MINUTE, "{left:?}");
    assert_eq!((id, observe), (Some(1), false));
    bench.pass(6 * MINUTE);
    bench.reboot();
    assert!(bench.maps.denied().is_empty());
    assert_eq!(bench.bans(true)[0].state, "expired");
}

#[test]
fn the_kernels_lease_counts_where_the_wall_clock_was_changed() {
    let mut bench = Bench::new("clock");
    bench.deny(ABUSER, 20);
    bench.maps.0.lock().unwrap().deny.insert(net(ABUSER), (Some(1), Some(5 * MINUTE), false));
    bench.restart();
    assert_eq!(bench.bans(false)[0].left_s, Some(300));
    bench.pass(5 * MINUTE);
    bench.owner().expire();
    assert!(bench.maps.denied().is_empty());
}

#[test]
fn entries_that_only_the_kernel_knows_are_adopted_and_can_be_lifted() {
    let mut bench = Bench::new("adopt");
    {
        let mut maps = bench.maps.0.lock().unwrap();
        maps.deny.insert(net("203.0.113.1"), (Some(77), Some(5 * MINUTE), false));
        maps.deny.insert(net("203.0.113.2"), (None, None, false));
        maps.deny.insert(net("192.0.2.10"), (Some(78), None, false));
        maps.deny.insert(net("203.0.113.3"), (Some(79), Some(Duration::ZERO), false));
    }
    bench.restart();
    assert_eq!(
        bench.maps.denied(),
        ["203.0.113.1/32", "203.0.113.2/32"],
        "not the upstream, not what is over"
    );
    let bans = bench.bans(false);
    assert!(bans.iter().any(|ban| ban.id == 77 && ban.by == "kernel" && ban.left_s == Some(300)));
    assert!(bench.refused_at_layer_7("203.0.113.2"));
    bench.unban(Some("203.0.113.0/24"), None).unwrap();
    assert!(bench.maps.denied().is_empty());
    bench.deny(ABUSER, 20);
    assert!(bench.bans(false)[0].id > 78);
}

#[test]
fn an_entry_whose_ban_was_lifted_before_a_crash_does_not_come_back() {
    let mut bench = Bench::new("crash");
    bench.deny(ABUSER, 20);
    let entry = bench.maps.entry(ABUSER).unwrap();
    bench.unban(None, Some(1)).unwrap();
    bench.maps.0.lock().unwrap().deny.insert(net(ABUSER), entry);
    bench.restart();
    assert!(bench.maps.denied().is_empty());
}

#[test]
fn a_restart_that_observes_disarms_what_the_kernel_holds() {
    let mut bench = Bench::new("disarm");
    bench.deny(ABUSER, 20);
    bench.settings.enforce = false;
    bench.restart();
    assert_eq!(bench.maps.entry(ABUSER).map(|entry| entry.2), Some(true));
    assert!(!bench.refused_at_layer_7(ABUSER));
}

#[test]
fn a_state_file_cut_at_any_byte_starts_and_loses_no_ban_that_the_kernel_holds() {
    let mut bench = Bench::new("torn");
    bench.deny(ABUSER, 20);
    bench.ban("198.51.100.0/24").unwrap();
    bench.allow("192.0.2.99", false).unwrap();
    bench.unban(None, Some(2)).unwrap();
    bench.owner = None;
    let log = bench.folder.join("bans.log");
    let whole = std::fs::read(&log).unwrap();
    let held = bench.maps.entry(ABUSER).unwrap();
    for cut in (0..whole.len()).filter(|cut| cut % 97 == 0 || *cut > whole.len() - 400) {
        std::fs::write(&log, &whole[..cut]).unwrap();
        bench.maps.0.lock().unwrap().deny = BTreeMap::from([(net(ABUSER), held)]);
        bench.restart();
        assert!(bench.bans(false).iter().any(|ban| ban.id == 1), "cut at {cut}");
        assert!(bench.refused_at_layer_7(ABUSER), "cut at {cut}");
        bench.owner = None;
    }
    assert!(Path::new(&log).with_extension("log.damaged").exists());
}

#[test]
fn a_long_history_is_compacted_and_reads_the_same() {
    let mut bench = Bench::new("compact");
    bench.deny(ABUSER, 20);
    for _ in 0..3_000 {
        bench.ban("198.51.100.0/24").unwrap();
        bench.unban(Some("198.51.100.0/24"), None).unwrap();
        bench.owner().tick();
    }
    let size = std::fs::metadata(bench.folder.join("bans.log")).unwrap().len();
    assert!(size < 2 << 20, "{size} bytes");
    let before: Vec<u32> = bench.bans(true).iter().map(|ban| ban.id).collect();
    bench.restart();
    let after: Vec<u32> = bench.bans(true).iter().map(|ban| ban.id).collect();
    assert_eq!(before, after);
    assert_eq!(before.len(), 1 + crate::abuse::ban::ENDED_MAX);
}

// === The thread ===

fn spawn(enforcer: Box<dyn Enforcer>) -> Keeper {
    let settings = Settings {
        rule: Some(score::Rule { denials: 20, within: Duration::from_secs(10) }),
        terms: Terms { first: 10 * MINUTE, up_to: 24 * 60 * MINUTE },
        enforce: true,
        capacity: 262_144,
        exempt: Vec::new(),
    };
    Keeper::spawn(Options { settings, state: None }, enforcer).unwrap()
}

#[test]
fn without_a_kernel_stage_the_gateway_itself_refuses() {
    let keeper = spawn(Box::new(NoKernel { because: "no interfaces".into() }));
    let (reporter, reader) = (keeper.handle().reporter(), keeper.handle().deny());
    for nth in 0..20 {
        assert!(!reader.is_banned(ABUSER.parse().unwrap()));
        reporter.report(signal(ABUSER, Instant::now(), nth));
    }
    let bans =
        keeper.handle().ask_blocking(|owner| owner.list(&api::ListBans::default())).unwrap().unwrap().bans;
    assert_eq!(bans[0].enforced, "gateway");
    assert!(reader.is_banned(ABUSER.parse().unwrap()));
    let status = keeper.handle().ask_blocking(|owner| owner.enforcer.status()).unwrap();
    assert_eq!(status.off_because.as_deref(), Some("no interfaces"));
    keeper.stop();
}

#[test]
fn a_handle_that_outlives_the_keeper_says_so() {
    let keeper = spawn(Box::new(Maps::default()));
    let handle = keeper.handle();
    keeper.stop();
    assert_eq!(handle.ask_blocking(|_| ()).unwrap_err(), Stopped);
    handle.reporter().report(signal(ABUSER, Instant::now(), 0));
    assert_eq!(handle.counters().signals_dropped.load(Relaxed), 1);
}

#[test]
fn the_thread_ends_a_ban_by_itself_when_its_lease_is_over() {
    let keeper = spawn(Box::new(Maps::default()));
    let handle = keeper.handle();
    let short = api::BanPrefix {
        prefix: net(ABUSER),
        for_s: Some(1),
        reason: String::new(),
        force: false,
        dry_run: false,
    };
    handle.ask_blocking(move |owner| owner.ban(&short, 0)).unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while handle.counters().bans_active.load(Relaxed) > 0 {
        assert!(Instant::now() < deadline, "the ban did not end");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let list = api::ListBans { id: Some(1), ended: false };
    let ban = handle.ask_blocking(move |owner| owner.list(&list)).unwrap().unwrap().bans.remove(0);
    assert_eq!(ban.state, "expired");
}

#[test]
fn from_the_last_denial_to_the_kernel_write_takes_well_under_a_millisecond_at_the_median() {
    let keeper = spawn(Box::new(Maps::default()));
    let reporter = keeper.handle().reporter();
    for host in 0..200u32 {
        let source = std::net::Ipv4Addr::from(0xcb00_7100 + host).to_string();
        for nth in 0..20 {
            reporter.report(signal(&source, Instant::now(), nth));
        }
        // So that the thread sleeps again before the next one, as it does between real abusers.
        keeper.handle().ask_blocking(|_| ()).unwrap();
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let bans =
        keeper.handle().ask_blocking(|owner| owner.list(&api::ListBans::default())).unwrap().unwrap().bans;
    let mut latencies: Vec<u64> = bans.iter().filter_map(|ban| ban.latency_us).collect();
    latencies.sort_unstable();
    assert_eq!(latencies.len(), 200);
    println!("last denial to kernel write: median {} us, worst {} us", latencies[100], latencies[199]);
}
