//! Keys in every place where they may stand, and requests that are refused for them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::config::{Config, Key, Location, Terms};
use super::{Authenticator, CredentialFault, KEY_BYTES_MAX, UnusableConsumer, refused};
use crate::header::{Name, Value};
use crate::http::rejection::Rejection;
use crate::request::{Head, sample};

const NOW: SystemTime = UNIX_EPOCH;
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const KEY_A: &str = "pk_live_a+b/c=";
const KEY_B: &str = "pk_live_b";

fn key(id: &str, consumer: &str, secret: &str) -> Key {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    let sha256 = digest.as_ref().try_into().expect("32 bytes");
    Key { id: id.into(), consumer: consumer.into(), sha256, terms: Terms::default() }
}

fn config() -> Config {
    Config {
        name: "partners".into(),
        from: vec![
            Location::Header(Name::from_static("x-api-key")),
            Location::Query("api_key".into()),
            Location::Cookie("key".into()),
        ],
        keys: vec![key("a", "acme", KEY_A), key("b", "bolt", KEY_B)],
        consumer_header: Some(Name::from_static("x-consumer")),
        forward: false,
    }
}

/// The id of the key that was accepted, or why none was.
fn outcome(head: &Head) -> Option<Result<String, CredentialFault>> {
    let authenticator = Authenticator::new(&config()).expect("usable consumers");
    authenticator.authenticate(head, NOW, CLIENT).map(|result| match result {
        Ok(identity) => Ok(format!("{:?}", identity.credential)),
        Err(rejection) => {
            let fault = CredentialFault::Repeated;
            let faults = [fault, CredentialFault::Malformed, CredentialFault::UnknownCredential];
            Err(faults.into_iter().find(|fault| refused(*fault) == rejection).expect("one of these"))
        }
    })
}

fn accepted(id: &str) -> Option<Result<String, CredentialFault>> {
    Some(Ok(format!("Key {{ id: {id:?} }}")))
}

#[test]
fn a_key_is_found_in_each_place() {
    for head in [
        sample::head("/", &[("X-Api-Key", KEY_A)]),
        sample::head("/?x=1&api_key=pk_live_a%2Bb%2fc%3D", &[]),
        sample::head("/?api_key=pk_live_a+b/c=", &[]),
        sample::head("/?api%5Fkey=pk_live_a+b/c=", &[]),
        sample::head("/", &[("cookie", "theme=dark; key=pk_live_a+b/c=")]),
        sample::head("/?api_key=", &[("x-api-key", KEY_A), ("cookie", "key=")]),
    ] {
        assert_eq!(outcome(&head), accepted("a"), "{head:?}");
    }
    assert_eq!(outcome(&sample::head("/", &[("x-api-key", KEY_B)])), accepted("b"));
}

#[test]
fn a_key_is_accepted_within_its_terms_only_and_two_overlap_while_one_takes_the_place_of_the_other() {
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let mut config = config();
    config.keys =
        vec![key("old", "acme", KEY_A), key("new", "acme", KEY_B), key("off", "bolt", "pk_live_off")];
    config.keys[0].terms.expires = Some(at(100));
    config.keys[1].terms.addresses = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    config.keys[2].terms.disabled = true;
    let authenticator = Authenticator::new(&config).expect("usable consumers");
    let judge = |secret: &str, now: SystemTime, client: &str| {
        let client = client.parse().expect("an address");
        let found = authenticator.authenticate(&sample::head("/", &[("x-api-key", secret)]), now, client);
        found.expect("there is a key").map(|identity| identity.principal.to_string())
    };
    for (secret, seconds, client, expected) in [
        (KEY_A, 99, "192.0.2.7", Ok("acme")),
        (KEY_A, 100, "192.0.2.7", Err(refused(CredentialFault::Expired))),
        (KEY_B, 99, "192.0.2.7", Ok("acme")),
        (KEY_B, 100, "::ffff:192.0.2.7", Ok("acme")),
        (KEY_B, 100, "2001:db8::1", Ok("acme")),
        (KEY_B, 100, "198.51.100.1", Err(Rejection::AddressDenied)),
        ("pk_live_off", 0, "192.0.2.7", Err(refused(CredentialFault::Disabled))),
    ] {
        let judged = judge(secret, at(seconds), client);
        assert_eq!(judged, expected.map(str::to_owned), "{secret} at {seconds} from {client}");
    }
}

