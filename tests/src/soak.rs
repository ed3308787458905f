//! A gateway with its kernel stage, treated for a long time as operators, abusers and accidents treat one, and asked again
//! and again whether its ledger, the kernel and the state file still agree: by its own account (`bans --verify`), and by
//! [`outside`], which reads file and maps for itself.
//!
//! Which steps come is a function of the seed; what they meet is up to the clock too. Needs root, and two networks 198.18.NET.

pub mod outside;
mod step;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use gateway_userspace::demo::network::Host;
use serde_json::Value;

use crate::chance::Chance;
use crate::gateway::Gateway;
use outside::Outside;
pub use step::Step;

/// Steps between two comparisons.
const COMPARE_EVERY: u64 = 8;
/// How often a comparison is tried while bans end meanwhile.
const TRIES: usize = 50;

/// When it has been enough, whatever comes first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit {
    /// After so many steps.
    pub steps: Option<u64>,
    /// After so much time.
    pub time: Option<Duration>,
}

/// How it went.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Steps of each kind.
    pub steps: std::collections::BTreeMap<&'static str, u64>,
    /// Comparisons, all without a difference.
    pub compared: u64,
    /// The most bans that a comparison was of, and the sum of all.
    pub most: usize,
    pub bans: usize,
    /// Why nobody looked at the maps from outside.
    pub without_maps: Option<String>,
}

/// The gateway and its clients.
pub struct Soak {
    pub(super) gateway: Gateway,
    pub(super) hosts: Vec<Host>,
    pub(super) chance: Chance,
    /// Apart from the rest, so that the steps are the same whatever they meet.
    picks: Chance,
    pins: PathBuf,
    outside: Outside,
    report: Report,
}

impl Soak {
    /// Starts one on the networks 198.18.`net` and the next.
    ///
    /// # Errors
    /// If the namespaces cannot be made.
    pub fn start(net: u8, seed: u64) -> Result<Soak> {
        let hosts: Vec<Host> = (net..net + 2)
            .map(|net| Host::new(&format!("ps{net}"), net))
            .collect::<Result<_, _>>()
            .context("a client's namespace cannot be made")?;
        let pins = PathBuf::from(format!("/sys/fs/bpf/portcullis-soak-{net}"));
        // What a run left that was killed.
        drop(std::fs::remove_dir_all(&pins));
        let (mut chance, picks) = (Chance::new(seed), Chance::new(!seed));
        let shield = step::shield(&mut chance);
        let gateway = Gateway::start_with(|_, port| configuration(port, &hosts, &pins, &shield));
        let outside = Outside::of(&gateway.folder, &pins);
        let report = Report { without_maps: outside.without_maps(), ..Report::default() };
        Ok(Soak { gateway, hosts, chance, picks, pins, outside, report })
    }

    /// Goes on until it is enough.
    ///
    /// # Errors
    /// The first difference, or command that failed as it should not.
    pub fn run(&mut self, limit: Limit, mut told: impl FnMut(&Report)) -> Result<Report> {
        let started = Instant::now();
        let mut step = 0;
        while limit.steps.is_none_or(|most| step < most)
            && limit.time.is_none_or(|most| started.elapsed() < most)
        {
            let next = Step::pick(&mut self.picks);
            self.take(next).with_context(|| format!("step {step}, {next:?}"))?;
            *self.report.steps.entry(next.name()).or_default() += 1;
            step += 1;
            if step.is_multiple_of(COMPARE_EVERY) {
                self.compare()
                    .with_context(|| format!("after step {step}, the last of which was {next:?}"))?;
                told(&self.report);
            }
        }
        self.compare().context("at the end")?;
        Ok(self.report.clone())
    }

    /// Whether all agree. Bans may end while that is looked at; then it is looked at again.
    fn compare(&mut self) -> Result<()> {
        let verified = self.gateway.cli(&["bans", "--verify", "--json"]);
        ensure!(
            verified.status.success(),
            "bans --verify: {}{}",
            String::from_utf8_lossy(&verified.stdout),
            String::from_utf8_lossy(&verified.stderr)
        );
        let verified: Value = serde_json::from_slice(&verified.stdout)?;
        ensure!(
            verified["kernel_off"].is_null() && verified["state_file"] == true,
            "not all was compared: {verified}"
        );
        let mut last = None;
        for _ in 0..TRIES {
            let before = outside::listed(&self.gateway)?;
            let found = self.outside.differences(&before, &outside::allowed(&self.gateway)?)?;
            if outside::listed(&self.gateway)? != before {
                continue;
            }
            if found.is_empty() {
                self.report.compared += 1;
                self.report.bans += before.len();
                self.report.most = self.report.most.max(before.len());
                return Ok(());
            }
            // A surrounding that was read anew, or a packet that moved a parole on, is the same a moment later.
            if last.as_ref() == Some(&found) {
                bail!("the gateway's list differs: {}", found.join("; "));
            }
            last = Some(found);
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("bans came and went {TRIES} times while the list was compared")
    }

    /// Another configuration, and the gateway reloads it.
    fn configure(&mut self) -> Result<()> {
        let shield = step::shield(&mut self.chance);
        let text = configuration(self.gateway.port, &self.hosts, &self.pins, &shield);
        self.gateway.write_configuration(&text);
        self.succeed(&["reload"])
    }

    /// A command that must succeed.
    fn succeed(&self, arguments: &[&str]) -> Result<()> {
        let output = self.gateway.cli(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?} failed: {}", text.trim());
        Ok(())
    }
}

impl Drop for Soak {
    fn drop(&mut self) {
        self.gateway.kill();
        self.hosts.clear();
        drop(std::fs::remove_dir_all(&self.pins));
    }
}

fn configuration(port: u16, hosts: &[Host], pins: &std::path::Path, shield: &str) -> String {
    let interfaces: Vec<String> = hosts.iter().map(|host| format!("{:?}", host.interface)).collect();
    format!(
        "[listen.main]\naddress = \"0.0.0.0:{port}\"\n[shield]\ninterfaces = [{}]\npins = {pins:?}\n{shield}\n\
         [route.open]\nmatch = \"/open\"\nrespond = {{ status = 200 }}\n\
         [route.closed]\nmatch = \"/closed\"\nrespond = {{ status = 200 }}\naccess = [\"deny all\"]\n",
        interfaces.join(", ")
    )
}
