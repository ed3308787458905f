//! Who gets in by a token, alone or beside keys.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_userspace::demo::issuer::Issuer;
use gateway_userspace::demo::services::Service;
use serde_json::json;
use tests::curl::{Answer, curl};
use tests::echo::Echo;
use tests::gateway::Gateway;

use crate::api_keys::{KEY, keys, sha256};

/// An issuer that answers on loopback, whose keys can be rotated and whose answers can be stopped.
struct Issuing {
    service: Service,
    keys: Arc<Mutex<Vec<String>>>,
    fetches: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl Issuing {
    fn start() -> Issuing {
        let keys: Arc<Mutex<Vec<String>>> = Arc::default();
        let fetches = Arc::new(AtomicUsize::new(0));
        let down = Arc::new(AtomicBool::new(false));
        let (served, counted, stopped) = (keys.clone(), fetches.clone(), down.clone());
        let url: Arc<Mutex<String>> = Arc::default();
        let own_url = url.clone();
        let service = Service::start(Arc::new(move |path| {
            if stopped.load(Ordering::SeqCst) {
                return (500, "text/html", String::from("<h1>down</h1>"));
            }
            let url = own_url.lock().unwrap().clone();
            match path {
                "/.well-known/openid-configuration" => (
                    200,
                    "application/json",
                    json!({ "issuer": url, "jwks_uri": format!("{url}/jwks.json") }).to_string(),
                ),
                "/jwks.json" => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    (200, "application/json", format!("{{\"keys\":[{}]}}", served.lock().unwrap().join(",")))
                }
                _ => (404, "text/plain", String::new()),
            }
        }))
        .unwrap();
        *url.lock().unwrap() = format!("http://{}", service.address);
        Issuing { service, keys, fetches, down }
    }

    fn url(&self) -> String {
        format!("http://{}", self.service.address)
    }

    /// A new key, published beside those that are there.
    fn publish(&self, kid: &str) -> Issuer {
        let issuer = Issuer::new(&self.url(), kid).unwrap();
        let set: serde_json::Value = serde_json::from_str(&issuer.jwks()).unwrap();
        self.keys.lock().unwrap().push(set["keys"][0].to_string());
        issuer
    }
}

fn gateway(issuer: &str, echo: &Echo) -> Gateway {
    Gateway::start(&format!(
        "[auth.users]\njwt = \"{issuer}\"\naudience = \"api\"\nheaders = {{ X-User-Id = \"sub\", X-Email = \"email?\" }}\n\
         [route.users]\nmatch = \"/*\"\nto = \"{}\"\nauth = \"users\"\n",
        echo.url()
    ))
}

fn with_token(gateway: &Gateway, token: &str) -> Answer {
    curl(&["-H", &format!("Authorization: Bearer {token}"), &gateway.url("/")])
}

fn seconds_from_now(offset: i64) -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + offset
}

