//! A forger who sends in the name of another: whose address it is stays unbanned.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use gateway_userspace::demo::network::Host;
use tests::injector::Injector;
use tests::kernel::Kernel;
use tests::packet::{ACK, Packet, RST, SYN};
use tests::stop::Stop;

use crate::stage::{Stage, station, wait_for};

const ROUTES: &str = "[route.open]\nmatch = \"/open\"\nrespond = { status = 200 }\n";
const FLOOD: Duration = Duration::from_secs(4);

#[test]
fn a_client_in_whose_name_somebody_sends_at_full_rate_is_never_banned() {
    if Kernel::load().is_none() {
        return;
    }
    let rule = "ban = \"5 denials in 5m\"\n";
    let budgets = format!("{rule}packets = \"50k/s\"\nsyns = \"5k/s\"\n");
    for (net, shield, budgets) in [(188, rule, "no budgets"), (190, &budgets, "budgets")] {
        let stage = Stage::new(net, 2, shield, ROUTES);
        let (victim, forger) = (&stage.hosts[0], &stage.hosts[1]);
        let stop = AtomicBool::new(false);
        let (forged, asked, served) = thread::scope(|scope| {
            let stopping = Stop(&stop);
            let forging = scope.spawn(|| forge(forger, victim, stage.gateway.port, &stop));
            let (mut asked, mut served) = (0, 0);
            let started = Instant::now();
            while started.elapsed() < FLOOD {
                asked += 1;
                served += u32::from(stage.get(0, "/open").status == 200);
            }
            drop(stopping);
            (forging.join().expect("the forger"), asked, served)
        });
        println!("{budgets}: {served} of {asked} requests served beside {forged} forged segments");
        assert!(forged > 10_000, "{forged}");
        let bans = stage.gateway.cli_json(&["bans", "--ended"]);
        assert_eq!(bans["bans"].as_array().map(Vec::len), Some(0), "{bans}");
        wait_for("the victim is served afterwards", || stage.get(0, "/open").status == 200);
    }
}

/// Sends segments of all kinds in the name of `victim` from within `forger` until `stop`; how many.
fn forge(forger: &Host, victim: &Host, port: u16, stop: &AtomicBool) -> u64 {
    let station = station(&forger.interface);
    let source = victim.address.to_string();
    let frames: Vec<Vec<u8>> = (0..4096_u16)
        .map(|number| {
            let flags = [SYN, SYN, ACK, RST][usize::from(number % 4)];
            let segment = Packet::from(&source).tcp(port, flags).source_port(20_000 + number);
            segment.build_for(station, forger.gateway)
        })
        .collect();
    let inner = format!("{}1", forger.name);
    forger
        .run(|| {
            let injector = Injector::on(&inner).expect("a packet socket");
            let mut count = 0;
            for frame in frames.iter().cycle() {
                if stop.load(Relaxed) {
                    break;
                }
                count += u64::from(injector.send(frame).is_ok());
            }
            count
        })
        .expect("the host is there")
}
