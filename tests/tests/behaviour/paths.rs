//! Paths in every spelling through the gateway, nginx and haproxy in front of the same two services.

use gateway_userspace::demo::issuer::Issuer;
use std::time::Duration;
use tests::echo::Echo;
use tests::gateway::Gateway;
use tests::golden::{self, Line};
use tests::haproxy::Haproxy;
use tests::nginx::Nginx;
use tests::node::Node;
use tests::raw;

/// The target that an echo upstream was sent, or the status of a router that answered itself.
fn result(port: u16, target: &str, more: &str) -> String {
    let (status, body) = raw::get(port, target, more);
    let line = serde_json::from_str::<serde_json::Value>(&body).ok();
    let line = line.and_then(|answer| answer["line"].as_str().map(str::to_owned));
    match line {
        Some(line) if status == 200 => line.split(' ').nth(1).unwrap_or_default().to_owned(),
        _ => status.to_string(),
    }
}

/// The same, with the name of the service in front.
fn service(port: u16, target: &str) -> String {
    let (status, body) = raw::get(port, target, "");
    let answer = serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default();
    match (answer["name"].as_str(), answer["line"].as_str().and_then(|line| line.split(' ').nth(1))) {
        (Some(name), Some(target)) if status == 200 => format!("{name} {target}"),
        _ => status.to_string(),
    }
}

#[test]
fn seventy_spellings_of_paths_are_routed_as_documented_beside_nginx_and_haproxy() {
    let (one, two) = (Echo::named("one"), Echo::named("two"));
    let gateway = Gateway::start(&format!(
        "[route.one]\nmatch = \"/v1/*\"\nto = \"{}\"\n[route.two]\nmatch = \"/v2/*\"\nto = \"{}\"\n",
        one.url(),
        two.url()
    ));
    let nginx = Nginx::start(&format!(
        "location /v1/ {{ proxy_pass {}; }} location = /v1 {{ proxy_pass {}; }} location /v2/ {{ proxy_pass {}; }}",
        one.url(),
        one.url(),
        two.url()
    ));
    let haproxy = Haproxy::start(
        "use_backend one if { path_beg /v1/ } || { path /v1 }\nuse_backend two if { path_beg /v2/ }\n\
         http-request deny deny_status 404 if !{ path_beg /v1/ /v2/ } !{ path /v1 }",
        &format!("backend one\nserver one {}\nbackend two\nserver two {}", one.address, two.address),
    );
    let seen: Vec<Line> = golden::inputs("paths.txt")
        .into_iter()
        .map(|input| {
            let results = [gateway.port, nginx.port, haproxy.port].map(|port| service(port, &input));
            Line { input, results: results.into() }
        })
        .collect();
    assert!(seen.len() >= 60, "{} paths", seen.len());
    golden::check("paths.txt", &seen);
    // What the route decided, what the log says and what the service got are one path.
    let log = log_of(&gateway, seen.len());
    for Line { input, results } in &seen {
        if let Some((service, target)) = results[0].split_once(' ') {
            let path = target.split('?').next().unwrap_or_default();
            let told = log.iter().any(|line| line["url.path"] == path && line["http.route"] == service);
            assert!(told, "{input}: no line says `{service}` and `{path}`");
            // Path parameters of a segment are no part of its name.
            let first = path.split(['/', ';']).nth(1);
            assert_eq!(first, Some(if service == "one" { "v1" } else { "v2" }), "{input} went to {service}");
        }
    }
}

/// The access log, once it has this many lines at least or does not grow any more.
fn log_of(gateway: &Gateway, lines: usize) -> Vec<serde_json::Value> {
    let started = std::time::Instant::now();
    loop {
        let log = gateway.access_log();
        if log.len() >= lines || started.elapsed() > Duration::from_secs(2) {
            return log;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_replaced_prefix_arrives_as_with_nginx_and_with_the_sources_own_node_edge() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.v1]\nmatch = \"/v1/*\"\nto = \"{}\"\nreplace-prefix = \"/\"\n",
        echo.url()
    ));
    let nginx = Nginx::start(&format!("location /v1/ {{ proxy_pass {}/; }}", echo.url()));
    let issuer = Issuer::new("https://issuer.test", "static").unwrap();
    let node = Node::start("edge.js", &[&echo.url(), &issuer.jwks()]);
    let token = issuer.token("alice", Duration::from_secs(60)).unwrap();
    let authorization = format!("Authorization: Bearer {token}\r\n");
    let seen: Vec<Line> = golden::inputs("prefixes.txt")
        .into_iter()
        .map(|input| {
            let results = [
                result(gateway.port, &input, ""),
                result(nginx.port, &input, ""),
                result(node.port, &input, &authorization),
            ];
            Line { input, results: results.into() }
        })
        .collect();
    golden::check("prefixes.txt", &seen);
}
