//! What a good configuration is decoded into.

use std::time::Duration;

use super::{load_ok, load_ok_with};
use crate::abuse::score::When;
use crate::config::model::{Action, AuthKind, BanRule, LogFormat, LogSink, UpstreamRef};
use crate::policy::api_key::config::Location;
use crate::policy::jwt::config::KeySource;
use crate::policy::rate_limit::config::Key;

const EXAMPLE: &str = r#"
[listen.https]
address = "[::]:443"
tls     = { certificate = "/etc/portcullis/tls/api.pem", key = "/etc/portcullis/tls/api.key" }

[auth.users]
jwt      = "https://auth.example.com/"
audience = "api"
headers  = { X-User-Id = "sub", X-Email = "email?" }

[auth.partners]
api-key = ["X-API-Key", "query:key", "cookie:k"]
keys.partner-a = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
keys.partner-b = { hash = "sha256:0000000000000000000000000000000000000000000000000000000000000002", consumer = "b" }

[limit.per-user]
rate  = "100/min"
burst = 20
by    = "user"

[limit.per-address]
rate = "5k/s"
by   = ["address", "header:X-Tenant"]

[shield]
interfaces = ["eth0"]
packets    = "50k/s"
ban        = "20 denials in 10s"
for        = "10m"
never      = ["10.0.0.0/8", "192.0.2.7"]

[route.users]
match = "GET,POST api.example.com/v1/users/*"
to    = ["http://10.0.0.11:3001", "http://10.0.0.12:3001"]
auth  = ["users", "partners"]
limit = ["per-user", "per-address"]
access = ["allow 10.0.0.0/8", "deny all"]
replace-prefix = "/"
response-timeout = "5s"

[route.health]
match   = "/healthz"
respond = { status = 200, body = "ok" }
auth    = "none"
log     = false
"#;

#[test]
fn a_long_list_of_addresses_takes_no_room_for_as_many_networks() {
    let capacities = |keys: &str| {
        let config = load_ok_with(&EXAMPLE.replace("[shield]\n", &format!("[shield]\n{keys}")), &[]);
        config.shield.map(|shield| (shield.capacity, shield.capacity6))
    };
    assert_eq!(capacities("capacity = 10000000\n"), Some((10_000_000, 1_048_576)));
    assert_eq!(capacities("capacity = 1024\n"), Some((1024, 1024)));
    assert_eq!(capacities("capacity = 1024\ncapacity-ipv6 = 4096\n"), Some((1024, 4096)));
}

