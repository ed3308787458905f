//! Floods over real interfaces: how soon a verdict bites; what is forged bans and evicts nobody.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use gateway_userspace::demo::network::Host;
use tests::injector::Injector;
use tests::kernel::Kernel;
use tests::packet::{Packet, SYN};
use tests::stop::Stop;

use crate::stage::{Stage, wait_for};

const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n\
                      [route.closed]\nmatch = \"/closed\"\nrespond = { status = 200 }\naccess = [\"deny all\"]\n";

/// A socket on the gateway's side that counts the datagrams of one host, and knows when the last one came.
struct Sink {
    socket: UdpSocket,
    target: SocketAddr,
}

impl Sink {
    fn facing(host: &Host) -> Sink {
        let socket = UdpSocket::bind((host.gateway, 0)).expect("a socket on the gateway's side");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout can be set");
        let target = socket.local_addr().expect("it is bound");
        Sink { socket, target }
    }

    /// Takes datagrams until `stop`; how many there were, and when the last one was there.
    fn count(&self, stop: &AtomicBool) -> (u64, Option<Instant>) {
        let (mut count, mut last, mut buffer) = (0, None, [0; 64]);
        while !stop.load(Relaxed) {
            if self.socket.recv(&mut buffer).is_ok() {
                count += 1;
                last = Some(Instant::now());
            }
        }
        (count, last)
    }
}

/// Sends datagrams from inside a host until `stop`, or for 30 s.
fn flood(host: &Host, target: SocketAddr, stop: &AtomicBool, sent: &AtomicU64) {
    let started = Instant::now();
    host.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in the host");
        while !stop.load(Relaxed) && started.elapsed() < Duration::from_secs(30) {
            if socket.send_to(b"flood", target).is_ok() {
                sent.fetch_add(1, Relaxed);
            }
            // Leaves the two processors to those who are measured.
            thread::sleep(Duration::from_micros(50));
        }
    })
    .expect("the host is there");
}

#[test]
fn a_program_whose_maps_are_new_has_its_bans_from_its_first_packet() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(156, 1, "", ROUTES);
    let address = stage.address(0).to_string();
    assert!(stage.gateway.cli(&["ban", &address, "--for", "10m"]).status.success());
    let Stage { gateway, hosts, pins } = &mut stage;
    let host = &hosts[0];
    let sink = Sink::facing(host);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| flood(host, sink.target, &stop, &sent));
        scope.spawn(|| sink.count(&stop));
        for round in 0..3 {
            gateway.kill();
            // As after a reboot: the links go with their pins, and so do the maps.
            std::fs::remove_dir_all(&*pins).unwrap();
            let before = sent.load(Relaxed);
            wait_for("the flood goes on", || sent.load(Relaxed) > before + 300);
            gateway.restart();
            let denied = "portcullis_xdp_packets_total{verdict=\"denied_source\"}";
            wait_for("the ban bites", || metric(&gateway.operations("/metrics").1, denied) > 100.0);
            let (_, metrics) = gateway.operations("/metrics");
            let clean = metric(&metrics, "portcullis_xdp_packets_total{verdict=\"clean\"}");
            assert_eq!(clean, 0.0, "round {round}: {metrics}");
        }
    });
}

#[test]
fn a_verdict_bites_within_fifty_milliseconds() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(154, 1, "ban = \"20 denials in 10s\"\nfor = \"10m\"", ROUTES);
    let host = &stage.hosts[0];
    let sink = Sink::facing(host);
    let web = SocketAddr::from((host.gateway, stage.gateway.port));
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (asked, last) = thread::scope(|scope| {
        let stopping = Stop(&stop);
        let sender = scope.spawn(|| flood(host, sink.target, &stop, &sent));
        let seen = scope.spawn(|| sink.count(&stop));
        wait_for("the flood has begun", || sent.load(Relaxed) > 500);
        let asked = host.run(|| {
            let mut stream = TcpStream::connect(web).expect("not banned yet");
            stream.set_nodelay(true).expect("a socket option");
            stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a socket option");
            let mut asked = Instant::now();
            for _ in 0..20 {
                asked = Instant::now();
                stream.write_all(b"GET /closed HTTP/1.1\r\nHost: gateway\r\n\r\n").expect("sent");
                // The last answer may come or not: its acknowledgement is dropped already.
                let _ = stream.read(&mut [0; 2048]);
            }
            asked
        });
        let before = sent.load(Relaxed);
        wait_for("the flood goes on", || sent.load(Relaxed) > before + 1000);
        drop(stopping);
        sender.join().expect("the flood");
        (
            asked.expect("the host is there"),
            seen.join().expect("the sink").1.expect("some came before the ban"),
        )
    });
    let bit = last.saturating_duration_since(asked);
    println!("from the request that fills the rule to the last packet that passed: {} µs", bit.as_micros());
    assert!(!stage.connects(0, Duration::from_millis(300)));
    assert!(bit < Duration::from_millis(50), "{bit:?}");
}

