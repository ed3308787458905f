//! CrowdSec's local API, as Debian builds it, offline: no account, no hub, no central service, and nothing that reads logs.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::{folder, free_port};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(90);
/// Of the bouncer that the gateway is.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Of another bouncer, for the API remembers when each key asked last.
const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Where the packages lie: unpacked by set-up, for installing them starts a service and registers the machine, or else
/// installed by somebody. None: an archive that does not have them.
pub fn root() -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/crowdsec");
    let complete = |root: &PathBuf| ["crowdsec", "cscli"].iter().all(|name| program(root, name).exists());
    [unpacked, PathBuf::from("/")].into_iter().find(complete)
}

fn program(root: &Path, name: &str) -> PathBuf {
    root.join("usr/bin").join(name)
}

/// A running API, stopped when dropped.
pub struct CrowdSec {
    root: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Child,
}

impl CrowdSec {
    /// One that knows [`KEY`], and no decision; none where it is not to be had.
    pub fn start() -> Option<CrowdSec> {
        let (root, folder, port) = (root()?, folder(), free_port());
        lay_out(&folder, port).expect("files can be written");
        fs::write(folder.join("profiles.yaml"), PROFILES).expect("a file can be written");
        let credentials = folder.join("credentials.yaml").display().to_string();
        for arguments in [
            &["machines", "add", "test", "--password", "test", "-f", &credentials][..],
            &["bouncers", "add", "gateway", "-k", KEY],
            &["bouncers", "add", "other", "-k", OTHER_KEY],
        ] {
            cli(&root, &folder, arguments);
        }
        let child = spawn(&root, &folder);
        let mut crowdsec = CrowdSec { root, folder, port, child };
        crowdsec.wait_until_ready();
        Some(crowdsec)
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `cscli` says; fails the test when it fails.
    pub fn cli(&self, arguments: &[&str]) -> String {
        cli(&self.root, &self.folder, arguments)
    }

    /// The numbers of the decisions in force about a value.
    pub fn decisions(&self, value: &str) -> Vec<i64> {
        let url = format!("{}/v1/decisions?value={value}", self.url());
        let answer = crate::curl::curl(&["-H", &format!("X-Api-Key: {OTHER_KEY}"), &url]);
        let decisions = answer.json();
        let numbers = decisions.as_array().into_iter().flatten();
        numbers.filter_map(|decision| decision["id"].as_i64()).collect()
    }

    /// Ends it; what it knows stays.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`CrowdSec::stop`].
    pub fn restart(&mut self) {
        self.child = spawn(&self.root, &self.folder);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let said = || fs::read_to_string(self.folder.join("said.log")).unwrap_or_default();
            assert!(matches!(self.child.try_wait(), Ok(None)), "CrowdSec ended: {}", said());
            assert!(started.elapsed() < PATIENCE, "CrowdSec did not start: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for CrowdSec {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(root: &Path, folder: &Path) -> Child {
    let said = File::create(folder.join("said.log")).expect("its output can be kept");
    Command::new(program(root, "crowdsec"))
        .arg("-c")
        .arg(folder.join("config.yaml"))
        .arg("-no-cs")
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("a file can be shared"))
        .stderr(said)
        .spawn()
        .expect("CrowdSec runs")
}

fn cli(root: &Path, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program(root, "cscli"))
        .arg("-c")
        .arg(folder.join("config.yaml"))
        .args(arguments)
        .output()
        .expect("cscli runs");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).concat();
    assert!(output.status.success(), "cscli {arguments:?}: {said}");
    said
}

/// Writes what CrowdSec wants to find in a folder: an API on a port of the loopback, an empty hub, no simulation. What it
/// decides by (`profiles.yaml`), and what it reads, is the caller's.
///
/// # Errors
/// If a file cannot be written.
pub fn lay_out(home: &Path, port: u16) -> io::Result<()> {
    for part in ["data", "hub"] {
        fs::create_dir_all(home.join(part))?;
    }
    let config = CONFIG.replace("{place}", &home.display().to_string());
    fs::write(home.join("config.yaml"), config.replace("{port}", &port.to_string()))?;
    fs::write(home.join("simulation.yaml"), "simulation: false\n")?;
    fs::write(home.join("credentials.yaml"), "")?;
    fs::write(home.join("hub/.index.json"), NO_HUB)
}

const NO_HUB: &str = r#"{"collections":{},"parsers":{},"postoverflows":{},"scenarios":{}}"#;

/// Without `online_client`, so nothing is sent or fetched.
const CONFIG: &str = "\
common: { daemonize: false, log_media: stdout, log_level: info, working_dir: {place} }
config_paths:
  config_dir: {place}
  data_dir: {place}/data
  simulation_path: {place}/simulation.yaml
  hub_dir: {place}/hub
  index_path: {place}/hub/.index.json
cscli: { output: human }
db_config: { log_level: info, type: sqlite, db_path: {place}/data/crowdsec.db, use_wal: true }
api:
  client: { credentials_path: {place}/credentials.yaml }
  server:
    log_level: info
    listen_uri: 127.0.0.1:{port}
    profiles_path: {place}/profiles.yaml
    console_path: {place}/console.yaml
prometheus: { enabled: false }
";

const PROFILES: &str = "\
name: test
filters:
  - Alert.Remediation == true
decisions:
  - type: ban
    duration: 10m
on_success: break
";