#[test]
fn the_example_of_the_design_is_understood() {
    let config = load_ok(EXAMPLE);
    assert_eq!(config.listen[0].tls[0].key.value.to_str(), Some("/etc/portcullis/tls/api.key"));
    assert_eq!(config.listen[0].address.value.port(), 443);

    let AuthKind::Jwt(jwt) = &config.auth[0].kind else { panic!("users is JWT") };
    assert_eq!(jwt.issuer.as_deref(), Some("https://auth.example.com/"));
    assert_eq!(jwt.keys, KeySource::Discovery("https://auth.example.com/".into()));
    assert_eq!(jwt.algorithms, [jsonwebtoken::Algorithm::RS256]);
    let claims: Vec<_> = jwt.headers.iter().map(|h| (h.header.as_str(), &*h.claim, h.required)).collect();
    assert_eq!(claims, [("x-user-id", "sub", true), ("x-email", "email", false)]);

    let AuthKind::ApiKey(keys) = &config.auth[1].kind else { panic!("partners is keys") };
    assert_eq!(keys.from.len(), 3);
    assert_eq!(keys.from[1], Location::Query("key".into()));
    assert_eq!((&*keys.keys[1].id, &*keys.keys[1].consumer, keys.keys[1].sha256[31]), ("partner-b", "b", 2));

    let limit = &config.limit[0].value;
    assert_eq!((limit.requests, limit.per, limit.burst), (100, Duration::from_secs(60), 20));
    assert_eq!(limit.by, [Key::User]);
    assert_eq!((config.limit[1].value.burst, config.limit[1].value.by.len()), (4999, 2));

    let shield = config.shield.as_ref().unwrap();
    let packets = shield.packets.as_ref().unwrap();
    assert_eq!((packets.per_second.value, packets.burst.value), (50_000, 50_000));
    let ban = shield.ban.as_ref().unwrap();
    assert_eq!(
        (&*ban.name, ban.when),
        ("shield", BanRule { asks: When::Denials(20), within: Duration::from_secs(10) })
    );
    assert_eq!((ban.first.as_secs(), ban.up_to.as_secs()), (600, 86_400));
    assert_eq!(shield.never[1].to_string(), "192.0.2.7/32");
    assert_eq!(shield.management_ports, [22]);
    assert_eq!((shield.capacity, shield.capacity6), (262_144, 262_144));

    let route = &config.route[0];
    let Action::Forward { upstream: UpstreamRef::Inline(upstream), replace_prefix } = &route.action else {
        panic!("users is forwarded")
    };
    assert_eq!((upstream.targets.len(), &*upstream.name), (2, "users"));
    assert_eq!(upstream.response_timeout, Duration::from_secs(5));
    assert_eq!(replace_prefix.as_deref(), Some("/"));
    assert_eq!(route.access.rules.len(), 2);
    assert!(matches!(&config.route[1].action, Action::Respond { status: 200, body, .. } if &**body == "ok"));
    assert!(config.route[1].public && config.route[1].auth.is_empty() && !config.route[1].log);
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = load_ok("[listen.http]\naddress = \"127.0.0.1:8080\"\n");
    assert_eq!(config.gateway.drain, Duration::from_secs(30));
    assert_eq!(config.admin.socket.to_str(), Some("/run/portcullis/admin.sock"));
    assert_eq!((config.log.format, config.log.to), (LogFormat::Json, vec![LogSink::Stdout]));
    assert!(config.operations.is_none() && config.shield.is_none() && config.headers.set.is_empty());
    let config = load_ok("[listen.http]\naddress = \"127.0.0.1:8080\"\n[operations]\n");
    assert_eq!(config.operations.unwrap().address.value.to_string(), "127.0.0.1:9180");
}

#[test]
fn a_variable_in_a_string_cannot_add_keys_or_tables() {
    let text = "[listen.http]\naddress = \"[::]:80\"\n[route.a]\nmatch = \"/\"\n\
                respond = { body = \"${BODY}\" }\n";
    let body = "x\" }\n[admin]\noperators = [0]\n# ${HOME}";
    let config = load_ok_with(text, &[("BODY", body)]);
    assert!(matches!(&config.route[0].action, Action::Respond { body: found, .. } if **found == *body));
    assert!(config.admin.grants.is_empty());
}

#[test]
fn variables_stand_for_numbers_and_an_empty_one_counts_as_not_written() {
    let text = "[gateway]\nworkers = \"${WORKERS:-3}\"\n[listen.http]\naddress = \"[::]:${PORT}\"\n\
                http2 = \"${H2:-false}\"\n[auth.a]\njwt = \"https://a.example/\"\naudience = \"${AUDIENCE:-}\"\n\
                keys = \"${JWKS_URI:-}\"\n";
    let config = load_ok_with(text, &[("PORT", "8081")]);
    assert_eq!((config.gateway.workers, config.listen[0].address.value.port()), (3, 8081));
    assert!(!config.listen[0].http2);
    let AuthKind::Jwt(jwt) = &config.auth[0].kind else { panic!("a is JWT") };
    assert!(jwt.audiences.is_empty());
    assert_eq!(jwt.keys, KeySource::Discovery("https://a.example/".into()));
}

