//! Listeners that get into each other's way, and interfaces that are not there.

use std::net::SocketAddr;

use crate::config::codes;
use crate::config::model::Config;
use crate::config::near::nearest;
use crate::diagnostic::{Located, Problem, Report};

/// Reports listeners on one address, and a PROXY protocol that is believed from nobody.
pub fn check(config: &Config, report: &mut Report) {
    let mut seen: Vec<(&Located<SocketAddr>, String)> = Vec::new();
    let listeners = config.listen.iter().map(|listen| (&listen.address, format!("[listen.{}]", listen.name)));
    let operations =
        config.operations.iter().map(|operations| (&operations.address, "[operations]".to_owned()));
    for (address, title) in listeners.chain(operations) {
        if let Some((first, other)) = seen.iter().find(|(other, _)| overlap(other.value, address.value)) {
            let message = format!("{title} and {other} share an address");
            report.push(
                Problem::error(codes::SAME_ADDRESS, message, address.place.clone())
                    .label(format!("{}", address.value))
                    .related(first.place.clone(), format!("{}", first.value)),
            );
        }
        seen.push((address, title));
    }
    for listen in &config.listen {
        if listen.proxy_protocol && config.gateway.trusted_proxies.is_empty() {
            let message = format!("[listen.{}] has `proxy-protocol`, and no proxy is trusted", listen.name);
            let problem = Problem::error(codes::PROXY_WITHOUT_TRUST, message, listen.place.clone());
            report.push(problem.help("write `trusted-proxies = [\"10.0.0.5\"]` in `[gateway]`"));
        }
    }
}

/// Whether two sockets cannot be bound together: `[::]` takes every address of its port, IPv4 included.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    if a.port() != b.port() || a.port() == 0 {
        return false;
    }
    let dual = |address: SocketAddr| address.is_ipv6() && address.ip().is_unspecified();
    let same_family = a.is_ipv4() == b.is_ipv4();
    a == b || dual(a) || dual(b) || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()))
}

/// Warns of interfaces that do not exist now; the start decides.
pub fn check_interfaces(config: &Config, report: &mut Report) {
    let Some(shield) = &config.shield else { return };
    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return };
    let known: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    for interface in &shield.interfaces {
        if known.iter().any(|name| **name == *interface.value) {
            continue;
        }
        let message = format!("there is no network interface `{}` now", interface.value);
        let problem = Problem::warning(codes::NO_INTERFACE, message, interface.place.clone());
        let near = nearest(&interface.value, known.iter().map(String::as_str));
        report.push(match near {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help(format!("there are {}", known.join(", "))),
        });
    }
}
