//! Keys that change while requests come in, with a real server.

use super::*;
use crate::keyring::fetch::Fetcher;
use crate::keyring::issuer::{UNKNOWN_KEY_SPACING, UNLOADED_SPACING};
use crate::keyring::server::{Answer, Server};
use crate::policy::jwt::kept::Kept;

struct Gateway {
    authenticator: Authenticator,
    _fetcher: Fetcher,
}

fn start(server: &Server) -> Gateway {
    let url = Arc::from(format!("{}/keys", server.url()));
    let authenticator =
        Authenticator::compile(config(KeySource::Url(url), &[Algorithm::EdDSA]), &Keyring::new())
            .expect("compiles");
    let fetcher = Fetcher::start().expect("a thread");
    fetcher.keep(authenticator.job().into_iter().collect());
    Gateway { authenticator, _fetcher: fetcher }
}

fn publish(server: &Server, keys: &[(&Signer, &str)]) {
    let keys: Vec<Value> = keys.iter().map(|(signer, id)| signer.jwk_with(json!({"kid": id}))).collect();
    server.put("/keys", Answer::ok(json!({"keys": keys}).to_string()));
}

fn token(signer: &Signer, id: &str) -> String {
    signer.token(&json!({"alg": "EdDSA", "kid": id}), &claims())
}

async fn ask(gateway: &Gateway, token: &str, monotonic: Instant) -> Outcome {
    let head = head(&[&format!("Bearer {token}")]);
    gateway.authenticator.authenticate(&head, now(), monotonic).await
}

#[tokio::test]
async fn the_first_token_of_a_new_key_passes_and_a_withdrawn_key_ends_at_once() {
    let server = Server::start().await;
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    publish(&server, &[(&old, "old")]);
    let gateway = start(&server);
    let start = Instant::now();
    let by_old = token(&old, "old");
    accepted(ask(&gateway, &by_old, start).await);
    accepted(ask(&gateway, &by_old, start).await);

    publish(&server, &[(&new, "new")]);
    accepted(ask(&gateway, &by_old, start).await);
    accepted(ask(&gateway, &token(&new, "new"), start).await);
    assert_eq!(server.requests("/keys"), 2);
    // The old key was withdrawn, so what is remembered of it counts no longer.
    assert_fault(ask(&gateway, &by_old, start).await, CredentialFault::UnknownKey);
}

#[tokio::test]
async fn ten_thousand_random_key_ids_cause_one_fetch_each_thirty_seconds() {
    let server = Server::start().await;
    let (signer, attacker) = (Signer::ed25519(), Signer::ed25519());
    publish(&server, &[(&signer, "k")]);
    let gateway = start(&server);
    let start = Instant::now();
    accepted(ask(&gateway, &token(&signer, "k"), start).await);
    assert_eq!(server.requests("/keys"), 1);
    for n in 0..10_000 {
        let outcome = ask(&gateway, &token(&attacker, &format!("random-{n}")), start).await;
        assert_fault(outcome, CredentialFault::UnknownKey);
    }
    assert_eq!(server.requests("/keys"), 2);
    let later = start + UNKNOWN_KEY_SPACING;
    assert_fault(ask(&gateway, &token(&attacker, "later"), later).await, CredentialFault::UnknownKey);
    assert_eq!(server.requests("/keys"), 3);
    accepted(ask(&gateway, &token(&signer, "k"), later).await);
}

#[tokio::test]
async fn tokens_pass_while_the_issuer_is_down_until_the_keys_are_too_stale() {
    let server = Server::start().await;
    let signer = Signer::ed25519();
    publish(&server, &[(&signer, "k")]);
    let gateway = start(&server);
    let start = Instant::now();
    accepted(ask(&gateway, &token(&signer, "k"), start).await);
    drop(server);
    let fresh = |n: u64| signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims_with(json!({"n": n})));
    let two_refreshes = start + Duration::from_secs(1200);
    accepted(ask(&gateway, &fresh(1), two_refreshes).await);
    let unknown = token(&Signer::ed25519(), "other");
    assert_fault(ask(&gateway, &unknown, two_refreshes).await, CredentialFault::UnknownKey);
    accepted(ask(&gateway, &fresh(2), two_refreshes).await);
    let too_late = start + Duration::from_secs(24 * 3600 + 60);
    let outcome = ask(&gateway, &fresh(3), too_late).await;
    assert!(matches!(outcome, Outcome::Refused(Rejection::KeysUnavailable)), "{outcome:?}");
}

#[tokio::test]
async fn without_keys_the_answer_is_503_and_the_issuer_is_asked_again() {
    let server = Server::start().await;
    let signer = Signer::ed25519();
    server.put("/keys", Answer::status(503));
    let gateway = start(&server);
    let good = token(&signer, "k");
    let outcome = ask(&gateway, &good, Instant::now()).await;
    assert!(matches!(outcome, Outcome::Refused(Rejection::KeysUnavailable)), "{outcome:?}");
    // What is wrong in itself is not the issuer's fault.
    let expired = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &claims_with(json!({"exp": 1})));
    assert_fault(ask(&gateway, &expired, Instant::now()).await, CredentialFault::Expired);
    publish(&server, &[(&signer, "k")]);
    accepted(ask(&gateway, &good, Instant::now() + UNLOADED_SPACING).await);
}

#[tokio::test]
async fn a_reload_keeps_the_keys() {
    let server = Server::start().await;
    let signer = Signer::ed25519();
    publish(&server, &[(&signer, "k")]);
    let keyring = Keyring::new();
    let settings = config(KeySource::Url(Arc::from(format!("{}/keys", server.url()))), &[Algorithm::EdDSA]);
    let before = Authenticator::compile(settings.clone(), &keyring).expect("compiles");
    let fetcher = Fetcher::start().expect("a thread");
    fetcher.keep(before.job().into_iter().collect());
    let head = head(&[&format!("Bearer {}", token(&signer, "k"))]);
    accepted(before.authenticate(&head, now(), Instant::now()).await);
    let after = Authenticator::compile(settings, &keyring).expect("compiles");
    fetcher.keep(after.job().into_iter().collect());
    drop(before);
    accepted(judge_head(&after, &head, now()));
    assert_eq!(server.requests("/keys"), 1);
}

#[test]
fn a_reload_keeps_the_tokens_of_an_authentication_that_it_does_not_change() {
    let signer = Signer::ed25519();
    let keyring = Keyring::new();
    let kept = Kept::default();
    let document = json!({"keys": [signer.jwk_with(json!({"kid": "k"}))]});
    let settings = config(inline(&document), &[Algorithm::EdDSA]);
    let before = kept.compile(&settings, &keyring).expect("compiles");
    accepted(judge(&before, &token(&signer, "k")));
    assert_eq!(before.cache.len(), (1, 0));

    // A trial with other settings, as of `reload --dry-run`, makes nobody forget.
    let mut other = settings.clone();
    other.leeway = Duration::from_secs(1);
    let trial = kept.compile(&other, &keyring).expect("compiles");
    assert!(!Arc::ptr_eq(&before, &trial), "what changed is another authentication");
    drop(trial);
    let after = kept.compile(&settings, &keyring).expect("compiles");
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(after.cache.len(), (1, 0));

    drop((before, after));
    let anew = kept.compile(&settings, &keyring).expect("compiles");
    assert_eq!(anew.cache.len(), (0, 0), "what nobody uses is gone");
}
