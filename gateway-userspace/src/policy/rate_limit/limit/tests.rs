//! What is counted as one, what clients are told, and what a reload keeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Config, Headers, Key, Limit, Limits, Rejection, tighter};
use crate::header::{Name, Value};
use crate::policy::rate_limit::States;
use crate::request::context::LimitState;
use crate::request::identity::Credential;
use crate::request::sample;
use crate::request::{Context, Head, Identity, Peer, peer};
use crate::tls::Ja4;
use crate::tls::client_hello::ClientHello;
use crate::tls::testing::hello;

const SECOND: Duration = Duration::from_secs(1);

fn config(name: &str, requests: u64, burst: u64, by: &[Key]) -> Config {
    Config { name: name.into(), requests, per: 60 * SECOND, burst, by: by.to_vec(), headers: Headers::Both }
}

fn limit(config: &Config) -> Limit {
    Limit::new(config, States::new(Instant::now()).prepare(config, Instant::now()))
}

/// A state as [`config`] makes it.
fn shown(name: &str, quota: u64, remaining: u64, reset_s: u64) -> LimitState {
    let policy = Value::parse(format!("\"{name}\";q={quota};w=60").as_bytes());
    LimitState { limit: name.into(), quota, remaining, reset_s, x_ratelimit: true, policy }
}

fn token(auth: &str, subject: &str, claims: serde_json::Value) -> Identity {
    let serde_json::Value::Object(claims) = claims else { panic!("claims are an object") };
    Identity {
        auth: auth.into(),
        principal: subject.into(),
        credential: Credential::Token,
        claims,
        headers: Box::default(),
    }
}

fn api_key(id: &str, consumer: &str) -> Identity {
    let credential = Credential::Key { id: id.into() };
    Identity { credential, ..token("keys", consumer, serde_json::json!({})) }
}

fn plain_head() -> Head {
    sample::head("/", &[])
}

/// Whether the two requests are charged to one count.
fn share(by: &[Key], one: (&Context, &Head), other: (&Context, &Head)) -> bool {
    let limit = limit(&config("l", 1, 0, by));
    let now = Instant::now();
    limit.check(one.0, one.1, now).expect("the first passes");
    limit.check(other.0, other.1, now).is_err()
}

#[test]
fn state_and_refusal_carry_the_right_numbers() {
    let limit = limit(&config("per-user", 100, 20, &[Key::User]));
    let (cx, head, now) = (sample::context("192.0.2.1", None), plain_head(), Instant::now());
    for remaining in (0..=20).rev() {
        let state = limit.check(&cx, &head, now).expect("within the burst");
        let reset_s = ((21 - remaining) * 600_u64).div_ceil(1000);
        assert_eq!(state, shown("per-user", 100, remaining, reset_s));
    }
    let state = shown("per-user", 100, 0, 13);
    let refusal = Rejection::RateLimited { state, retry_after_s: 1 };
    assert_eq!(limit.check(&cx, &head, now), Err(refusal));
    assert!(limit.check(&cx, &head, now + SECOND).is_ok());
}

#[test]
fn retry_after_is_the_time_until_one_more_passes() {
    let limit = limit(&config("l", 2, 0, &[Key::Address]));
    let (cx, head, now) = (sample::context("192.0.2.1", None), plain_head(), Instant::now());
    limit.check(&cx, &head, now).expect("the first passes");
    for (after, expected) in [(0, 30), (1, 29), (29, 1)] {
        let Err(Rejection::RateLimited { retry_after_s, .. }) = limit.check(&cx, &head, now + after * SECOND)
        else {
            panic!("refused");
        };
        assert_eq!(retry_after_s, expected);
    }
    assert!(limit.check(&cx, &head, now + 30 * SECOND).is_ok());
}

#[test]
fn addresses_are_counted_by_v4_address_and_by_v6_network() {
    let cx = |client: &str| sample::context(client, None);
    let head = plain_head();
    for (one, other, shared) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8::1", "2001:db8::ffff:1", true),
        ("2001:db8::1", "2001:db8:0:1::1", false),
    ] {
        for by in [Key::Address, Key::User, Key::ApiKey, Key::Claim("tier".into())] {
            assert_eq!(share(&[by], (&cx(one), &head), (&cx(other), &head)), shared, "{one} {other}");
        }
    }
}

