//! Tokens of a real OpenID provider: its algorithms, its rotation, its absence, and what attackers make of them.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::curl::{Answer, curl};
use tests::echo::Echo;
use tests::gateway::Gateway;
use tests::node::Node;
use tests::raw;

/// npm `oidc-provider` on loopback.
struct Provider(Node);

impl Provider {
    fn start() -> Provider {
        Provider(Node::start("provider.js", &["0"]))
    }

    /// An access token by client credentials, signed by this algorithm.
    fn token(&self, algorithm: &str) -> String {
        let resource = format!("resource=https://api.test/{algorithm}");
        let answer = curl(&[
            "--user",
            "service:secret",
            "-d",
            "grant_type=client_credentials&scope=read",
            "-d",
            &resource,
            &format!("{}/token", self.0.url()),
        ]);
        answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
    }

    /// A new key takes the place of all others.
    fn rotate(&self, algorithm: &str) {
        let url = format!("{}/test/rotate?alg={algorithm}", self.0.url());
        assert_eq!(curl(&["-X", "POST", &url]).status, 200);
    }

    /// How often the keys were asked for.
    fn fetches(&self) -> u64 {
        curl(&[&format!("{}/test/fetches", self.0.url())]).json()["/jwks"].as_u64().expect("a count")
    }

    fn keys(&self) -> Value {
        curl(&[&format!("{}/jwks", self.0.url())]).json()
    }
}

fn gateway(provider: &Provider, echo: &Echo, more: &str) -> Gateway {
    Gateway::start(&format!(
        "[auth.users]\njwt = \"{}\"\naudience = \"api\"\nheaders = {{ X-User-Id = \"sub\" }}\n{more}\n\
         [route.all]\nmatch = \"/*\"\nto = \"{}\"\nauth = \"users\"\n",
        provider.0.url(),
        echo.url()
    ))
}

fn with_token(gateway: &Gateway, token: &str) -> Answer {
    curl(&["-H", &format!("Authorization: Bearer {token}"), &gateway.url("/")])
}

#[test]
fn its_tokens_pass_by_rs256_and_by_other_algorithms_only_where_they_are_named() {
    let (provider, echo) = (Provider::start(), Echo::start());
    let plain = gateway(&provider, &echo, "");
    let open =
        gateway(&provider, &echo, "algorithms = [\"RS256\", \"PS256\", \"ES256\", \"ES384\", \"EdDSA\"]");
    for algorithm in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let token = provider.token(algorithm);
        let answer = with_token(&open, &token);
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.body);
        assert!(answer.body.to_lowercase().contains("[\"x-user-id\",\"service\"]"), "{}", answer.body);
        let answer = with_token(&plain, &token);
        let expected = if algorithm == "RS256" { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{algorithm} where only RS256 is allowed");
    }
}

#[test]
fn the_first_token_of_a_rotated_key_passes_and_ten_thousand_made_up_keys_cause_one_fetch_at_most() {
    let (provider, echo) = (Provider::start(), Echo::start());
    let gateway = gateway(&provider, &echo, "");
    let old = provider.token("RS256");
    assert_eq!(with_token(&gateway, &old).status, 200);
    provider.rotate("RS256");
    let new = provider.token("RS256");
    assert_ne!(kid(&old), kid(&new));
    assert_eq!(with_token(&gateway, &new).status, 200, "the first one that the new key signed");
    assert_eq!(with_token(&gateway, &old).status, 401, "the old key was withdrawn");

    let (before, started) = (provider.fetches(), Instant::now());
    let refused = ten_thousand_made_up_keys(&gateway, &new);
    let (fetched, took) = (provider.fetches() - before, started.elapsed());
    assert_eq!(refused, 10_000);
    let allowed = 1 + took.as_secs() / 30;
    assert!(fetched <= allowed, "{fetched} fetches in {took:?}");
    assert_eq!(with_token(&gateway, &provider.token("RS256")).status, 200);
}

