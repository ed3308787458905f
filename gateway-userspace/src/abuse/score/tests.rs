//! The edges of the rule, and the bounds of the memory.

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use super::*;

const RULE: Rule = Rule { denials: 20, within: Duration::from_secs(10), observe: false };

fn denial(source: impl Into<IpAddr>, at: Instant) -> Signal {
    Signal { source: source.into(), trusted_proxy: false, kind: Kind::RateLimited, at, evidence: None }
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
    let mut scores = Scores::new(RULE, start);
    for nth in 0..19 {
        assert!(scores.step(start, denial(ABUSER, start + ms(nth))).is_none(), "denial {}", nth + 1);
    }
    let offence = scores.step(start, denial(ABUSER, start + ms(19))).expect("the 20th");
    assert_eq!(offence.source.to_string(), "203.0.113.9/32");
    assert_eq!(offence.span, ms(19));
    assert_eq!(offence.kinds, [(Kind::RateLimited, 20)]);
    assert!(scores.is_empty(), "the next offence needs 20 again");
}

#[test]
fn the_window_includes_its_edge_and_nothing_beyond() {
    let start = Instant::now();
    for (last, met) in [(ms(10_000), true), (ms(10_000) + Duration::from_nanos(1), false)] {
        let mut scores = Scores::new(RULE, start);
        for _ in 0..19 {
            assert!(scores.step(start, denial(ABUSER, start)).is_none());
        }
        assert_eq!(scores.step(start + last, denial(ABUSER, start + last)).is_some(), met, "{last:?}");
    }
}

#[test]
fn a_steady_trickle_just_below_the_rule_is_never_an_offence() {
    let start = Instant::now();
    let mut scores = Scores::new(RULE, start);
    // 19 intervals of 527 ms are 10.013 s.
    for nth in 0..2_000 {
        let at = start + ms(527 * nth);
        assert!(scores.step(at, denial(ABUSER, at)).is_none(), "denial {}", nth + 1);
    }
    let mut scores = Scores::new(RULE, start);
    // 19 intervals of 526 ms are 9.994 s.
    let met = (0..20).filter(|nth| {
        let at = start + ms(526 * nth);
        scores.step(at, denial(ABUSER, at)).is_some()
    });
    assert_eq!(met.collect::<Vec<_>>(), [19]);
}

#[test]
fn a_rule_of_one_denial_is_met_at_once_and_one_of_none_counts_as_one() {
    let start = Instant::now();
    for denials in [0, 1] {
        let mut scores = Scores::new(Rule { denials, ..RULE }, start);
        assert!(scores.step(start, denial(ABUSER, start)).is_some());
    }
}

#[test]
fn addresses_of_one_64_count_together_and_neighbours_apart() {
    let start = Instant::now();
    let mut scores = Scores::new(RULE, start);
    for nth in 0..19u32 {
        let address: IpAddr = format!("2001:db8:0:1::{nth:x}").parse().unwrap();
        assert!(scores.step(start, denial(address, start)).is_none());
        let neighbour: IpAddr = format!("2001:db8:0:{:x}::1", nth + 2).parse().unwrap();
        assert!(scores.step(start, denial(neighbour, start)).is_none());
    }
    let offence =
        scores.step(start, denial("2001:db8:0:1:ffff::".parse::<IpAddr>().unwrap(), start)).unwrap();
    assert_eq!(offence.source.to_string(), "2001:db8:0:1::/64");
}

#[test]
fn signals_that_overtake_each_other_still_count() {
    let start = Instant::now();
    let mut scores = Scores::new(RULE, start);
    let met = (0..20).rev().filter(|nth| scores.step(start, denial(ABUSER, start + ms(*nth))).is_some());
    assert_eq!(met.collect::<Vec<_>>(), [0]);
}

#[test]
fn the_evidence_is_of_the_window_only_and_the_newest_of_it() {
    let start = Instant::now();
    let rule = Rule { denials: 40, ..RULE };
    let mut scores = Scores::new(rule, start);
    scores.step(start, with_evidence(ABUSER, start, "long ago"));
    let later = start + ms(60_000);
    let offence =
        (0..40).find_map(|nth| scores.step(later, with_evidence(ABUSER, later, &format!("request {nth}"))));
    let ids: Vec<String> =
        offence.unwrap().evidence.into_iter().map(|evidence| evidence.request_id).collect();
    assert_eq!(ids.len(), EVIDENCE_PER_SOURCE);
    assert_eq!(ids[0], "request 8");
    assert_eq!(ids[31], "request 39");
}

#[test]
fn a_hundred_thousand_sources_stay_bounded_and_do_not_hide_an_abuser_among_them() {
    let start = Instant::now();
    let mut scores = Scores::new(RULE, start);
    let mut met = None;
    for nth in 0..100_000u32 {
        let at = start + Duration::from_micros(u64::from(nth) * 90);
        scores.step(at, with_evidence(Ipv4Addr::from(0x0a00_0000 + nth), at, "flood"));
        if nth % 5_000 == 0 && met.is_none() {
            met = scores.step(at, with_evidence(ABUSER, at, "abuser")).map(|_| nth / 5_000 + 1);
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
    let mut scores = Scores::new(RULE, start);
    for nth in 0..5_000u64 {
        let at = start + ms(nth * 7);
        scores.step(at, with_evidence(Ipv4Addr::from((nth * nth % 97) as u32), at, "x"));
    }
    for generation in [&scores.current, &scores.previous] {
        assert_eq!(generation.stamps, generation.sources.values().map(|w| w.denials.len()).sum::<usize>());
        assert_eq!(generation.evidence, generation.sources.values().map(|w| w.evidence.len()).sum::<usize>());
    }
}

#[test]
fn quiet_sources_are_forgotten_after_two_windows() {
    let start = Instant::now();
    let mut scores = Scores::new(RULE, start);
    scores.step(start, denial(ABUSER, start));
    for seconds in [11, 22] {
        let at = start + Duration::from_secs(seconds);
        scores.step(at, denial([198, 51, 100, 1], at));
    }
    assert_eq!(scores.len(), 1);
}

#[test]
fn top_shows_the_denials_in_the_window_that_ends_now() {
    let start = Instant::now();
    let mut scores = Scores::new(RULE, start);
    for (source, count) in [([203, 0, 113, 1], 3), ([203, 0, 113, 2], 5), ([203, 0, 113, 3], 1)] {
        for _ in 0..count {
            scores.step(start, denial(source, start));
        }
    }
    let top = scores.top(start + ms(10_000), 2);
    assert_eq!(top, [("203.0.113.2/32".parse().unwrap(), 5), ("203.0.113.1/32".parse().unwrap(), 3)]);
    assert!(scores.top(start + ms(10_001), 2).is_empty());
}
