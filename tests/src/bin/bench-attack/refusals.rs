//! What a refused request costs a server: the 403 of nginx's `deny`, and ours, of a rule that comes before everything else.
//!
//! Connections are kept, so this is the least that a refusal costs; with a connection for each request the handshake comes
//! on top of it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::gateway::Gateway;
use tests::interrupt;
use tests::load::{Load, Settings};
use tests::nginx::Nginx;
use tests::request_bench::processors;

use crate::{Cores, WARM_UP};

/// Connections of the load, each with one request under way.
const CONNECTIONS: usize = 64;
/// Most requests of one sample, whatever the time.
const REQUESTS_MAX: u64 = 2_000_000;

/// Who refuses.
pub struct Refusals {
    /// Name for the table.
    pub server: &'static str,
    /// Microseconds of processor time per request, user and system, one for each round.
    pub us: Vec<f64>,
}

/// Both servers in turns, each on the victim's core with one worker, writing a line of log for each request.
pub fn measure(
    on: Cores,
    time: Duration,
    rounds: usize,
    missing: &mut Vec<&'static str>,
) -> Result<Vec<Refusals>> {
    // What is started from here on is started on the victim's core.
    processors::pin(on.victim)?;
    let gateway = Gateway::start_with(|folder, port| {
        format!(
            "[gateway]\nworkers = 1\nstate = \"{}/state\"\n\n[listen.main]\naddress = \"127.0.0.1:{port}\"\n\n\
             [route.closed]\nmatch = \"/\"\nrespond = {{ status = 200 }}\naccess = [\"deny all\"]\n",
            folder.display()
        )
    });
    let nginx = Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok();
    let nginx = nginx.then(|| Nginx::start("location / { deny all; }"));
    processors::pin(on.attacker)?;
    let mut servers = vec![("portcullis, access = [\"deny all\"]", gateway.pid(), gateway.address())];
    match &nginx {
        Some(nginx) => {
            servers.push(("nginx, deny all", nginx.pid(), SocketAddr::from(([127, 0, 0, 1], nginx.port))))
        }
        None => {
            println!("nginx is not installed: its row is left out");
            missing.push("nginx, deny all");
        }
    }
    let mut all: Vec<Refusals> =
        servers.iter().map(|&(server, ..)| Refusals { server, us: Vec::new() }).collect();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}: {} s of refused requests for each server", time.as_secs_f64());
        for (refusals, &(server, process, address)) in all.iter_mut().zip(&servers) {
            interrupt::check()?;
            refusals.us.push(sample(process, address, time).with_context(|| format!("with {server}"))?);
        }
    }
    Ok(all)
}

fn sample(process: u32, address: SocketAddr, time: Duration) -> Result<f64> {
    let request = b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n".to_vec();
    let mut load =
        Load::open(&Settings { address, connections: CONNECTIONS, request, status: 403, tls: None })?;
    load.run(WARM_UP, REQUESTS_MAX)?;
    let before = processors::time_of(process)?;
    let outcome = load.run(time, REQUESTS_MAX)?;
    let spent = processors::time_of(process)? - before;
    Ok(spent.as_secs_f64() * 1e6 / outcome.requests as f64)
}
