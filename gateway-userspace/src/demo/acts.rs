//! The story that the demo plays, each act checked: what did not happen is an error, never a line that says it did.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::client::{Client, Outcome};
use super::issuer;
use super::network::{self, Host};
use super::screen::{Row, Screen, Tally};
use super::stage::Stage;
use crate::admin;
use crate::admin::api::{Ban, GetStatus, ListBans};
use crate::admin::client::Address;

/// Denials that the demo's rule allows within its window.
const DENIALS: u32 = 20;
/// How long the kernel's verdict may take to show at the client, its own SYN timeout included.
const DROP_SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Why the story did not go as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else happened than should have.
    #[error("{act}: expected {expected}, but saw {saw}")]
    Otherwise {
        /// Which act.
        act: &'static str,
        /// What should have happened.
        expected: String,
        /// What did.
        saw: String,
    },
    /// A client's namespace could not be entered.
    #[error("a client could not run")]
    Network(#[from] network::Error),
    /// No token.
    #[error("a token could not be made")]
    Issuer(#[from] issuer::Error),
    /// The gateway did not answer.
    #[error("the gateway's admin socket did not answer")]
    Admin(#[from] admin::client::Error),
    /// The undo command did not run.
    #[error("the undo command `{command}` failed: {output}")]
    Undo {
        /// The command.
        command: String,
        /// What it said.
        output: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// Plays all acts.
pub struct Play<'a> {
    stage: &'a Stage,
    screen: &'a mut Screen,
    interrupted: &'a AtomicBool,
    polite: Tally,
    abuser: Tally,
}

impl<'a> Play<'a> {
    /// A play on a stage that stands.
    pub fn new(stage: &'a Stage, screen: &'a mut Screen, interrupted: &'a AtomicBool) -> Play<'a> {
        Play { stage, screen, interrupted, polite: Tally::default(), abuser: Tally::default() }
    }

    /// From the first polite request to the lifted ban.
    pub fn run(&mut self) -> Result<(), Error> {
        let polite_token = self.stage.issuer.token("polite", Duration::from_secs(3600))?;
        let abuser_token = self.stage.issuer.token("abuser", Duration::from_secs(3600))?;

        for _ in 0..5 {
            self.expect_polite("the polite client is served", &polite_token)?;
        }
        self.screen.step(
            "the polite client's five requests, each with a valid RS256 token, were answered by a service",
        );

        self.denials(&abuser_token)?;
        let ban = self.banned()?;
        self.screen.step(&format!(
            "{DENIALS} denials filled the rule: ban {} of {} was in the kernel {} after the last of them",
            ban.id,
            ban.target,
            ban.latency_us.map_or_else(|| String::from("at once"), |latency| format!("{latency} µs")),
        ));

        let packets = self.dropped(&ban)?;
        self.screen
            .step(&format!("the abuser's SYNs time out: XDP dropped {packets} packets by this very ban"));
        self.expect_polite("the polite client is served during the ban", &polite_token)?;
        self.screen.step("the polite client is still served");
        self.receipt(&ban);

        self.undo(&ban)?;
        self.screen.step("the ban was lifted by its own undo command, and the abuser is answered again");
        self.show(true)?;
        Ok(())
    }

    /// 401s until half of the rule's denials, then 429s until it is full.
    fn denials(&mut self, token: &str) -> Result<(), Error> {
        let act = "the abuser is refused";
        let client = self.stage.client(&self.stage.abuser);
        let mut denied = 0;
        for attempt in 0..u32::MAX {
            let without_token = denied < DENIALS / 2;
            let outcome = self.request_abuser(&client, "/v1/users/1", (!without_token).then_some(token))?;
            match outcome {
                Outcome::Status(401) if without_token => denied += 1,
                Outcome::Status(200) if !without_token => {}
                Outcome::Status(429) if !without_token => denied += 1,
                saw => {
                    return Err(otherwise(act, "200, 401 or 429", format!("{saw:?} after {denied} denials")));
                }
            }
            if denied == DENIALS {
                break;
            }
            if attempt > 10 * DENIALS {
                return Err(otherwise(
                    act,
                    format!("{DENIALS} denials"),
                    format!("{denied} in {attempt} requests"),
                ));
            }
        }
        self.screen.step(&format!(
            "the abuser got {} × 401 without a token, then {} × 429 beyond its limit",
            self.abuser.unauthenticated, self.abuser.limited
        ));
        Ok(())
    }

    fn banned(&mut self) -> Result<Ban, Error> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            if let Some(ban) = self.ban()? {
                return Ok(ban);
            }
            if Instant::now() > deadline {
                return Err(otherwise("the abuser is banned", "a ban in the kernel", "none".into()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn dropped(&mut self, ban: &Ban) -> Result<u64, Error> {
        let act = "the abuser's packets are dropped";
        let client = self.stage.client(&self.stage.abuser);
        let deadline = Instant::now() + DROP_SEEN_WITHIN;
        loop {
            let outcome = self.request_abuser(&client, "/v1/users/1", None)?;
            let now = self.ban()?;
            let packets = now.map_or(0, |now| now.packets);
            if outcome != Outcome::TimedOut {
                return Err(otherwise(act, "a SYN without an answer", format!("{outcome:?}")));
            }
            if self.abuser.timed_out >= 3 && packets >= 3 {
                return Ok(packets);
            }
            if Instant::now() > deadline {
                return Err(otherwise(
                    act,
                    "kernel counters that rise",
                    format!("{packets} packets for ban {}", ban.id),
                ));
            }
        }
    }

    fn receipt(&mut self, ban: &Ban) {
        self.screen.line("");
        self.screen.line(&format!(
            "  Receipt of ban {}: {}, until {}",
            ban.id,
            ban.reason,
            ban.until.as_deref().unwrap_or("lifted")
        ));
        for evidence in ban.evidence.iter().rev().take(3).rev() {
            self.screen.line(&format!(
                "    {}  {} {}  {} {}",
                crate::observe::timestamp::format(evidence.time),
                evidence.method,
                evidence.path,
                evidence.status,
                evidence.reason
            ));
        }
        self.screen.line(&format!("    … {} requests in all. Undo with: {}", ban.evidence.len(), ban.undo));
        self.screen.line("");
    }

    fn undo(&mut self, ban: &Ban) -> Result<(), Error> {
        let socket = self.stage.socket();
        let output = undo_command(&ban.undo, &socket)?;
        self.screen.line(&format!("  $ {}", ban.undo));
        for line in output.lines() {
            self.screen.line(&format!("  {line}"));
        }
        let client = self.stage.client(&self.stage.abuser);
        let outcome = self.request_abuser(&client, "/v1/products/7", None)?;
        if outcome != Outcome::Status(200) {
            return Err(otherwise("the ban is lifted", "200", format!("{outcome:?}")));
        }
        Ok(())
    }

    fn expect_polite(&mut self, act: &'static str, token: &str) -> Result<(), Error> {
        let client = self.stage.client(&self.stage.polite);
        let outcome = request(&self.stage.polite, &client, "/v1/users/42", Some(token), &mut self.polite)?;
        self.show(false)?;
        if outcome != Outcome::Status(200) {
            return Err(otherwise(act, "200", format!("{outcome:?}")));
        }
        Ok(())
    }

    fn request_abuser(&mut self, client: &Client, path: &str, token: Option<&str>) -> Result<Outcome, Error> {
        let outcome = request(&self.stage.abuser, client, path, token, &mut self.abuser)?;
        self.show(false)?;
        Ok(outcome)
    }

    fn ban(&self) -> Result<Option<Ban>, Error> {
        let bans = admin::client::call(
            &Address::Socket(self.stage.socket()),
            &ListBans { ended: true, ..ListBans::default() },
        )?;
        Ok(bans.bans.into_iter().find(|ban| {
            ban.prefix.is_some_and(|prefix| prefix.contains(&std::net::IpAddr::V4(self.stage.abuser.address)))
        }))
    }

    fn show(&mut self, last: bool) -> Result<(), Error> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let ban = self.ban()?;
        let rows = [
            Row {
                client: format!("polite {}", self.stage.polite.address),
                tally: self.polite.clone(),
                dropped: 0,
                ban: String::from("-"),
            },
            Row {
                client: format!("abuser {}", self.stage.abuser.address),
                tally: self.abuser.clone(),
                dropped: ban.as_ref().map_or(0, |ban| ban.packets),
                ban: ban.map_or_else(|| String::from("-"), |ban| format!("{} {}", ban.id, ban.state)),
            },
        ];
        if last {
            let status = admin::client::call(&Address::Socket(self.stage.socket()), &GetStatus {})?;
            self.screen.line("");
            self.screen.final_table(&rows);
            let attached: Vec<String> = status
                .kernel
                .attachments
                .iter()
                .map(|at| format!("{} ({})", at.interface, at.mode))
                .collect();
            self.screen.line(&format!("  kernel stage: {} on {}", status.kernel.mode, attached.join(", ")));
        } else {
            self.screen.table(&rows);
        }
        Ok(())
    }
}

fn request(
    host: &Host,
    client: &Client,
    path: &str,
    token: Option<&str>,
    tally: &mut Tally,
) -> Result<Outcome, Error> {
    let outcome = host.run(|| client.get(path, token))?;
    match outcome {
        Outcome::Status(200) => tally.allowed += 1,
        Outcome::Status(401) => tally.unauthenticated += 1,
        Outcome::Status(429) => tally.limited += 1,
        Outcome::TimedOut => tally.timed_out += 1,
        Outcome::Status(_) | Outcome::Failed => tally.other += 1,
    }
    Ok(outcome)
}

/// Runs the undo command as it was printed, by this binary and on the demo's socket.
fn undo_command(undo: &str, socket: &Path) -> Result<String, Error> {
    let failed = |output: String| Error::Undo { command: undo.to_owned(), output };
    let arguments =
        undo.strip_prefix("portcullis ").ok_or_else(|| failed(String::from("not a portcullis command")))?;
    let binary = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(binary)
        .args(arguments.split_whitespace())
        .arg("--socket")
        .arg(socket)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

fn otherwise(act: &'static str, expected: impl Into<String>, saw: String) -> Error {
    Error::Otherwise { act, expected: expected.into(), saw }
}
