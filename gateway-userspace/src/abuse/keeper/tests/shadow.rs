//! Bans that only count.

use super::*;

/// A bench whose rule only observes.
fn observing(name: &str) -> Bench {
    let mut bench = Bench::new(name);
    bench.settings.rules[0].observe = true;
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    bench
}

#[test]
fn an_operator_observes_and_the_kernel_counts_over_a_restart_and_nobody_is_refused() {
    let mut bench = Bench::new("observe-by-hand");
    let changed = bench.observe("198.51.100.0/24").unwrap();
    assert_eq!(changed.changes[0], "observing 198.51.100.0/24 for 10m (ban 1)");
    let held = Some((Some(1), Some(10 * MINUTE), true));
    assert_eq!(bench.maps.entry("198.51.100.0/24"), held);
    bench.restart();
    assert_eq!(bench.maps.entry("198.51.100.0/24"), held);
    bench.reboot();
    let entry = bench.maps.entry("198.51.100.0/24").unwrap();
    assert_eq!((entry.0, entry.2), (Some(1), true));
    assert!(!bench.refused_at_layer_7("198.51.100.7"));
    let ban = bench.bans(false).remove(0);
    assert_eq!((ban.enforced.as_str(), ban.observed), ("observed", true));
    let sentence = "observed as 198.51.100.0/24 (ban 1), which drops nothing: who is that";
    assert_eq!(bench.owner().explain("198.51.100.7".parse().unwrap()), sentence);
    bench.pass(MINUTE);
    let undo = bench.unban(None, Some(1)).unwrap().undo;
    assert_eq!(undo.as_deref(), Some("portcullis ban 198.51.100.0/24 --for 9m --observe"));
}

#[test]
fn a_rule_that_observes_bans_nobody_and_makes_no_later_ban_longer() {
    let mut bench = observing("observe-rule");
    bench.deny(ABUSER, 20 + 40);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(10 * MINUTE), true)), "one ban, which counts");
    assert!(!bench.refused_at_layer_7(ABUSER));
    bench.pass(11 * MINUTE);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false)[0].offence, 1, "the first was felt by nobody");
    bench.restart();
    let mut armed = bench.settings.clone();
    armed.rules[0].observe = false;
    bench.owner().configure(armed);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(3), Some(10 * MINUTE), false)));
    let states: Vec<_> =
        bench.bans(true).iter().map(|ban| (ban.id, ban.state.clone(), ban.offence)).collect();
    let state = |id, state: &str, offence| (id, state.to_owned(), offence);
    assert_eq!(states, [state(3, "active", 1), state(2, "lifted", 1), state(1, "expired", 1)]);
}

#[test]
fn whoever_is_only_observed_can_still_be_banned_and_whoever_is_banned_cannot_be_observed() {
    let mut bench = Bench::new("observed-and-banned");
    bench.observe("203.0.113.0/24").unwrap();
    bench.observe(ABUSER).unwrap();
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(3), Some(10 * MINUTE), false)));
    assert_eq!(bench.maps.entry("203.0.113.0/24").map(|entry| entry.2), Some(true));
    assert!(bench.refused_at_layer_7(ABUSER) && !bench.refused_at_layer_7("203.0.113.8"));
    assert_eq!(bench.observe(ABUSER).unwrap_err(), Refusal::Held { target: ABUSER.into(), id: 3 });
    let changed = bench.unban(None, Some(3)).unwrap();
    assert_eq!(changed.changes, ["lifted ban 3 of 203.0.113.9"], "the /24 does not ban it");
    assert_eq!(bench.unban(Some(ABUSER), None).unwrap_err(), Refusal::NotBanned(net(ABUSER)));
    assert!(bench.ban("203.0.113.0/24").unwrap().changes[1].contains("replaces ban 1"));
}

#[test]
fn a_shield_that_is_armed_leaves_shadow_bans_as_they_are() {
    let mut bench = Bench::new("arming");
    let enforcing = bench.settings.clone();
    bench.settings.enforce = false;
    bench.restart();
    bench.observe("203.0.113.7").unwrap();
    bench.deny(ABUSER, 20);
    bench.owner().configure(enforcing);
    assert_eq!(bench.maps.entry("203.0.113.7").map(|entry| entry.2), Some(true));
    assert_eq!(bench.maps.entry(ABUSER).map(|entry| entry.2), Some(false));
}

#[test]
fn an_entry_that_counted_is_taken_over_as_one_that_counts() {
    let mut bench = Bench::new("adopt-shadow");
    let entry = (Some(77), Some(5 * MINUTE), true);
    bench.maps.0.lock().unwrap().deny.insert(net(ABUSER), entry);
    bench.restart();
    assert_eq!(bench.maps.entry(ABUSER), Some(entry));
    assert!(bench.bans(false)[0].observed && !bench.refused_at_layer_7(ABUSER));
}

#[test]
fn a_shadow_ban_that_ends_does_not_forgive_what_the_rule_has_counted() {
    let mut bench = Bench::new("keeps-scores");
    bench.observe(ABUSER).unwrap();
    bench.deny(ABUSER, 19);
    bench.unban(None, Some(1)).unwrap();
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(2), Some(10 * MINUTE), false)));
}

#[test]
fn a_rule_that_observes_hides_nobody_from_one_that_bans() {
    let mut bench = Bench::new("observe-and-ban");
    bench.settings.rules.insert(0, score::Rule { observe: true, ..rule("early", 5) });
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    bench.deny(ABUSER, 19);
    assert_eq!(bench.maps.entry(ABUSER).map(|entry| entry.2), Some(true), "after the fifth");
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(2), Some(10 * MINUTE), false)));
}