#[test]
fn no_key_is_no_verdict() {
    for head in [
        sample::head("/?other=1", &[("cookie", "other=1"), ("authorization", "Bearer x")]),
        sample::head("/?api_key", &[("x-api-key", "")]),
    ] {
        assert_eq!(outcome(&head), None, "{head:?}");
    }
}

#[test]
fn a_wrong_long_or_second_key_is_refused() {
    let longest = "x".repeat(KEY_BYTES_MAX);
    let too_long = "x".repeat(KEY_BYTES_MAX + 1);
    for (head, fault) in [
        (sample::head("/", &[("x-api-key", "pk_live_A+b/c=")]), CredentialFault::UnknownCredential),
        (sample::head("/", &[("x-api-key", &longest)]), CredentialFault::UnknownCredential),
        (sample::head("/", &[("x-api-key", &too_long)]), CredentialFault::Malformed),
        (sample::head(&format!("/?api_key={longest}"), &[]), CredentialFault::UnknownCredential),
        (sample::head(&format!("/?api_key={too_long}"), &[]), CredentialFault::Malformed),
        (sample::head("/", &[("x-api-key", KEY_A), ("x-api-key", KEY_A)]), CredentialFault::Repeated),
        (sample::head("/?api_key=1&api_key=2", &[]), CredentialFault::Repeated),
        (sample::head("/?api_key=pk_live_b", &[("x-api-key", KEY_B)]), CredentialFault::Repeated),
        (sample::head("/", &[("cookie", "key=pk_live_b"), ("cookie", "key=x")]), CredentialFault::Repeated),
    ] {
        assert_eq!(outcome(&head), Some(Err(fault)), "{head:?}");
    }
}

#[test]
fn a_place_that_is_configured_twice_counts_once() {
    let from = vec![Location::Query("k".into()), Location::Query("k".into())];
    let authenticator = Authenticator::new(&Config { from, ..config() }).expect("usable consumers");
    let head = sample::head("/?k=pk_live_b", &[]);
    assert!(authenticator.authenticate(&head, NOW, CLIENT).is_some_and(|result| result.is_ok()));
}

#[test]
fn the_identity_is_made_once_and_names_the_consumer() {
    let authenticator = Authenticator::new(&config()).expect("usable consumers");
    let head = sample::head("/", &[("x-api-key", KEY_A)]);
    let identity = || authenticator.authenticate(&head, NOW, CLIENT).expect("a key").expect("a good key");
    assert!(Arc::ptr_eq(&identity(), &identity()));
    assert_eq!((&*identity().auth, &*identity().principal), ("partners", "acme"));
    assert_eq!(*identity().headers, [(Name::from_static("x-consumer"), Value::from_static("acme"))]);
}

#[test]
fn the_key_goes_from_every_place_and_only_the_key() {
    let head = || {
        let cookies = ("cookie", "theme=dark; key=stray");
        sample::head("/p?a=1&api_key=k&b=2", &[("x-api-key", KEY_A), cookies, ("accept", "*/*")])
    };
    let (mut stripped, mut kept) = (head(), head());
    Authenticator::new(&config()).expect("usable").strip(&mut stripped);
    assert!(!stripped.fields.contains(&Name::from_static("x-api-key")));
    assert!(stripped.fields.contains(&Name::from_static("accept")));
    assert_eq!(stripped.query(), Some("a=1&b=2"));
    assert_eq!((stripped.cookie("key"), stripped.cookie("theme")), (None, Some("dark")));

    Authenticator::new(&Config { forward: true, ..config() }).expect("usable").strip(&mut kept);
    assert_eq!((kept.query(), kept.cookie("key")), (head().query(), Some("stray")));
    assert!(kept.fields.contains(&Name::from_static("x-api-key")));
}

#[test]
fn a_consumer_that_would_break_the_header_is_an_error_at_startup() {
    let keys = vec![key("bad", "a\r\nx-admin: 1", KEY_A)];
    let fault = Authenticator::new(&Config { keys: keys.clone(), ..config() }).err();
    assert_eq!(fault, Some(UnusableConsumer { key: "bad".into() }));
    assert!(Authenticator::new(&Config { keys, consumer_header: None, ..config() }).is_ok());
}

#[test]
fn neither_key_nor_digest_shows_in_debug_output() {
    let shown = format!("{:?}", Authenticator::new(&config()).expect("usable"));
    assert!(shown.contains("acme") || shown.contains("\"a\""), "{shown}");
    let digest = key("a", "acme", KEY_A).sha256;
    assert!(!shown.contains(KEY_A) && !shown.contains(&format!("{}, {}", digest[0], digest[1])), "{shown}");
}
