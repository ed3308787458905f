//! Which route serves which request (RT-1, RT-2, RT-4, RT-5, RT-7).

use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::Gateway;

/// The path that the upstream saw; `None` when the gateway answered itself.
fn upstream_path(gateway: &Gateway, host: &str, path: &str) -> Option<String> {
    let answer = curl(&["-H", &format!("Host: {host}"), &gateway.url(path)]);
    if answer.header("x-gateway-reason").is_empty() && answer.status == 200 {
        let line = answer.json()["line"].as_str().expect("the echo names the request line").to_owned();
        return line.split(' ').nth(1).map(str::to_owned);
    }
    None
}

#[test]
fn a_prefix_matches_whole_segments_only() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!("[route.v1]\nmatch = \"/v1/*\"\nto = \"{}\"\n", echo.url()));
    for path in ["/v1", "/v1/", "/v1/users", "/v1/users/7?x=1"] {
        assert_eq!(upstream_path(&gateway, "any.test", path).as_deref(), Some(path), "{path}");
    }
    for path in ["/v10", "/v1x/y", "/", "/v", "/V1"] {
        assert_eq!(upstream_path(&gateway, "any.test", path), None, "{path}");
    }
}

#[test]
fn the_router_and_the_upstream_see_the_same_normal_path() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.open]\nmatch = \"/open/*\"\nto = \"{0}\"\n[route.closed]\nmatch = \"/closed/*\"\nto = \"{0}\"\naccess = [\"deny all\"]\n",
        echo.url()
    ));
    for (sent, seen) in [
        ("/open/a", Some("/open/a")),
        ("/open//a///b", Some("/open/a/b")),
        ("/open/./a/../b", Some("/open/b")),
        ("/open/%2e%2e/open/a", Some("/open/a")),
        ("/open/%7euser", Some("/open/~user")),
        ("/open/a%c3%bc", Some("/open/a%C3%BC")),
        ("/open/%252e%252e/x", Some("/open/%252e%252e/x")),
        ("/open/../closed/a", None),
        ("/open/%2e%2e/closed/a", None),
        ("/open/..%2fclosed/a", None),
        ("/open/..;/closed/a", None),
        ("/open/..%5cclosed/a", None),
        ("/open/a%00", None),
        ("/open/%zz", None),
        ("/../../etc/passwd", None),
    ] {
        assert_eq!(upstream_path(&gateway, "any.test", sent).as_deref(), seen, "{sent}");
    }
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let echo = Echo::start();
    let route = |name: &str, pattern: &str| {
        format!(
            "[route.{name}]\nmatch = \"{pattern}\"\nto = \"{}\"\nheaders = {{ set = {{ X-Route = \"{name}\" }} }}\n",
            echo.url()
        )
    };
    let routes = [
        route("any", "/*"),
        route("users", "/users/*"),
        route("user", "/users/{id}"),
        route("me", "/users/me"),
        route("host", "api.test/users/*"),
        route("wild", "*.wild.test/*"),
        route("post", "POST /users/{id}"),
    ];
    let expectations = [
        ("other.test", "GET", "/x", "any"),
        ("other.test", "GET", "/users/7/orders", "users"),
        ("other.test", "GET", "/users/7", "user"),
        ("other.test", "GET", "/users/me", "me"),
        ("other.test", "POST", "/users/7", "post"),
        ("api.test", "GET", "/users/me", "host"),
        ("api.test:8080", "GET", "/users/me", "host"),
        ("API.Test", "GET", "/users/me", "host"),
        ("a.wild.test", "GET", "/users/me", "wild"),
        ("a.b.wild.test", "GET", "/", "wild"),
        ("wild.test", "GET", "/x", "any"),
    ];
    for reversed in [false, true] {
        let mut routes = routes.to_vec();
        if reversed {
            routes.reverse();
        }
        let gateway = Gateway::start(&routes.concat());
        for (host, method, path, expected) in expectations {
            let answer = curl(&["-X", method, "-H", &format!("Host: {host}"), &gateway.url(path)]);
            assert_eq!(answer.header("x-route"), expected, "{method} {host}{path}, reversed: {reversed}");
        }
    }
}

#[test]
fn a_replaced_prefix_arrives_as_with_nginx() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.v1]\nmatch = \"/v1/*\"\nto = \"{}\"\nreplace-prefix = \"/\"\n",
        echo.url()
    ));
    for (sent, seen) in [("/v1/users?x=1", "/users?x=1"), ("/v1/", "/"), ("/v1/a/b/", "/a/b/")] {
        assert_eq!(upstream_path(&gateway, "any.test", sent).as_deref(), Some(seen), "{sent}");
    }
}

