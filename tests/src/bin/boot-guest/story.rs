//! The story of two bans, a crash, a power cut, and the boot after it.
//!
//! The first part leaves on the disk what the gateway left there, and a record of its own for the second part to compare
//! with. A step that fails ends its part: what is not told has failed too.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::boot::{Line, steps};
use tests::gateway::Gateway;
use tests::stop::Stop;

use crate::clients::{Client, PORT};
use crate::report::Report;
use crate::system::DISK;

/// How far the seconds that are left may be off: the two clocks are read one after the other, on a slow machine.
const TOLERANCE_S: i64 = 15;

/// The gateway and those around it.
struct Stage {
    gateway: Gateway,
    clients: Clients,
}

/// The client hosts.
struct Clients {
    polite: Client,
    abuser: Client,
    pest: Client,
}

impl Clients {
    fn new() -> Clients {
        let [polite, abuser, pest] =
            [("polite", 1), ("abuser", 2), ("pest", 3)].map(|(name, net)| Client::new(name, net));
        Clients { polite, abuser, pest }
    }

    /// Starts the gateway in its folder on the disk.
    fn gateway(&self) -> Gateway {
        let folder = Path::new(DISK).join("gateway");
        fs::create_dir_all(&folder).expect("the disk can be written");
        let interfaces = [&self.polite, &self.abuser, &self.pest].map(|client| client.interface().to_owned());
        let configuration = format!(
            "[listen.main]\naddress = \"0.0.0.0:{PORT}\"\n\n\
             [shield]\ninterfaces = {interfaces:?}\nban = \"20 denials in 2m\"\nfor = \"2h\"\n\n\
             [route.open]\nmatch = \"/open\"\nrespond = {{ status = 200 }}\n\n\
             [route.closed]\nmatch = \"/closed\"\nrespond = {{ status = 200 }}\naccess = [\"deny all\"]\n"
        );
        Gateway::start_in(folder, PORT, &configuration)
    }
}

/// The first boot, to its sudden end; returns only if a step fails.
pub fn until_the_power_is_cut(report: &mut Report) -> Option<()> {
    let mut stage = report.step(steps::ATTACHES, attach)?;
    report.step(steps::BANS, || ban_by_rule(&stage))?;
    report.step(steps::CRASH, || crash(&mut stage))?;
    report.step(steps::OPERATOR, || ban_by_hand(&stage))?;
    report.send(&Line::Cut);
    loop {
        std::thread::park();
    }
}

/// The second boot.
pub fn after_the_reboot(report: &mut Report) {
    let clients = Clients::new();
    let Some(gateway) = report.step(steps::REBOOT, || start_while_they_knock(&clients)) else { return };
    let stage = Stage { gateway, clients };
    // Each of these looks at something else, so a failed one does not end the story.
    report.step(steps::RECEIPT, || compare_with_the_record(&stage));
    report.step(steps::ENDED, || {
        let ban = ban_of(&stage, &stage.clients.pest, true);
        assert_eq!(ban["state"], "expired", "{ban}");
        assert!(stage.clients.pest.connects(), "the ban is over");
    });
    report.step(steps::LIFTED, || {
        let undone = stage.gateway.cli(&["unban", &stage.clients.abuser.address()]);
        assert!(undone.status.success(), "{undone:?}");
        assert_eq!(stage.clients.abuser.get("/open"), 200);
    });
    let attachments = &stage.gateway.cli_json(&["status"])["kernel"]["attachments"];
    report.send(&Line::Fact(format!("attached to {attachments}")));
}

fn attach() -> Stage {
    let clients = Clients::new();
    let stage = Stage { gateway: clients.gateway(), clients };
    let kernel = stage.gateway.cli_json(&["status"])["kernel"].clone();
    assert_eq!((&kernel["on"], &kernel["mode"]), (&json!(true), &json!("enforce")), "{kernel}");
    let attachments = kernel["attachments"].as_array().cloned().unwrap_or_default();
    assert_eq!(attachments.len(), 3, "{kernel}");
    assert!(attachments.iter().all(|attachment| attachment["mode"] == "native"), "{kernel}");
    assert_eq!(stage.clients.polite.get("/open"), 200);
    stage
}

fn ban_by_rule(stage: &Stage) {
    for denial in 1..=20 {
        assert_eq!(stage.clients.abuser.get("/closed"), 403, "denial {denial}");
    }
    wait_until("the rule bans", || active(stage).iter().any(|ban| of(ban, &stage.clients.abuser)));
    assert!(stage.clients.abuser.is_shut_out(), "the abuser's SYN after 20 denials is dropped");
    let ban = ban_of(stage, &stage.clients.abuser, false);
    assert_eq!((&ban["enforced"], &ban["by"]), (&json!("kernel"), &json!("rule")), "{ban}");
    assert_eq!(ban["evidence"].as_array().map(Vec::len), Some(20), "{ban}");
    wait_until("the kernel counts what the ban drops", || {
        ban_of(stage, &stage.clients.abuser, false)["packets"].as_u64().is_some_and(|packets| packets > 0)
    });
    assert_eq!(
        (stage.clients.polite.get("/open"), stage.clients.pest.get("/open")),
        (200, 200),
        "nobody else is banned"
    );
}

