//! The last third of bans by rule.

use super::*;

/// When the parole of a first ban begins.
const BEGINS: Duration = Duration::from_secs(400);
const SECOND: Duration = Duration::from_secs(1);

/// A bench in which the abuser is on parole.
fn on_parole(name: &str) -> Bench {
    let mut bench = Bench::new(name);
    bench.deny(ABUSER, 20);
    bench.pass(BEGINS);
    bench
}

#[test]
fn bans_by_rule_of_one_source_have_a_parole_and_no_others() {
    let mut bench = Bench::new("paroles");
    let mut settings = bench.settings.clone();
    settings.exempt.push((net("2001:db8:1::1"), Because::OwnAddress));
    bench.owner().configure(settings.clone());
    let parole = Some(Parole { before_end: 200 * SECOND, every: 30 * SECOND });
    bench.deny(ABUSER, 20);
    bench.deny("2001:db8::7", 20);
    bench.deny("2001:db8:1::7", 20);
    bench.ban("203.0.113.8").unwrap();
    settings.parole = None;
    bench.owner().configure(settings.clone());
    bench.deny("203.0.113.7", 20);
    let expected = [
        (ABUSER, parole),
        ("2001:db8::/64", parole),
        ("2001:db8:1::7", None),
        ("203.0.113.8", None),
        ("203.0.113.7", None),
    ];
    for (prefix, parole) in expected {
        assert_eq!(bench.maps.parole(prefix), parole, "{prefix}");
    }
    bench.reboot();
    for (prefix, parole) in expected {
        assert_eq!(bench.maps.parole(prefix), parole, "{prefix} after a reboot");
    }
    let view = bench.owner().list(&api::ListBans { id: Some(1), ..api::ListBans::default() }).unwrap();
    let (from, until) = (view.bans[0].parole.as_ref().unwrap(), view.bans[0].until.as_ref().unwrap());
    assert!(from.every_s == 30 && from.from < *until, "{from:?} {until}");
    settings.enforce = false;
    bench.owner().configure(settings);
    assert_eq!(bench.maps.parole(ABUSER), None, "while it only counts, everybody passes");
}

#[test]
fn who_is_refused_on_parole_is_banned_anew_for_longer_under_the_same_id() {
    let mut bench = Bench::new("renewed");
    bench.deny(ABUSER, 20);
    bench.pass(BEGINS - SECOND);
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(201 * SECOND), false)), "not on parole yet");
    bench.pass(SECOND);
    bench.deny(ABUSER, 1);
    for restart in [false, true] {
        if restart {
            bench.restart();
        }
        assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(20 * MINUTE), false)));
        assert_eq!(bench.maps.parole(ABUSER).map(|parole| parole.before_end), Some(400 * SECOND));
        let ban = bench.bans(false).remove(0);
        assert_eq!((ban.id, ban.offence, ban.renewed.is_some(), ban.left_s), (1, 2, true, Some(1200)));
        assert!(bench.refused_at_layer_7(ABUSER));
    }
    bench.deny(ABUSER, 1);
    assert_eq!(bench.bans(false)[0].offence, 2, "what comes after that is no new offence");
    bench.pass(800 * SECOND);
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(40 * MINUTE), false)), "and so on");
    assert_eq!(bench.owner().counters.paroles_renewed.load(Relaxed), 1, "since the restart");
    bench.owner().compact();
    bench.reboot();
    let (id, left, _) = bench.maps.entry(ABUSER).unwrap();
    assert!(
        id == Some(1) && left.unwrap() > 40 * MINUTE - SECOND && left.unwrap() <= 40 * MINUTE,
        "{left:?}"
    );
    bench.pass(40 * MINUTE);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false)[0].offence, 4);
}

#[test]
fn who_behaves_on_parole_is_free_and_the_offence_stays_counted() {
    let mut bench = Bench::new("released");
    bench.deny(ABUSER, 20);
    bench.owner().behaved(1);
    assert_eq!(bench.maps.denied().len(), 1, "not on parole yet");
    bench.pass(BEGINS);
    bench.owner().behaved(1);
    assert!(bench.maps.denied().is_empty() && !bench.refused_at_layer_7(ABUSER));
    assert_eq!(bench.owner().counters.paroles_released.load(Relaxed), 1);
    bench.restart();
    assert_eq!(bench.bans(true)[0].state, "paroled");
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false)[0].offence, 2);
    bench.owner().behaved(1);
    bench.owner().behaved(77);
    assert_eq!(bench.maps.denied().len(), 1, "a word about a ban that is over says nothing about the next");
}

#[test]
fn without_its_rule_a_renewed_ban_lasts_as_long_as_before() {
    let mut bench = on_parole("rule-gone");
    let settings = Settings { rules: vec![rule("other", 20)], ..bench.settings.clone() };
    bench.owner().configure(settings);
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(10 * MINUTE), false)));
}

#[test]
fn a_refusal_goes_before_good_answers_whichever_is_heard_first() {
    let mut bench = on_parole("abuse-wins");
    bench.deny(ABUSER, 1);
    bench.owner().behaved(1);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(20 * MINUTE), false)));
    assert_eq!(bench.owner().counters.paroles_released.load(Relaxed), 0);
}

#[test]
fn what_was_refused_before_and_what_broke_off_break_no_parole() {
    let mut bench = on_parole("no-breach");
    let now = bench.owner().now().instant;
    let late = signal(ABUSER, now - SECOND, 0);
    let broken = Signal { kind: Kind::BrokenConnection, ..signal(ABUSER, now, 0) };
    bench.owner().signal(late);
    bench.owner().signal(broken);
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(200 * SECOND), false)));
}

#[test]
fn when_the_kernel_does_not_renew_layer_7_does() {
    let mut bench = on_parole("renew-broken");
    bench.maps.0.lock().unwrap().broken = true;
    bench.deny(ABUSER, 1);
    let ban = bench.bans(false).remove(0);
    assert_eq!((ban.enforced.as_str(), ban.left_s), ("gateway", Some(1200)));
}

#[test]
fn a_rule_that_observes_makes_no_ban_longer() {
    let mut bench = Bench::new("parole-observed");
    bench.settings.rules[0].kinds = [Kind::Unauthenticated].into_iter().collect();
    bench.settings.rules.push(score::Rule { observe: true, ..rule("all", 20) });
    bench.restart();
    for nth in 0..20 {
        let at = bench.owner().now().instant;
        bench.owner().signal(Signal { kind: Kind::Unauthenticated, ..signal(ABUSER, at, nth) });
    }
    bench.pass(BEGINS);
    let before = bench.maps.entry(ABUSER);
    bench.deny(ABUSER, 1);
    assert_eq!(bench.maps.entry(ABUSER), before);
    let at = bench.owner().now().instant;
    bench.owner().signal(Signal { kind: Kind::Unauthenticated, ..signal(ABUSER, at, 0) });
    assert_ne!(bench.maps.entry(ABUSER), before);
}
