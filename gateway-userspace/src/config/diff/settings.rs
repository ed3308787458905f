//! The tables of a configuration as flat texts: key and value.
//!
//! Every struct is taken apart field by field, so that a new field does not compile until it is compared too.

pub mod auth;
pub mod log;

use std::fmt::Display;

use crate::abuse::score::When;
use crate::abuse::signal::Kind;
use crate::admin::api::Role;
use crate::config::model::{
    Action, Admin, AdminListen, AdminTls, Ban, BanRule, Budget, Certificate, Gateway, Http1, List,
    ListSource, Listen, ListenLimits, Operations, Route, Shield, UpstreamRef,
};
use crate::config::units::{show_bit_rate, show_duration, show_packet_rate, show_rate, show_size};
use crate::http::error_body;
use crate::policy::rate_limit::config::{Headers, Key};
use crate::policy::upstream_headers::Template;
use crate::policy::{ip_access, rate_limit, request_limits, response_headers};
use crate::route::pattern::{HostPattern, Pattern};
use crate::upstream;
use crate::upstream::config::{HostHeader, Protocol};
use crate::upstream::proxy_protocol::Version;

fn pair(key: impl Into<String>, value: impl Display) -> (String, String) {
    (key.into(), value.to_string())
}

fn joined<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

/// Of `[gateway]`.
pub fn of_gateway(gateway: &Gateway) -> Vec<(String, String)> {
    let Gateway { workers, drain, trusted_proxies, forwarded, state } = gateway;
    vec![
        pair("workers", workers),
        pair("drain", show_duration(*drain)),
        pair("trusted-proxies", joined(trusted_proxies)),
        pair("forwarded", forwarded),
        pair("state", state.display()),
    ]
}

/// Of `[listen.NAME]`.
pub fn of_listen(listen: &Listen) -> Vec<(String, String)> {
    let Listen { name: _, place: _, address, tls, http2, proxy_protocol, check_server_name, access, limits } =
        listen;
    let ListenLimits {
        handshake_timeout,
        header_timeout,
        idle_timeout,
        write_timeout,
        header_bytes_max,
        header_count_max,
        uri_bytes_max,
        http1,
        streams_max,
        connections_max,
        connections_per_address_max,
    } = limits;
    let certificates = tls.iter().map(|Certificate { certificate, key }| {
        format!("{} with {}", certificate.value.display(), key.value.display())
    });
    vec![
        pair("address", address.value),
        pair("tls", joined(certificates)),
        pair("http2", http2),
        pair("proxy-protocol", proxy_protocol),
        pair("check-server-name", check_server_name),
        pair("access", show_access(access)),
        pair("handshake-timeout", show_duration(*handshake_timeout)),
        pair("header-timeout", show_duration(*header_timeout)),
        pair("idle-timeout", show_duration(*idle_timeout)),
        pair("write-timeout", show_duration(*write_timeout)),
        pair("max-header-bytes", show_size(*header_bytes_max as u64)),
        pair("max-headers", header_count_max),
        pair("max-uri", show_size(*uri_bytes_max as u64)),
        pair("http1", if *http1 == Http1::Native { "native" } else { "hyper" }),
        pair("max-streams", streams_max),
        pair("max-connections", connections_max),
        pair("max-connections-per-address", connections_per_address_max),
    ]
}

