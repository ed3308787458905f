//! Who the client is taken for, what the upstream is told of it, and who is let in by it.

use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::{Gateway, free_port};
use tests::nginx::Nginx;

use crate::forwarding::{gateway_to, seen};

#[test]
fn forwarding_fields_are_ours_unless_the_peer_is_a_trusted_proxy() {
    let echo = Echo::start();
    let spoof = [
        "-H",
        "X-Forwarded-For: 6.6.6.6",
        "-H",
        "X-Real-IP: 6.6.6.6",
        "-H",
        "X-Forwarded-Proto: https",
        "-H",
        "X-Forwarded-Host: evil.test",
        "-H",
        "Forwarded: for=6.6.6.6",
    ];

    let plain = gateway_to(&echo.url(), "");
    let url = plain.url("/");
    let answer = curl(&[&spoof[..], &["-H", "Host: api.test", &url]].concat());
    assert_eq!(seen(&answer, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen(&answer, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen(&answer, "x-forwarded-proto"), ["http"]);
    assert_eq!(seen(&answer, "x-forwarded-host"), ["api.test"]);
    assert!(!seen(&answer, "forwarded").iter().any(|value| value.contains("6.6.6.6")));
    assert_eq!(seen(&answer, "host"), ["api.test"]);

    let trusting = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.0/8\"]\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\n",
            folder.display(),
            echo.url()
        )
    });
    let chain = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 127.0.0.2";
    let answer = curl(&["-H", chain, &trusting.url("/")]);
    assert_eq!(seen(&answer, "x-forwarded-for"), ["6.6.6.6, 203.0.113.9, 127.0.0.2, 127.0.0.1"]);
    assert_eq!(seen(&answer, "x-real-ip"), ["203.0.113.9"], "the rightmost that is not a trusted proxy");
}

#[test]
fn an_upstream_learns_the_client_by_the_proxy_protocol_if_it_is_told_that_way() {
    let port = free_port();
    let nginx = Nginx::start_with_http(
        &format!(
            "server {{ listen 127.0.0.1:{port} proxy_protocol; \
             location / {{ return 200 \"$proxy_protocol_addr $proxy_protocol_server_port $connection\"; }} }}"
        ),
        "",
    );
    for version in ["v1", "v2"] {
        let gateway = Gateway::start_with(|folder, listener| {
            format!(
                "[gateway]\nworkers = 1\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.1\"]\n\
                 [listen.main]\naddress = \"0.0.0.0:{listener}\"\n\
                 [route.all]\nmatch = \"/*\"\nto = \"http://127.0.0.1:{port}\"\nproxy-protocol = \"{version}\"\n",
                folder.display()
            )
        });
        // One connection to the gateway, over which a proxy sends the requests of two clients.
        let bodies: Vec<String> = ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
            .iter()
            .map(|client| curl(&["-H", &format!("X-Forwarded-For: {client}"), &gateway.url("/")]).body)
            .collect();
        let parts: Vec<Vec<&str>> = bodies.iter().map(|body| body.split(' ').collect()).collect();
        let listener = gateway.port.to_string();
        assert_eq!(parts[0][..2], ["192.0.2.1", &listener], "{version}");
        assert_eq!(parts[1][..2], ["192.0.2.2", &listener], "{version}");
        assert_eq!(parts[2], parts[0], "{version}: the first client's connection is used again");
        assert_ne!(parts[0][2], parts[1][2], "{version}");
    }
    drop(nginx);
}