#[test]
fn users_are_counted_by_subject_and_issuer_or_by_consumer() {
    let cx = |identity: Identity, client: &str| sample::context(client, Some(identity));
    let none = serde_json::json!({});
    let alice = || token("users", "alice", none.clone());
    let head = plain_head();
    for (one, other, shared) in [
        (alice(), alice(), true),
        (alice(), token("users", "bob", none.clone()), false),
        (alice(), token("partners", "alice", none.clone()), false),
        (alice(), api_key("k1", "alice"), false),
        (api_key("k1", "acme"), api_key("k2", "acme"), true),
        (api_key("k1", "acme"), api_key("k1", "other"), false),
    ] {
        let pair = format!("{one:?} {other:?}");
        let (one, other) = (cx(one, "192.0.2.1"), cx(other, "192.0.2.2"));
        assert_eq!(share(&[Key::User], (&one, &head), (&other, &head)), shared, "{pair}");
    }
    let (one, other) = (cx(api_key("k1", "acme"), "192.0.2.1"), cx(api_key("k2", "acme"), "192.0.2.1"));
    assert!(!share(&[Key::ApiKey], (&one, &head), (&other, &head)));
    let subject = cx(token("users", "192.0.2.1", none.clone()), "192.0.2.9");
    assert!(!share(&[Key::User], (&subject, &head), (&sample::context("192.0.2.1", None), &head)));
}

#[test]
fn claims_headers_cookies_and_routes_are_counted_by_value() {
    let cx = |claims| sample::context("192.0.2.1", Some(token("users", "alice", claims)));
    let head = plain_head();
    let tier = [Key::Claim("app.tier".into())];
    let nested = cx(serde_json::json!({"app": {"tier": 7}}));
    let dotted = cx(serde_json::json!({"app.tier": 7}));
    let text = cx(serde_json::json!({"app": {"tier": "8"}}));
    assert!(share(&tier, (&nested, &head), (&dotted, &head)));
    assert!(!share(&tier, (&nested, &head), (&text, &head)));

    let plain = sample::context("192.0.2.1", None);
    let elsewhere = sample::context("192.0.2.2", None);
    let tenant = [Key::Header(Name::from_static("x-tenant"))];
    let (a, b) = (sample::head("/", &[("x-tenant", "a")]), sample::head("/", &[("x-tenant", "b")]));
    let both = sample::head("/", &[("x-tenant", "a"), ("x-tenant", "b")]);
    assert!(share(&tenant, (&plain, &a), (&elsewhere, &a)));
    assert!(!share(&tenant, (&plain, &a), (&plain, &b)));
    assert!(!share(&tenant, (&plain, &a), (&plain, &both)));
    assert!(!share(&tenant, (&plain, &head), (&elsewhere, &head)), "without the header, by address");

    let session = [Key::Cookie("session".into())];
    let (one, two) =
        (sample::head("/", &[("cookie", "a=1; session=x")]), sample::head("/", &[("cookie", "session=y")]));
    assert!(share(&session, (&plain, &one), (&elsewhere, &one)));
    assert!(!share(&session, (&plain, &one), (&plain, &two)));

    let mut other_route = sample::context("192.0.2.2", None);
    assert!(share(&[Key::Route], (&plain, &head), (&other_route, &head)));
    other_route.route = Some(Arc::from("another"));
    assert!(!share(&[Key::Route], (&plain, &head), (&other_route, &head)));
    assert!(!share(&[Key::Route, Key::Address], (&plain, &head), (&elsewhere, &head)));
}

