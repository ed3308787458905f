//! Limits that really limit (RL-1, RL-4, RL-6, RL-7, RL-11).

use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::Gateway;
use tests::nginx::Nginx;

#[test]
fn the_same_burst_passes_as_through_nginx_limit_req() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[limit.perip]\nrate = \"100/min\"\nburst = 20\nby = \"address\"\n[route.all]\nmatch = \"/*\"\nto = \"{}\"\nlimit = \"perip\"\n",
        echo.url()
    ));
    let ours = passed(&gateway.url("/"), 40);

    let nginx = nginx_with_limit(&echo.url());
    let theirs = passed(&format!("{}/", nginx.url()), 40);
    assert!(ours.abs_diff(theirs) <= 1, "ours let {ours} pass, nginx {theirs}");
    assert!((21..=23).contains(&ours), "{ours}");
}

/// An nginx in front of the same upstream, with the limit of the sources.
fn nginx_with_limit(upstream: &str) -> Nginx {
    Nginx::start_with_http(
        "limit_req_zone $binary_remote_addr zone=perip:1m rate=100r/m;",
        &format!(
            "location / {{ limit_req zone=perip burst=20 nodelay; limit_req_status 429; proxy_pass {upstream}; }}"
        ),
    )
}

/// How many of `count` requests, back to back on one connection, were answered with 200.
fn passed(url: &str, count: usize) -> usize {
    let urls: Vec<&str> = std::iter::repeat_n(url, count).collect();
    let output = std::process::Command::new("curl")
        .args(["--silent", "--write-out", "%{http_code}\\n", "--output", "/dev/null"])
        .args(urls.iter().flat_map(|url| [*url, "--output", "/dev/null"]))
        .output()
        .expect("curl runs");
    String::from_utf8_lossy(&output.stdout).lines().filter(|status| *status == "200").count()
}

#[test]
fn a_refusal_is_429_in_json_with_the_numbers_that_a_client_needs() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[limit.tight]\nrate = \"2/min\"\nby = \"address\"\n[route.all]\nmatch = \"/*\"\nto = \"{}\"\nlimit = \"tight\"\n",
        echo.url()
    ));
    let first = curl(&[&gateway.url("/")]);
    assert_eq!(first.status, 200);
    assert_eq!(first.header("x-ratelimit-limit"), "2");
    assert_eq!(first.header("x-ratelimit-remaining"), "1");
    assert_eq!(first.header("ratelimit-policy"), "\"tight\";q=2;w=60");
    assert_eq!(first.header("ratelimit"), "\"tight\";r=1;t=30");
    assert_eq!(curl(&[&gateway.url("/")]).header("x-ratelimit-remaining"), "0");

    let refused = curl(&[&gateway.url("/")]);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let retry_after: u64 = refused.header("retry-after").parse().expect("delta seconds");
    assert!((1..=30).contains(&retry_after), "{retry_after}");
    assert_eq!(refused.json()["error"], "Too many requests");
    assert_eq!(refused.json()["retryAfter"], retry_after);
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert!(refused.header("ratelimit").starts_with("\"tight\";r=0;t="), "{}", refused.header("ratelimit"));
    let reset: u64 = refused.header("x-ratelimit-reset").parse().expect("epoch seconds");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now..=now + 61).contains(&reset), "{reset} against {now}");
}

#[test]
fn a_tuple_counts_each_combination_apart() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[limit.tuple]\nrate = \"1/min\"\nby = [\"header:X-Tenant\", \"route\"]\n\
         [route.a]\nmatch = \"/a\"\nto = \"{0}\"\nlimit = \"tuple\"\n[route.b]\nmatch = \"/b\"\nto = \"{0}\"\nlimit = \"tuple\"\n",
        echo.url()
    ));
    for tenant in ["one", "two"] {
        for path in ["/a", "/b"] {
            let field = format!("X-Tenant: {tenant}");
            assert_eq!(curl(&["-H", &field, &gateway.url(path)]).status, 200, "{tenant} {path}");
            assert_eq!(curl(&["-H", &field, &gateway.url(path)]).status, 429, "{tenant} {path}");
        }
    }
}

#[test]
fn of_concurrent_requests_exactly_the_quota_passes() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[limit.hour]\nrate = \"50/h\"\nby = \"address\"\n[route.all]\nmatch = \"/*\"\nto = \"{}\"\nlimit = \"hour\"\n",
        echo.url()
    ));
    let url = gateway.url("/");
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| passed(&url, 25))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 50);
}

#[test]
fn strangers_do_not_use_up_what_the_clients_of_a_route_share() {
    let gateway = Gateway::start(
        "[auth.keys]\napi-key = [\"header:X-API-Key\"]\n\
         keys.a = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n\
         [limit.shared]\nrate = \"3/h\"\nby = \"route\"\n\
         [limit.guesses]\nrate = \"10/h\"\nby = \"address\"\n\
         [route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\nauth = \"keys\"\nlimit = [\"shared\", \"guesses\"]\n",
    );
    let ask = |key: &str| curl(&["-H", &format!("X-API-Key: {key}"), &gateway.url("/")]).status;
    for _ in 0..6 {
        assert_eq!(ask("wrong"), 401);
    }
    assert_eq!([ask("test"), ask("test"), ask("test"), ask("test")], [200, 200, 200, 429]);
    assert_eq!(ask("wrong"), 429, "guessing is limited by address");
}

#[test]
fn ten_keys_under_three_limits_each_spend_their_own_and_the_narrowest_that_refuses_is_named() {
    let keys: Vec<String> = (0..10).map(|number| format!("key-{number}-0123456789abcdef")).collect();
    let lines: String = keys
        .iter()
        .enumerate()
        .map(|(number, key)| {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
            let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("keys.k{number} = {{ hash = \"sha256:{digest}\", consumer = \"c{}\" }}\n", number / 2)
        })
        .collect();
    let gateway = Gateway::start(&format!(
        "[auth.keys]\napi-key = \"X-Key\"\n{lines}\
         [limit.per-key]\nrate = \"3/h\"\nby = \"key\"\n\
         [limit.per-consumer]\nrate = \"5/h\"\nby = \"consumer\"\n\
         [limit.per-address]\nrate = \"1000/h\"\nby = \"address\"\n\
         [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200 }}\nauth = \"keys\"\nlimit = [\"per-key\", \"per-consumer\", \"per-address\"]\n"
    ));
    let ask = |key: &str| curl(&["-H", &format!("X-Key: {key}"), &gateway.url("/")]);
    for pair in keys.chunks(2) {
        for _ in 0..3 {
            assert_eq!(ask(&pair[0]).status, 200);
        }
        // Three of five of the consumer are spent, and all three of the key: the key's limit is the narrower one.
        let refused = ask(&pair[0]);
        assert_eq!((refused.status, limit_of(&refused)), (429, "per-key".into()));
        for _ in 0..2 {
            assert_eq!(ask(&pair[1]).status, 200);
        }
        let refused = ask(&pair[1]);
        assert_eq!(
            (refused.status, limit_of(&refused)),
            (429, "per-consumer".into()),
            "one is left to the key"
        );
        // Both refuse: the narrower is named.
        let refused = ask(&pair[0]);
        assert_eq!((refused.status, limit_of(&refused)), (429, "per-key".into()));
    }
}

/// The name of the limit that an answer tells of.
fn limit_of(answer: &tests::curl::Answer) -> String {
    answer.header("ratelimit").split('"').nth(1).unwrap_or_default().to_owned()
}
