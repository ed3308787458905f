//! How long a change of a large configuration takes: `cargo xtask bench reload`.
//!
//! A real gateway with 5,000 routes to 250 upstreams, asked over its admin socket, as the command line asks: reloads of
//! a file that was changed by hand, then `apply` of a text. Each time is from the request to the answer: reading,
//! checking, compiling, writing, flushing to the disk, publishing and the history. Meanwhile one client sends requests.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use tests::curl::curl;
use tests::gateway::Gateway;

/// What may pass between the request and the answer.
const BAR: Duration = Duration::from_millis(100);

#[derive(Parser)]
struct Arguments {
    /// Routes of the configuration.
    #[arg(long, default_value_t = 5000)]
    routes: usize,
    /// Changes of each kind.
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// Write the figures as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let gateway = Gateway::start_with(|_, port| configuration(port, arguments.routes, 0));
    let text = |change: usize| {
        let file = std::fs::read_to_string(gateway.folder.join("gateway.toml"));
        let file = file.context("the gateway's file can be read")?;
        let (head, _) = file.split_once("[listen.main]").context("it has a listener")?;
        Ok::<String, anyhow::Error>(format!(
            "{head}{}",
            configuration(gateway.port, arguments.routes, change)
        ))
    };
    let stop = AtomicBool::new(false);
    let kinds = std::thread::scope(|scope| -> Result<_> {
        let client = scope.spawn(|| {
            let (mut good, mut bad) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let answer = curl(&[&gateway.url("/v1/service17/items/7")]);
                *if answer.status == 200 { &mut good } else { &mut bad } += 1;
            }
            (good, bad)
        });
        let measured = measure(&gateway, &arguments, &text);
        stop.store(true, Ordering::Relaxed);
        let (good, bad) = client.join().ok().context("the client ends")?;
        println!("{good} requests were answered meanwhile, {bad} were not");
        ensure!(bad == 0 && good > 0, "every request is answered");
        measured
    })?;
    println!("{} routes, {} bytes", arguments.routes, text(0)?.len());
    let mut figures = serde_json::Map::new();
    let mut slow = false;
    for (kind, mut times) in kinds {
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{kind:7} median {:6.1} ms, worst {:6.1} ms", ms(median), ms(worst));
        figures
            .insert(kind.to_owned(), serde_json::json!({ "median_ms": ms(median), "worst_ms": ms(worst) }));
        slow |= median > BAR;
    }
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&figures)?)?;
    }
    if slow {
        bail!("a change takes longer than {} ms", BAR.as_millis());
    }
    Ok(())
}

type Times = Vec<(&'static str, Vec<Duration>)>;

fn measure(
    gateway: &Gateway,
    arguments: &Arguments,
    text: &dyn Fn(usize) -> Result<String>,
) -> Result<Times> {
    let (mut reloads, mut applies) = (Vec::new(), Vec::new());
    for change in 1..=arguments.changes {
        std::fs::write(gateway.folder.join("gateway.toml"), text(change)?)?;
        reloads.push(ask(&gateway.socket(), "reload", &serde_json::json!({ "dry_run": false }))?);
    }
    for change in 1..=arguments.changes {
        let body = serde_json::json!({ "text": text(1000 + change)? });
        applies.push(ask(&gateway.socket(), "apply", &body)?);
    }
    Ok(vec![("reload", reloads), ("apply", applies)])
}

/// Sends one command; the time to its answer, which must say that a change is in force.
fn ask(socket: &Path, command: &str, body: &serde_json::Value) -> Result<Duration> {
    let body = body.to_string();
    let request = format!(
        "POST /v1/{command} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let started = Instant::now();
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let took = started.elapsed();
    ensure!(answer.contains("\"ok\":true") && answer.contains("~ route "), "{command} failed: {answer}");
    Ok(took)
}

/// Routes as people write them, 20 to an upstream; each change touches one of them, and puts the one before back.
fn configuration(port: u16, routes: usize, change: usize) -> String {
    let mut text = format!(
        "[listen.main]\naddress = \"0.0.0.0:{port}\"\n\n[limit.per-client]\nrate = \"1000000/s\"\nby = \"address\"\n\n\
         [route.probe]\nmatch = \"/v1/service17/items/7\"\nrespond = {{ status = 200, body = \"ok\" }}\n\n"
    );
    for upstream in 0..routes.div_ceil(20) {
        text += &format!(
            "[upstream.backend-{upstream}]\nto = [\"http://127.0.0.1:{}\", \"http://127.0.0.2:{}\"]\n\n",
            1024 + upstream,
            1024 + upstream
        );
    }
    for route in 0..routes {
        let timeout = if route == change % routes { 1 + change % 50 } else { 60 };
        let upstream = route / 20;
        text += &format!(
            "[route.service-{route}]\nmatch = \"GET,POST api.example.com/v1/service{route}/items/{{id}}\"\n\
             upstream = \"backend-{upstream}\"\nlimit = \"per-client\"\nupload-grace = \"{timeout}s\"\n\n"
        );
    }
    text
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
