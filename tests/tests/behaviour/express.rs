//! Beside the sources' own Express code: the same answers to the byte, and an Express application behind the gateway.

use std::time::Duration;

use gateway_userspace::demo::issuer::Issuer;
use serde_json::json;
use tests::curl::{Answer, curl};
use tests::gateway::Gateway;
use tests::node::Node;

#[test]
fn the_express_style_is_the_sources_middleware_to_the_byte() {
    let issuer = Issuer::new("https://issuer.test", "one").unwrap();
    let theirs = Node::start("middleware.js", &[&issuer.jwks(), "https://issuer.test", "api"]);
    let ours = Gateway::start(&format!(
        "[errors]\nstyle = \"express\"\n\
         [auth.users]\njwt = \"https://issuer.test\"\nkeys = '''{}'''\naudience = \"api\"\n\
         [limit.window]\nrate = \"100/min\"\nby = \"address\"\n\
         [route.limited]\nmatch = \"/limited\"\nrespond = {{ status = 200, body = '{{\"message\":\"ok\"}}', content-type = \"application/json; charset=utf-8\" }}\nlimit = \"window\"\n\
         [route.protected]\nmatch = \"/protected\"\nrespond = {{ status = 200 }}\nauth = \"users\"\n",
        issuer.jwks()
    ));
    let both = |path: &str, more: &[&str]| {
        let ask = |url: String| curl(&[more, &[&url]].concat());
        (ask(ours.url(path)), ask(format!("{}{path}", theirs.url())))
    };
    let same = |what: &str, (ours, theirs): &(Answer, Answer)| {
        assert_eq!(ours.status, theirs.status, "{what}");
        assert_eq!(ours.body, theirs.body, "{what}");
        for name in ["content-type", "retry-after"] {
            assert_eq!(ours.header(name), theirs.header(name), "{what}: {name}");
        }
    };

    let first = both("/limited", &[]);
    same("within the limit", &first);
    assert_eq!(first.0.header("x-ratelimit-limit"), first.1.header("x-ratelimit-limit"));
    // One more passes each 600 ms, so that it takes a few more than the hundred on a slow machine.
    let until_refused = |url: String| {
        (0..300).map(|_| curl(&[&url])).find(|answer| answer.status != 200).expect("it is refused in the end")
    };
    let refused = (until_refused(ours.url("/limited")), until_refused(format!("{}/limited", theirs.url())));
    same("beyond the limit", &refused);
    assert_eq!(refused.0.body, r#"{"error":"Too many requests","retryAfter":1}"#);

    same("no token", &both("/protected", &[]));
    let forged =
        Issuer::new("https://issuer.test", "one").unwrap().token("a", Duration::from_secs(60)).unwrap();
    let invalid = both("/protected", &["-H", &format!("Authorization: Bearer {forged}")]);
    same("a forged token", &invalid);
    assert_eq!(invalid.0.body, r#"{"error":"Invalid token","details":"invalid signature"}"#);
    let basic = both("/protected", &["-H", "Authorization: Basic YTpi"]);
    same("another scheme", &basic);
}

#[test]
fn a_text_of_ones_own_is_the_sources_body_with_its_type_and_a_computed_time() {
    // The sources' NGINX file: `return 429 '{"error": "Rate limit exceeded", "retry_after": 60}'`, sent as text/plain.
    let gateway = Gateway::start(
        "[errors]\nbody.429 = '{\"error\": \"Rate limit exceeded\", \"retry_after\": {retry-after}}'\n\
         [headers]\npreset = \"strict\"\n\
         [limit.one]\nrate = \"2/min\"\nburst = 0\nby = \"address\"\n\
         [route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\nlimit = \"one\"\n",
    );
    assert_eq!(curl(&[&gateway.url("/")]).status, 200);
    let refused = curl(&[&gateway.url("/")]);
    assert_eq!((refused.status, refused.header("content-type")), (429, "application/json"));
    let wait: u64 = refused.header("retry-after").parse().expect("delta seconds");
    assert!((28..=30).contains(&wait), "one each 30 s, not a constant: {wait}");
    assert_eq!(refused.body, format!("{{\"error\": \"Rate limit exceeded\", \"retry_after\": {wait}}}"));
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
    assert_eq!(refused.header("x-gateway-reason"), "rate-limited");
    assert_eq!(
        curl(&[&gateway.url("/../x")]).header("content-type"),
        "application/problem+json",
        "other errors"
    );
}

#[test]
fn an_application_that_names_itself_in_redirects_and_cookies_is_told_in_the_clients_names() {
    let upstream = Node::start("upstream.js", &[]);
    let gateway = Gateway::start(&format!(
        "[route.shop]\nmatch = \"shop.test/v1/*\"\nto = \"{0}\"\nhost = \"target\"\nreplace-prefix = \"/\"\n\
         [route.kept]\nmatch = \"kept.test/v1/*\"\nto = \"{0}\"\nreplace-prefix = \"/\"\n\
         [route.whole]\nmatch = \"whole.test/*\"\nto = \"{0}\"\nhost = \"target\"\n",
        upstream.url()
    ));
    let base = |host: &str| format!("http://{host}:{}", gateway.port);
    let resolve: Vec<String> = ["shop.test", "kept.test", "whole.test"]
        .iter()
        .map(|host| format!("{host}:{}:127.0.0.1", gateway.port))
        .collect();
    let ask = |more: &[&str], url: String| {
        let resolve: Vec<&str> = resolve.iter().flat_map(|entry| ["--resolve", entry]).collect();
        curl(&[&resolve[..], more, &[&*url]].concat())
    };
    for (host, path, location) in [
        ("shop.test", "/v1/relative", "/v1/landing?from=relative".to_owned()),
        ("shop.test", "/v1/absolute", format!("{}/v1/landing?from=absolute", base("shop.test"))),
        ("shop.test", "/v1/back/up", "../landing".to_owned()),
        ("shop.test", "/v1/elsewhere", "https://login.example.com/landing".to_owned()),
        ("kept.test", "/v1/relative", "/v1/landing?from=relative".to_owned()),
        ("kept.test", "/v1/absolute", format!("{}/v1/landing?from=absolute", base("kept.test"))),
        ("whole.test", "/relative", "/landing?from=relative".to_owned()),
        ("whole.test", "/absolute", format!("{}/landing?from=absolute", base("whole.test"))),
    ] {
        let answer = ask(&[], format!("{}{path}", base(host)));
        assert_eq!((answer.status, answer.header("location")), (302, &*location), "{host}{path}");
        if !location.contains("example.com") {
            let landed = ask(&["--location"], format!("{}{path}", base(host)));
            assert!(
                landed.body.contains("\"landed\":\"/landing"),
                "{host}{path} leads somewhere: {}",
                landed.body
            );
        }
    }
    let created = ask(&["-X", "POST"], format!("{}/v1/created", base("shop.test")));
    assert_eq!(
        (created.status, created.header("location")),
        (201, &*format!("{}/v1/things/7", base("shop.test")))
    );

    let cookies = ask(&[], format!("{}/v1/cookies", base("shop.test")));
    let own = format!("127.0.0.1:{}", upstream.port);
    assert_eq!(cookies.json()["host"], own, "the application is asked by its own name");
    assert_eq!(
        cookies.headers["set-cookie"],
        [
            "all=1; Path=/v1".to_owned(),
            "own=2; Domain=shop.test; Path=/v1/account; HttpOnly".to_owned(),
            "other=3; Domain=example.org; Path=/v1".to_owned(),
        ]
    );
    assert_eq!(
        ask(&[], format!("{}/v1/cookies", base("kept.test"))).json()["host"],
        format!("kept.test:{}", gateway.port)
    );
}

#[test]
fn an_upstream_tells_the_gateway_from_an_impostor_by_the_signed_identity() {
    let secret = "a secret of thirty-two bytes at least";
    let upstream = Node::start("verifier.js", &[secret, "orders"]);
    let issuer = Issuer::new("https://issuer.test", "one").unwrap();
    let gateway = Gateway::start(&format!(
        "[identity]\nsecret = \"{secret}\"\n\
         [auth.users]\njwt = \"https://issuer.test\"\nkeys = '''{}'''\naudience = \"api\"\n\
         [upstream.orders]\nto = \"{1}\"\n[upstream.other]\nto = \"{1}\"\n\
         [route.orders]\nmatch = \"/orders\"\nupstream = \"orders\"\nauth = \"users\"\n\
         [route.other]\nmatch = \"/other\"\nupstream = \"other\"\nauth = \"users\"\n\
         [route.open]\nmatch = \"/open\"\nupstream = \"orders\"\nauth = \"none\"\n",
        issuer.jwks(),
        upstream.url()
    ));
    let token = issuer.token("alice", Duration::from_secs(60)).unwrap();
    let authorization = format!("Authorization: Bearer {token}");
    let answer = curl(&["-H", &authorization, &gateway.url("/orders")]);
    assert_eq!(answer.json(), json!({ "sub": "alice", "auth": "users" }), "{}", answer.body);

    // Who reaches the port without the gateway, or through it with a token of its own.
    assert_eq!(curl(&[&format!("{}/orders", upstream.url())]).status, 401);
    let forged = format!("X-Gateway-Identity: {token}");
    assert_eq!(curl(&["-H", &forged, &format!("{}/orders", upstream.url())]).status, 401);
    for spelling in ["X-Gateway-Identity", "x_gateway_identity", "X-GATEWAY-Identity"] {
        let forged = format!("{spelling}: {token}");
        assert_eq!(
            curl(&["-H", &forged, &gateway.url("/open")]).status,
            401,
            "{spelling}: no identity, no header"
        );
        let answer = curl(&[
            "-H",
            &forged,
            "-H",
            &authorization,
            "-H",
            "Connection: x-gateway-identity",
            &gateway.url("/orders"),
        ]);
        assert_eq!(answer.json()["sub"], "alice", "{spelling}: {}", answer.body);
    }
    let elsewhere = curl(&["-H", &authorization, &gateway.url("/other")]);
    assert_eq!(elsewhere.status, 401, "a token for one upstream is none for another");
}
