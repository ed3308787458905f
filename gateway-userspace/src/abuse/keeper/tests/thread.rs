//! The thread itself, on the real clock.

use super::*;
use crate::abuse::ban::By;

fn spawn(enforcer: Box<dyn Enforcer>) -> Keeper {
    let settings = Settings {
        rules: vec![rule("shield", 20)],
        enforce: true,
        parole: None,
        capacity: 262_144,
        collateral: 0,
        exempt: Vec::new(),
    };
    Keeper::spawn(Options { settings, state: None }, enforcer).unwrap()
}

#[test]
fn without_a_kernel_stage_the_gateway_itself_refuses() {
    let keeper = spawn(Box::new(NoKernel { because: "no interfaces".into() }));
    let (reporter, reader) = (keeper.handle().reporter(), keeper.handle().deny());
    for nth in 0..20 {
        assert!(matches!(reader.standing(ABUSER.parse().unwrap(), ABUSER.parse().unwrap()), Standing::Free));
        reporter.report(signal(ABUSER, Instant::now(), nth));
    }
    let bans =
        keeper.handle().ask_blocking(|owner| owner.list(&api::ListBans::default())).unwrap().unwrap().bans;
    assert_eq!(bans[0].enforced, "gateway");
    assert!(matches!(reader.standing(ABUSER.parse().unwrap(), ABUSER.parse().unwrap()), Standing::Banned(1)));
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
fn a_step_that_panics_costs_that_step_and_not_the_thread() {
    let keeper = spawn(Box::new(Maps::default()));
    let handle = keeper.handle();
    assert_eq!(handle.ask_blocking(|_| panic!("on purpose")), Err::<(), _>(Stopped));
    assert_eq!(handle.ask_blocking(|owner| owner.explain(ABUSER.parse().unwrap())).unwrap(), "not banned");
    assert_eq!(handle.counters().panics.load(Relaxed), 1);
    keeper.stop();
}

#[test]
fn the_thread_ends_a_ban_by_itself_when_its_lease_is_over() {
    let keeper = spawn(Box::new(Maps::default()));
    let handle = keeper.handle();
    let short = api::BanPrefix {
        prefix: Some(net(ABUSER)),
        client: None,
        for_s: Some(1),
        reason: String::new(),
        force: false,
        observe: false,
        dry_run: false,
    };
    handle.ask_blocking(move |owner| owner.ban(&short, By::Operator(0))).unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while handle.counters().bans_active.load(Relaxed) > 0 {
        assert!(Instant::now() < deadline, "the ban did not end");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let list = api::ListBans { id: Some(1), ..api::ListBans::default() };
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
