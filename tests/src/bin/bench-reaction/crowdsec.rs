//! CrowdSec and its firewall bouncer, as Debian builds them, offline: no account, no hub, no central service.
//!
//! Installing the packages registers the machine with the central service; so set-up unpacks them into `.tools` instead.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::crowdsec::lay_out;
use tests::gateway::free_port;

use crate::service::Service;
use crate::stack::first_line;

/// How often the bouncer asks, which is its own default and Debian's.
pub const ASKS_EVERY: Duration = Duration::from_secs(10);

/// Where the packages lie, the bouncer's too.
fn root() -> Option<PathBuf> {
    tests::crowdsec::root().filter(|root| root.join("usr/bin/crowdsec-firewall-bouncer").exists())
}

fn program(name: &str) -> Result<Command> {
    Ok(Command::new(root().context("CrowdSec is not there")?.join("usr/bin").join(name)))
}

/// `None` if it is not there.
pub fn version() -> Option<String> {
    let said = first_line(program("crowdsec").ok()?.arg("-version"))?;
    // After a time: `version: v1.4.6…`.
    Some(said.rsplit("version: ").next().unwrap_or(&said).to_owned())
}

/// Starts both, and waits until both work.
pub fn start(folder: &Path, log: &Path) -> Result<Vec<Service>> {
    let home = folder.join("crowdsec");
    let port = free_port();
    configure(&home, log, port)?;
    let config = home.join("config.yaml");
    for arguments in [
        &["machines", "add", "bench", "--password", "bench", "-f"][..],
        &["bouncers", "add", "bench", "-k", KEY][..],
    ] {
        let mut command = program("cscli")?;
        command.arg("-c").arg(&config).args(arguments);
        if arguments[0] == "machines" {
            command.arg(home.join("credentials.yaml"));
        }
        let output = command.output()?;
        ensure!(output.status.success(), "cscli failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut command = program("crowdsec")?;
    command.arg("-c").arg(&config);
    let mut engine = Service::start("crowdsec", command, folder)?;
    let said = engine.log().to_owned();
    engine.wait_until(|| Service::said(&said, "Starting processing data"))?;
    let mut command = program("crowdsec-firewall-bouncer")?;
    command.arg("-c").arg(home.join("bouncer.yaml"));
    let mut bouncer = Service::start("bouncer", command, folder)?;
    let said = bouncer.log().to_owned();
    bouncer.wait_until(|| Service::said(&said, "Processing new and deleted decisions"))?;
    Ok(vec![bouncer, engine])
}

/// Of the bouncer, between two processes of a namespace that has no other network than the bench's.
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn configure(home: &Path, log: &Path, port: u16) -> Result<()> {
    let (place, number) = (home.display().to_string(), port.to_string());
    let fill = |text: &str| {
        let text = text.replace("{place}", &place).replace("{port}", &number);
        text.replace("{every}", &format!("{}s", ASKS_EVERY.as_secs())).replace("{key}", KEY)
    };
    lay_out(home, port)?;
    // The config of the engine, which reads the log.
    let mut config = OpenOptions::new().append(true).open(home.join("config.yaml"))?;
    writeln!(config, "crowdsec_service: {{ acquisition_path: {place}/acquis.yaml, parser_routines: 1 }}")?;
    for part in ["parsers/s00-raw", "parsers/s01-parse", "scenarios", "postoverflows"] {
        fs::create_dir_all(home.join(part))?;
    }
    let patterns = root().context("CrowdSec is not there")?.join("etc/crowdsec/patterns");
    std::os::unix::fs::symlink(patterns, home.join("patterns"))?;
    let files = [
        ("bouncer.yaml", fill(BOUNCER)),
        ("acquis.yaml", format!("filenames:\n  - {}\nlabels:\n  type: bench\n", log.display())),
        ("profiles.yaml", PROFILES.to_owned()),
        ("parsers/s00-raw/raw.yaml", RAW.to_owned()),
        ("parsers/s01-parse/access.yaml", ACCESS.to_owned()),
        ("scenarios/refused.yaml", SCENARIO.to_owned()),
    ];
    for (name, text) in files {
        fs::write(home.join(name), text)?;
    }
    Ok(())
}

const BOUNCER: &str = "\
mode: nftables
pid_dir: {place}
update_frequency: {every}
daemonize: false
log_mode: stdout
log_level: info
api_url: http://127.0.0.1:{port}/
api_key: {key}
deny_action: DROP
deny_log: false
supported_decisions_types: [ban]
blacklists_ipv4: crowdsec-blacklists
blacklists_ipv6: crowdsec6-blacklists
nftables:
  ipv4: { enabled: true, set-only: false, table: crowdsec, chain: crowdsec-chain }
  ipv6: { enabled: false }
prometheus: { enabled: false }
";

const PROFILES: &str = "\
name: bench
filters:
  - Alert.Remediation == true && Alert.GetScope() == \"Ip\"
decisions:
  - type: ban
    duration: 10m
on_success: break
";

const RAW: &str = "\
filter: \"evt.Line.Labels.type == 'bench'\"
onsuccess: next_stage
name: bench/raw
statics:
  - parsed: message
    expression: evt.Line.Raw
  - parsed: program
    expression: evt.Line.Labels.type
";

const ACCESS: &str = "\
filter: \"evt.Parsed.program == 'bench'\"
onsuccess: next_stage
name: bench/access
grok:
  pattern: '^%{IPORHOST:remote_addr} - %{DATA:user} \\[%{HTTPDATE:time_local}\\] \"%{DATA:request}\" %{NUMBER:status} '
  apply_on: message
  statics:
    - meta: source_ip
      expression: evt.Parsed.remote_addr
    - meta: http_status
      expression: evt.Parsed.status
    - meta: log_type
      value: http_access-log
";

/// The twentieth overflows the bucket.
const SCENARIO: &str = "\
type: leaky
name: bench/refused
description: \"refused requests\"
filter: \"evt.Meta.http_status == '403'\"
groupby: evt.Meta.source_ip
capacity: 19
leakspeed: 10s
labels:
  remediation: true
";
