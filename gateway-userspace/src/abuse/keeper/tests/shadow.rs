//! Bans that only count.

use super::*;
use crate::abuse::harm::Harm;
use crate::abuse::keeper::report::{PIECE, Report};
use crate::abuse::shadow::Outcome;
use crate::abuse::target::Target;

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
fn shadow_bans_without_room_in_the_kernel_hold_at_layer_7_once_they_are_armed_and_move_when_there_is() {
    let mut bench = Bench::new("arming-full");
    let enforcing = bench.settings.clone();
    bench.settings.enforce = false;
    bench.restart();
    bench.maps.0.lock().unwrap().room = Some(1);
    bench.ban("203.0.113.1").unwrap();
    bench.deny(ABUSER, 20);
    bench.observe("203.0.113.7").unwrap();
    assert_eq!(bench.maps.denied(), ["203.0.113.1/32"]);
    assert_eq!(bench.differences(), [""; 0], "the kernel had no room for the others");
    bench.owner().configure(enforcing);
    assert!(bench.refused_at_layer_7(ABUSER) && !bench.refused_at_layer_7("203.0.113.7"));
    assert_eq!(bench.differences(), [""; 0]);
    let promoted = bench.owner().promote(&api::Promote { id: 3, force: false, dry_run: false }).unwrap();
    assert!(promoted.changes[2].starts_with("refused by the gateway only, until the kernel"), "{promoted:?}");
    assert!(bench.refused_at_layer_7("203.0.113.7"));
    let enforced = |bench: &mut Bench| -> Vec<String> {
        bench.bans(false).into_iter().rev().map(|ban| ban.enforced).collect()
    };
    assert_eq!(enforced(&mut bench), ["kernel", "gateway", "gateway"]);
    bench.observe("203.0.113.8").unwrap();
    bench.maps.0.lock().unwrap().room = None;
    bench.owner().tick();
    assert_eq!(enforced(&mut bench), ["kernel", "kernel", "kernel", "observed"]);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(2), Some(10 * MINUTE), false)));
    assert_eq!(
        bench.maps.entry("203.0.113.8").map(|entry| entry.2),
        Some(true),
        "it counts there from here on"
    );
    assert!(bench.owner().outside.is_empty());
    assert_eq!(bench.differences(), [""; 0]);
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

/// Requests that came through under the bans that cover the address.
fn came_through(bench: &mut Bench, address: &str, outcomes: &[(Outcome, usize)]) {
    let Standing::Observed(shadows) = bench.standing(address) else { panic!("{address} is observed") };
    for (outcome, count) in outcomes {
        (0..*count).for_each(|_| shadows.count(*outcome));
    }
}

impl Bench {
    fn shadows(&mut self) -> api::Shadows {
        let mut report = Report::default();
        while !report.step(self.owner()) {}
        report.end()
    }
}

/// Good, logins, refused and all requests, and packets.
fn counts(harm: &Harm) -> (u64, u64, u64, u64, u64) {
    (harm.good, harm.logins, harm.refused, harm.requests, harm.packets)
}

const MIX: &[(Outcome, usize)] =
    &[(Outcome::Good, 3), (Outcome::Login, 1), (Outcome::Refused, 9), (Outcome::Other, 2)];

#[test]
fn the_report_says_what_each_would_have_dropped_and_a_restart_keeps_it() {
    let mut bench = Bench::new("harm");
    bench.observe("198.51.100.0/24").unwrap();
    bench.observe("198.51.100.7").unwrap();
    came_through(&mut bench, "198.51.100.7", MIX);
    let report = bench.shadows();
    let rows: Vec<_> = report.shadows.iter().map(|shadow| (shadow.id, counts(&shadow.harm))).collect();
    assert_eq!(rows, [(2, (3, 1, 9, 15, 20)), (1, (3, 1, 9, 15, 10))], "each alone would have kept them out");
    assert_eq!(counts(&report.total), (6, 2, 18, 30, 30));
    assert_eq!(counts(&bench.shadows().total), (6, 2, 18, 30, 30), "looking changes nothing");
    let all = bench.owner().counters.shadow.clone();
    assert_eq!(Outcome::ALL.map(|outcome| all.of(outcome)), [1, 3, 9, 2]);

    bench.owner().close();
    bench.restart();
    came_through(&mut bench, "198.51.100.7", &[(Outcome::Good, 1)]);
    assert_eq!(counts(&bench.shadows().total), (8, 2, 18, 32, 30), "the kernel's counters went on");
    bench.unban(None, Some(2)).unwrap();
    let report = bench.shadows();
    assert_eq!((counts(&report.over), report.shadows.len()), ((4, 1, 9, 16, 20), 1));
    for compact in [false, true] {
        if compact {
            bench.owner().compact();
        }
        bench.restart();
        assert_eq!(counts(&bench.shadows().over), (4, 1, 9, 16, 20));
    }
}