/// A route's keys and values, defaults filled in.
pub fn of_route(route: &Route) -> Vec<(String, String)> {
    let Route {
        name: _,
        place: _,
        matches,
        action,
        auth,
        public,
        limits,
        access,
        requests,
        headers,
        upstream_headers,
        login,
        log,
    } = route;
    let mut values = vec![pair("match", joined(matches.iter().map(|pattern| show_pattern(&pattern.value))))];
    match action {
        Action::Forward { upstream, replace_prefix } => {
            match upstream {
                UpstreamRef::Named(name) => values.push(pair("upstream", &name.value)),
                UpstreamRef::Inline(upstream) => values.extend(of_upstream(upstream)),
            }
            values.push(pair("replace-prefix", replace_prefix.as_deref().unwrap_or_default()));
        }
        Action::Respond { status, body, content_type } => {
            values.push(pair("respond", format!("{status} {content_type} {body:?}")));
        }
    }
    let request_limits::config::Config { body_bytes_max, parts_max, body_rate_min, body_grace } = requests;
    let names = auth.iter().map(|name| &*name.value);
    values.extend([
        pair("auth", if *public { "none".to_owned() } else { joined(names) }),
        pair("limit", joined(limits.iter().map(|name| &name.value))),
        pair("access", show_access(access)),
        pair("max-body", show_size(*body_bytes_max)),
        pair("max-parts", parts_max.unwrap_or(0)),
        pair("min-upload-rate", format!("{}/s", show_size(*body_rate_min))),
        pair("upload-grace", show_duration(*body_grace)),
        pair("login", login),
        pair("log", log),
    ]);
    values.extend(of_headers("headers.", headers));
    values.extend(
        upstream_headers.iter().map(|field| {
            pair(format!("upstream-headers.{}", field.name.as_str()), show_template(&field.value))
        }),
    );
    values
}

/// What a field holds beside parameters may have come from a variable or be a secret anyway: it stands as a hash.
fn show_template(template: &Template) -> String {
    let text = template.text();
    if template.is_parameters_only() { text } else { hash(text.as_bytes()) }
}

/// A match as it is written.
pub fn show_pattern(pattern: &Pattern) -> String {
    let Pattern { methods, host, path } = pattern;
    let host = match host {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Wildcard(suffix) => format!("*.{suffix}"),
        HostPattern::Any => String::new(),
    };
    let methods = if methods.is_empty() { String::new() } else { format!("{} ", methods.join(",")) };
    format!("{methods}{host}{}", path.text)
}

fn show_access(access: &ip_access::config::Config) -> String {
    let ip_access::config::Config { rules } = access;
    joined(rules.iter().map(|ip_access::config::Rule { allow, prefix }| {
        let prefix = prefix.map_or_else(|| "all".to_owned(), |prefix| prefix.to_string());
        format!("{} {prefix}", if *allow { "allow" } else { "deny" })
    }))
}

/// Of `[upstream.NAME]`.
pub fn of_upstream(upstream: &upstream::config::Config) -> Vec<(String, String)> {
    let upstream::config::Config {
        name: _,
        targets,
        protocol,
        proxy_protocol,
        host,
        connect_timeout,
        response_timeout,
        idle_timeout,
        keep_alive,
        idle_connections,
        ca,
    } = upstream;
    let targets = targets.iter().map(|upstream::config::Target { tls, host: _, port: _, authority }| {
        format!("{}://{authority}", if *tls { "https" } else { "http" })
    });
    let protocol = match protocol {
        Protocol::Http1 => "http1",
        Protocol::Http2 => "http2",
    };
    let proxy_protocol = match proxy_protocol {
        None => "off",
        Some(Version::V1) => "v1",
        Some(Version::V2) => "v2",
    };
    let host = match host {
        HostHeader::Preserve => "preserve",
        HostHeader::Target => "target",
        HostHeader::Fixed(host) => host,
    };
    vec![
        pair("to", joined(targets)),
        pair("protocol", protocol),
        pair("proxy-protocol", proxy_protocol),
        pair("host", host),
        pair("connect-timeout", show_duration(*connect_timeout)),
        pair("response-timeout", show_duration(*response_timeout)),
        pair("idle-timeout", show_duration(*idle_timeout)),
        pair("keep-alive", show_duration(*keep_alive)),
        pair("idle-connections", idle_connections),
        pair("ca", joined(ca.iter().map(|path| path.display()))),
    ]
}

