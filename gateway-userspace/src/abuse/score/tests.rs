//! The edges of the rule, and the bounds of the memory.

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use super::*;

fn rule(denials: u32) -> Rule {
    Rule {
        name: "shield".into(),
        asks: When::Denials(denials),
        within: Duration::from_secs(10),
        kinds: Kinds::USUAL,
        route: None,
        observe: false,
        terms: Terms { first: Duration::from_secs(600), up_to: Duration::from_secs(86_400) },
    }
}

/// The usual rule alone.
fn usual(now: Instant) -> Scores {
    Scores::new(vec![rule(20)], now)
}

/// Counts one denial where it meets one rule at most.
fn step(scores: &mut Scores, now: Instant, signal: Signal) -> Option<Offence> {
    let mut offences = scores.step(now, signal);
    assert!(offences.len() < 2);
    offences.pop()
}

fn denial(source: impl Into<IpAddr>, at: Instant) -> Signal {
    Signal {
        source: source.into(),
        trusted_proxy: false,
        kind: Kind::RateLimited,
        at,
        cost: Duration::ZERO,
        evidence: None,
    }
}

fn with_evidence(source: impl Into<IpAddr>, at: Instant, request_id: &str) -> Signal {
    let evidence = Evidence {
        time: SystemTime::UNIX_EPOCH,
        request_id: request_id.into(),
        method: "GET".into(),
        host: "example.com".into(),
        path: "/".into(),
        status: 429,
        reason: "rate-limited".into(),
        route: None,
        auth: None,
        principal: None,
        ja4: None,
    };
    Signal { evidence: Some(Box::new(evidence)), ..denial(source, at) }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const ABUSER: [u8; 4] = [203, 0, 113, 9];

#[test]
fn the_nineteenth_denial_does_not_meet_the_rule_and_the_twentieth_does() {
    let start = Instant::now();
    let mut scores = usual(start);
    for nth in 0..19 {
        assert!(step(&mut scores, start, denial(ABUSER, start + ms(nth))).is_none(), "denial {}", nth + 1);
    }
    let offence = step(&mut scores, start, denial(ABUSER, start + ms(19))).expect("the 20th");
    assert_eq!(offence.source.to_string(), "203.0.113.9/32");
    assert_eq!(offence.span, ms(19));
    assert_eq!(offence.kinds, [(Kind::RateLimited, 20)]);
    assert!(scores.is_empty(), "the next offence needs 20 again");
}

#[test]
fn the_window_includes_its_edge_and_nothing_beyond() {
    let start = Instant::now();
    for (last, met) in [(ms(10_000), true), (ms(10_000) + Duration::from_nanos(1), false)] {
        let mut scores = usual(start);
        for _ in 0..19 {
            assert!(step(&mut scores, start, denial(ABUSER, start)).is_none());
        }
        assert_eq!(step(&mut scores, start + last, denial(ABUSER, start + last)).is_some(), met, "{last:?}");
    }
}

#[test]
fn a_steady_trickle_just_below_the_rule_is_never_an_offence() {
    let start = Instant::now();
    let mut scores = usual(start);
    // 19 intervals of 527 ms are 10.013 s.
    for nth in 0..2_000 {
        let at = start + ms(527 * nth);
        assert!(step(&mut scores, at, denial(ABUSER, at)).is_none(), "denial {}", nth + 1);
    }
    let mut scores = usual(start);
    // 19 intervals of 526 ms are 9.994 s.
    let met = (0..20).filter(|nth| {
        let at = start + ms(526 * nth);
        step(&mut scores, at, denial(ABUSER, at)).is_some()
    });
    assert_eq!(met.collect::<Vec<_>>(), [19]);
}

#[test]
fn a_rule_of_one_denial_is_met_at_once_and_one_of_none_counts_as_one() {
    let start = Instant::now();
    for denials in [0, 1] {
        let mut scores = Scores::new(vec![rule(denials)], start);
        assert!(step(&mut scores, start, denial(ABUSER, start)).is_some());
    }
}

#[test]
fn addresses_of_one_64_count_together_and_neighbours_apart() {
    let start = Instant::now();
    let mut scores = usual(start);
    for nth in 0..19u32 {
        let address: IpAddr = format!("2001:db8:0:1::{nth:x}").parse().unwrap();
        assert!(step(&mut scores, start, denial(address, start)).is_none());
        let neighbour: IpAddr = format!("2001:db8:0:{:x}::1", nth + 2).parse().unwrap();
        assert!(step(&mut scores, start, denial(neighbour, start)).is_none());
    }
    let offence =
        step(&mut scores, start, denial("2001:db8:0:1:ffff::".parse::<IpAddr>().unwrap(), start)).unwrap();
    assert_eq!(offence.source.to_string(), "2001:db8:0:1::/64");
}

#[test]
fn signals_that_overtake_each_other_still_count() {
    let start = Instant::now();
    let mut scores = usual(start);
    let met =
        (0..20).rev().filter(|nth| step(&mut scores, start, denial(ABUSER, start + ms(*nth))).is_some());
    assert_eq!(met.collect::<Vec<_>>(), [0]);
}

#[test]
fn the_evidence_is_of_the_window_only_and_the_newest_of_it() {
    let start = Instant::now();
    let mut scores = Scores::new(vec![rule(40)], start);
    step(&mut scores, start, with_evidence(ABUSER, start, "long ago"));
    let later = start + ms(60_000);
    let offence = (0..40)
        .find_map(|nth| step(&mut scores, later, with_evidence(ABUSER, later, &format!("request {nth}"))));
    let ids: Vec<String> =
        offence.unwrap().evidence.into_iter().map(|evidence| evidence.request_id).collect();
    assert_eq!(ids.len(), EVIDENCE_PER_SOURCE);
    assert_eq!(ids[0], "request 8");
    assert_eq!(ids[31], "request 39");
}

#[test]
fn a_hundred_thousand_sources_stay_bounded_and_do_not_hide_an_abuser_among_them() {
    let start = Instant::now();
    let mut scores = usual(start);
    let mut met = None;
    for nth in 0..100_000u32 {
        let at = start + Duration::from_micros(u64::from(nth) * 90);
        step(&mut scores, at, with_evidence(Ipv4Addr::from(0x0a00_0000 + nth), at, "flood"));
        if nth % 5_000 == 0 && met.is_none() {
            met = step(&mut scores, at, with_evidence(ABUSER, at, "abuser")).map(|_| nth / 5_000 + 1);
        }
        assert!(scores.len() <= SOURCES_MAX + 1);
        assert!(scores.current.evidence <= EVIDENCE_PER_GENERATION);
        assert!(scores.previous.evidence <= EVIDENCE_PER_GENERATION);
    }
    assert_eq!(met, Some(20));
    assert!(scores.len() > SOURCES_MAX / 2);
}

#[test]
fn the_bookkeeping_agrees_with_what_is_there() {
    let start = Instant::now();
    let mut scores = usual(start);
    for nth in 0..5_000u64 {
        let at = start + ms(nth * 7);
        step(&mut scores, at, with_evidence(Ipv4Addr::from((nth * nth % 97) as u32), at, "x"));
    }
    for generation in [&scores.current, &scores.previous] {
        assert_eq!(generation.stamps, generation.sources.values().map(Window::stamps).sum::<usize>());
        assert_eq!(generation.evidence, generation.sources.values().map(|w| w.evidence.len()).sum::<usize>());
    }
}

#[test]
fn quiet_sources_are_forgotten_after_two_windows() {
    let start = Instant::now();
    let mut scores = usual(start);
    step(&mut scores, start, denial(ABUSER, start));
    for seconds in [11, 22] {
        let at = start + Duration::from_secs(seconds);
        step(&mut scores, at, denial([198, 51, 100, 1], at));
    }
    assert_eq!(scores.len(), 1);
}

#[test]
fn top_shows_the_denials_in_the_window_that_ends_now() {
    let start = Instant::now();
    let mut scores = usual(start);
    for (source, count) in [([203, 0, 113, 1], 3), ([203, 0, 113, 2], 5), ([203, 0, 113, 3], 1)] {
        for _ in 0..count {
            step(&mut scores, start, denial(source, start));
        }
    }
    let top = scores.top(start + ms(10_000), 2);
    assert_eq!(top, [("203.0.113.2/32".parse().unwrap(), 5), ("203.0.113.1/32".parse().unwrap(), 3)]);
    assert!(scores.top(start + ms(10_001), 2).is_empty());
}

#[test]
fn each_rule_counts_what_it_names_and_one_denial_may_meet_several() {
    let start = Instant::now();
    let scan = Rule { name: "scan".into(), kinds: [Kind::NotFound].into_iter().collect(), ..rule(3) };
    let login = Rule { name: "login".into(), route: Some("login".into()), ..rule(5) };
    let mut scores = Scores::new(vec![scan, login, rule(5)], start);
    let of = |kind, route: Option<&str>| {
        let mut signal = with_evidence(ABUSER, start, route.unwrap_or("none"));
        signal.kind = kind;
        signal.evidence.as_mut().unwrap().route = route.map(Into::into);
        signal
    };
    let names = |offences: Vec<Offence>| {
        offences.into_iter().map(|offence| offence.rule.name.to_string()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert!(scores.step(start, of(Kind::NotFound, None)).is_empty());
        assert!(scores.step(start, of(Kind::RateLimited, Some("login"))).is_empty());
        assert!(scores.step(start, of(Kind::RateLimited, Some("login"))).is_empty());
    }
    let mut met = scores.step(start, of(Kind::NotFound, None));
    assert_eq!((met[0].kinds.clone(), met[0].evidence.len()), (vec![(Kind::NotFound, 3)], 3));
    assert_eq!(names(std::mem::take(&mut met)), ["scan"]);
    assert_eq!(names(scores.step(start, of(Kind::RateLimited, Some("login")))), ["login", "shield"]);
    assert!(scores.is_empty());
    assert!(scores.step(start, of(Kind::RateLimited, Some("other"))).is_empty());
    assert_eq!(scores.current.sources.values().map(Window::stamps).sum::<usize>(), 1, "of one rule only");
}

#[test]
fn counts_outlive_a_change_of_terms_and_not_one_of_the_rule() {
    let start = Instant::now();
    let mut scores = usual(start);
    scores.step(start, denial(ABUSER, start));
    let longer = Terms { first: Duration::from_secs(60), up_to: Duration::from_secs(60) };
    scores.configure(vec![Rule { terms: longer, ..rule(20) }], start);
    assert_eq!((scores.len(), scores.rules[0].terms), (1, longer));
    scores.configure(vec![rule(19)], start);
    assert!(scores.is_empty());
}

#[test]
fn without_a_rule_nothing_is_remembered() {
    let start = Instant::now();
    let mut scores = Scores::new(Vec::new(), start);
    assert!(scores.step(start, denial(ABUSER, start)).is_empty() && scores.is_empty());
}

#[test]
fn a_rule_of_cpu_time_is_met_by_few_that_cost_much_and_not_by_many_that_cost_little() {
    let start = Instant::now();
    let costly = || Scores::new(vec![Rule { asks: When::Cpu(ms(100)), ..rule(0) }], start);
    let spend = |scores: &mut Scores, at, cost| {
        let denial = Signal { cost, ..denial(ABUSER, at) };
        scores.step(at, denial).pop()
    };
    let mut scores = costly();
    for nth in 0..24 {
        assert!(spend(&mut scores, start + ms(nth * 50), ms(4)).is_none(), "{nth}");
    }
    let offence = spend(&mut scores, start + ms(1_200), ms(4)).expect("25 × 4 ms");
    assert_eq!((offence.cost, offence.kinds), (ms(100), vec![(Kind::RateLimited, 25)]));
    assert_eq!(offence.rule.when(), "100ms cpu in 10s");

    let mut scores = costly();
    let cheap = Duration::from_micros(9);
    for nth in 0..100_000 {
        let at = start + ms(nth);
        assert!(spend(&mut scores, at, cheap).is_none(), "9 µs each ms are 90 ms in 10 s");
        assert!(scores.current.stamps + scores.previous.stamps <= 2 * DENIALS_MAX as usize);
    }
}
