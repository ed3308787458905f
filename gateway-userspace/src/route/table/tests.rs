//! Which of several routes serves a request, and properties over random tables.

use super::Table;
use crate::http::rejection::Rejection;
use crate::route::pattern::Pattern;

pub(crate) fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn table(patterns: &[&str]) -> Table {
    Table::new(patterns.iter().enumerate().map(|(route, text)| (pattern(text), route)))
}

/// Which of the patterns serves the request; `-` for none, `405 …` for a method that none takes.
fn served_by<'a>(patterns: &[&'a str], method: &str, host: &str, path: &str) -> std::borrow::Cow<'a, str> {
    match table(patterns).lookup(host, path, method) {
        Ok(found) => patterns[found.route].into(),
        Err(Rejection::NoRoute) => "-".into(),
        Err(Rejection::MethodNotAllowed { allow }) => format!("405 {allow}").into(),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_prefix_matches_whole_segments_only() {
    for (path, expected) in [
        ("/v1", "/v1/*"),
        ("/v1/", "/v1/*"),
        ("/v1/users", "/v1/*"),
        ("/v1/users/7/", "/v1/*"),
        ("/v10", "-"),
        ("/v10/users", "-"),
        ("/v", "-"),
        ("/", "-"),
        ("*", "-"),
    ] {
        assert_eq!(served_by(&["/v1/*"], "GET", "x", path), expected, "{path}");
    }
}

#[test]
fn a_parameter_with_a_kind_takes_that_kind_only_and_comes_before_one_without() {
    let patterns = ["/users/{id:int}", "/users/{id:uuid}/x", "/users/{id}", "/users/me", "/users/*"];
    for (path, expected) in [
        ("/users/7", "/users/{id:int}"),
        ("/users/00000000000000000007", "/users/{id:int}"),
        ("/users/000000000000000000007", "/users/{id}"),
        ("/users/7;x=1", "/users/{id:int}"),
        ("/users/7%3Bx", "/users/{id}"),
        ("/users/-7", "/users/{id}"),
        ("/users/7a", "/users/{id}"),
        ("/users/me", "/users/me"),
        ("/users/7/orders", "/users/*"),
        ("/users/0193A6B2-7c1d-7e50-8f00-0123456789ab/x", "/users/{id:uuid}/x"),
        ("/users/0193a6b27c1d7e508f000123456789ab/x", "/users/*"),
        ("/users/0193a6b2-7c1d-7e50-8f00-0123456789ag/x", "/users/*"),
        ("/users/", "/users/*"),
    ] {
        assert_eq!(served_by(&patterns, "GET", "x", path), expected, "{path}");
    }
    let table = table(&["/users/{id:int}/{rest+}"]);
    let path = "/users/7;x=1/a/b";
    let found = table.lookup("x", path, "GET").expect("it matches");
    assert_eq!(found.parameters(path).collect::<Vec<_>>(), [("id", "7"), ("rest", "a/b")]);
}

#[test]
fn the_most_specific_path_wins() {
    let patterns = [
        "/*",
        "/{any}",
        "/users",
        "/users/",
        "/users/*",
        "/users/me",
        "/users/{id}",
        "/users/{id}/orders",
        "/users/{id}/orders/{rest+}",
        "/users/me/orders/*",
        "/files/{path+}",
        "/files/*",
        "/",
    ];
    for (path, expected) in [
        ("/", "/"),
        ("/x", "/{any}"),
        ("/x/", "/*"),
        ("/x/y", "/*"),
        ("/users", "/users"),
        ("/users/", "/users/"),
        ("/users/me", "/users/me"),
        ("/users/me/", "/users/*"),
        ("/users/7", "/users/{id}"),
        ("/users/7/x", "/users/*"),
        ("/users/7/orders", "/users/{id}/orders"),
        ("/users/7/orders/1/2", "/users/{id}/orders/{rest+}"),
        ("/users/7/orders/", "/users/*"),
        ("/users/me/orders", "/users/me/orders/*"),
        ("/users/me/orders/9", "/users/me/orders/*"),
        ("/files", "/files/*"),
        ("/files/", "/files/*"),
        ("/files/a/b", "/files/{path+}"),
    ] {
        assert_eq!(served_by(&patterns, "GET", "x", path), expected, "{path}");
    }
}

#[test]
fn a_dead_end_goes_back_to_the_less_specific_branch() {
    let patterns = ["/a/b/c", "/a/{x}/d", "/{x}/b/e", "/a/*"];
    for (path, expected) in [
        ("/a/b/c", "/a/b/c"),
        ("/a/b/d", "/a/{x}/d"),
        ("/a/b/e", "/a/*"),
        ("/z/b/e", "/{x}/b/e"),
        ("/z/b/c", "-"),
    ] {
        assert_eq!(served_by(&patterns, "GET", "x", path), expected, "{path}");
    }
}

#[test]
fn a_parameter_is_one_segment_that_is_not_empty_and_a_rest_is_one_or_more() {
    for (patterns, path, expected) in [
        (["/users/{id}"], "/users/7", "/users/{id}"),
        (["/users/{id}"], "/users/1/orders", "-"),
        (["/users/{id}"], "/users/", "-"),
        (["/users/{id}"], "/users", "-"),
        (["/f/{p+}"], "/f/a", "/f/{p+}"),
        (["/f/{p+}"], "/f/a/b/", "/f/{p+}"),
        (["/f/{p+}"], "/f/", "-"),
        (["/f/{p+}"], "/f", "-"),
        (["/{p+}"], "/a/b", "/{p+}"),
        (["/{p+}"], "/", "-"),
    ] {
        assert_eq!(served_by(&patterns, "GET", "x", path), expected, "{path}");
    }
}

#[test]
fn the_most_specific_host_wins_and_others_serve_what_it_does_not() {
    let patterns = [
        "/health",
        "/v1/*",
        "api.example.com/v1/*",
        "*.example.com/v1/*",
        "*.eu.example.com/v1/*",
        "*.example.com/wild",
    ];
    for (host, path, expected) in [
        ("api.example.com", "/v1/x", "api.example.com/v1/*"),
        ("api.example.com.", "/v1/x", "api.example.com/v1/*"),
        ("api.example.com", "/wild", "*.example.com/wild"),
        ("api.example.com", "/health", "/health"),
        ("www.example.com", "/v1/x", "*.example.com/v1/*"),
        ("a.b.example.com", "/v1/x", "*.example.com/v1/*"),
        ("a.eu.example.com", "/v1/x", "*.eu.example.com/v1/*"),
        ("eu.example.com", "/v1/x", "*.example.com/v1/*"),
        ("example.com", "/v1/x", "/v1/*"),
        (".example.com", "/v1/x", "/v1/*"),
        ("badexample.com", "/v1/x", "/v1/*"),
        ("", "/v1/x", "/v1/*"),
        ("example.com", "/wild", "-"),
        ("[::1]", "/health", "/health"),
    ] {
        assert_eq!(served_by(&patterns, "GET", host, path), expected, "{host}{path}");
    }
}

#[test]
fn an_unknown_host_has_no_route_and_long_hosts_cost_nothing() {
    let patterns = ["api.example.com/*", "*.example.org/*"];
    assert_eq!(served_by(&patterns, "GET", "other.com", "/"), "-");
    assert_eq!(served_by(&patterns, "GET", &"a.".repeat(4096), "/"), "-");
    assert_eq!(served_by(&patterns, "GET", &format!("{}example.org", "a.".repeat(4096)), "/"), patterns[1]);
}

#[test]
fn a_method_that_no_matching_route_takes_is_405_with_all_that_some_take() {
    let patterns = ["GET /v1/users", "POST,PURGE /v1/users", "DELETE /v1/{x}", "PUT a.com/v1/*"];
    assert_eq!(served_by(&patterns, "POST", "x", "/v1/users"), patterns[1]);
    assert_eq!(served_by(&patterns, "PATCH", "x", "/v1/users"), "405 DELETE, GET, HEAD, POST, PURGE");
    assert_eq!(
        served_by(&patterns, "PATCH", "a.com", "/v1/users"),
        "405 DELETE, GET, HEAD, POST, PURGE, PUT"
    );
    assert_eq!(served_by(&patterns, "PATCH", "x", "/v2"), "-");
    assert_eq!(served_by(&patterns, "get", "x", "/v1/users"), "405 DELETE, GET, HEAD, POST, PURGE");
}

#[test]
fn the_method_decides_after_the_path_and_falls_back_to_a_less_specific_path() {
    let patterns = ["/v1/users", "GET /v1/users", "HEAD /v1/head", "GET /v1/head", "GET /v1/me", "/v1/*"];
    assert_eq!(served_by(&patterns, "GET", "x", "/v1/users"), "GET /v1/users");
    assert_eq!(served_by(&patterns, "HEAD", "x", "/v1/users"), "GET /v1/users");
    assert_eq!(served_by(&patterns, "POST", "x", "/v1/users"), "/v1/users");
    assert_eq!(served_by(&patterns, "HEAD", "x", "/v1/head"), "HEAD /v1/head");
    assert_eq!(served_by(&patterns, "POST", "x", "/v1/me"), "/v1/*");
}

#[test]
fn other_spellings_of_a_literal_do_not_slip_past_it() {
    let patterns = ["/admin/*", "/users:export", "/{id}", "/*"];
    for (path, expected) in [
        ("/admin;x=1/y", "/admin/*"),
        ("/admin;/y", "/admin/*"),
        ("/admin%3Bx/y", "/*"),
        ("/users%3Aexport", "/users:export"),
        ("/users:export;v=1", "/users:export"),
        ("/users%3Aexport;v=1", "/users:export"),
        ("/users%253Aexport", "/{id}"),
        ("/adminx", "/{id}"),
    ] {
        assert_eq!(served_by(&patterns, "GET", "x", path), expected, "{path}");
    }
    assert_eq!(served_by(&["/a;b=1/x", "/a/x"], "GET", "x", "/a;b=1/x"), "/a;b=1/x");
}

#[test]
fn parameters_are_read_off_the_path() {
    let table = table(&["/users/{id}/x/{name}", "/files/{path+}", "/t/{a}/*"]);
    let parameters = |path: &str| -> Vec<(String, String)> {
        let found = table.lookup("x", path, "GET").expect("a route");
        found.parameters(path).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(parameters("/users/7/x/a%20b"), [pair("id", "7"), pair("name", "a%20b")]);
    assert_eq!(parameters("/files/a/b/"), [pair("path", "a/b/")]);
    assert_eq!(parameters("/t/1/2/3"), [pair("a", "1")]);
    assert_eq!(parameters("/t/1"), [pair("a", "1")]);
    let found = table.lookup("x", "/users/7/x/y", "GET").expect("a route");
    assert_eq!(found.parameter("/users/7/x/y", "name"), Some("y"));
    assert_eq!(found.parameter("/users/7/x/y", "other"), None);
}

#[test]
fn a_parameter_has_one_canonical_form_for_all_that_upstreams_read_alike() {
    let table = table(&["/a/{id}", "/n/{id:int}", "/u/{id:uuid}", "/r/{rest+}"]);
    for (path, name, canonical) in [
        ("/a/7", "id", "7"),
        ("/a/7;v=2", "id", "7"),
        ("/a/x%3Ay", "id", "x:y"),
        ("/a/x%3B1", "id", "x;1"),
        ("/n/007", "id", "7"),
        ("/n/7", "id", "7"),
        ("/u/0193A6B2-7C1D-7E50-8000-00000000000A", "id", "0193a6b2-7c1d-7e50-8000-00000000000a"),
        ("/r/a;x/b%40c", "rest", "a/b@c"),
    ] {
        let found = table.lookup("x", path, "GET").expect("a route");
        let value = found.parameter(path, name).expect("a parameter");
        assert_eq!(found.canonical(name, value), canonical, "{path}");
    }
}

#[test]
fn the_literal_beginning_of_the_pattern_is_replaced() {
    for (text, replacement, path, expected) in [
        // As `location /v1/ { proxy_pass http://x/; }`.
        ("/v1/*", "/", "/v1/users", "/users"),
        ("/v1/*", "/", "/v1/users/", "/users/"),
        ("/v1/*", "/", "/v1/", "/"),
        ("/v1/*", "/", "/v1", "/"),
        ("/v1/*", "", "/v1/users", "/users"),
        // As `proxy_pass http://x/svc/;`, and the same without the last slash.
        ("/v1/*", "/svc/", "/v1/users", "/svc/users"),
        ("/v1/*", "/svc", "/v1/users", "/svc/users"),
        ("/v1/*", "/svc", "/v1", "/svc"),
        ("/v1/*", "/svc/", "/v1", "/svc/"),
        ("/v1/*", "/svc", "/v1/", "/svc/"),
        ("/*", "/", "/a/b", "/a/b"),
        ("/*", "/svc", "/a/b", "/svc/a/b"),
        ("/*", "/svc", "/", "/svc/"),
        ("/a/b/*", "/c", "/a/b/d", "/c/d"),
        ("/a/b", "/c", "/a/b", "/c"),
        ("/v1/{id}/x", "/", "/v1/7/x", "/7/x"),
        ("/v1/{rest+}", "/v2", "/v1/a/b", "/v2/a/b"),
        ("/v1/*", "/", "/v1;p=1/users", "/users"),
    ] {
        let table = table(&[text]);
        let found = table.lookup("x", path, "GET").expect(text);
        assert_eq!(found.replace_prefix(path, replacement), expected, "{text} {replacement} {path}");
    }
}

/// A fixed xorshift sequence below `bound`.
fn random(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % bound
    }
}

#[test]
fn the_order_of_the_patterns_makes_no_difference() {
    const SEGMENTS: [&str; 4] = ["a", "b", "{p#}", "{q#}"];
    const TAILS: [&str; 4] = ["", "/*", "/{r+}", "/"];
    const HOSTS: [&str; 4] = ["", "h.com", "*.com", "*.h.com"];
    const METHODS: [&str; 3] = ["", "GET ", "POST,HEAD "];
    let mut next = random(0xD1B5_4A32_D192_ED03);
    for _ in 0..300 {
        let mut patterns: Vec<String> = Vec::new();
        for _ in 0..1 + next(12) {
            let mut text = format!("{}{}", METHODS[next(3)], HOSTS[next(4)]);
            for i in 0..1 + next(3) {
                text.push('/');
                text.push_str(&SEGMENTS[next(4)].replace('#', &i.to_string()));
            }
            text.push_str(TAILS[next(4)]);
            patterns.push(text);
        }
        let parsed: Vec<_> = patterns.iter().map(|text| pattern(text)).collect();
        let colliding: Vec<usize> =
            crate::route::conflict::conflicts(&parsed).into_iter().map(|(_, second)| second).collect();
        let kept: Vec<&str> = patterns
            .iter()
            .enumerate()
            .filter(|(i, _)| !colliding.contains(i))
            .map(|(_, text)| text.as_str())
            .collect();
        let mut shuffled = kept.clone();
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, next(i + 1));
        }
        for _ in 0..60 {
            let path: String = (0..1 + next(4)).map(|_| ["/a", "/b", "/c", "/"][next(4)]).collect();
            let path = path.replace("//", "/").replace("//", "/");
            let host = ["h.com", "x.h.com", "y.com", "z"][next(4)];
            let method = ["GET", "POST", "HEAD", "PUT"][next(4)];
            assert_eq!(
                served_by(&kept, method, host, &path),
                served_by(&shuffled, method, host, &path),
                "{method} {host}{path} in {kept:?}"
            );
        }
    }
}

#[test]
fn ten_thousand_routes_are_told_apart() {
    let patterns: Vec<String> = (0..10_000)
        .map(|i| match i % 4 {
            0 => format!("GET api.example.com/v1/service{i}/*"),
            1 => format!("host{i}.example.com/v1/{{id}}"),
            2 => format!("/v1/service{i}/items/{{id}}"),
            _ => format!("*.zone{i}.example.com/{{rest+}}"),
        })
        .collect();
    let table = Table::new(patterns.iter().enumerate().map(|(route, text)| (pattern(text), route)));
    for i in 0..10_000 {
        let (host, path) = match i % 4 {
            0 => ("api.example.com".to_owned(), format!("/v1/service{i}/x/y")),
            1 => (format!("host{i}.example.com"), "/v1/7".to_owned()),
            2 => ("other".to_owned(), format!("/v1/service{i}/items/7")),
            _ => (format!("a.zone{i}.example.com"), "/x".to_owned()),
        };
        assert_eq!(table.lookup(&host, &path, "GET").map(|found| found.route), Ok(i), "{host}{path}");
    }
}
