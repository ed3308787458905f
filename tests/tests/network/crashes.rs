//! `kill -9` of the gateway: the kernel goes on with its bans, and ends them by itself. Told by tcpdump, of SYNs to a
//! listener that is not the gateway's.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gateway_userspace::demo::network::Host;
use gateway_userspace::observe::timestamp;
use tests::capture::{Capture, Frame};
use tests::kernel::Kernel;
use tests::packet::{ACK, SYN};
use tests::stop::Stop;

use crate::stage::{Stage, wait_for};

const ROUNDS: u32 = 20;
/// How far from the end that was told the kernel may end a ban, to either side.
const TOLERANCE: Duration = Duration::from_secs(1);

/// A listener that takes connections and lets them go, facing a host.
fn listener(host: &Host) -> SocketAddr {
    let listener = TcpListener::bind((host.gateway, 0)).expect("a socket on the gateway's side");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || listener.incoming().for_each(drop));
    address
}

/// Opens connections from inside a host, one after the other, until `stop`: how many, and how many were answered within
/// `patience`.
fn knock(host: &Host, at: SocketAddr, patience: Duration, stop: &AtomicBool, sent: &AtomicU64) -> u64 {
    host.run(|| {
        let mut answered = 0;
        while !stop.load(Relaxed) {
            answered += u64::from(TcpStream::connect_timeout(&at, patience).is_ok());
            sent.fetch_add(1, Relaxed);
            thread::sleep(Duration::from_millis(2));
        }
        answered
    })
    .expect("the host is there")
}

#[test]
fn no_packet_of_a_banned_source_passes_while_the_gateway_is_killed_twenty_times() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(150, 2, "", "");
    let (banned, polite) = (stage.address(0).to_string(), stage.address(1).to_string());
    assert!(stage.gateway.cli(&["ban", &banned, "--for", "10m"]).status.success());
    let Stage { gateway, hosts, .. } = &mut stage;
    let behind = |host: usize, source: &str| {
        Capture::here(&hosts[host].interface, &format!("ip and src host {source}"))
    };
    let (mut of_banned, of_polite) = (behind(0, &banned), behind(1, &polite));
    let (at_banned, at_polite) = (listener(&hosts[0]), listener(&hosts[1]));
    let stop = AtomicBool::new(false);
    let (refused, served) = (AtomicU64::new(0), AtomicU64::new(0));
    let (arrived, answered) = thread::scope(|scope| {
        let stopping = Stop(&stop);
        let abuser = scope.spawn(|| knock(&hosts[0], at_banned, Duration::from_millis(2), &stop, &refused));
        let client = scope.spawn(|| knock(&hosts[1], at_polite, Duration::from_secs(10), &stop, &served));
        let both_go_on = || {
            let before = (refused.load(Relaxed), served.load(Relaxed));
            wait_for("both go on", || {
                refused.load(Relaxed) > before.0 + 50 && served.load(Relaxed) > before.1 + 20
            });
        };
        for _ in 0..ROUNDS {
            gateway.kill();
            both_go_on();
            gateway.restart();
            both_go_on();
        }
        let arrived = of_banned.frames().len();
        println!("{arrived} packets of {} SYNs of the banned source passed", refused.load(Relaxed));
        // The same witness sees them once the ban is lifted: it was the ban that kept them off.
        assert!(gateway.cli(&["unban", &banned]).status.success());
        wait_for("its packets pass again", || of_banned.frames().len() > 10);
        drop(stopping);
        abuser.join().expect("the abuser");
        (arrived, client.join().expect("the client"))
    });
    assert_eq!(arrived, 0);
    let (served, syns) = (served.load(Relaxed), count(&of_polite.stop(), SYN));
    println!(
        "{answered} of {served} connections of the polite source were taken, of {syns} SYNs that passed"
    );
    assert_eq!(answered, served);
    assert!(syns as u64 >= served, "{syns}");
    of_banned.stop();
}

/// Segments with exactly these flags, those of congestion control (RFC 3168) aside.
fn count(frames: &[Frame], flags: u8) -> usize {
    frames.iter().filter(|frame| frame.segment().is_some_and(|segment| segment.flags & 0x3f == flags)).count()
}

#[test]
fn the_kernel_ends_a_ban_within_a_second_of_its_time_with_the_gateway_dead() {
    if Kernel::load().is_none() {
        return;
    }
    let mut stage = Stage::new(110, 1, "", "");
    let address = stage.address(0).to_string();
    let capture = Capture::within(&stage.hosts[0], "tcp");
    assert!(stage.gateway.cli(&["ban", &address, "--for", "4s"]).status.success());
    let ban = stage.gateway.cli_json(&["bans"])["bans"][0].clone();
    stage.gateway.kill();
    let end = timestamp::deserialize(&ban["until"]).expect("it has an end");
    let at = listener(&stage.hosts[0]);
    let knocking = Instant::now();
    let patience = Duration::from_millis(48);
    // One SYN in 50 ms.
    let answered = stage.hosts[0].run(move || {
        while TcpStream::connect_timeout(&at, patience).is_err() {
            if knocking.elapsed() > Duration::from_secs(20) {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    });
    assert!(answered.expect("the host is there"), "the kernel ends the ban itself");
    // What counts is when a SYN was sent, not when this test came to see it.
    let frames = capture.stop();
    let port = |frame: &Frame, flags: u8| {
        let segment = frame.segment().filter(|segment| segment.flags & 0x3f == flags)?;
        Some(if flags == SYN { segment.from.port() } else { segment.to.port() })
    };
    let answers: Vec<u16> = frames.iter().filter_map(|frame| port(frame, SYN | ACK)).collect();
    let (open, shut): (Vec<_>, Vec<_>) = frames
        .iter()
        .filter_map(|frame| Some((frame.time, port(frame, SYN)?)))
        .partition(|(_, port)| answers.contains(port));
    let (first, last) = (open[0].0, shut[shut.len() - 1].0);
    println!(
        "{} SYNs unanswered, the last {} and the first answered {}",
        shut.len(),
        since(last, end),
        since(first, end)
    );
    assert!(first > end - TOLERANCE, "answered {}", since(first, end));
    assert!(last < end + TOLERANCE, "not answered {}", since(last, end));
    assert!(shut.len() > 1 && last < first, "they follow one another");
}

/// How long after the end of the ban.
fn since(time: SystemTime, end: SystemTime) -> String {
    match time.duration_since(end) {
        Ok(after) => format!("{} ms after its end", after.as_millis()),
        Err(before) => format!("{} ms before its end", before.duration().as_millis()),
    }
}
