//! Who refuses and who bans.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tests::gateway::{self, Gateway};
use tests::namespace::{Namespace, pins};
use tests::nginx::Nginx;

use crate::service::Service;
use crate::{crowdsec, fail2ban};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The gateway alone.
    Portcullis,
    /// nginx and fail2ban.
    Fail2ban,
    /// nginx, CrowdSec and its bouncer.
    Crowdsec,
}

impl Subject {
    /// All of them.
    pub const ALL: [Subject; 3] = [Subject::Portcullis, Subject::Fail2ban, Subject::Crowdsec];

    /// What the table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Subject::Portcullis => "portcullis",
            Subject::Fail2ban => "fail2ban",
            Subject::Crowdsec => "CrowdSec",
        }
    }

    /// Its version; `None` if it, or what it needs, is not there.
    pub fn version(self) -> Option<String> {
        match self {
            Subject::Portcullis => first_line(Command::new(gateway::binary()).arg("--version")),
            _ if first_line(Command::new("nginx").arg("-v")).is_none() => None,
            _ if first_line(Command::new("nft").arg("--version")).is_none() => None,
            Subject::Fail2ban => fail2ban::version(),
            Subject::Crowdsec => crowdsec::version(),
        }
    }

    /// How often it looks for something to ban. A round ends when it has, so without a pause the next abuse would always
    /// begin at the same moment of its clock.
    pub const fn period(self) -> Duration {
        match self {
            Subject::Portcullis => Duration::ZERO,
            Subject::Fail2ban => Duration::from_secs(1),
            Subject::Crowdsec => crowdsec::ASKS_EVERY,
        }
    }

    /// How long it may take to ban.
    pub const fn patience(self) -> Duration {
        match self {
            Subject::Portcullis => Duration::from_secs(5),
            Subject::Fail2ban => Duration::from_secs(30),
            Subject::Crowdsec => Duration::from_secs(60),
        }
    }
}

/// The first line that a command says, on whichever stream.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Some(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}

/// A victim that bans; it ends when dropped, in the order of the fields.
pub struct Stack {
    address: SocketAddr,
    /// What reads the log, the last one first.
    _readers: Vec<Service>,
    _server: Server,
    _folder: Folder,
}

/// What refuses.
enum Server {
    /// Reads no log, nor is read.
    Gateway(Gateway),
    /// Writes a log.
    Nginx(#[expect(dead_code, reason = "it is held, not used")] Nginx),
}

impl Stack {
    /// Starts it in the namespace of this thread, which is the victim's.
    pub fn start(subject: Subject, victim: &Namespace) -> Result<Stack> {
        let folder = Folder(gateway::folder());
        if subject == Subject::Portcullis {
            let gateway = ours(victim);
            let address = SocketAddr::from((victim.address, gateway.port));
            return Ok(Stack {
                address,
                _readers: Vec::new(),
                _server: Server::Gateway(gateway),
                _folder: folder,
            });
        }
        let address = SocketAddr::from((victim.address, gateway::free_port()));
        let log = folder.0.join("access.log");
        // A reader may want it to be there.
        fs::write(&log, "")?;
        let nginx = Nginx::start(&format!(
            "listen {address}; access_log {} combined; location / {{ return 204; }} location /closed {{ deny all; }}",
            log.display()
        ));
        let readers = match subject {
            Subject::Fail2ban => fail2ban::start(&folder.0, &log, address.port())?,
            _ => crowdsec::start(&folder.0, &log)?,
        };
        Ok(Stack { address, _readers: readers, _server: Server::Nginx(nginx), _folder: folder })
    }

    /// Where requests go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn ours(victim: &Namespace) -> Gateway {
    Gateway::start_with(|_, port| {
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\n\n\
             [shield]\ninterfaces = [{:?}]\npins = {:?}\nban = \"20 denials in 10s\"\nfor = \"10m\"\n\n\
             [route.closed]\nmatch = \"/closed\"\nrespond = {{ status = 200 }}\naccess = [\"deny all\"]\n",
            victim.interface,
            pins()
        )
    })
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Server::Gateway(gateway) = self {
            // Its kernel stage would go on without it.
            gateway.kill();
            drop(fs::remove_dir_all(pins()));
        }
    }
}

/// Removed when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all::<&Path>(&self.0));
    }
}
