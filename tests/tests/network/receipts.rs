//! The receipt of a ban against other witnesses: curl for the requests, tcpdump on both sides for the packets.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gateway_userspace::observe::timestamp;
use tests::capture::{Capture, Frame};
use tests::kernel::Kernel;

use crate::stage::{Stage, wait_for};

const ROUTES: &str = "[auth.keys]\napi-key = [\"header:X-API-Key\"]\n\
                      keys.partner = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n\
                      [route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n\
                      [route.closed]\nmatch = \"/closed/*\"\nrespond = { status = 200 }\naccess = [\"deny all\"]\n\
                      [route.keyed]\nmatch = \"/keyed/*\"\nrespond = { status = 200 }\nauth = \"keys\"\n";
/// Refused requests that fill the rule.
const DENIALS: usize = 12;
/// Time stamps are shown in whole milliseconds.
const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_receipt_tells_every_request_and_exactly_the_packets_that_were_dropped() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(174, 1, &format!("ban = \"{DENIALS} denials in 5m\""), ROUTES);
    let host = &stage.hosts[0];
    let filter = format!("ip and src host {}", host.address);
    let (mut sent, mut passed) = (Capture::within(host, &filter), Capture::here(&host.interface, &filter));

    let mut asked = Vec::new();
    for number in 0..DENIALS {
        let (method, route, status) = [("GET", "closed", 403), ("POST", "keyed", 401)][number % 2];
        let path = format!("/{route}/{number}");
        let before = SystemTime::now() - MILLISECOND;
        let answer = stage.get_with(0, &["-X", method], &format!("{path}?secret=1"));
        assert_eq!(answer.status, status, "{path}");
        let id = answer.header("x-request-id").to_owned();
        asked.push((method, path, status, route, id, before..SystemTime::now()));
    }
    wait_for("the ban", || {
        stage.gateway.cli_json(&["bans"])["bans"].as_array().is_some_and(|all| !all.is_empty())
    });
    let known = SystemTime::now();
    let target = (host.gateway, 9);
    host.run(move || {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in the host");
        for size in 0..50 {
            socket.send_to(&[0; 1000][..size * 7], target).expect("sent");
        }
    })
    .expect("the host is there");
    assert!(!stage.connects(0, Duration::from_millis(100)));

    // Segments that nobody acknowledges are sent again and again, so all are asked for in a quiet moment.
    let asking = Instant::now();
    let (ban, sent, passed) = loop {
        let before = sent.frames().len();
        thread::sleep(Duration::from_millis(100));
        let shown = stage.gateway.cli_json(&["bans", "show", "1"]);
        let (passed, sent) = (passed.frames(), sent.frames());
        if sent.len() == before {
            break (shown["bans"][0].clone(), sent, passed);
        }
        assert!(asking.elapsed() < Duration::from_secs(60), "a quiet moment");
    };
    let dropped = without(&sent, &passed);
    let bytes: usize = dropped.iter().map(|frame| frame.bytes.len()).sum();
    println!(
        "{} packets sent, {} passed; receipt: {} of {} bytes",
        sent.len(),
        passed.len(),
        ban["packets"],
        ban["bytes"]
    );
    assert!(dropped.len() > 50, "the datagrams and more");
    assert_eq!(ban["packets"], dropped.len(), "{ban}");
    assert_eq!(ban["bytes"], bytes, "{ban}");
    let after = sent.iter().filter(|frame| frame.time > known).count();
    let dropped_after = dropped.iter().filter(|frame| frame.time > known).count();
    assert_eq!(dropped_after, after, "once the ban is told, nothing passes");

    assert_eq!(ban["by"], "rule");
    assert!(
        ban["reason"].as_str().is_some_and(|reason| reason.starts_with(&format!("{DENIALS} denials in 5m"))),
        "{ban}"
    );
    let evidence = ban["evidence"].as_array().expect("evidence");
    assert_eq!(evidence.len(), DENIALS);
    for (told, (method, path, status, route, id, when)) in evidence.iter().zip(&asked) {
        let request = (&told["method"], &told["path"], &told["status"], &told["route"], &told["request_id"]);
        assert!(
            request.0 == method
                && request.1 == path
                && request.2 == status
                && request.3 == route
                && request.4 == id,
            "{told} of {method} {path} {status} {route} {id}"
        );
        let time = timestamp::deserialize(&told["time"]).expect("a time");
        assert!(when.contains(&time), "{told}: {when:?}");
    }

    let lifted = Instant::now();
    assert!(stage.gateway.cli(&["unban", "1"]).status.success());
    assert_eq!(stage.get(0, "/open").status, 200, "the first request is answered");
    println!("from the unban command to the answer: {:?}", lifted.elapsed());
}

/// The frames of `all` less those of `some`: told apart by their Ethernet and IPv4 headers, the identification among them, and
/// their ports; checksums of what follows are filled in on the way.
fn without(all: &[Frame], some: &[Frame]) -> Vec<Frame> {
    let key = |frame: &Frame| frame.bytes[..frame.bytes.len().min(38)].to_vec();
    let mut left: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for frame in some {
        *left.entry(key(frame)).or_default() += 1;
    }
    let mut remaining = all.to_vec();
    remaining.retain(|frame| match left.get_mut(&key(frame)).filter(|count| **count > 0) {
        Some(count) => {
            *count -= 1;
            false
        }
        None => true,
    });
    assert_eq!(left.values().sum::<usize>(), 0, "what passed was sent");
    remaining
}