#[test]
fn a_refused_request_consumes_nothing_of_the_other_limits() {
    let states = States::new(Instant::now());
    let wide = config("wide", 100, 99, &[Key::Route]);
    let narrow = config("narrow", 2, 1, &[Key::Address]);
    let make = |config: &Config| Limit::new(config, states.prepare(config, Instant::now()));
    let (limits, after) = Limits::split([make(&wide), make(&narrow)], false);
    assert!(after.is_empty());
    let (head, now) = (plain_head(), Instant::now());
    let abuser = sample::context("192.0.2.1", None);
    for _ in 0..50 {
        let _ = limits.check(&abuser, &head, now);
    }
    let Err(Rejection::RateLimited { state, .. }) = limits.check(&abuser, &head, now) else {
        panic!("refused")
    };
    assert_eq!(&*state.limit, "narrow");
    let passed = (2..200).filter(|host| {
        let cx = sample::context(&format!("192.0.2.{host}"), None);
        limits.check(&cx, &head, now).is_ok()
    });
    assert_eq!(passed.count(), 98, "the abuser got 2 of the 100");
}

#[test]
fn the_headers_show_the_least_left_and_the_refusal_the_most_specific_limit() {
    let states = States::new(Instant::now());
    let make = |config: &Config| Limit::new(config, states.prepare(config, Instant::now()));
    let slow = make(&Config { per: 3600 * SECOND, ..config("route", 1, 1, &[Key::Route]) });
    let quick = make(&config("address", 2, 1, &[Key::Address]));
    let roomy = make(&config("roomy", 9, 8, &[Key::Address]));
    let (limits, _) = Limits::split([slow, roomy, quick], false);
    let (cx, head, now) = (sample::context("192.0.2.1", None), plain_head(), Instant::now());
    let state = limits.check(&cx, &head, now).expect("room").expect("a limit");
    assert_eq!((&*state.limit, state.remaining), ("route", 1));
    limits.check(&cx, &head, now).expect("room");
    let Err(Rejection::RateLimited { state, retry_after_s }) = limits.check(&cx, &head, now) else {
        panic!("refused");
    };
    assert_eq!((&*state.limit, retry_after_s), ("address", 30));
}

#[test]
fn limits_that_need_an_identity_wait_for_authentication() {
    let limits = [
        config("a", 1, 0, &[Key::Address]),
        config("b", 1, 0, &[Key::User]),
        config("c", 1, 0, &[Key::Route, Key::Claim("tier".into())]),
        config("shared by all, whom strangers must not starve", 1, 0, &[Key::Route]),
        config("e", 1, 0, &[Key::Route, Key::Address]),
    ];
    let (before, after) = Limits::split(limits.iter().map(limit), true);
    assert_eq!((before.0.len(), after.0.len()), (2, 3));
    let (before, after) = Limits::split(limits.iter().map(limit), false);
    assert_eq!((before.0.len(), after.0.len()), (5, 0), "who asks nobody charges all together");
    assert_eq!(
        Limits::default().check(&sample::context("192.0.2.1", None), &plain_head(), Instant::now()),
        Ok(None)
    );
}

#[test]
fn of_two_states_the_nearer_to_refusing_is_shown() {
    let state = |remaining, reset_s| Some(shown("l", 9, remaining, reset_s));
    assert_eq!(tighter(None, None), None);
    assert_eq!(tighter(state(3, 1), None), state(3, 1));
    assert_eq!(tighter(state(3, 1), state(2, 1)), state(2, 1));
    assert_eq!(tighter(state(2, 1), state(2, 9)), state(2, 9));
}

#[test]
fn a_reload_keeps_counts_and_a_changed_rate_what_was_spent() {
    let now = Instant::now();
    let states = States::new(now);
    let (cx, head) = (sample::context("192.0.2.1", None), plain_head());
    let adopt = |config: &Config| {
        let state = states.prepare(config, now);
        states.adopt([(config.name.clone(), state.clone())]);
        Limit::new(config, state)
    };
    let left = |limit: &Limit| (0..100).filter(|_| limit.check(&cx, &head, now).is_ok()).count();

    let ten = config("l", 10, 9, &[Key::Address]);
    let limit = adopt(&ten);
    for _ in 0..4 {
        limit.check(&cx, &head, now).expect("room");
    }
    let reloaded = adopt(&ten);
    reloaded.check(&cx, &head, now).expect("room");

    let rejected_reload = states.prepare(&config("l", 1, 0, &[Key::Address]), now);
    drop(rejected_reload);
    let slower = Config { per: 600 * SECOND, ..ten.clone() };
    assert_eq!(left(&adopt(&slower)), 5);
    assert_eq!(left(&adopt(&config("l", 10, 9, &[Key::User]))), 10, "another key counts afresh");
}