#[test]
fn one_parameter_is_one_segment() {
    let echo = Echo::start();
    let gateway =
        Gateway::start(&format!("[route.user]\nmatch = \"/users/{{id}}\"\nto = \"{}\"\n", echo.url()));
    assert!(upstream_path(&gateway, "any.test", "/users/1").is_some());
    assert_eq!(upstream_path(&gateway, "any.test", "/users/1/orders"), None);
    assert_eq!(upstream_path(&gateway, "any.test", "/users/"), None);
}

#[test]
fn what_no_route_matches_is_404_in_json_and_a_wrong_method_405_with_allow() {
    let echo = Echo::start();
    let gateway =
        Gateway::start(&format!("[route.users]\nmatch = \"GET,POST /users/*\"\nto = \"{}\"\n", echo.url()));
    let missing = curl(&[&gateway.url("/nowhere")]);
    assert_eq!(missing.status, 404);
    assert_eq!(missing.header("content-type"), "application/problem+json");
    assert_eq!(missing.json()["error"], "Not found");
    assert_eq!(missing.json()["requestId"].as_str(), Some(missing.header("x-request-id")));
    assert!(!missing.body.contains("users"), "says nothing of what there is");

    let wrong = curl(&["-X", "DELETE", &gateway.url("/users/7")]);
    assert_eq!(wrong.status, 405);
    let mut allowed: Vec<&str> = wrong.header("allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[test]
fn parameters_have_kinds_and_reach_upstream_headers_and_limits() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[limit.each]\nrate = \"1/h\"\nby = \"parameter:id\"\n\
         [route.user]\nmatch = \"/users/{{id:int}}\"\nto = \"{0}\"\nlimit = \"each\"\nupstream-headers = {{ X-User = \"user/{{id}}\", X-Kind = \"int\" }}\n\
         [route.document]\nmatch = \"/documents/{{id:uuid}}/{{part+}}\"\nto = \"{0}\"\nupstream-headers = {{ X-Part = \"{{part}} of {{id}}\" }}\n",
        echo.url()
    ));
    let ask = |path: &str| curl(&["-H", "X-User: forged", "-H", "X-Part: forged", &gateway.url(path)]);
    let sent = |answer: &tests::curl::Answer, name: &str| -> Vec<String> {
        let headers = answer.json()["headers"].as_array().expect("a list").clone();
        let named = headers
            .iter()
            .filter(|field| field[0].as_str().is_some_and(|field| field.eq_ignore_ascii_case(name)));
        named.map(|field| field[1].as_str().unwrap_or_default().to_owned()).collect()
    };
    let first = ask("/users/7");
    assert_eq!(
        (sent(&first, "x-user"), sent(&first, "x-kind")),
        (vec!["user/7".to_owned()], vec!["int".to_owned()])
    );
    assert_eq!(ask("/users/7").status, 429, "each user has a count of its own");
    assert_eq!(ask("/users/8").status, 200);
    for path in ["/users/me", "/users/7/orders", "/users/-1", "/users/", "/documents/7/a"] {
        assert_eq!(ask(path).status, 404, "{path}");
    }
    let id = "0193a6b2-7c1d-7e50-8f00-0123456789ab";
    let document = ask(&format!("/documents/{id}/a/b%20c"));
    assert_eq!(sent(&document, "x-part"), [format!("a/b%20c of {id}")]);
    // The sources' `path.match(/^\\/users\\/(.+)$/)` would take all of these for a user.
    assert_eq!(sent(&document, "x-user"), ["forged"], "a field is only taken away where the route sets it");
}

#[test]
fn unknown_hosts_are_404_and_hosts_are_exact_wild_or_any_whatever_the_port() {
    let gateway = Gateway::start(
        "[route.exact]\nmatch = \"api.test/*\"\nrespond = { status = 200, body = \"exact\" }\n\
         [route.wild]\nmatch = \"*.wild.test/*\"\nrespond = { status = 200, body = \"wild\" }\n",
    );
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for (host, status, body) in [
            ("api.test", 200, "exact"),
            ("API.TEST:9999", 200, "exact"),
            ("api.test.", 200, "exact"),
            ("a.wild.test", 200, "wild"),
            ("wild.test", 404, ""),
            ("other.test", 404, ""),
            ("127.0.0.1", 404, ""),
        ] {
            let answer = curl(&[version, "-H", &format!("Host: {host}"), &gateway.url("/x")]);
            assert_eq!(answer.status, status, "{version} {host}");
            assert!(body.is_empty() || answer.body == body, "{version} {host}: {}", answer.body);
        }
    }
}
