//! Budgets against real uploads: the one that `check` refuses drops packets, the one that is proposed drops none.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tests::gateway::run;
use tests::kernel::Kernel;

use crate::stage::Stage;

/// Payload per second of 1 Gbit/s: 1448 bytes in each full packet of 1538.
const PACE_BYTES: f64 = 1e9 / 8.0 * 1448.0 / 1538.0;
const UPLOAD_BYTES: usize = 200 << 20;

/// An upstream that takes uploads and answers each with 204.
fn sink() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || take(stream));
        }
    });
    address
}

fn take(mut stream: TcpStream) -> Option<()> {
    let mut buffer = vec![0; 1 << 18];
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        head.extend_from_slice(&buffer[..count]);
    };
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut left = length.trim().parse::<usize>().ok()?.saturating_sub(head.len() - end);
    while left > 0 {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        left = left.saturating_sub(count);
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").ok()
}

/// Uploads from a host, at 1 Gbit/s at most; the beginning of the answer and how long it took.
fn upload(stage: &Stage, bytes: usize) -> (String, Duration) {
    let host = &stage.hosts[0];
    let web = SocketAddr::from((host.gateway, stage.gateway.port));
    host.run(move || {
        let mut stream = TcpStream::connect(web).expect("the gateway listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
        let head = format!("POST /up HTTP/1.1\r\nHost: gateway\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let started = Instant::now();
        let chunk = vec![0; 64 << 10];
        let mut sent = 0;
        while sent < bytes {
            let count = chunk.len().min(bytes - sent);
            stream.write_all(&chunk[..count]).expect("sent");
            sent += count;
            let due = Duration::from_secs_f64(sent as f64 / PACE_BYTES);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        (String::from_utf8_lossy(&answer).into_owned(), started.elapsed())
    })
    .expect("the host is there")
}

/// Packets with this verdict so far.
fn packets(stage: &Stage, verdict: &str) -> u64 {
    let (_, metrics) = stage.gateway.operations("/metrics");
    let name = format!("portcullis_xdp_packets_total{{verdict=\"{verdict}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
}

#[test]
fn an_upload_at_full_bandwidth_fits_the_budgets_that_are_proposed_and_not_those_that_are_refused() {
    if Kernel::load().is_none() {
        return;
    }
    let route = format!("[route.up]\nmatch = \"/up\"\nto = \"http://{}\"\nmax-body = \"1GiB\"\n", sink());
    let small = "packets = \"5k/s\"\n";
    let stage = Stage::new(166, 1, small, &route);
    // A connection that is there has the budget once more, so it takes twice a second's worth and some.
    let (answer, took) = upload(&stage, 40 << 20);
    let lost = packets(&stage, "over_packets");
    println!("5k/s: 40 MiB in {took:?}, {lost} packets dropped");
    assert_eq!(answer, "HTTP/1.1 204");
    assert!(lost > 0, "a budget that is refused does throttle");

    let file = stage.gateway.folder.join("gateway.toml");
    let path = file.to_str().expect("UTF-8");
    let proposed = run(&["budget", "suggest", "--json", "--client-bandwidth", "1Gbit/s", "-c", path]);
    let proposed: serde_json::Value = serde_json::from_slice(&proposed.stdout).expect("JSON");
    let large = format!(
        "client-bandwidth = \"1Gbit/s\"\npackets = \"{}/s\"\npacket-burst = {}\nsyns = \"{}/s\"\nsyn-burst = {}\n",
        proposed["packets"], proposed["packet_burst"], proposed["syns"], proposed["syn_burst"]
    );
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let refused = text.replace(small, &format!("client-bandwidth = \"1Gbit/s\"\n{small}"));
    std::fs::write(&file, refused).expect("written");
    assert_eq!(stage.gateway.cli(&["reload"]).status.code(), Some(78));
    std::fs::write(&file, text.replace(small, &large)).expect("written");
    let reloaded = stage.gateway.cli(&["reload"]);
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));

    let (lost, clean) = (packets(&stage, "over_packets"), packets(&stage, "clean"));
    let (answer, took) = upload(&stage, UPLOAD_BYTES);
    let clean = packets(&stage, "clean") - clean;
    println!("{}/s: 200 MiB in {took:?}, {clean} packets", proposed["packets"]);
    assert_eq!(answer, "HTTP/1.1 204");
    assert_eq!(packets(&stage, "over_packets"), lost);
    assert!(clean > 0, "the packets were counted");
}
