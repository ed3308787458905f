//! The SYN budget rests while nothing presses, and is armed by a flood for as long as it lasts.

use std::time::{Duration, Instant};

use tests::injector::Injector;
use tests::kernel::Kernel;
use tests::packet::{Packet, SYN};

use crate::stage::{Stage, station};

const SHIELD: &str = "syns = \"1/s\"\nsyn-burst = 2\npressure = \"500/s\"\n";
const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n";
/// Ten times what it takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Connections opened at once, far more than the budget admits.
const BURST: usize = 20;

#[test]
fn syns_are_limited_only_from_when_a_flood_begins_until_it_is_over() {
    if Kernel::load().is_none() {
        return;
    }
    let stage = Stage::new(40, 1, SHIELD, ROUTES);
    let after_start = state(&stage);
    assert_eq!(after_start.1, Some(true), "armed from the start");
    a_burst_passes(&stage);

    flood_until_armed(&stage);
    let (_, metrics) = stage.gateway.operations("/metrics");
    assert!(metrics.contains("\nportcullis_pressure 1\n"), "{metrics}");
    let (opened, shed) = burst(&stage);
    assert!(opened < BURST && shed > 0, "{opened} of {BURST} opened, {shed} SYNs shed");
    let said = stage.gateway.said();
    assert!(said.contains("under pressure"), "{said}");

    a_burst_passes(&stage);
    let said = stage.gateway.said();
    assert!(said.contains("no pressure any more"), "{said}");

    let path = stage.gateway.folder.join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let always = text.replace("pressure = \"500/s\"", "pressure = \"500/s\"\nsyns-armed = \"always\"");
    std::fs::write(&path, always).unwrap();
    assert!(stage.gateway.cli(&["reload"]).status.success());
    wait("a reload arms it for good", || state(&stage) == (false, Some(true)));
}

/// Whether something presses, and whether the SYN budget is armed.
fn state(stage: &Stage) -> (bool, Option<bool>) {
    let kernel = &stage.gateway.cli_json(&["status"])["kernel"];
    (kernel["pressure"] == true, kernel["syns_armed"].as_bool())
}

/// SYNs that were over the budget.
fn over(stage: &Stage) -> u64 {
    let status = stage.gateway.cli_json(&["status"]);
    let counters = status["kernel"]["counters"].as_array().expect("the counters").iter();
    let of = |name| {
        let counter = counters.clone().find(|counter| counter["verdict"] == name);
        counter.and_then(|counter| counter["packets"].as_u64()).unwrap_or_default()
    };
    of("over_syns") + of("repeated")
}

/// Opens connections one after another: how many were answered at once, and how many SYNs were over the budget.
fn burst(stage: &Stage) -> (usize, u64) {
    let before = over(stage);
    let opened = (0..BURST).filter(|_| stage.connects(0, Duration::from_millis(500))).count();
    (opened, over(stage) - before)
}

/// Waits until the budget rests, and for a burst that passes then. Others on this machine may press in between.
fn a_burst_passes(stage: &Stage) {
    wait("a burst passes at rest", || {
        let resting = || state(stage) == (false, Some(false));
        if !resting() {
            return false;
        }
        let (opened, shed) = burst(stage);
        assert!(shed == 0 || !resting(), "{shed} SYNs shed at rest");
        opened == BURST && shed == 0
    });
}

/// Sends SYNs from all addresses of the host's network, each of which answers nothing.
fn flood_until_armed(stage: &Stage) {
    let host = &stage.hosts[0];
    let station = station(&host.interface);
    let frames: Vec<Vec<u8>> = (10..210)
        .map(|number| {
            let [a, b, c, _] = host.address.octets();
            let segment = Packet::from(&format!("{a}.{b}.{c}.{number}")).tcp(stage.gateway.port, SYN);
            segment.build_for(station, host.gateway)
        })
        .collect();
    let inner = format!("{}1", host.name);
    host.run(|| {
        let injector = Injector::on(&inner).expect("a packet socket");
        let started = Instant::now();
        while state(stage) != (true, Some(true)) {
            assert!(started.elapsed() < PATIENCE, "never armed");
            for frame in frames.iter().cycle().take(20 * frames.len()) {
                // The interface may have no room.
                let _ = injector.send(frame);
            }
        }
    })
    .expect("the host is there");
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !done() {
        assert!(asked.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