/// Of `[limit.NAME]`.
pub fn of_limit(limit: &rate_limit::config::Config) -> Vec<(String, String)> {
    let rate_limit::config::Config { name: _, requests, per, burst, by, headers } = limit;
    let by = by.iter().map(|key| match key {
        Key::User => "user".to_owned(),
        Key::ApiKey => "key".to_owned(),
        Key::Address => "address".to_owned(),
        Key::Route => "route".to_owned(),
        Key::Host => "host".to_owned(),
        Key::Ja4 => "ja4".to_owned(),
        Key::Consumer => "consumer".to_owned(),
        Key::Claim(name) => format!("claim:{name}"),
        Key::Header(name) => format!("header:{}", name.as_str()),
        Key::Cookie(name) => format!("cookie:{name}"),
        Key::Parameter(name) => format!("parameter:{name}"),
    });
    let headers = match headers {
        Headers::Both => "both",
        Headers::XRateLimit => "x-ratelimit",
        Headers::Ietf => "ietf",
        Headers::Off => "off",
    };
    vec![
        pair("rate", show_rate(*requests, *per)),
        pair("burst", burst),
        pair("by", joined(by)),
        pair("headers", headers),
    ]
}

/// Of `[errors]`.
pub fn of_errors(errors: &error_body::Config) -> Vec<(String, String)> {
    let error_body::Config { style, content_type, texts } = errors;
    let content_type = content_type.as_ref().and_then(|value| value.to_str()).unwrap_or_default();
    let mut values =
        vec![pair("style", format!("{style:?}").to_lowercase()), pair("content-type", content_type)];
    values.extend(texts.iter().map(|(status, text)| pair(format!("body.{status}"), text.text())));
    values
}

/// Of `[headers]`, or with a prefix of a route's `headers`.
pub fn of_headers(prefix: &str, headers: &response_headers::config::Config) -> Vec<(String, String)> {
    let response_headers::config::Config { set, remove } = headers;
    let set = set
        .iter()
        .map(|(name, value)| format!("{}: {}", name.as_str(), String::from_utf8_lossy(value.as_bytes())));
    let remove = remove.iter().map(|name| name.as_str());
    vec![pair(format!("{prefix}set"), joined(set)), pair(format!("{prefix}remove"), joined(remove))]
}

/// Of `[shield]`.
pub fn of_shield(shield: &Shield) -> Vec<(String, String)> {
    let Shield {
        interfaces,
        attach,
        enforce,
        packets,
        syns,
        syns_armed,
        pressure,
        client_bandwidth,
        ban,
        parole,
        collateral,
        never,
        cdn,
        management_ports,
        pins,
        capacity,
        capacity6,
    } = shield;
    let budget = |budget: &Option<Budget>| {
        joined(
            budget
                .iter()
                .map(|Budget { per_second, burst }| format!("{}/s, burst {}", per_second.value, burst.value)),
        )
    };
    let mut values = vec![
        pair("interfaces", joined(interfaces.iter().map(|name| &name.value))),
        pair("attach", format!("{attach:?}").to_lowercase()),
        pair("mode", if *enforce { "enforce" } else { "observe" }),
        pair("packets", budget(packets)),
        pair("syns", budget(syns)),
        pair("syns-armed", format!("{syns_armed:?}").to_lowercase()),
        pair("pressure", show_packet_rate(*pressure)),
        pair("client-bandwidth", joined(client_bandwidth.iter().map(|bits| show_bit_rate(bits.value)))),
        pair("parole", parole.map_or_else(|| "off".into(), show_duration)),
        pair("collateral", collateral),
        pair("never", joined(never)),
        pair("cdn", cdn),
        pair("management-ports", joined(management_ports)),
        pair("pins", pins.display()),
        pair("capacity", capacity),
        pair("capacity-ipv6", capacity6),
    ];
    if let Some(Ban { name: _, when, kinds: _, route: _, observe: _, first, up_to }) = ban {
        values.extend([
            pair("ban", show_rule(when)),
            pair("for", show_duration(*first)),
            pair("up-to", show_duration(*up_to)),
        ]);
    }
    values
}

