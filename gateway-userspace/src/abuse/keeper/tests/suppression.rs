//! What operators keep rules from, networks in place of neighbours, and looking an offender up.

use super::*;

impl Bench {
    fn suppress(&mut self, id: u32, seconds: u64) -> Result<api::Changed, Refusal> {
        let suppress_s = Some(seconds);
        self.owner().unban(&api::Unban {
            prefix: None,
            id: Some(id),
            all: false,
            reason: None,
            suppress_s,
            dry_run: false,
        })
    }
}

#[test]
fn a_rule_that_was_wrong_bans_the_same_source_no_more_until_it_may_again() {
    let mut bench = Bench::new("suppress");
    bench.deny(ABUSER, 20);
    let changed = bench.suppress(1, 30 * 86_400).unwrap();
    assert_eq!(
        changed.changes,
        [
            "lifted ban 1 of 203.0.113.9",
            "rule shield does not ban 203.0.113.9 for 30d; undo with: portcullis suppress --remove 1"
        ]
    );
    bench.restart();
    bench.deny(ABUSER, 40);
    bench.deny("203.0.113.10", 20);
    assert_eq!(bench.maps.denied(), ["203.0.113.10/32"]);
    assert_eq!(bench.owner().counters.suppressed.load(Relaxed), 2);
    let listed = bench.owner().suppressions().suppressions;
    assert_eq!((listed.len(), listed[0].number, listed[0].target.as_str()), (1, 1, ABUSER));

    let remove = |dry_run| api::Unsuppress { number: 1, dry_run };
    assert_eq!(
        bench.owner().unsuppress(&remove(true)).unwrap().changes,
        ["rule shield would ban 203.0.113.9 again"]
    );
    bench.owner().unsuppress(&remove(false)).unwrap();
    assert_eq!(bench.owner().unsuppress(&remove(false)).unwrap_err(), Refusal::UnknownSuppression(1));
    bench.restart();
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.denied().len(), 2);
}

#[test]
fn a_number_means_one_suppression_over_restarts_too() {
    let mut bench = Bench::new("suppress-number");
    bench.deny(ABUSER, 20);
    bench.suppress(1, 60).unwrap();
    bench.pass(2 * MINUTE);
    // Twice: the first start writes a file without the one that is over.
    bench.restart();
    bench.restart();
    bench.deny("203.0.113.10", 20);
    let changed = bench.suppress(2, 60).unwrap();
    assert!(changed.changes[1].ends_with("portcullis suppress --remove 2"), "{changed:?}");
    assert_eq!(
        bench.owner().unsuppress(&api::Unsuppress { number: 1, dry_run: false }).unwrap_err(),
        Refusal::UnknownSuppression(1)
    );
}

#[test]
fn what_is_over_can_be_suppressed_and_what_no_rule_did_cannot() {
    let mut bench = Bench::new("suppress-over");
    bench.deny(ABUSER, 20);
    bench.pass(11 * MINUTE);
    bench.owner().tick();
    assert_eq!(bench.unban(None, Some(1)).unwrap_err(), Refusal::Over(1));
    assert_eq!(bench.suppress(1, 3_600).unwrap().changes.len(), 1);
    bench.deny(ABUSER, 20);
    assert!(bench.maps.denied().is_empty());
    bench.pass(61 * MINUTE);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.denied().len(), 1);
    bench.ban("198.51.100.0/24").unwrap();
    assert_eq!(bench.suppress(3, 60).unwrap_err(), Refusal::NotByRule(3));
    assert_eq!(bench.bans(false).len(), 2, "and it is not lifted either");
    assert_eq!(bench.suppress(3, 0).unwrap_err(), Refusal::NotByRule(3));
    let all =
        api::Unban { prefix: None, id: None, all: true, reason: None, suppress_s: Some(60), dry_run: false };
    assert_eq!(bench.owner().unban(&all).unwrap_err(), Refusal::SuppressOne);
}

/// The addresses of so many /64 in one /56.
fn neighbours(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("2001:db8:0:{n:x}::1"))
}