#[test]
fn forged_sources_ban_nobody_and_evict_neither_a_ban_nor_a_client() {
    if Kernel::load().is_none() {
        return;
    }
    let shield = "packets = \"200/s\"\npacket-burst = 400\nsyns = \"20/s\"\nsyn-burst = 40\n\
                  ban = \"20 denials in 10s\"";
    let stage = Stage::new(158, 2, shield, ROUTES);
    let banned = stage.address(1).to_string();
    assert!(stage.gateway.cli(&["ban", &banned, "--for", "10m"]).status.success());
    let host = &stage.hosts[0];
    let inner = format!("{}1", host.name);
    let served = thread::scope(|scope| {
        let flood = scope.spawn(|| host.run(|| send_forged(&inner, 60_000)).expect("the host is there"));
        // A client with an address of its own goes on being served by the budget of its own.
        let mut served = 0;
        while !flood.is_finished() {
            served += u32::from(stage.get(0, "/open").status == 200);
            thread::sleep(Duration::from_millis(100));
        }
        flood.join().expect("the flood");
        served
    });
    println!("{served} requests served during a flood of 60000 SYNs from as many addresses");
    assert!(served > 0);
    assert_eq!(stage.get(0, "/open").status, 200);
    assert!(!stage.connects(1, Duration::from_millis(500)), "the ban is still in force");
    let bans = stage.gateway.cli_json(&["bans"]);
    assert_eq!(bans["bans"].as_array().map(Vec::len), Some(1), "{bans}");
    let (_, metrics) = stage.gateway.operations("/metrics");
    let seen = metric(&metrics, "portcullis_xdp_packets_total{verdict=\"clean\"}")
        + metric(&metrics, "portcullis_xdp_packets_total{verdict=\"over_syns\"}");
    assert!(seen >= 60_000.0, "{metrics}");
}

fn metric(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Sends SYNs, each from another address, out of an interface of this thread's namespace.
fn send_forged(interface: &str, count: u32) {
    let injector = Injector::on(interface).expect("a packet socket");
    for number in 0..count {
        let source = Ipv4Addr::from(0x2d00_0000 + number.wrapping_mul(2_654_435_761) % (1 << 24));
        let frame = Packet::from(&source.to_string()).tcp(443, SYN).build();
        injector.send(&frame).expect("sent");
    }
}

#[test]
fn a_banned_host_still_resolves_its_neighbour() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(162, 1, "", ROUTES);
    let host = &stage.hosts[0];
    let in_host = |line: &str| {
        let mut command = std::process::Command::new("ip");
        let output = command.args(["-n", &host.name]).args(line.split(' ')).output().expect("ip runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(stage.gateway.cli(&["ban", &host.address.to_string(), "--for", "1m"]).status.success());
    in_host("neigh flush all");
    assert!(!stage.connects(0, Duration::from_millis(300)), "dropped");
    let neighbour = in_host(&format!("neigh show {}", host.gateway));
    assert!(neighbour.contains("lladdr"), "ARP passes: {neighbour}");
    let (_, metrics) = stage.gateway.operations("/metrics");
    assert!(metric(&metrics, "portcullis_xdp_packets_total{verdict=\"not_ip\"}") >= 1.0, "{metrics}");
    assert!(metric(&metrics, "portcullis_xdp_packets_total{verdict=\"denied_source\"}") >= 1.0, "{metrics}");
}
