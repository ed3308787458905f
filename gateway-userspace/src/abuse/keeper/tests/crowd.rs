//! Who else is behind an address that is to be banned.

use super::*;
use crate::abuse::reporter::Seen;
use crate::abuse::target::Subject;

fn who(name: &str) -> Subject {
    Subject { auth: "users".into(), principal: name.into() }
}

impl Bench {
    /// So many good clients at an address.
    fn serve(&mut self, address: &str, names: &[&str]) {
        for name in names {
            self.owner().seen(&Seen { source: address.parse().unwrap(), who: who(name) });
        }
    }
}

#[test]
fn who_else_was_there_is_frozen_in_the_receipt() {
    let mut bench = Bench::new("others");
    bench.serve("198.51.100.7", &["alice", "bob"]);
    bench.serve("198.51.100.8", &["bob", "carol"]);
    bench.pass(59 * MINUTE);
    bench.owner().tick();
    bench.ban_with("198.51.100.0/24", None, true, false).unwrap();
    bench.serve("198.51.100.9", &["dave"]);
    bench.restart();
    let others = bench.bans(false).remove(0).others.expect("somebody looked");
    assert_eq!((others.good, others.names.join(" ").as_str()), (3, "users/alice users/bob users/carol"));
}

impl Bench {
    /// So many refused requests of a client at an address.
    fn deny_client(&mut self, address: &str, name: &str, count: usize) {
        for nth in 0..count {
            let at = self.owner().now().instant;
            let mut refused = signal(address, at, nth);
            let evidence = refused.evidence.as_mut().unwrap();
            (evidence.auth, evidence.principal) = (Some("users".into()), Some(name.into()));
            self.owner().signal(refused);
        }
    }

    fn client_is_refused(&mut self, name: &str, address: &str) -> bool {
        let reader = Arc::clone(&self.owner().deny).reader();
        matches!(reader.client_standing("users", name, address.parse().unwrap()), Standing::Banned(_))
    }
}

#[test]
fn one_abuser_among_others_is_banned_alone_and_alone_with_its_address() {
    let mut bench = Bench::new("among");
    bench.serve(ABUSER, &["alice", "bob", "mallory"]);
    bench.deny_client(ABUSER, "mallory", 20);
    assert!(bench.maps.denied().is_empty() && !bench.refused_at_layer_7(ABUSER));
    assert!(bench.client_is_refused("mallory", "198.51.100.1") && !bench.client_is_refused("alice", ABUSER));
    bench.deny_client(ABUSER, "mallory", 40);
    assert_eq!(bench.bans(true).len(), 1, "what is refused because of the ban is no new offence");
    bench.restart();
    assert!(bench.client_is_refused("mallory", ABUSER));
    let ban = bench.bans(false).remove(0);
    assert_eq!(
        (ban.target.as_str(), ban.prefix, ban.enforced.as_str()),
        ("client users/mallory", None, "gateway")
    );
    assert_eq!(
        ban.others.map(|others| others.text()).as_deref(),
        Some("2 good clients: users/alice and users/bob")
    );

    let lifted = bench.unban(None, Some(1)).unwrap();
    assert_eq!(lifted.undo.as_deref(), Some("portcullis ban --client users/mallory --for 10m"));
    assert!(!bench.client_is_refused("mallory", ABUSER));
    // After the restart nobody else is known to be there.
    bench.deny_client(ABUSER, "mallory", 20);
    assert_eq!(bench.maps.denied(), [format!("{ABUSER}/32")]);
}

#[test]
fn a_key_that_many_machines_have_is_banned_at_the_one_address() {
    let mut bench = Bench::new("shared-key");
    bench.serve(ABUSER, &["alice", "app"]);
    bench.serve("198.51.100.1", &["app"]);
    bench.deny_client(ABUSER, "app", 20);
    assert!(bench.client_is_refused("app", ABUSER) && !bench.client_is_refused("app", "198.51.100.1"));
    assert_eq!(bench.bans(false)[0].target, format!("client users/app at {ABUSER}"));
}

#[test]
fn nobody_is_banned_where_others_would_be_cut_and_no_one_is_to_blame() {
    let mut bench = Bench::new("nobody");
    bench.serve(ABUSER, &["alice"]);
    bench.deny(ABUSER, 40);
    assert!(bench.bans(true).is_empty());
    assert_eq!(bench.owner().counters.collateral.load(Relaxed), 2);
    bench.settings.collateral = 1;
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.denied(), [format!("{ABUSER}/32")]);
}

#[test]
fn one_client_shelters_its_address_twice_an_hour_and_then_is_cut_by_name() {
    let mut bench = Bench::new("shelter");
    for _ in 0..2 {
        bench.serve(ABUSER, &["alice"]);
        bench.deny(ABUSER, 20);
        bench.pass(20 * MINUTE);
    }
    assert!(bench.maps.denied().is_empty(), "sheltered twice");
    bench.serve(ABUSER, &["alice"]);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.denied(), [format!("{ABUSER}/32")]);
    assert_eq!(bench.owner().counters.collateral.load(Relaxed), 2);
    bench.restart();
    let ban = bench.bans(false).remove(0);
    assert_eq!(
        ban.reason,
        "20 denials in 10s: 20 rate-limited; cuts 1 good client: users/alice, which sheltered it 2 times within an hour"
    );
    assert_eq!(ban.others.map(|others| others.text()).as_deref(), Some("1 good client: users/alice"));
}