#[test]
fn eight_banned_neighbours_are_one_ban_of_their_network_and_lifting_any_of_them_lifts_it() {
    let mut bench = Bench::new("widen");
    for address in neighbours(7) {
        bench.deny(&address, 20);
    }
    assert_eq!(bench.maps.denied().len(), 7);
    bench.deny("2001:db8:0:7::1", 20);
    assert_eq!(bench.maps.denied(), ["2001:db8::/56"]);
    assert!(bench.refused_at_layer_7("2001:db8:0:ff::1") && !bench.refused_at_layer_7("2001:db8:0:100::1"));
    bench.restart();
    let ban = bench.bans(false).remove(0);
    assert_eq!((ban.id, ban.derived_from, ban.left_s), (9, (1..=8).collect(), Some(600)));
    assert_eq!(ban.reason, "8 bans in 2001:db8::/56, the last for 20 denials in 10s: 20 rate-limited");
    assert_eq!(ban.evidence.len(), 20);
    let lifted = bench.unban(None, Some(3)).unwrap();
    assert_eq!(lifted.changes, ["lifted ban 9 of 2001:db8::/56"]);
    assert!(bench.maps.denied().is_empty());
    // Each of them was banned before, and nobody has forgiven that.
    bench.deny("2001:db8:0:1::1", 20);
    assert_eq!((bench.bans(false)[0].offence, bench.bans(false)[0].left_s), (2, Some(1_200)));
}

#[test]
fn one_client_shelters_its_network_from_being_banned_twice() {
    let mut bench = Bench::new("widen-shelter");
    let who: crate::abuse::target::Subject = "users/alice".parse().unwrap();
    let source = "2001:db8:0:aa::1".parse().unwrap();
    bench.owner().seen(&crate::abuse::reporter::Seen { source, who });
    for address in neighbours(9) {
        bench.deny(&address, 20);
        bench.pass(MINUTE);
    }
    assert_eq!(bench.maps.denied().len(), 9, "the eighth and the ninth could have widened it");
    bench.deny("2001:db8:0:9::1", 20);
    assert_eq!(bench.maps.denied(), ["2001:db8::/56"]);
    let ban = bench.bans(false).remove(0);
    assert!(
        ban.reason.ends_with("; cuts 1 good client: users/alice, which sheltered it 2 times within an hour"),
        "{}",
        ban.reason
    );
}

#[test]
fn a_network_in_which_somebody_is_served_or_exempt_is_not_banned() {
    let mut bench = Bench::new("widen-not");
    let who: crate::abuse::target::Subject = "users/alice".parse().unwrap();
    let source = "2001:db8:0:aa::1".parse().unwrap();
    bench.owner().seen(&crate::abuse::reporter::Seen { source, who });
    for address in neighbours(9) {
        bench.deny(&address, 20);
    }
    assert_eq!(bench.maps.denied().len(), 9);
    bench.pass(MINUTE);
    bench.allow("2001:db8:1:aa::1", false).unwrap();
    for address in neighbours(9) {
        bench.deny(&address.replace("db8:0", "db8:1"), 20);
    }
    assert_eq!(bench.maps.denied().len(), 18);
}

#[test]
fn an_offender_is_found_by_its_address_and_by_its_name() {
    let mut bench = Bench::new("offender");
    let alice: crate::abuse::target::Subject = "users/alice".parse().unwrap();
    for address in [ABUSER, "198.51.100.1"] {
        let (source, who) = (address.parse().unwrap(), alice.clone());
        bench.owner().seen(&crate::abuse::reporter::Seen { source, who });
    }
    bench.ban_with("203.0.113.0/24", None, true, false).unwrap();
    let by_name = api::GetOffender { client: Some(alice), address: None };
    let found = bench.owner().offender(&by_name).unwrap();
    assert_eq!(found.sources, [net("198.51.100.1"), net(ABUSER)]);
    assert_eq!(found.bans.iter().map(|ban| ban.id).collect::<Vec<_>>(), [1]);
    let by_address =
        |address: &str| api::GetOffender { client: None, address: Some(address.parse().unwrap()) };
    let found = bench.owner().offender(&by_address(ABUSER)).unwrap();
    assert_eq!((found.clients.join(" ").as_str(), found.bans.len()), ("users/alice", 1));
    let found = bench.owner().offender(&by_address("192.0.2.77")).unwrap();
    assert!(found.clients.is_empty() && found.bans.is_empty());
    let neither = api::GetOffender { client: None, address: None };
    assert_eq!(bench.owner().offender(&neither).unwrap_err(), Refusal::NoTarget);
}

#[test]
fn a_ban_of_a_network_takes_the_place_of_its_shadow_ban() {
    let mut bench = Bench::new("widen-shadow");
    bench.observe("2001:db8::/56").unwrap();
    neighbours(8).for_each(|address| bench.deny(&address, 20));
    assert_eq!(bench.maps.denied(), ["2001:db8::/56"]);
    let bans = bench.bans(false);
    assert_eq!((bans.len(), bans[0].observed), (1, false), "{bans:?}");
    assert!(bench.refused_at_layer_7("2001:db8:0:ff::1"));
}
