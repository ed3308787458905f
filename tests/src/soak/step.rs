//! What happens to the gateway, one thing after the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;

use super::Soak;
use crate::chance::Chance;
use crate::gateway::binary;

/// Requests of one abuse: more than the rule takes.
const ABUSES: usize = 25;

/// Bans of one step.
const BANS_MAX: usize = 6;
/// Names of lists.
const LISTS: &[&str] = &["bots", "scanners", "tor"];
/// Lines of a list.
const LINES_MAX: usize = 40;
/// Bans that are under way when the gateway is killed.
const AT_WORK: usize = 4;

/// One thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An operator bans some addresses or networks for a while, or for ever.
    Ban,
    /// One that only counts.
    Observe,
    /// A ban is lifted.
    Unban,
    /// All of them are.
    UnbanAll,
    /// A shadow ban is armed.
    Promote,
    /// A ban by rule is lifted and suppressed.
    Suppress,
    /// A suppression is taken back.
    Unsuppress,
    /// A network is never to be dropped.
    Allow,
    /// Or may be again.
    Disallow,
    /// A list is told, for a while or for ever, in place of what it held.
    Import,
    /// A list is taken away.
    Remove,
    /// A client asks for what it may not have, until the rule is met.
    Abuse,
    /// A client that is served.
    Serve,
    /// Another configuration: budgets, mode, rule.
    Reload,
    /// `kill -9` in the midst of some bans, and a new start.
    Kill,
    /// An orderly end, and a new start.
    Restart,
    /// Time passes, and bans end.
    Wait,
}

/// How often each comes, of all together.
const STEPS: &[(Step, usize)] = &[
    (Step::Ban, 40),
    (Step::Observe, 8),
    (Step::Unban, 16),
    (Step::UnbanAll, 1),
    (Step::Promote, 4),
    (Step::Suppress, 4),
    (Step::Unsuppress, 2),
    (Step::Allow, 5),
    (Step::Disallow, 5),
    (Step::Import, 8),
    (Step::Remove, 3),
    (Step::Abuse, 8),
    (Step::Serve, 4),
    (Step::Reload, 6),
    (Step::Kill, 5),
    (Step::Restart, 2),
    (Step::Wait, 5),
];

impl Step {
    /// The next one.
    pub fn pick(chance: &mut Chance) -> Step {
        let mut at = chance.below(STEPS.iter().map(|(_, share)| share).sum());
        for (step, share) in STEPS {
            match at.checked_sub(*share) {
                Some(rest) => at = rest,
                None => return *step,
            }
        }
        Step::Wait
    }

    /// For the report.
    pub fn name(self) -> &'static str {
        match self {
            Step::Ban => "ban",
            Step::Observe => "observe",
            Step::Unban => "unban",
            Step::UnbanAll => "unban all",
            Step::Promote => "promote",
            Step::Suppress => "suppress",
            Step::Unsuppress => "unsuppress",
            Step::Allow => "allow",
            Step::Disallow => "disallow",
            Step::Import => "import",
            Step::Remove => "remove",
            Step::Abuse => "abuse",
            Step::Serve => "serve",
            Step::Reload => "reload",
            Step::Kill => "kill",
            Step::Restart => "restart",
            Step::Wait => "wait",
        }
    }
}

/// A `[shield]` of chance, but for what names the kernel.
pub fn shield(chance: &mut Chance) -> String {
    let mode = *chance.of(&["enforce", "enforce", "enforce", "observe"]);
    let packets = *chance.of(&[
        "",
        "packets = \"50k/s\"\n",
        "packets = \"5k/s\"\nsyns = \"200/s\"\n",
        "syns = \"500/s\"\n",
    ]);
    let lasts = *chance.of(&["2s", "5s", "10m"]);
    format!("mode = \"{mode}\"\nban = \"20 denials in 10s\"\nfor = \"{lasts}\"\n{packets}")
}