/// Of `[ban.NAME]`.
pub fn of_ban(ban: &Ban) -> Vec<(String, String)> {
    let Ban { name: _, when, kinds, route, observe, first, up_to } = ban;
    vec![
        pair("when", show_rule(when)),
        pair("kinds", joined(kinds.iter().map(Kind::as_str))),
        pair("route", joined(route.iter().map(|route| &route.value))),
        pair("mode", if *observe { "observe" } else { "enforce" }),
        pair("for", show_duration(*first)),
        pair("up-to", show_duration(*up_to)),
    ]
}

/// Of `[list.NAME]`.
pub fn of_list(list: &List) -> Vec<(String, String)> {
    let List { name: _, place: _, source, format, refresh, jitter, lease, observe, entries_max } = list;
    let mut values = match source {
        ListSource::File(file) => vec![pair("file", file.display())],
        ListSource::Url { url, headers, ca } => {
            // Values may be secret, so only their hashes are shown.
            let headers =
                headers.iter().map(|(name, value)| format!("{}: {}", name.as_str(), hash(value.as_bytes())));
            let ca = joined(ca.iter().map(|path| path.display()));
            vec![pair("url", url.without_query()), pair("headers", joined(headers)), pair("ca", ca)]
        }
    };
    values.extend([
        pair("format", format),
        pair("refresh", show_duration(*refresh)),
        pair("jitter", format!("{}%", (jitter * 100.0).round())),
        pair("for", show_duration(*lease)),
        pair("mode", if *observe { "observe" } else { "enforce" }),
        pair("max-entries", entries_max),
    ]);
    values
}

fn show_rule(rule: &BanRule) -> String {
    let BanRule { asks, within } = rule;
    let asks = match asks {
        When::Denials(count) => format!("{count} denials"),
        When::Cpu(cost) => format!("{} cpu", show_duration(*cost)),
    };
    format!("{asks} in {}", show_duration(*within))
}

/// Of `[operations]`.
pub fn of_operations(operations: &Operations) -> Vec<(String, String)> {
    let Operations { address } = operations;
    vec![pair("address", address.value)]
}

/// Keys and values of `[admin]`, defaults filled in.
pub fn of_admin(admin: &Admin) -> Vec<(String, String)> {
    let Admin { socket, grants, listen, managed } = admin;
    let subjects =
        |wanted| grants.iter().filter(move |(role, _)| *role == wanted).map(|(_, subject)| subject);
    let mut values = vec![
        pair("socket", socket.display()),
        pair("admins", joined(subjects(Role::Admin))),
        pair("operators", joined(subjects(Role::Operator))),
        pair("viewers", joined(subjects(Role::Viewer))),
        pair("managed", managed.display()),
    ];
    if let Some(AdminListen { address, tls: AdminTls { server, client_ca, crl } }) = listen {
        let Certificate { certificate, key } = server;
        values.extend([
            pair("listen", address.value),
            pair("tls.certificate", certificate.value.display()),
            pair("tls.key", key.value.display()),
            pair("tls.client-ca", client_ca.value.display()),
            pair("tls.crl", joined(crl.iter().map(|path| path.value.display()))),
        ]);
    }
    values
}

/// The beginning of the hash of something secret.
fn hash(bytes: &[u8]) -> String {
    hex(&aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref()[..4])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upstream_header_holds_is_shown_only_if_it_is_parameters() {
        assert_eq!(show_template(&Template::parse("{id}{tenant}")), "{id}{tenant}");
        for text in ["Bearer hush", "hush-{id}"] {
            let shown = show_template(&Template::parse(text));
            assert!(!shown.contains("hush") && shown.len() == 8, "{shown}");
        }
    }
}