#[test]
fn nobody_talks_himself_into_another_address_by_whatever_field() {
    let echo = Echo::start();
    let untrusted = gateway_to(&echo.url(), "");
    let trusted = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n\
             [listen.main]\naddress = \"0.0.0.0:{port}\"\n[route.all]\nmatch = \"/*\"\nto = \"{}\"\n",
            folder.display(),
            echo.url()
        )
    });
    // What is sent; the client by a gateway that trusts loopback and 10/8.
    for (fields, client) in [
        (&["X-Forwarded-For: 203.0.113.9"][..], "203.0.113.9"),
        (&["X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
        (&["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        (&["X-Forwarded-For: 203.0.113.9, unknown"], "127.0.0.1"),
        (&["X-Forwarded-For: 203.0.113.9:4711"], "203.0.113.9"),
        (&["X-Forwarded-For: 2001:db8::9"], "2001:db8::9"),
        (&["Forwarded: for=203.0.113.9"], "203.0.113.9"),
        (&["Forwarded: for=6.6.6.6, for=203.0.113.9;proto=https, for=10.1.1.1"], "203.0.113.9"),
        (&["Forwarded: for=\"[2001:db8::9]:80\""], "2001:db8::9"),
        (&["Forwarded: for=_hidden"], "127.0.0.1"),
        (&["Forwarded: for=6.6.6.6", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        (&["X-Real-IP: 6.6.6.6"], "127.0.0.1"),
        (&["X-Client-IP: 6.6.6.6", "True-Client-IP: 6.6.6.6", "CF-Connecting-IP: 6.6.6.6"], "127.0.0.1"),
        // Nor can a hop take the list away that others go by.
        (&["Connection: x-forwarded-for, forwarded", "X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
    ] {
        let arguments: Vec<&str> = fields.iter().flat_map(|field| ["-H", field]).collect();
        let answer = curl(&[&arguments[..], &[&trusted.url("/")]].concat());
        assert_eq!(seen(&answer, "x-real-ip"), [client], "{fields:?}");
        let answer = curl(&[&arguments[..], &[&untrusted.url("/")]].concat());
        assert_eq!(seen(&answer, "x-real-ip"), ["127.0.0.1"], "{fields:?} from a stranger");
        assert_eq!(seen(&answer, "x-forwarded-for"), ["127.0.0.1"], "{fields:?} from a stranger");
        assert_eq!(seen(&answer, "forwarded"), Vec::<String>::new(), "{fields:?} from a stranger");
        for name in ["x-forwarded-for", "forwarded"] {
            assert!(seen(&answer, name).iter().all(|value| !value.contains("6.6.6.6")), "{fields:?}");
        }
    }
    let told = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nstate = \"{}/state\"\nforwarded = true\n[listen.main]\naddress = \"0.0.0.0:{port}\"\n\
             [route.all]\nmatch = \"/*\"\nto = \"{}\"\n",
            folder.display(),
            echo.url()
        )
    });
    let answer = curl(&["-H", "Forwarded: for=6.6.6.6", "-H", "Host: api.test", &told.url("/")]);
    assert_eq!(
        seen(&answer, "forwarded"),
        ["for=127.0.0.1;proto=http;host=\"api.test\""],
        "where it is asked for"
    );
    // A list that a trusted proxy began is continued, in either form.
    let answer = curl(&["-H", "Forwarded: for=203.0.113.9;proto=https", &trusted.url("/")]);
    assert_eq!(seen(&answer, "forwarded"), ["for=203.0.113.9;proto=https, for=127.0.0.1"]);
}

#[test]
fn host_port_and_scheme_are_told_and_the_host_is_kept_replaced_or_fixed() {
    let echo = Echo::start();
    let own = echo.address.to_string();
    for (host, expected) in [("preserve", "api.test:8443"), ("target", &*own), ("fixed.test", "fixed.test")] {
        let gateway = gateway_to(&echo.url(), &format!("host = \"{host}\"\n"));
        let answer = curl(&["-H", "Host: api.test:8443", &gateway.url("/")]);
        assert_eq!(seen(&answer, "host"), [expected], "{host}");
        assert_eq!(seen(&answer, "x-forwarded-host"), ["api.test:8443"], "{host}");
        assert_eq!(seen(&answer, "x-forwarded-port"), [gateway.port.to_string()], "{host}");
        assert_eq!(seen(&answer, "x-forwarded-proto"), ["http"], "{host}");
    }
}

#[test]
fn address_rules_go_by_the_trusted_address() {
    let echo = Echo::start();
    let gateway = Gateway::start(&format!(
        "[route.inside]\nmatch = \"/inside\"\nto = \"{0}\"\naccess = [\"allow 127.0.0.0/8\", \"deny all\"]\n\
         [route.outside]\nmatch = \"/outside\"\nto = \"{0}\"\naccess = [\"deny 127.0.0.0/8\", \"allow all\"]\n",
        echo.url()
    ));
    let spoof = "X-Forwarded-For: 10.0.0.1";
    assert_eq!(curl(&["-H", spoof, &gateway.url("/inside")]).status, 200);
    let refused = curl(&["-H", spoof, &gateway.url("/outside")]);
    assert_eq!((refused.status, refused.header("x-gateway-reason")), (403, "address-denied"));
}

#[test]
fn the_rules_of_a_listener_hold_on_every_route_and_a_header_gets_nobody_past_them() {
    let closed = free_port();
    let gateway = Gateway::start(&format!(
        "[listen.closed]\naddress = \"0.0.0.0:{closed}\"\naccess = [\"allow 10.0.0.0/8\", \"deny all\"]\n\
         [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200 }}\n"
    ));
    assert_eq!(curl(&[&gateway.url("/")]).status, 200, "the other listener has no rules");
    let url = format!("http://127.0.0.1:{closed}");
    for path in ["/", "/nothing/here"] {
        let refused = curl(&["-H", "X-Forwarded-For: 10.0.0.1", &format!("{url}{path}")]);
        assert_eq!(refused.status, 403, "{path}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert_eq!(refused.header("x-gateway-reason"), "address-denied");
    }
}