#[test]
fn every_setting_can_be_overridden_by_a_variable() {
    let variables = [
        ("PORTCULLIS__SHIELD__BAN", "5 denials in 1s"),
        ("PORTCULLIS__SHIELD__NEVER", "[\"192.0.2.0/24\", \"198.51.100.0/24\"]"),
        ("PORTCULLIS__LIMIT__PER_USER__RATE", "7/s"),
        ("PORTCULLIS__LIMIT__PER_USER__BURST", "3"),
        ("PORTCULLIS__LISTEN__HTTPS__HTTP2", "false"),
        ("PORTCULLIS__LISTEN__HTTPS__ADDRESS", "[::1]:8443"),
        ("PORTCULLIS__ROUTE__USERS__TO", "http://other:1"),
        ("PORTCULLIS__ROUTE__USERS__HEADERS__SET", "{ X-A = \"b\" }"),
        ("PORTCULLIS__ROUTE__HEALTH__RESPOND__BODY", "{\"status\": \"${UP}\"}"),
        ("PORTCULLIS__OPERATIONS__ADDRESS", "127.0.0.1:1"),
        ("PORTCULLIS__SHIELD__CAPACITY_IPV6", "2048"),
        ("PORTCULLIS__ROUTE__NEW_ONE__MATCH", "/new"),
        ("PORTCULLIS__ROUTE__NEW_ONE__TO", "http://new"),
    ];
    let config = load_ok_with(EXAMPLE, &variables);
    let shield = config.shield.as_ref().unwrap();
    let ban = shield.ban.as_ref().unwrap();
    assert_eq!(ban.when, BanRule { asks: When::Denials(5), within: Duration::from_secs(1) });
    assert_eq!(shield.never.len(), 2);
    assert_eq!((shield.capacity, shield.capacity6), (262_144, 2048));
    assert_eq!((config.limit[0].value.requests, config.limit[0].value.burst), (7, 3));
    assert_eq!(config.listen[0].address.value.to_string(), "[::1]:8443");
    assert!(!config.listen[0].http2);
    assert_eq!(config.route[0].headers.set.len(), 1);
    assert!(
        matches!(&config.route[1].action, Action::Respond { body, .. } if &**body == "{\"status\": \"${UP}\"}")
    );
    assert_eq!(config.operations.unwrap().address.value.port(), 1);
    assert_eq!(&*config.route[2].name, "new-one");
}

#[test]
fn an_override_in_brackets_or_braces_is_toml_only_where_arrays_or_tables_are_taken() {
    let jwk = r#"{"kty":"oct","k":"c2VjcmV0"}"#;
    let variables = [
        ("PORTCULLIS__AUTH__SECRET__KEYS", jwk),
        ("PORTCULLIS__AUTH__SECRET__ALGORITHMS", "[\"HS256\"]"),
        ("PORTCULLIS__AUTH__KEYS__API_KEY", "X-API-Key"),
        ("PORTCULLIS__AUTH__KEYS__KEYS", &format!("{{ a = \"sha256:{}\" }}", "ab".repeat(32))),
        ("PORTCULLIS__ROUTE__HEALTH__RESPOND__BODY", "[1]"),
    ];
    let config = load_ok_with(EXAMPLE, &variables);
    let kinds: Vec<_> = config.auth.iter().map(|auth| (&*auth.name, &auth.kind)).collect();
    assert!(kinds.iter().any(|(name, kind)| *name == "secret"
        && matches!(kind, AuthKind::Jwt(jwt) if jwt.keys == KeySource::Inline(jwk.into()))));
    assert!(kinds.iter().any(|(name, kind)| *name == "keys"
        && matches!(kind, AuthKind::ApiKey(keys) if keys.keys[0].sha256 == [0xab; 32])));
    assert!(matches!(&config.route[1].action, Action::Respond { body, .. } if &**body == "[1]"));
}

#[test]
fn keys_in_a_variable_may_be_pem_with_escaped_line_breaks() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let pem = pair.public_key_pem();
    let text = "[listen.a]\naddress = \"[::]:80\"\n[auth.a]\nkeys = \"${JWKS_PUBLIC_KEY}\"\nalgorithms = \"ES256\"\n";
    for written in [pem.clone(), pem.trim().replace('\n', "\\n")] {
        let config = load_ok_with(text, &[("JWKS_PUBLIC_KEY", &written)]);
        let AuthKind::Jwt(jwt) = &config.auth[0].kind else { panic!("a is JWT") };
        assert_eq!(jwt.keys, KeySource::Inline(pem.trim().into()));
        assert_eq!(jwt.issuer, None);
    }
}
