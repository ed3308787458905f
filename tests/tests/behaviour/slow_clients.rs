//! Many clients at once that hold connections by doing next to nothing on them, while a polite one is served.

use std::time::{Duration, Instant};

use tests::curl::curl;
use tests::gateway::Gateway;
use tests::privilege::skip;
use tests::slowhttptest::{self, Attack};
use tests::volume::Volume;

/// Three seconds to open all connections, two of the deadlines, and as much again twice for a machine under load.
const GONE_BY: Duration = Duration::from_secs(20);

/// Deadlines of two seconds; whatever is slower than they allow is to be gone soon after.
fn gateway(volume: &Volume) -> Gateway {
    Gateway::start_with(|_, port| {
        format!(
            "[listen.main]\naddress = \"127.0.0.1:{port}\"\nmax-connections-per-address = 1000\n\
             handshake-timeout = \"2s\"\nheader-timeout = \"2s\"\nwrite-timeout = \"2s\"\nidle-timeout = \"2s\"\n\
             [route.all]\nmatch = \"/*\"\nto = \"http://{}\"\nupload-grace = \"2s\"\n\
             [route.polite]\nmatch = \"/polite\"\nrespond = {{ status = 200, body = \"ok\" }}\n",
            volume.address
        )
    })
}

/// Attacks while a polite client asks again and again, and counts what the gateway holds in between.
fn nothing_is_held(name: &str, path: &str, connections: usize, how: &[&str]) {
    if !slowhttptest::installed() {
        return skip(&format!("slow_clients::{name}"), "there is no slowhttptest");
    }
    let volume = Volume::start();
    let gateway = gateway(&volume);
    let started = Instant::now();
    let attack = Attack::start(&gateway.url(path), connections, how);
    let (mut most, mut polite, mut longest) = (0, 0, Duration::ZERO);
    let gone = loop {
        let held = gateway.open_connections();
        most = most.max(held);
        if most > connections / 3 && held == 0 {
            break started.elapsed();
        }
        assert!(started.elapsed() < GONE_BY, "{held} of at most {most} are held still");
        let asked = Instant::now();
        assert_eq!(curl(&[&gateway.url("/polite")]).status, 200, "a polite client is served");
        longest = longest.max(asked.elapsed());
        polite += 1;
        std::thread::sleep(Duration::from_millis(50));
    };
    drop(attack);
    assert!(polite > 10, "the polite client asked {polite} times");
    eprintln!(
        "{name}: at most {most} held, none after {gone:?}; {polite} polite requests, the longest {longest:?}"
    );
}

#[test]
fn slow_headers_hold_nothing_after_their_deadline() {
    nothing_is_held("slow_headers", "/", 300, &["-H", "-i", "1", "-x", "24"]);
}

#[test]
fn slow_bodies_hold_nothing_after_their_deadline() {
    nothing_is_held("slow_bodies", "/", 300, &["-B", "-i", "1", "-x", "10", "-s", "8192"]);
}

/// Fewer than of the others: a reader is stalled only when the kernel has taken about 4 MiB for it, which takes its time.
#[test]
fn slow_readers_hold_nothing_after_their_deadline() {
    nothing_is_held(
        "slow_readers",
        "/67108864",
        100,
        &["-X", "-n", "5", "-z", "32", "-w", "256", "-y", "512"],
    );
}