impl Soak {
    /// Does it.
    pub(super) fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Ban | Step::Observe => {
                for _ in 0..=self.chance.below(BANS_MAX) {
                    let (prefix, time) = (prefix(&mut self.chance), self.time());
                    let mut arguments = vec!["ban", &*prefix, "--for", time];
                    if step == Step::Observe {
                        arguments.push("--observe");
                    }
                    // Some cover what is allowed, some would only observe what is banned: those are refused.
                    self.gateway.cli(&arguments);
                }
                Ok(())
            }
            Step::Unban => match self.one("bans", |_| true)? {
                Some(id) => self.succeed(&["unban", "--if-banned", &id]),
                None => Ok(()),
            },
            Step::UnbanAll => self.succeed(&["unban", "--all"]),
            Step::Promote => {
                if let Some(id) = self.one("bans", |ban| ban["observed"] == true)? {
                    // Where all bans only count it is refused.
                    self.gateway.cli(&["promote", &id, "--force"]);
                }
                Ok(())
            }
            Step::Suppress => {
                if let Some(id) = self.one("bans", |ban| ban["by"] == "rule")? {
                    // It may have ended meanwhile.
                    self.gateway.cli(&["unban", &id, "--suppress", "3s"]);
                }
                Ok(())
            }
            Step::Unsuppress => {
                let list = self.gateway.cli_json(&["suppress", "--list"]);
                if let Some(number) = list["suppressions"][0]["number"].as_u64() {
                    self.gateway.cli(&["suppress", "--remove", &number.to_string()]);
                }
                Ok(())
            }
            Step::Allow => {
                let prefix = prefix(&mut self.chance);
                self.succeed(&["allow", &prefix])
            }
            Step::Disallow => {
                let list = self.gateway.cli_json(&["allow", "--list"]);
                let allowed = list["allowed"].as_array().context("a list")?.iter();
                let by_command = allowed.filter(|entry| entry["because"] == "operator");
                let prefixes: Vec<&str> = by_command.filter_map(|entry| entry["prefix"].as_str()).collect();
                if prefixes.is_empty() {
                    return Ok(());
                }
                let prefix = *self.chance.of(&prefixes);
                self.succeed(&["allow", "--remove", prefix])
            }
            Step::Import => self.import(),
            Step::Remove => {
                let name = *self.chance.of(LISTS);
                // It may be over, or never have been there.
                self.gateway.cli(&["deny", "remove", name]);
                Ok(())
            }
            Step::Abuse => self.ask(0, "/closed", ABUSES),
            Step::Serve => self.ask(1, "/open", 5),
            Step::Reload => self.configure(),
            Step::Kill => self.kill_at_work(),
            Step::Restart => {
                self.gateway.signal(Signal::TERM);
                let code = self.gateway.wait();
                anyhow::ensure!(code == Some(0), "the gateway ended with {code:?}");
                self.gateway.restart();
                Ok(())
            }
            Step::Wait => {
                std::thread::sleep(Duration::from_millis(200 + self.chance.below(1_800) as u64));
                Ok(())
            }
        }
    }

    /// A list of chance, of addresses that no ban has: who holds a key that both want is for tests of its own.
    fn import(&mut self) -> Result<()> {
        let lines = 1 + self.chance.below(LINES_MAX);
        let lines = (0..lines).map(|_| match self.chance.below(4) {
            0 => format!("2001:db8:ff{:02x}::/64\n", self.chance.below(60)),
            1 => format!("198.51.100.{}/30\n", self.chance.below(60) & !3),
            _ => format!("198.51.100.{}\n", self.chance.below(200)),
        });
        let list: String = lines.collect();
        let file = self.gateway.folder.join("list.txt");
        std::fs::write(&file, list).context("a list cannot be written")?;
        let (file, name, time) = (file.display().to_string(), *self.chance.of(LISTS), self.time());
        let mut arguments = vec!["deny", "import", &file, "--as", name, "--for", time];
        if self.chance.below(4) == 0 {
            arguments.push("--observe");
        }
        self.succeed(&arguments)
    }

    /// A kill between what a ban does in the kernel, in the ledger and in the state file, if chance will have it.
    fn kill_at_work(&mut self) -> Result<()> {
        let mut commands = Vec::new();
        for _ in 0..AT_WORK {
            let mut command = Command::new(binary());
            command.args(["ban", &prefix(&mut self.chance), "--for", self.time(), "--socket"]);
            command.arg(self.gateway.socket()).stdout(Stdio::null()).stderr(Stdio::null());
            commands.push(command.spawn().context("the binary does not run")?);
        }
        std::thread::sleep(Duration::from_micros(self.chance.below(20_000) as u64));
        self.gateway.kill();
        for mut command in commands {
            // Some were answered, some were not.
            command.wait()?;
        }
        self.gateway.restart();
        Ok(())
    }

    /// The number of a ban in force that is meant.
    fn one(&mut self, key: &str, is_meant: impl Fn(&Value) -> bool) -> Result<Option<String>> {
        let list = self.gateway.cli_json(&["bans"]);
        let bans = list[key].as_array().context("a list of bans")?.iter();
        let ids: Vec<u64> = bans.filter(|ban| is_meant(ban)).filter_map(|ban| ban["id"].as_u64()).collect();
        Ok(if ids.is_empty() { None } else { Some(self.chance.of(&ids).to_string()) })
    }

    fn time(&mut self) -> &'static str {
        let all = ["1s", "2s", "5s", "30s", "1h", "1h", "ever"];
        all[self.chance.below(all.len())]
    }

    /// Requests of a host, each of a connection of its own; once it is banned none is answered.
    fn ask(&self, host: usize, path: &str, count: usize) -> Result<()> {
        let host = &self.hosts[host];
        let address = SocketAddr::from((host.gateway, self.gateway.port));
        let asked = host.run(move || {
            for _ in 0..count {
                let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) else {
                    return;
                };
                let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                let timeout = stream.set_read_timeout(Some(Duration::from_millis(200)));
                if timeout.is_err() || stream.write_all(request.as_bytes()).is_err() {
                    return;
                }
                // A reset is an answer too.
                drop(stream.read(&mut [0; 1024]));
            }
        });
        asked.context("a client's host is gone")
    }
}

/// An address or a network among few enough that they come again, lie within each other, and meet what is allowed.
fn prefix(chance: &mut Chance) -> String {
    let host = chance.below(60);
    match chance.below(8) {
        0..4 => format!("203.0.113.{host}"),
        4 => format!("203.0.113.{}/{}", host & !3, 24 + chance.below(7)),
        5 => format!("2001:db8:{host}::/64"),
        6 => format!("2001:db8:{}::/{}", host & !3, 48 + chance.below(16)),
        _ => format!("2001:db8:{host}::1/128"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_comes_about_as_often_as_its_share() {
        let mut chance = Chance::new(1);
        let all: usize = STEPS.iter().map(|(_, share)| share).sum();
        let picked: Vec<Step> = (0..all * 20).map(|_| Step::pick(&mut chance)).collect();
        for (step, share) in STEPS {
            let count = picked.iter().filter(|picked| *picked == step).count();
            assert!(count >= share * 5 && count <= share * 60, "{step:?} came {count} times");
        }
    }
}