#[test]
fn racing_requests_on_two_limits_pass_no_more_than_either_allows_and_leave_nothing_charged() {
    let now = Instant::now();
    let states = States::new(now);
    let make = |config: &Config| Limit::new(config, states.prepare(config, now));
    let (limits, _) = Limits::split(
        [make(&config("wide", 1000, 999, &[Key::Route])), make(&config("narrow", 50, 49, &[Key::Address]))],
        false,
    );
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let limits = &limits;
                scope.spawn(move || {
                    let (cx, head) = (sample::context("192.0.2.1", None), plain_head());
                    (0..1000).filter(|_| limits.check(&cx, &head, now).is_ok()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(passed, 50);
    let (cx, head) = (sample::context("192.0.2.2", None), plain_head());
    assert_eq!(limits.0[0].check(&cx, &head, now).map(|state| state.remaining), Ok(1000 - 50 - 1));
}

#[test]
fn a_consumer_is_one_with_all_its_keys_and_a_host_one_for_all_clients() {
    let head = plain_head();
    let first = sample::context("192.0.2.1", Some(api_key("a", "acme")));
    let second = sample::context("192.0.2.2", Some(api_key("b", "acme")));
    assert!(share(&[Key::Consumer], (&first, &head), (&second, &head)));
    assert!(!share(&[Key::ApiKey], (&first, &head), (&second, &head)));
    // Whoever brings a token is no consumer, whatever the token's subject is called.
    let token = sample::context("192.0.2.3", Some(token("users", "acme", serde_json::json!({}))));
    assert!(!share(&[Key::Consumer], (&first, &head), (&token, &head)));

    assert!(share(&[Key::Host], (&first, &head), (&second, &head)));
    let other = sample::head_for("other.example", "/", &[]);
    assert!(!share(&[Key::Host], (&first, &head), (&first, &other)));
}

/// A client over TLS with the fingerprint of Chrome, or with another.
fn over_tls(client: &str, chrome: bool) -> Context {
    let ciphers = if chrome { hello::CHROME.ciphers } else { "1301" };
    let body = hello::body(hello::Offer { ciphers, ..hello::CHROME });
    let ja4 = ClientHello::parse(&body).map(|hello| Ja4::of(&hello));
    let mut cx = sample::context(client, None);
    let session = peer::Tls { server_name: None, version: "1.3", ja4 };
    cx.peer = Arc::new(Peer { tls: Some(Arc::new(session)), ..Peer::clone(&cx.peer) });
    cx
}

#[test]
fn clients_of_the_same_software_are_one_and_without_tls_the_address_counts() {
    let head = plain_head();
    let (chrome, same) = (over_tls("192.0.2.1", true), over_tls("192.0.2.2", true));
    let other = over_tls("192.0.2.1", false);
    assert!(share(&[Key::Ja4], (&chrome, &head), (&same, &head)));
    assert!(!share(&[Key::Ja4], (&chrome, &head), (&other, &head)));
    assert!(!share(&[Key::Ja4, Key::Address], (&chrome, &head), (&same, &head)));
    assert!(share(&[Key::Ja4, Key::Address], (&chrome, &head), (&chrome, &head)));

    let clear = |client| sample::context(client, None);
    assert!(share(&[Key::Ja4], (&clear("192.0.2.1"), &head), (&clear("192.0.2.1"), &head)));
    assert!(!share(&[Key::Ja4], (&clear("192.0.2.1"), &head), (&clear("192.0.2.2"), &head)));
    assert!(!share(&[Key::Ja4], (&clear("192.0.2.1"), &head), (&chrome, &head)));
}