#[test]
fn what_is_more_than_a_day_old_is_not_reported_and_a_crash_loses_at_most_an_hour() {
    let mut bench = Bench::new("hours");
    bench.ban_with("198.51.100.0/24", None, false, false).unwrap();
    bench.unban(None, Some(1)).unwrap();
    let request = api::BanPrefix {
        prefix: Some(net("198.51.100.0/24")),
        client: None,
        for_s: None,
        reason: String::new(),
        force: false,
        observe: true,
        dry_run: false,
    };
    bench.owner().ban(&request, By::Operator(0)).unwrap();
    came_through(&mut bench, "198.51.100.7", &[(Outcome::Good, 5)]);
    bench.pass(60 * MINUTE);
    bench.owner().tick();
    came_through(&mut bench, "198.51.100.7", &[(Outcome::Good, 2)]);
    bench.restart();
    assert_eq!(bench.shadows().total.good, 5, "of the hour that was over");
    came_through(&mut bench, "198.51.100.7", &[(Outcome::Login, 1)]);
    bench.pass(22 * 60 * MINUTE);
    bench.owner().tick();
    assert_eq!(counts(&bench.shadows().total), (5, 1, 0, 6, 20));
    bench.pass(60 * MINUTE);
    assert_eq!(counts(&bench.shadows().total), (0, 1, 0, 1, 0));
    bench.pass(60 * MINUTE);
    assert_eq!(counts(&bench.shadows().total), (0, 0, 0, 0, 0));
}

#[test]
fn while_the_shield_observes_every_ban_is_reported_until_it_drops() {
    let mut bench = Bench::new("all-observed");
    let enforcing = bench.settings.clone();
    bench.settings.enforce = false;
    bench.restart();
    bench.deny(ABUSER, 20);
    came_through(&mut bench, ABUSER, MIX);
    let report = bench.shadows();
    assert_eq!((counts(&report.shadows[0].harm), &report.shadows[0].arm), ((3, 1, 9, 15, 10), &None));
    bench.owner().configure(enforcing.clone());
    bench.settings = enforcing;
    for _ in 0..2 {
        assert!(bench.refused_at_layer_7(ABUSER));
        let report = bench.shadows();
        assert_eq!((report.shadows.len(), counts(&report.over)), (0, (3, 1, 9, 15, 10)));
        bench.restart();
    }
}

#[test]
fn a_rule_that_observes_is_reported_over_all_its_bans() {
    let mut bench = Bench::new("by-rule");
    bench.settings.rules =
        ["scan", "login"].map(|name| score::Rule { observe: true, ..rule(name, 20) }).into();
    bench.settings.rules[1].kinds = [Kind::Unauthenticated].into_iter().collect();
    bench.restart();
    bench.observe("198.51.100.7").unwrap();
    bench.deny(ABUSER, 20);
    bench.deny("203.0.113.8", 20);
    for address in ["198.51.100.7", ABUSER, "203.0.113.8"] {
        came_through(&mut bench, address, MIX);
    }
    bench.unban(None, Some(2)).unwrap();
    bench.owner().close();
    for _ in 0..3 {
        let report = bench.shadows();
        let rules: Vec<_> = report.rules.iter().map(|rule| (&*rule.rule, counts(&rule.harm))).collect();
        assert_eq!(rules, [("scan", (6, 2, 18, 30, 50))]);
        assert_eq!((counts(&report.over), report.total.requests), ((3, 1, 9, 15, 20), 45));
        bench.restart();
    }
}

