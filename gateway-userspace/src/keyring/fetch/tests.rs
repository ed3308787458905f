//! Against a real HTTP server on loopback.

use serde_json::json;

use super::*;
use crate::keyring::Keyring;
use crate::keyring::server::{Answer, Server};
use crate::keyring::signer::Signer;

const STALE: Duration = Duration::from_secs(3600);

fn jwks(signer: &Signer, id: &str) -> Answer {
    Answer::ok(json!({"keys": [signer.jwk_with(json!({"kid": id}))]}).to_string())
}

/// Has an issuer fetched until `done`, or panics after 10 s.
async fn until(issuer: &Issuer, done: impl Fn(&crate::keyring::issuer::Health) -> bool) {
    for _ in 0..1000 {
        if done(&issuer.health(Instant::now())) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", issuer.health(Instant::now()));
}

fn start(origin: Origin) -> (Fetcher, Arc<Issuer>) {
    let issuer = Keyring::new().issuer(&Arc::from("users"), &origin);
    let fetcher = Fetcher::start().expect("a thread");
    fetcher.keep(vec![Job { issuer: issuer.clone(), refresh: Duration::from_secs(600), ca: None }]);
    (fetcher, issuer)
}

#[tokio::test]
async fn keys_come_by_discovery_and_by_redirect() {
    let server = Server::start().await;
    let signer = Signer::ed25519();
    let issuer_url = format!("{}/tenant", server.url());
    let discovery = json!({"issuer": issuer_url, "jwks_uri": format!("{}/old", server.url())});
    server.put("/tenant/.well-known/openid-configuration", Answer::ok(discovery.to_string()));
    server.put("/old", Answer::redirect("/new"));
    server.put("/new", jwks(&signer, "a"));
    let (_fetcher, issuer) = start(Origin::Discovery(Arc::from(issuer_url)));
    until(&issuer, |health| health.succeeded == 1).await;
    assert_eq!(issuer.keys(Instant::now(), STALE).expect("loaded").keys()[0].id(), Some("a"));
    assert_eq!(server.requests("/new"), 1);
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_not_followed() {
    let server = Server::start().await;
    let discovery =
        json!({"issuer": "https://other.example.com", "jwks_uri": format!("{}/keys", server.url())});
    server.put("/.well-known/openid-configuration", Answer::ok(discovery.to_string()));
    let (_fetcher, issuer) = start(Origin::Discovery(Arc::from(server.url())));
    until(&issuer, |health| health.failed >= 1).await;
    assert_eq!(server.requests("/keys"), 0);
    assert!(issuer.health(Instant::now()).last_error.expect("a reason").contains("other.example.com"));
}

#[tokio::test]
async fn bad_answers_leave_the_last_good_keys_in_force() {
    let server = Server::start().await;
    let signer = Signer::ed25519();
    server.put("/keys", jwks(&signer, "a"));
    let (_fetcher, issuer) = start(Origin::Url(Arc::from(format!("{}/keys", server.url()))));
    until(&issuer, |health| health.succeeded == 1).await;
    let mut now = Instant::now();
    let bad = [
        Answer::ok("<html>Sign in</html>"),
        Answer::ok(""),
        Answer::ok(r#"{"keys":[]}"#),
        Answer::ok("x".repeat((1 << 20) + 1)),
        Answer::status(500),
        Answer::status(404),
        Answer::redirect("http://169.254.169.254/latest/meta-data"),
        Answer::redirect("/keys"),
    ];
    for (index, answer) in bad.into_iter().enumerate() {
        server.put("/keys", answer);
        now += crate::keyring::issuer::UNKNOWN_KEY_SPACING;
        let waiting = issuer.ask(crate::keyring::issuer::Want::UnknownKey, now);
        waiting.expect("a fetch is due").wait().await;
        until(&issuer, |health| health.failed > index as u64).await;
        let keys = issuer.keys(Instant::now(), STALE).expect("still there");
        assert_eq!(keys.keys()[0].id(), Some("a"));
        assert!(!keys.keys()[0].is_revoked());
    }
}

#[tokio::test]
async fn a_key_that_the_issuer_withdraws_stops_working_and_a_server_that_is_down_changes_nothing() {
    let server = Server::start().await;
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    server.put("/keys", jwks(&old, "old"));
    let (_fetcher, issuer) = start(Origin::Url(Arc::from(format!("{}/keys", server.url()))));
    until(&issuer, |health| health.succeeded == 1).await;
    let withdrawn = issuer.keys(Instant::now(), STALE).expect("loaded").keys()[0].clone();
    server.put("/keys", jwks(&new, "new"));
    let now = Instant::now();
    issuer.ask(crate::keyring::issuer::Want::UnknownKey, now).expect("a fetch is due").wait().await;
    until(&issuer, |health| health.succeeded == 2).await;
    assert!(withdrawn.is_revoked());
    drop(server);
    let later = now + crate::keyring::issuer::UNKNOWN_KEY_SPACING;
    issuer.ask(crate::keyring::issuer::Want::UnknownKey, later).expect("a fetch is due").wait().await;
    until(&issuer, |health| health.failed >= 1).await;
    assert_eq!(issuer.keys(Instant::now(), STALE).expect("kept").keys()[0].id(), Some("new"));
}

#[tokio::test]
async fn an_issuer_that_is_no_longer_kept_is_no_longer_fetched() {
    let server = Server::start().await;
    server.put("/keys", jwks(&Signer::ed25519(), "a"));
    let (fetcher, issuer) = start(Origin::Url(Arc::from(format!("{}/keys", server.url()))));
    until(&issuer, |health| health.succeeded == 1).await;
    fetcher.keep(Vec::new());
    drop(fetcher);
    // The task lets go of the issuer when it ends.
    for _ in 0..1000 {
        if Arc::strong_count(&issuer) == 1 {
            assert_eq!(server.requests("/keys"), 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the task still runs");
}

#[test]
fn pauses_grow_with_failures_and_stay_below_the_refresh() {
    let refresh = Duration::from_secs(600);
    for fraction in [0.0, 0.5, 1.0] {
        let after_success = pause(0, refresh, fraction);
        assert!(after_success >= refresh.mul_f64(0.79) && after_success < refresh, "ahead of time");
        let pauses: Vec<Duration> = (1..40).map(|failures| pause(failures, refresh, fraction)).collect();
        assert!(pauses.is_sorted());
        assert!(pauses[0] <= PAUSE_MIN && pauses[0] >= PAUSE_MIN / 2);
        assert!(pauses[38] <= PAUSE_MAX && pauses[38] >= PAUSE_MAX / 2);
    }
}

#[tokio::test]
async fn tls_is_checked_against_the_given_authority_and_name() {
    let (server, authority) = Server::start_tls().await;
    server.put("/keys", jwks(&Signer::ed25519(), "a"));
    let path = std::env::temp_dir().join(format!("portcullis-{}-authority.pem", std::process::id()));
    std::fs::write(&path, authority).expect("written");
    let url = |host: &str| Origin::Url(Arc::from(format!("https://{host}:{}/keys", server.port())));
    let by_name = fetch(&url("localhost"), Some(&path), TIMEOUT).await;
    let without_authority = fetch(&url("localhost"), None, TIMEOUT).await;
    let other_name = fetch(&url("127.0.0.1"), Some(&path), TIMEOUT).await;
    let missing = fetch(&url("localhost"), Some(Path::new("/nonexistent.pem")), TIMEOUT).await;
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(by_name.expect("keys").0.keys().len(), 1);
    for (outcome, part) in [
        (without_authority, "UnknownIssuer"),
        (other_name, "not valid for name"),
        (missing, "/nonexistent.pem"),
    ] {
        let reason = chain(&outcome.expect_err("refused"));
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(server.requests("/keys"), 1);
}

#[tokio::test]
async fn an_issuer_that_never_answers_is_given_up() {
    // Accepts into its backlog and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    for scheme in ["http", "https"] {
        let origin = Origin::Url(Arc::from(format!("{scheme}://{address}/keys")));
        let outcome = fetch(&origin, None, Duration::from_millis(20)).await;
        assert!(matches!(outcome, Err(FetchError::Timeout)), "{scheme}");
    }
}