#[test]
fn a_client_that_was_cut_shelters_its_address_again_after_an_hour() {
    let mut bench = Bench::new("shelter-again");
    let mut abuse = |minutes| {
        bench.pass(minutes * MINUTE);
        bench.serve(ABUSER, &["alice"]);
        bench.deny(ABUSER, 20);
        bench.maps.denied().len()
    };
    assert_eq!([0, 1, 1].map(&mut abuse), [0, 0, 1]);
    // The ban of ten minutes is over.
    assert_eq!(abuse(11), 1, "still within the hour");
    assert_eq!(abuse(60), 0);
}

#[test]
fn two_clients_shelter_their_address_as_often_as_there_is_abuse() {
    let mut bench = Bench::new("shelter-two");
    bench.serve(ABUSER, &["alice", "bob"]);
    for _ in 0..5 {
        bench.deny(ABUSER, 20);
        bench.pass(MINUTE);
    }
    assert!(bench.maps.denied().is_empty());
    assert_eq!(bench.owner().counters.collateral.load(Relaxed), 5);
}

#[test]
fn the_culprit_is_banned_and_its_neighbour_is_not_however_often_that_was_alone() {
    let mut bench = Bench::new("shelter-culprit");
    bench.serve(ABUSER, &["alice"]);
    for _ in 0..3 {
        bench.pass(Duration::from_secs(1));
        bench.deny_client(ABUSER, "mallory", 20);
    }
    assert!(bench.maps.denied().is_empty() && bench.client_is_refused("mallory", ABUSER));
}

#[test]
fn a_rule_that_observes_takes_no_shelter_from_one_that_bans() {
    let mut bench = Bench::new("shelter-observe");
    bench.settings.rules.push(score::Rule { observe: true, ..super::rule("watch", 5) });
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    bench.serve(ABUSER, &["alice"]);
    for _ in 0..2 {
        bench.pass(MINUTE);
        bench.deny(ABUSER, 5);
    }
    bench.pass(MINUTE);
    bench.deny(ABUSER, 5);
    let ban = bench.bans(false).remove(0);
    assert!(ban.observed && ban.reason.contains("users/alice"), "{ban:?}");
    bench.pass(Duration::from_secs(20));
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false).len(), 1, "the rule that bans is sheltered once");
}

#[test]
fn an_operator_is_told_whom_a_ban_would_cut_and_may_force_it() {
    let mut bench = Bench::new("cut");
    bench.serve("198.51.100.7", &["alice", "bob", "carol"]);
    let refusal = bench.ban("198.51.100.0/24").unwrap_err().to_string();
    assert!(
        refusal.starts_with("it would cut 3 good clients: users/alice, users/bob and 1 more;"),
        "{refusal}"
    );
    let changed = bench.ban_with("198.51.100.0/24", Some(600), true, false).unwrap();
    assert_eq!(changed.changes[1], "cuts 3 good clients: users/alice, users/bob and 1 more");
    let lifted = bench.unban(None, Some(1)).unwrap();
    assert_eq!(lifted.undo.as_deref(), Some("portcullis ban 198.51.100.0/24 --for 10m --force"));
}

#[test]
fn an_operator_bans_a_client_everywhere_and_at_some_addresses() {
    let mut bench = Bench::new("client");
    bench.serve(ABUSER, &["alice", "bob"]);
    let request = |prefix: Option<&str>| api::BanPrefix {
        prefix: prefix.map(net),
        client: Some(who("alice")),
        for_s: None,
        reason: String::new(),
        force: false,
        observe: false,
        dry_run: false,
    };
    let at = bench.owner().ban(&request(Some("203.0.113.0/24")), By::Operator(0)).unwrap();
    assert_eq!(at.changes[0], "banned client users/alice at 203.0.113.0/24 until it is lifted (ban 1)");
    assert!(bench.client_is_refused("alice", ABUSER) && !bench.client_is_refused("alice", "198.51.100.1"));
    bench.owner().ban(&request(None), By::Operator(0)).unwrap();
    let again = bench.owner().ban(&request(None), By::Operator(0)).unwrap();
    assert_eq!(again.changes[1], "replaces ban 2 of the same client");
    bench.unban(None, Some(3)).unwrap();
    assert!(bench.client_is_refused("alice", ABUSER) && !bench.client_is_refused("alice", "198.51.100.1"));
    let nobody = api::BanPrefix { client: None, ..request(None) };
    assert_eq!(bench.owner().ban(&nobody, By::Operator(0)).unwrap_err(), Refusal::NoTarget);
}