#[test]
fn a_shadow_ban_is_promoted_for_the_time_it_has_left_unless_it_would_have_done_harm() {
    let mut bench = observing("promote");
    bench.deny(ABUSER, 20);
    bench.deny("203.0.113.8", 20);
    came_through(&mut bench, ABUSER, MIX);
    came_through(&mut bench, "203.0.113.8", &[(Outcome::Refused, 9), (Outcome::Other, 3)]);
    bench.pass(MINUTE);
    let mut promote = |id, force, dry_run| bench.owner().promote(&api::Promote { id, force, dry_run });
    assert_eq!(
        promote(1, false, false).unwrap_err().to_string(),
        "ban 1 would have dropped 10 packets and 15 requests, 3 of them good and 1 at a login in the last 24 hours; \
         with --force it does so from now on"
    );
    let changes = promote(1, true, true).unwrap().changes;
    assert_eq!(changes[0], "would ban 203.0.113.9 for another 9m (ban 1)");
    let changed = promote(2, false, false).unwrap();
    assert_eq!(
        changed.changes,
        [
            "banned 203.0.113.8 for another 9m (ban 2)",
            "it would have dropped 20 packets and 12 requests, 0 of them good and 0 at a login in the last 24 hours"
        ]
    );
    assert_eq!(changed.undo.as_deref(), Some("portcullis unban 2"));
    assert_eq!(promote(2, true, false).unwrap_err(), Refusal::NotObserved(2));
    assert_eq!(promote(9, true, false).unwrap_err(), Refusal::UnknownBan(9));
    promote(1, true, false).unwrap();
    for _ in 0..2 {
        for (id, address) in [(1, ABUSER), (2, "203.0.113.8")] {
            assert_eq!(bench.maps.entry(address), Some((Some(id), Some(9 * MINUTE), false)));
            assert!(bench.refused_at_layer_7(address));
        }
        assert!(bench.bans(false).iter().all(|ban| !ban.observed && ban.enforced == "kernel"));
        assert_eq!(bench.shadows().over.requests, 27);
        bench.restart();
    }
    bench.pass(10 * MINUTE);
    bench.owner().expire();
    let (target, wall) = (Target::Prefix(net(ABUSER)), bench.start.wall);
    assert_eq!(bench.owner().ledger.next_offence(&target, wall), 2, "it was felt");
}

#[test]
fn nothing_is_promoted_while_the_shield_observes_or_the_kernel_refuses() {
    let mut bench = Bench::new("promote-refused");
    bench.observe(ABUSER).unwrap();
    let promote = api::Promote { id: 1, force: false, dry_run: false };
    bench.maps.0.lock().unwrap().broken = true;
    assert!(matches!(bench.owner().promote(&promote), Err(Refusal::Kernel(_))));
    bench.maps.0.lock().unwrap().broken = false;
    assert!(bench.bans(false)[0].observed && !bench.refused_at_layer_7(ABUSER));
    let observing = Settings { enforce: false, ..bench.settings.clone() };
    bench.owner().configure(observing);
    assert_eq!(bench.owner().promote(&promote).unwrap_err(), Refusal::ShieldObserves);
}