fn crash(stage: &mut Stage) {
    let before = ban_of(stage, &stage.clients.abuser, false);
    stage.gateway.kill();
    // Something else listens in its place, so that a SYN that passes would be answered.
    let listener = TcpListener::bind(("0.0.0.0", PORT)).expect("the port is free again");
    assert!(
        stage.clients.polite.connects(),
        "without a gateway the kernel stage lets everybody else through"
    );
    for _ in 0..3 {
        assert!(stage.clients.abuser.is_shut_out(), "without a gateway the ban goes on");
    }
    drop(listener);
    // The next process loads the program anew, and replaces the one behind the pinned links.
    let Stage { gateway, clients } = stage;
    let stop = AtomicBool::new(false);
    let knocked = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let knocking = scope.spawn(|| clients.abuser.knock_until(&stop));
        gateway.restart();
        drop(stopping);
        knocking.join().expect("knocking does not panic")
    });
    assert_eq!((knocked.connected, knocked.refused), (0, 0), "{knocked:?}");
    assert!(knocked.silent > 0, "{knocked:?}");
    let after = ban_of(stage, &stage.clients.abuser, false);
    for field in ["id", "reason", "since", "evidence"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(stage.clients.polite.get("/open"), 200);
    write_record(stage);
}

/// The last thing before the power is cut: nothing is written to the disk after it.
fn ban_by_hand(stage: &Stage) {
    let told =
        stage.gateway.cli(&["ban", &stage.clients.pest.address(), "--for", "15m", "--reason", "a pest"]);
    assert!(told.status.success(), "{told:?}");
    assert!(stage.clients.pest.is_shut_out());
}

fn start_while_they_knock(clients: &Clients) -> Gateway {
    let [served, over] = [(); 2].map(|()| AtomicBool::new(false));
    let (gateway, knocked) = std::thread::scope(|scope| {
        let stopping = Stop(&over);
        let abuser = scope.spawn(|| clients.abuser.knock_until(&over));
        let polite = scope.spawn(|| {
            // Until the very first answer.
            while clients.polite.get("/open") != 200 && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            served.store(true, Ordering::Relaxed);
        });
        let gateway = clients.gateway();
        wait_until("somebody else is served", || served.load(Ordering::Relaxed));
        // Some attempts more, with the listener there for certain.
        std::thread::sleep(Duration::from_secs(3));
        drop(stopping);
        polite.join().expect("asking does not panic");
        (gateway, abuser.join().expect("knocking does not panic"))
    });
    assert_eq!(knocked.connected, 0, "the banned were served: {knocked:?}");
    assert!(knocked.silent >= 5, "{knocked:?}");
    assert!(knocked.refused > 0, "they had knocked before the gateway started: {knocked:?}");
    gateway
}

fn compare_with_the_record(stage: &Stage) {
    let record = fs::read(record_file()).expect("the record is on the disk");
    let record: Value = serde_json::from_slice(&record).expect("the record is whole");
    let (before, ban) = (&record["ban"], ban_of(stage, &stage.clients.abuser, false));
    for field in ["id", "prefix", "reason", "by", "since", "until", "offence", "evidence"] {
        assert_eq!(ban[field], before[field], "{field}");
    }
    assert_eq!((&ban["state"], &ban["enforced"]), (&json!("active"), &json!("kernel")));
    let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("no number: {value}"));
    let away_s = unix_s() - number(&record["at_s"]);
    assert!(away_s > 15 * 60, "the clock has moved on by {away_s} s only");
    let left_s = number(&ban["left_s"]);
    let wanted_s = number(&before["left_s"]) - away_s;
    assert!((left_s - wanted_s).abs() <= TOLERANCE_S, "{left_s} s left instead of {wanted_s} s");
    assert!(stage.clients.abuser.is_shut_out());
}

/// Keeps the abuser's ban, as the gateway tells it, for the second boot.
fn write_record(stage: &Stage) {
    let record = json!({ "at_s": unix_s(), "ban": ban_of(stage, &stage.clients.abuser, false) });
    fs::write(record_file(), record.to_string()).expect("the disk can be written");
    for path in [record_file(), DISK.into()] {
        File::open(path).and_then(|file| file.sync_all()).expect("the disk can be flushed");
    }
}

fn record_file() -> PathBuf {
    Path::new(DISK).join("record.json")
}

fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn active(stage: &Stage) -> Vec<Value> {
    stage.gateway.cli_json(&["bans"])["bans"].as_array().cloned().unwrap_or_default()
}

fn of(ban: &Value, client: &Client) -> bool {
    ban["prefix"] == format!("{}/32", client.address())
}

/// The newest ban of a client, among those that are over too if `ended`.
#[track_caller]
fn ban_of(stage: &Stage, client: &Client, ended: bool) -> Value {
    let arguments: &[&str] = if ended { &["bans", "--ended"] } else { &["bans"] };
    let bans = stage.gateway.cli_json(arguments)["bans"].clone();
    let found = bans.as_array().and_then(|bans| bans.iter().find(|ban| of(ban, client)).cloned());
    found.unwrap_or_else(|| panic!("{} has no ban: {bans}", client.address()))
}

#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..300 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("not within half a minute: {what}");
}