/// Sends the token with a random `kid` in each of 10 000 requests on four connections; how many were refused with 401.
fn ten_thousand_made_up_keys(gateway: &Gateway, token: &str) -> usize {
    let rest = token.split_once('.').expect("three parts").1;
    let refused = |thread: usize| {
        let mut refused = 0;
        for batch in 0..25 {
            let mut requests = String::new();
            for number in 0..100 {
                let header =
                    json!({ "alg": "RS256", "typ": "at+jwt", "kid": format!("{thread}-{batch}-{number}") });
                let close = if number == 99 { "Connection: close\r\n" } else { "" };
                requests.push_str(&format!(
                    "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}.{rest}\r\n{close}\r\n",
                    URL_SAFE_NO_PAD.encode(header.to_string())
                ));
            }
            refused += raw::exchange(gateway.port, requests.as_bytes()).matches("HTTP/1.1 401 ").count();
        }
        refused
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || refused(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().expect("a key id").to_owned()
}

#[test]
fn a_provider_that_is_gone_for_twice_the_freshness_of_its_keys_locks_nobody_out_and_the_metrics_say_so() {
    let (mut provider, echo) = (Provider::start(), Echo::start());
    let gateway = gateway(&provider, &echo, "refresh = \"2s\"");
    let tokens: Vec<String> = (0..3).map(|_| provider.token("RS256")).collect();
    assert_eq!(with_token(&gateway, &tokens[0]).status, 200);
    provider.0.stop();
    let started = Instant::now();
    let metric = |name: &str| -> f64 {
        let (_, text) = gateway.operations("/metrics");
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    while metric("portcullis_jwks_age_seconds") <= 4.0 {
        assert!(started.elapsed() < Duration::from_secs(30), "the keys' age is told");
        assert_eq!(with_token(&gateway, &tokens[1]).status, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(metric("portcullis_jwks_fetches_total{auth=\"users\",result=\"error\"}") >= 1.0);
    let answer = with_token(&gateway, &tokens[2]);
    assert_eq!(answer.status, 200, "one that nobody has seen before: {}", answer.body);

    let never = self::gateway(&provider, &echo, "");
    let answer = with_token(&never, &tokens[0]);
    assert_eq!((answer.status, answer.header("x-gateway-reason")), (503, "keys-unavailable"));
}

#[test]
fn nothing_that_jwt_tools_playbook_makes_of_a_real_token_passes() {
    let (provider, echo) = (Provider::start(), Echo::start());
    let gateway = gateway(&provider, &echo, "algorithms = [\"RS256\", \"ES256\"]");
    let elsewhere = Provider::start();
    let token = provider.token("RS256");
    assert_eq!(with_token(&gateway, &token).status, 200);
    let foreign = elsewhere.fetches();
    for (attack, forged) in playbook(&token, &provider.keys(), &elsewhere.0.url()) {
        let answer = with_token(&gateway, &forged);
        assert_eq!(answer.status, 401, "{attack}: {}", answer.body);
        assert!(answer.json()["details"].is_string(), "{attack}: {}", answer.body);
    }
    assert_eq!(elsewhere.fetches(), foreign, "no key is fetched from where a token says");
    assert_eq!(with_token(&gateway, &token).status, 200, "and the real one still passes");
}

/// The attacks of jwt_tool's playbook on one token, by name.
fn playbook(token: &str, keys: &Value, elsewhere: &str) -> Vec<(String, String)> {
    let (header, claims) = (part(token, 0), part(token, 1));
    let parts: Vec<&str> = token.split('.').collect();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |object: &Value, key: &str, value: Value| {
        let mut object = object.clone();
        object[key] = value;
        object
    };
    let signed_as_before =
        |header: &Value, claims: &Value| format!("{}.{}.{}", encode(header), encode(claims), parts[2]);
    let mut attacks: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| attacks.push((name.to_owned(), token));

    for none in ["none", "None", "NONE", "nOnE"] {
        let unsigned = format!("{}.{}.", encode(&with(&header, "alg", none.into())), parts[1]);
        add(&format!("-X a, alg {none}"), unsigned.clone());
        add(&format!("alg {none}, signature kept"), format!("{unsigned}{}", parts[2]));
    }
    add("-X n, null signature", format!("{}.{}.", parts[0], parts[1]));
    add("signature dropped with its dot", format!("{}.{}", parts[0], parts[1]));
    for (name, secret) in public_key_as_secret(keys) {
        let input = format!("{}.{}", encode(&with(&header, "alg", "HS256".into())), parts[1]);
        add(&format!("-X k, {name} as HMAC secret"), hmac(&input, &secret));
    }
    for secret in ["", "secret", "password", "\0"] {
        let input = format!("{}.{}", encode(&with(&header, "alg", "HS256".into())), parts[1]);
        add(&format!("-X b and -C, secret {secret:?}"), hmac(&input, secret.as_bytes()));
    }
    let own = gateway_userspace::demo::issuer::Issuer::new("https://attacker.test", "own").unwrap();
    let own_key: Value = serde_json::from_str(&own.jwks()).unwrap();
    for (name, value) in [
        ("jwk", own_key["keys"][0].clone()),
        ("jku", json!(format!("{elsewhere}/jwks"))),
        ("x5u", json!(format!("{elsewhere}/jwks"))),
    ] {
        let injected = with(&header, name, value);
        add(&format!("-X i and -X s, {name}"), own.sign(&injected, &claims).unwrap());
        add(&format!("{name} without its signature"), signed_as_before(&injected, &claims));
    }
    for id in [
        "../../../../dev/null",
        "/dev/null",
        "x' UNION SELECT 'key';--",
        "|/usr/bin/id",
        "",
        "\u{0}",
        "key\r\nX: 1",
    ] {
        let injected = with(&header, "kid", id.into());
        add(&format!("-I -hc kid -hv {id:?}"), signed_as_before(&injected, &claims));
        add(&format!("kid {id:?} and an empty HMAC secret"), {
            hmac(&format!("{}.{}", encode(&with(&injected, "alg", "HS256".into())), parts[1]), b"")
        });
    }
    for (claim, value) in [
        ("sub", json!("admin")),
        ("scope", json!("read admin")),
        ("exp", json!(9_999_999_999_u64)),
        ("iss", json!(elsewhere)),
        ("aud", json!(["api", "admin"])),
        ("admin", json!(true)),
    ] {
        add(&format!("-I -pc {claim}"), signed_as_before(&header, &with(&claims, claim, value)));
    }
    let psychic = with(&with(&header, "alg", "ES256".into()), "kid", keys["keys"][2]["kid"].clone());
    add(
        "CVE-2022-21449, a signature of zeros",
        format!("{}.{}.{}", encode(&psychic), parts[1], URL_SAFE_NO_PAD.encode([0; 64])),
    );
    add("signed by a stranger under the same key id", own.sign(&header, &claims).unwrap());
    add("padding", format!("{}=.{}.{}", parts[0], parts[1], parts[2]));
    add("critical extension", signed_as_before(&with(&header, "crit", json!(["x"])), &claims));
    add("two signatures", format!("{token}.{}", parts[2]));
    add("the token twice", format!("{token}, {token}"));
    add(
        "JSON serialisation",
        json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string(),
    );
    attacks
}

/// What a confused verifier might take for the secret: the public key in the forms that libraries write it.
fn public_key_as_secret(keys: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let key = &keys["keys"][0];
    let modulus = URL_SAFE_NO_PAD.decode(key["n"].as_str().expect("an RSA key")).unwrap();
    let exponent = URL_SAFE_NO_PAD.decode(key["e"].as_str().expect("an RSA key")).unwrap();
    let components = aws_lc_rs::rsa::PublicKeyComponents { n: modulus.as_slice(), e: exponent.as_slice() };
    let key_pair: aws_lc_rs::rsa::PublicEncryptingKey = components.try_into().expect("a good key");
    let der = aws_lc_rs::encoding::AsDer::as_der(&key_pair).expect("it can be written").as_ref().to_vec();
    let pem = pem_of(&der);
    vec![
        ("the JWK", key.to_string().into_bytes()),
        ("the modulus", modulus),
        ("the DER", der),
        ("the PEM", pem.clone().into_bytes()),
        ("the PEM without its last line end", pem.trim_end().as_bytes().to_vec()),
    ]
}

fn pem_of(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn hmac(input: &str, secret: &[u8]) -> String {
    use aws_lc_rs::hmac;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}