#[test]
fn what_was_dropped_before_the_shield_observed_is_not_reported() {
    let mut bench = Bench::new("then-observed");
    bench.deny(ABUSER, 20);
    bench.settings.enforce = false;
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    came_through(&mut bench, ABUSER, &[(Outcome::Good, 1)]);
    assert_eq!(counts(&bench.shadows().total), (1, 0, 0, 1, 0));
    bench.owner().close();
    bench.restart();
    assert_eq!(counts(&bench.shadows().total), (1, 0, 0, 1, 0));
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

#[test]
fn a_shadow_ban_that_the_kernel_refuses_lets_everybody_through_now_and_after_a_restart() {
    let mut bench = observing("shadow-without-kernel");
    bench.maps.0.lock().unwrap().broken = true;
    bench.deny(ABUSER, 20);
    for _ in 0..2 {
        assert!(!bench.refused_at_layer_7(ABUSER));
        let ban = bench.bans(false).remove(0);
        assert_eq!((ban.observed, &*ban.enforced), (true, "observed"));
        bench.restart();
    }
    bench.maps.0.lock().unwrap().broken = false;
    bench.restart();
    assert_eq!(bench.maps.entry(ABUSER).map(|entry| entry.2), Some(true), "it is not armed by that");
}

#[test]
fn promoting_asks_who_is_behind_the_address_as_a_ban_does() {
    let mut bench = Bench::new("promote-crowd");
    bench.observe(ABUSER).unwrap();
    let who = crate::abuse::target::Subject { auth: "users".into(), principal: "alice".into() };
    bench.owner().seen(&crate::abuse::reporter::Seen { source: ABUSER.parse().unwrap(), who });
    let promote = |force| api::Promote { id: 1, force, dry_run: false };
    assert!(
        matches!(bench.owner().promote(&promote(false)), Err(Refusal::Collateral(others)) if others.good == 1)
    );
    bench.owner().promote(&promote(true)).unwrap();
    assert!(bench.refused_at_layer_7(ABUSER));
}

#[test]
fn a_rule_is_armed_with_its_bans_unless_they_would_have_done_harm() {
    let mut bench = Bench::new("arm-rule");
    bench.settings.rules =
        ["scan", "login"].map(|name| score::Rule { observe: true, ..rule(name, 20) }).into();
    bench.settings.rules[1].kinds = [Kind::Unauthenticated].into_iter().collect();
    bench.settings.rules.push(rule("drops", 200));
    bench.restart();
    bench.observe("198.51.100.7").unwrap();
    for address in [ABUSER, "203.0.113.8"] {
        bench.deny(address, 20);
        came_through(&mut bench, address, &[(Outcome::Refused, 2)]);
    }
    let counted = "its bans would have dropped 50 packets and 4 requests, 0 of them good and 0 at a login in the last 24 hours";
    assert_eq!(bench.owner().may_arm("scan", false).as_deref(), Ok(counted));
    let none = bench.owner().may_arm("login", false).unwrap();
    assert!(none.contains(" 0 packets and 0 requests"), "{none}");
    assert_eq!(bench.owner().may_arm("drops", true).unwrap_err(), Refusal::RuleEnforces("drops".into()));
    assert_eq!(bench.owner().may_arm("nobody", true).unwrap_err(), Refusal::UnknownRule("nobody".into()));

    came_through(&mut bench, ABUSER, &[(Outcome::Good, 1)]);
    let refused = bench.owner().may_arm("scan", false).unwrap_err().to_string();
    assert!(
        refused.starts_with("the bans of scan would have dropped 50 packets and 5 requests, 1 of"),
        "{refused}"
    );
    bench.owner().may_arm("scan", true).unwrap();

    assert_eq!(
        bench.owner().arm("scan", false),
        [
            "bans of it that drop from now on: 1",
            "ban 2 goes on counting: ban 2 would have dropped 20 packets and 3 requests, 1 of them good and 0 at a login \
             in the last 24 hours; with --force it does so from now on"
        ]
    );
    assert_eq!(bench.maps.entry("203.0.113.8").map(|entry| entry.2), Some(false));
    assert_eq!(bench.maps.entry(ABUSER).map(|entry| entry.2), Some(true));
    assert_eq!(bench.owner().arm("scan", true), ["bans of it that drop from now on: 1"]);
    assert_eq!(bench.maps.entry(ABUSER).map(|entry| entry.2), Some(false));
    assert_eq!(bench.maps.entry("198.51.100.7").map(|entry| entry.2), Some(true), "by hand, not by the rule");
}

#[test]
fn the_kernel_is_asked_for_a_piece_of_the_shadow_bans_at_a_time() {
    let mut bench = Bench::new("report-pieces");
    let mut settings = bench.settings.clone();
    settings.capacity = 4 * PIECE;
    bench.owner().configure(settings);
    // Each would be brought to the disk.
    bench.owner().journal = None;
    let count = 2 * PIECE + 7;
    for n in 0..count {
        bench.observe(&format!("100.{}.{}.7", 64 + n / 256, n % 256)).unwrap();
    }
    let (mut report, mut steps) = (Report::default(), 0_u32);
    loop {
        let before = bench.maps.0.lock().unwrap().asked;
        let done = report.step(bench.owner());
        steps += 1;
        assert!(bench.maps.0.lock().unwrap().asked - before <= PIECE);
        if done {
            break;
        }
        // A ban comes in between, and a shadow ban that is to be summed up ends.
        bench.deny(&format!("203.0.113.{steps}"), 20);
        assert!(bench.refused_at_layer_7(&format!("203.0.113.{steps}")));
        bench.unban(None, Some(steps)).unwrap();
    }
    let report = report.end();
    let packets = |ids: std::ops::RangeInclusive<u64>| ids.map(|id| 10 * id).sum::<u64>();
    assert_eq!((steps, report.shadows.len()), (3, count - 2));
    assert_eq!((report.total.packets, report.over.packets), (packets(1..=count as u64), packets(1..=2)));
}