#[test]
fn a_valid_token_passes_and_the_upstream_learns_who_it_is() {
    let (issuing, echo) = (Issuing::start(), Echo::start());
    let issuer = issuing.publish("one");
    let gateway = gateway(&issuing.url(), &echo);
    let token = issuer.token("alice", Duration::from_secs(60)).unwrap();
    let answer = curl(&[
        "-H",
        &format!("Authorization: Bearer {token}"),
        "-H",
        "X-User-Id: mallory",
        "-H",
        "x_user_id: mallory",
        "-H",
        "X-USER-ID: root",
        "-H",
        "X-Email: m@evil.test",
        &gateway.url("/"),
    ]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let headers = answer.json()["headers"].to_string().to_lowercase();
    assert!(headers.contains("[\"x-user-id\",\"alice\"]"), "{headers}");
    assert!(
        !headers.contains("mallory") && !headers.contains("root") && !headers.contains("evil"),
        "{headers}"
    );
}

#[test]
fn every_token_that_should_not_pass_gets_401() {
    let (issuing, echo) = (Issuing::start(), Echo::start());
    let issuer = issuing.publish("one");
    let stranger = Issuer::new(&issuing.url(), "one").unwrap();
    let gateway = gateway(&issuing.url(), &echo);
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "one" });
    let claims = json!({ "iss": issuing.url(), "aud": "api", "sub": "alice", "exp": seconds_from_now(60) });
    let altered = |key: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[key] = value;
        claims
    };
    let valid = issuer.sign(&header, &claims).unwrap();
    assert_eq!(with_token(&gateway, &valid).status, 200);

    let mut without_exp = claims.clone();
    without_exp.as_object_mut().unwrap().remove("exp");
    let (body, signature) = valid.rsplit_once('.').unwrap();
    let unsigned = issuer.sign(&json!({ "alg": "none" }), &claims).unwrap();
    let unsigned = unsigned.rsplit_once('.').unwrap().0;
    let list = [
        ("forged", stranger.sign(&header, &claims).unwrap()),
        ("expired", issuer.sign(&header, &altered("exp", json!(seconds_from_now(-120)))).unwrap()),
        ("without exp", issuer.sign(&header, &without_exp).unwrap()),
        ("not yet valid", issuer.sign(&header, &altered("nbf", json!(seconds_from_now(300)))).unwrap()),
        ("wrong audience", issuer.sign(&header, &altered("aud", json!("other"))).unwrap()),
        ("wrong issuer", issuer.sign(&header, &altered("iss", json!("https://evil.test"))).unwrap()),
        ("alg none", format!("{unsigned}.")),
        ("alg none with a signature", format!("{unsigned}.{signature}")),
        ("HS256 with the public key", hmac_with_public_key(&issuer, &claims)),
        (
            "critical extension",
            issuer.sign(&json!({ "alg": "RS256", "kid": "one", "crit": ["x"], "x": 1 }), &claims).unwrap(),
        ),
        ("truncated signature", format!("{body}.{}", &signature[..signature.len() - 4])),
        ("two parts", body.to_owned()),
        ("nothing", String::from("x")),
    ];
    for (what, token) in list {
        let answer = with_token(&gateway, &token);
        assert_eq!(answer.status, 401, "{what}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
        assert!(answer.header("www-authenticate").contains("invalid_token"), "{what}");
    }
    let none = curl(&[&gateway.url("/")]);
    assert_eq!((none.status, none.json()["error"].as_str()), (401, Some("No token provided")));
    assert!(!none.header("www-authenticate").contains("error="), "RFC 6750 §3.1: no error without a token");

    let basic = curl(&["-H", &format!("Authorization: Basic {valid}"), &gateway.url("/")]);
    assert_eq!(basic.status, 401, "a token under another scheme is none");
    let twice = format!("Authorization: Bearer {valid}");
    assert_eq!(curl(&["-H", &twice, "-H", &twice, &gateway.url("/")]).status, 401, "two credentials");
}

/// A token signed by HMAC with the bytes of the public key: what a confused verifier takes for valid.
fn hmac_with_public_key(issuer: &Issuer, claims: &serde_json::Value) -> String {
    use aws_lc_rs::hmac;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let jwks: serde_json::Value = serde_json::from_str(&issuer.jwks()).unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["n"].as_str().unwrap()).unwrap();
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(json!({ "alg": "HS256", "kid": "one" })), encode(claims.clone()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &modulus), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[test]
fn the_first_token_after_a_rotation_passes_and_unknown_keys_do_not_flood_the_issuer() {
    let (issuing, echo) = (Issuing::start(), Echo::start());
    let old = issuing.publish("old");
    let gateway = gateway(&issuing.url(), &echo);
    assert_eq!(with_token(&gateway, &old.token("alice", Duration::from_secs(60)).unwrap()).status, 200);

    let new = issuing.publish("new");
    assert_eq!(with_token(&gateway, &new.token("alice", Duration::from_secs(60)).unwrap()).status, 200);
    assert_eq!(with_token(&gateway, &old.token("bob", Duration::from_secs(60)).unwrap()).status, 200);

    let before = issuing.fetches.load(Ordering::SeqCst);
    for attempt in 0..50 {
        let header = json!({ "alg": "RS256", "kid": format!("random-{attempt}") });
        let token = new.sign(&header, &json!({ "sub": "x", "exp": seconds_from_now(60) })).unwrap();
        assert_eq!(with_token(&gateway, &token).status, 401);
    }
    let fetched = issuing.fetches.load(Ordering::SeqCst) - before;
    assert!(fetched <= 1, "{fetched} fetches for 50 unknown keys");
}

