//! `portcullis status`: how the gateway does.

use std::time::Duration;

use crate::admin::api::{GetStatus, Status};
use crate::admin::client::Error;
use crate::config::units::show_size;

use super::{Common, Exit, Output};

/// Asks and prints.
pub fn run(common: &Common, output: &Output) -> Exit {
    match common.call(&GetStatus {}) {
        Ok(status) => {
            output.answer(&status, || text(&status));
            Exit::Done
        }
        Err(error @ Error::NotRunning { .. }) => {
            output.error(&error);
            Exit::NotRunning
        }
        Err(error) => output.refused(&error),
    }
}

fn text(status: &Status) -> String {
    let mut lines = vec![
        ("portcullis", format!("{}, process {}, up {}", status.version, status.pid, uptime(status.uptime_s))),
        ("config", format!("{}, generation {}", status.config, status.generation)),
    ];
    if status.draining {
        lines.push(("draining", "no new connections; requests in flight are finished".into()));
    }
    if let Some(error) = &status.last_reload_error {
        lines.push(("reload", format!("the last one failed: {}", error.trim_end())));
    }
    for listener in &status.listeners {
        let tls = if listener.tls { ", TLS" } else { "" };
        lines.push(("listens", format!("{}: {}{tls}", listener.name, listener.address)));
    }
    if let Some(admin) = &status.admin {
        lines.push(("admin", format!("{admin}, TLS with client certificates")));
    }
    let kernel = &status.kernel;
    lines.push((
        "kernel",
        match (kernel.on, &kernel.off_because) {
            (true, _) => {
                let beside = |shared| if shared { ", beside other programs" } else { "" };
                let at = kernel.attachments.iter();
                let at = at.map(|at| format!("{} ({}{})", at.interface, at.mode, beside(at.shared)));
                let at: Vec<String> = at.collect();
                let at = if at.is_empty() { String::from("no interface") } else { at.join(", ") };
                let entries = kernel.entries;
                let full = if kernel.full.is_empty() {
                    String::new()
                } else {
                    format!("; degraded, full: {}", kernel.full.join(", "))
                };
                format!("{} on {at}, {entries} entries, {} differ{full}", kernel.mode, kernel.drift)
            }
            (false, Some(because)) => format!("off: {because}"),
            (false, None) => "off".into(),
        },
    ));
    if kernel.on {
        let pressure = if kernel.pressure { "under pressure" } else { "no pressure" };
        let syns = match kernel.syns_armed {
            Some(true) => ", the SYN budget is armed",
            Some(false) => ", the SYN budget rests",
            None => "",
        };
        lines.push(("", format!("{pressure}{syns}")));
    }
    for lost in &kernel.lost {
        lines.push(("", format!("nothing is enforced on {}: {}", lost.interface, lost.because)));
    }
    for counter in kernel.counters.iter().filter(|counter| counter.packets > 0) {
        lines.push(("", format!("{:>12} packets {}", counter.packets, counter.verdict)));
    }
    lines.push(("bans", status.bans.to_string()));
    for saved in &status.saved {
        let (connections, rule) = (saved.connections, &saved.rule);
        lines.push((
            "",
            format!(
                "{connections} connections dropped by rule {rule}: {:.2}s of CPU time saved at most",
                saved.cpu_s
            ),
        ));
    }
    lines.push(("requests", format!("{}, {} connections open", status.requests, status.connections)));
    for upstream in &status.upstreams {
        lines.push(("upstream", format!("{}: {}", upstream.name, upstream.targets.join(", "))));
    }
    let mebibytes = show_size(status.resident_bytes >> 20 << 20);
    lines.push(("memory", format!("{mebibytes}, {} workers", status.workers)));
    lines.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect()
}

fn uptime(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let time = Duration::from_secs(rest).as_secs();
    let clock = format!("{:02}:{:02}:{:02}", time / 3_600, time / 60 % 60, time % 60);
    if days == 0 { clock } else { format!("{days}d {clock}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::{Attachment, Counter, KernelStatus, ListenerStatus, LostInterface, Saved};

    #[test]
    fn the_status_is_readable() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 42,
            uptime_s: 90_061,
            draining: false,
            config: "/etc/portcullis/gateway.toml".into(),
            generation: 3,
            last_reload_error: None,
            workers: 2,
            admin: None,
            listeners: vec![ListenerStatus { name: "https".into(), address: "[::]:443".into(), tls: true }],
            kernel: KernelStatus {
                on: true,
                mode: "enforce".into(),
                attachments: vec![
                    Attachment { interface: "eth0".into(), mode: "native".into(), shared: false },
                    Attachment { interface: "eth2".into(), mode: "generic".into(), shared: true },
                ],
                lost: vec![LostInterface {
                    interface: "eth1".into(),
                    because: "the interface is gone".into(),
                }],
                counters: vec![Counter { verdict: "drop-banned".into(), packets: 12 }],
                entries: 1,
                full: Vec::new(),
                pressure: true,
                syns_armed: Some(true),
                ..KernelStatus::default()
            },
            requests: 1000,
            connections: 5,
            bans: 1,
            saved: vec![Saved { rule: "shield".into(), connections: 3_000, cpu_s: 1.234 }],
            upstreams: vec![],
            resident_bytes: 20 << 20,
        };
        let expected = "\
portcullis 0.1.0, process 42, up 1d 01:01:01
config     /etc/portcullis/gateway.toml, generation 3
listens    https: [::]:443, TLS
kernel     enforce on eth0 (native), eth2 (generic, beside other programs), 1 entries, 0 differ
           under pressure, the SYN budget is armed
           nothing is enforced on eth1: the interface is gone
                     12 packets drop-banned
bans       1
           3000 connections dropped by rule shield: 1.23s of CPU time saved at most
requests   1000, 5 connections open
memory     20MiB, 2 workers
";
        assert_eq!(text(&status), expected);
    }
}
