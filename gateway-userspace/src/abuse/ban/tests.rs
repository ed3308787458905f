//! The ledger on times of the test's choosing.

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ban(ledger: &mut Ledger, prefix: &str, now: Now, offence: u32, term: Duration) -> u32 {
    let id = ledger.take_id();
    ledger.enact(Ban {
        id,
        target: Target::Prefix(net(prefix)),
        state: State::Active,
        reason: "test".into(),
        rule: None,
        others: None,
        derived_from: Box::default(),
        by: if offence == 0 { By::Operator(0) } else { By::Rule },
        enforced: Enforced::Kernel,
        observed: false,
        since: now.wall,
        until: Some(now.wall + term),
        lease_end: Some(now.instant + term),
        offence,
        parole: None,
        renewed: None,
        latency_us: None,
        drops: Drops::default(),
    });
    id
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn a_ban_doubles_with_each_return_up_to_the_longest() {
    let terms = Terms { first: TEN_MINUTES, up_to: Duration::from_secs(86_400) };
    let minutes = |offence| terms.of(offence).as_secs() / 60;
    assert_eq!(
        [1, 2, 3, 4, 7, 8, 9, 33, 1_000, u32::MAX].map(minutes),
        [10, 20, 40, 80, 640, 1_280, 1_440, 1_440, 1_440, 1_440]
    );
    let huge = Terms { first: Duration::MAX, up_to: Duration::MAX };
    assert_eq!(huge.of(40), Duration::MAX);
}

#[test]
fn a_return_within_a_day_of_the_end_counts_and_a_later_one_does_not() {
    let now = Now::system();
    let source = Target::Prefix(net("203.0.113.9/32"));
    let mut ledger = Ledger::new(10);
    assert_eq!(ledger.next_offence(&source, now.wall), 1);
    let id = ban(&mut ledger, "203.0.113.9/32", now, 1, TEN_MINUTES);
    let end = now.wall + TEN_MINUTES;
    ledger.end(id, end, State::Expired, Drops::default()).unwrap();
    assert_eq!(ledger.next_offence(&source, end + Duration::from_secs(86_399)), 2);
    assert_eq!(ledger.next_offence(&source, end + Duration::from_secs(86_400)), 1);
}

#[test]
fn a_lifted_ban_is_forgiven_and_an_operators_ban_is_no_offence() {
    let now = Now::system();
    let source = Target::Prefix(net("203.0.113.9/32"));
    let mut ledger = Ledger::new(10);
    for (offence, after) in [(1, 1), (2, 2)] {
        let id = ban(&mut ledger, "203.0.113.9/32", now, offence, TEN_MINUTES);
        ledger.end(id, now.wall, State::Lifted, Drops::default()).unwrap();
        assert_eq!(ledger.next_offence(&source, now.wall), after);
    }
    let id = ban(&mut ledger, "203.0.113.9/32", now, 0, TEN_MINUTES);
    ledger.end(id, now.wall, State::Expired, Drops::default()).unwrap();
    assert_eq!(ledger.next_offence(&source, now.wall), 2);
}

#[test]
fn a_ban_is_due_at_its_lease_and_not_before() {
    let now = Now::system();
    let mut ledger = Ledger::new(10);
    let long = ban(&mut ledger, "203.0.113.1/32", now, 1, 2 * TEN_MINUTES);
    let short = ban(&mut ledger, "203.0.113.2/32", now, 1, TEN_MINUTES);
    let (end, dropped) = (now.instant + TEN_MINUTES, Drops { packets: 7, bytes: 420, syns: 7 });
    assert_eq!(ledger.next_end(), Some(end));
    assert!(ledger.due(end - Duration::from_nanos(1)).is_empty());
    assert_eq!(ledger.due(end), [short]);
    ledger.end(short, now.wall + TEN_MINUTES, State::Expired, dropped).unwrap();
    assert!(ledger.due(end).is_empty());
    assert_eq!(ledger.count(), 1);
    let over = ledger.get(short).unwrap();
    assert_eq!((over.state, over.drops), (State::Expired, dropped));
    assert_eq!(ledger.get(long).unwrap().state, State::Active);
    assert!(ledger.end(short, now.wall, State::Lifted, Drops::default()).is_none(), "it is over");
}

#[test]
fn overlapping_bans_live_and_end_apart() {
    let now = Now::system();
    let mut ledger = Ledger::new(10);
    let wide = ban(&mut ledger, "203.0.113.0/24", now, 0, TEN_MINUTES);
    let narrow = ban(&mut ledger, "203.0.113.9/32", now, 1, TEN_MINUTES);
    let covering =
        |ledger: &Ledger| ledger.covering(net("203.0.113.9/32")).map(|ban| ban.id).collect::<Vec<_>>();
    assert_eq!(covering(&ledger), [narrow, wide]);
    assert_eq!(ledger.inside(net("203.0.113.0/25")).map(|ban| ban.id).collect::<Vec<_>>(), [narrow]);
    ledger.end(narrow, now.wall, State::Lifted, Drops::default());
    assert_eq!(covering(&ledger), [wide]);
}

#[test]
fn ids_are_never_given_twice_even_after_a_restore() {
    let now = Now::system();
    let mut ledger = Ledger::new(10);
    ledger.reserve_ids(41);
    assert_eq!(ban(&mut ledger, "203.0.113.1/32", now, 1, TEN_MINUTES), 41);
    ledger.reserve_ids(7);
    assert_eq!(ledger.take_id(), 42);
    ledger.next_id = u32::MAX;
    assert_eq!([ledger.take_id(), ledger.take_id()], [u32::MAX; 2]);
}

#[test]
fn what_is_over_is_remembered_up_to_a_limit() {
    let now = Now::system();
    let mut ledger = Ledger::new(usize::MAX);
    let mut forgotten = Vec::new();
    for _ in 0..ENDED_MAX + 3 {
        let id = ban(&mut ledger, "203.0.113.1/32", now, 0, TEN_MINUTES);
        ledger.end(id, now.wall, State::Lifted, Drops::default());
        forgotten.extend(std::iter::from_fn(|| ledger.forget()).map(|ban| ban.id));
    }
    assert_eq!(forgotten, [1, 2, 3]);
    assert_eq!(ledger.ended().count(), ENDED_MAX);
    assert_eq!(ledger.count(), 0);
    assert!(ledger.leases.is_empty());
}

#[test]
fn it_is_full_at_twice_its_capacity() {
    let now = Now::system();
    let mut ledger = Ledger::new(1);
    let id = ban(&mut ledger, "203.0.113.1/32", now, 1, TEN_MINUTES);
    assert!(!ledger.is_full());
    ban(&mut ledger, "203.0.113.2/32", now, 1, TEN_MINUTES);
    assert!(ledger.is_full());
    ledger.end(id, now.wall, State::Expired, Drops::default());
    assert!(!ledger.is_full());
}

#[test]
fn the_bans_of_a_network_are_found_in_order_without_looking_at_others() {
    const SITES: u32 = 50_000;
    let now = Now::system();
    let mut ledger = Ledger::new(SITES as usize);
    let site = |n: u32| format!("2001:{:x}:{:x}", n >> 16, n & 0xffff);
    let mut ids = Vec::new();
    for n in 0..SITES {
        ids.push(ban(&mut ledger, &format!("{}:7::/64", site(n)), now, 1, TEN_MINUTES));
    }
    for prefix in ["2001:0:5::/48", "2001:0:5:100::/56", "2001::/32", "198.51.100.0/24"] {
        ban(&mut ledger, prefix, now, 0, TEN_MINUTES);
    }
    let inside = |network: &str| -> Vec<String> {
        ledger.inside(net(network)).map(|ban| ban.target.to_string()).collect()
    };
    assert_eq!(inside("2001:0:5::/48"), ["2001:0:5::/48", "2001:0:5:7::/64", "2001:0:5:100::/56"]);
    assert_eq!(inside("2001:0:5::/56"), ["2001:0:5:7::/64"]);
    assert_eq!(inside("2001:0:5:7::/64"), ["2001:0:5:7::/64"]);
    assert_eq!(inside("::/0").len(), SITES as usize + 3);
    assert_eq!(inside("0.0.0.0/0"), ["198.51.100.0/24"]);
    // Each looks at one: with a look at all of them this takes an hour.
    for (n, id) in (0..SITES).zip(&ids).filter(|(n, _)| *n != 5) {
        let found: Vec<u32> = ledger.inside(net(&format!("{}::/48", site(n)))).map(|ban| ban.id).collect();
        assert_eq!(found, [*id]);
    }
    ledger.end(ids[5], now.wall, State::Expired, Drops::default());
    let left: Vec<String> = ledger.inside(net("2001:0:5::/48")).map(|ban| ban.target.to_string()).collect();
    assert_eq!(left, ["2001:0:5::/48", "2001:0:5:100::/56"]);
}