#[test]
fn an_issuer_that_is_down_does_not_lock_out_and_one_never_reached_is_503() {
    let (issuing, echo) = (Issuing::start(), Echo::start());
    let issuer = issuing.publish("one");
    let gateway_up = gateway(&issuing.url(), &echo);
    assert_eq!(with_token(&gateway_up, &issuer.token("alice", Duration::from_secs(60)).unwrap()).status, 200);
    issuing.down.store(true, Ordering::SeqCst);
    assert_eq!(with_token(&gateway_up, &issuer.token("bob", Duration::from_secs(60)).unwrap()).status, 200);

    let gateway_down = gateway(&issuing.url(), &echo);
    let answer = with_token(&gateway_down, &issuer.token("alice", Duration::from_secs(60)).unwrap());
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.header("x-gateway-reason"), "keys-unavailable");
}

#[test]
fn a_static_pem_key_from_the_environment_or_a_file_verifies_too() {
    let echo = Echo::start();
    let issuer = Issuer::new("https://issuer.test", "static").unwrap();
    let gateway = Gateway::start_with(|folder, port| {
        std::fs::write(folder.join("keys.json"), issuer.jwks()).unwrap();
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\n[auth.users]\njwt = \"https://issuer.test\"\nkeys = \"file:{}/keys.json\"\naudience = \"api\"\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\nauth = \"users\"\n",
            folder.display(),
            echo.url()
        )
    });
    assert_eq!(with_token(&gateway, &issuer.token("alice", Duration::from_secs(60)).unwrap()).status, 200);
    let other = Issuer::new("https://issuer.test", "static").unwrap();
    assert_eq!(with_token(&gateway, &other.token("alice", Duration::from_secs(60)).unwrap()).status, 401);
}

#[test]
fn a_route_takes_tokens_of_several_issuers_and_keys_of_several_lists_in_any_order() {
    let (first, second, echo) = (Issuing::start(), Issuing::start(), Echo::start());
    let (alice, bob) = (first.publish("one"), second.publish("one"));
    let gateway = Gateway::start(&format!(
        "[auth.first]\njwt = \"{}\"\n[auth.second]\njwt = \"{}\"\nheaders = {{ X-User-Id = \"sub\" }}\n{}{}\
         [route.all]\nmatch = \"/*\"\nto = \"{}\"\nauth = [\"first\", \"old\", \"second\", \"new\"]\n",
        first.url(),
        second.url(),
        keys("old", "acme", &sha256("another key, long since forgotten")),
        keys("new", "zenith", &sha256(KEY)),
        echo.url()
    ));
    let token = |issuer: &Issuer, life| issuer.token("someone", Duration::from_secs(life)).unwrap();
    for (who, token) in [("first", token(&alice, 60)), ("second", token(&bob, 60))] {
        let answer = with_token(&gateway, &token);
        assert_eq!(answer.status, 200, "{who}: {}", answer.body);
    }
    let with_key = |key: &str| curl(&["-H", &format!("X-API-Key: {key}"), &gateway.url("/")]);
    let answer = with_key(KEY);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("zenith"), "{}", answer.body);
    assert_eq!(
        (with_key("wrong").status, with_key("wrong").header("x-gateway-reason")),
        (401, "invalid-key")
    );
    let stranger = Issuer::new("http://127.0.0.1:1", "one").unwrap();
    let answer = with_token(&gateway, &token(&stranger, 60));
    assert_eq!(
        (answer.status, answer.json()["details"].as_str()),
        (401, Some("wrong issuer")),
        "{}",
        answer.body
    );
}

#[test]
fn a_token_that_nobody_judged_never_reaches_the_upstream_beside_a_good_key() {
    let (issuing, echo) = (Issuing::start(), Echo::start());
    let issuer = issuing.publish("one");
    let forger = Issuer::new(&issuing.url(), "one").unwrap();
    let gateway = Gateway::start(&format!(
        "[auth.users]\njwt = \"{}\"\n{}\
         [route.keys-first]\nmatch = \"/a\"\nto = \"{echo}\"\nauth = [\"partners\", \"users\"]\n\
         [route.tokens-first]\nmatch = \"/b\"\nto = \"{echo}\"\nauth = [\"users\", \"partners\"]\n",
        issuing.url(),
        keys("partners", "acme", &sha256(KEY)),
        echo = echo.url()
    ));
    let forged = forger.token("root", Duration::from_secs(60)).unwrap();
    for path in ["/a", "/b"] {
        for scheme in ["Bearer ", "bearer  ", "Bearer\t"] {
            let authorization = format!("Authorization: {scheme}{forged}");
            let answer =
                curl(&["-H", &authorization, "-H", &format!("X-API-Key: {KEY}"), &gateway.url(path)]);
            assert_eq!(answer.status, 200, "{path} {scheme:?}: {}", answer.body);
            assert!(answer.body.contains("acme"), "{}", answer.body);
            assert!(!answer.body.contains(&forged), "{path} {scheme:?}: {}", answer.body);
        }
    }
    // The upstream's own credential is none of the gateway's, and a good token goes on as configured.
    let answer =
        curl(&["-H", "Authorization: Basic eDp5", "-H", &format!("X-API-Key: {KEY}"), &gateway.url("/a")]);
    assert!(answer.body.contains("Basic eDp5"), "{}", answer.body);
    let good = issuer.token("alice", Duration::from_secs(60)).unwrap();
    for path in ["/a", "/b"] {
        let answer = curl(&["-H", &format!("Authorization: Bearer {good}"), &gateway.url(path)]);
        assert!(answer.status == 200 && answer.body.contains(&good), "{path}: {}", answer.body);
    }
}

