//! Bans by rule.

use super::*;

#[test]
fn the_twentieth_denial_bans_with_a_receipt_and_the_nineteenth_does_not() {
    let mut bench = Bench::new("twentieth");
    bench.deny(ABUSER, 19);
    assert!(bench.maps.denied().is_empty());
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(10 * MINUTE), false)));
    assert!(bench.refused_at_layer_7(ABUSER));
    let [ban] = &bench.bans(false)[..] else { panic!("one ban") };
    assert_eq!((ban.id, ban.prefix, ban.offence), (1, Some(net(ABUSER)), 1));
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
fn what_has_no_room_in_the_kernel_holds_at_layer_7_and_moves_when_there_is() {
    let mut bench = Bench::new("full");
    bench.settings.capacity = 2;
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    bench.maps.0.lock().unwrap().room = Some(2);
    for host in 1..=3 {
        bench.deny(&format!("203.0.113.{host}"), 20);
    }
    let changed = bench.ban("203.0.113.4").unwrap();
    assert!(changed.changes.iter().any(|line| line.contains("is full")), "{changed:?}");
    assert_eq!(bench.maps.denied(), ["203.0.113.1/32", "203.0.113.2/32"]);
    assert!((1..=4).all(|host| bench.refused_at_layer_7(&format!("203.0.113.{host}"))));
    let enforced = |bench: &mut Bench| -> Vec<String> {
        bench.bans(false).into_iter().rev().map(|ban| ban.enforced).collect()
    };
    assert_eq!(enforced(&mut bench), ["kernel", "kernel", "gateway", "gateway"]);
    // As many again as the kernel has room for, and no more.
    bench.deny("203.0.113.5", 20);
    assert!(!bench.refused_at_layer_7("203.0.113.5"));
    assert_eq!(bench.ban("203.0.113.6").unwrap_err(), Refusal::Full(4));

    bench.owner().tick();
    assert_eq!(enforced(&mut bench), ["kernel", "kernel", "gateway", "gateway"], "there is no room yet");
    bench.unban(Some("203.0.113.1"), None).unwrap();
    bench.owner().tick();
    assert_eq!(bench.maps.denied(), ["203.0.113.2/32", "203.0.113.3/32"]);
    assert_eq!(enforced(&mut bench), ["kernel", "kernel", "gateway"]);
    assert_eq!(bench.maps.entry("203.0.113.3").unwrap().0, Some(3), "its own ban, for the time that is left");

    // Also over a restart.
    bench.restart();
    assert!(bench.refused_at_layer_7("203.0.113.4"));
    bench.unban(Some("203.0.113.2"), None).unwrap();
    bench.owner().tick();
    assert_eq!(bench.maps.denied(), ["203.0.113.3/32", "203.0.113.4/32"]);
    assert_eq!(enforced(&mut bench), ["kernel", "kernel"]);
}

#[test]
fn a_family_without_room_keeps_the_other_one_out_of_nothing() {
    let mut bench = Bench::new("full-family");
    {
        let mut maps = bench.maps.0.lock().unwrap();
        (maps.room, maps.room6) = (Some(0), Some(0));
    }
    bench.ban("2001:db8:5::/64").unwrap();
    bench.ban("203.0.113.4").unwrap();
    bench.owner().tick();
    assert_eq!(bench.maps.denied(), [""; 0]);
    bench.maps.0.lock().unwrap().room = Some(1);
    bench.owner().tick();
    assert_eq!(bench.maps.denied(), ["203.0.113.4/32"]);
}

#[test]
fn what_is_only_observed_is_not_refused_where_the_kernel_has_no_room() {
    let mut bench = Bench::new("full-observed");
    bench.settings.enforce = false;
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    bench.maps.0.lock().unwrap().room = Some(0);
    bench.deny(ABUSER, 20);
    bench.ban("203.0.113.4").unwrap();
    assert!(!bench.refused_at_layer_7(ABUSER) && !bench.refused_at_layer_7("203.0.113.4"));
    assert!(bench.bans(false).iter().all(|ban| ban.enforced == "observed"));
}

#[test]
fn the_ticket_of_any_denial_finds_the_ban_also_when_it_is_over() {
    let mut bench = Bench::new("ticket");
    bench.deny("203.0.113.9", 20);
    let by_ticket = |bench: &mut Bench, ticket: &str| {
        let request = api::ListBans { ticket: Some(ticket.to_owned()), ..api::ListBans::default() };
        bench.owner().list(&request).map(|bans| bans.bans.iter().map(|ban| ban.id).collect::<Vec<_>>())
    };
    let id = bench.bans(false)[0].id;
    assert_eq!(by_ticket(&mut bench, "request-19"), Ok(vec![id]), "the last answer that the client saw");
    assert_eq!(by_ticket(&mut bench, "request-0"), Ok(vec![id]));
    let unknown = "x\u{7}y";
    assert_eq!(by_ticket(&mut bench, unknown), Err(Refusal::UnknownTicket("xy".into())));
    bench.unban(None, Some(id)).unwrap();
    assert_eq!(by_ticket(&mut bench, "request-19"), Ok(vec![id]));
}

#[test]
fn a_ban_tells_its_rule_and_what_that_had_counted_also_after_a_restart() {
    let mut bench = Bench::new("named");
    let scan = score::Rule { kinds: [Kind::NotFound].into_iter().collect(), ..rule("scan", 3) };
    bench.settings.rules.push(score::Rule { terms: Terms { first: MINUTE, up_to: MINUTE }, ..scan });
    bench.restart();
    bench.deny(ABUSER, 19);
    let at = bench.owner().now().instant;
    for nth in 0..3 {
        bench.owner().signal(Signal { kind: Kind::NotFound, ..signal(ABUSER, at, nth) });
    }
    bench.restart();
    let [ban] = &bench.bans(false)[..] else { panic!("one ban") };
    let rule = ban.rule.as_ref().expect("it is by a rule");
    assert_eq!((&*rule.name, &*rule.when, ban.left_s), ("scan", "3 denials in 10s", Some(60)));
    assert_eq!(ban.reason, "3 denials in 10s: 3 not-found");
    assert_eq!((rule.kinds[0].kind, rule.kinds[0].count), (Kind::NotFound, 3));
}

#[test]
fn what_bans_save_is_what_their_denials_cost_for_each_connection_that_they_dropped() {
    let mut bench = Bench::new("saved");
    let at = bench.owner().now().instant;
    for nth in 0..20 {
        let cost = Duration::from_millis(2);
        bench.owner().signal(Signal { cost, ..signal(ABUSER, at, nth) });
    }
    let saved = |bench: &mut Bench| {
        let saved = bench.owner().saved();
        saved
            .iter()
            .map(|one| (one.rule.clone(), one.connections, (one.cpu_s * 1e6).round()))
            .collect::<Vec<_>>()
    };
    // The maps of this bench say that ban 1 has dropped ten SYNs.
    let expected = vec![("shield".to_owned(), 10, 20_000.0)];
    assert_eq!(saved(&mut bench), expected);
    bench.unban(None, Some(1)).unwrap();
    assert_eq!(saved(&mut bench), expected, "also when it is over");
    bench.ban("198.51.100.7").unwrap();
    assert_eq!(saved(&mut bench), expected, "an operator's ban was not measured");
}