#[test]
fn a_client_cannot_bring_an_identity_along_by_raw_bytes_and_a_missing_claim_is_401_in_json() {
    let (issuing, echo) = (Issuing::start(), Echo::start());
    let issuer = issuing.publish("one");
    let gateway = Gateway::start(&format!(
        "[auth.users]\njwt = \"{}\"\naudience = \"api\"\nheaders = {{ X-User-Id = \"sub\", X-Email = \"email?\" }}\n\
         [route.open]\nmatch = \"/open\"\nto = \"{1}\"\n\
         [route.users]\nmatch = \"/users\"\nto = \"{1}\"\nauth = \"users\"\n",
        issuing.url(),
        echo.url()
    ));
    let token = issuer.token("alice", Duration::from_secs(60)).unwrap();
    let spoofs = [
        "X-User-Id: root",
        "x-user-id: root",
        "X-USER-ID:root",
        "X_User_Id: root",
        "X-User_Id: root",
        "X-User-Id: root\r\nX-User-Id: root",
        "X-User-Id:\troot",
        "X-User-Id: alice, root",
        "Connection: x-user-id\r\nX-User-Id: root",
        "Connection: close, X-User-Id",
        "X-Email: root@evil.test",
        "X-User-Id : root",
        " X-User-Id: root",
        "X-Folded: a\r\n X-User-Id: root",
        "X-Bare: a\nX-User-Id: root",
        "X-Return: a\rX-User-Id: root",
        "X-User-Id\0: root",
    ];
    for spoof in spoofs {
        for path in ["/open", "/users"] {
            let authorization = format!("Authorization: Bearer {token}\r\n");
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\n{authorization}{spoof}\r\nConnection: close\r\n\r\n"
            );
            let answer = tests::raw::exchange(gateway.port, request.as_bytes());
            assert!(!answer.contains("root"), "{spoof:?} on {path}: {answer}");
            if answer.starts_with("HTTP/1.1 200") {
                let lower = answer.to_lowercase();
                assert_eq!(
                    lower.matches("x-user-id").count(),
                    usize::from(path == "/users"),
                    "{spoof:?}: {answer}"
                );
                assert_eq!(
                    lower.contains("[\"x-user-id\",\"alice\"]"),
                    path == "/users",
                    "{spoof:?}: {answer}"
                );
            } else {
                assert!(answer.starts_with("HTTP/1.1 400"), "{spoof:?} on {path}: {answer}");
            }
        }
    }
    // In trailers, where some servers merge them into the fields.
    let chunked = format!(
        "POST /users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nTE: trailers\r\nTrailer: X-User-Id\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n1\r\nx\r\n0\r\nX-User-Id: root\r\nX_User_Id: root\r\n\r\n"
    );
    let answer = tests::raw::exchange(gateway.port, chunked.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("root"), "{answer}");

    let header = json!({ "alg": "RS256", "kid": "one" });
    let exp = seconds_from_now(60);
    for (what, claims) in [
        ("none", json!({ "iss": issuing.url(), "aud": "api", "exp": exp })),
        ("line breaks", json!({ "iss": issuing.url(), "aud": "api", "exp": exp, "sub": "a\r\nX-Admin: 1" })),
        ("an object", json!({ "iss": issuing.url(), "aud": "api", "exp": exp, "sub": { "a": 1 } })),
    ] {
        let answer = curl(&[
            "-H",
            &format!("Authorization: Bearer {}", issuer.sign(&header, &claims).unwrap()),
            &gateway.url("/users"),
        ]);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (401, "application/problem+json"),
            "{what}"
        );
        assert!(!answer.body.contains("X-Admin"), "{what}");
    }
}
