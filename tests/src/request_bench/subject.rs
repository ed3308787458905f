//! Who is measured, and how each is told to do the same.
//!
//! All have one worker, keep 64 connections to the upstream, set the usual forwarding fields and write one line per
//! request to /dev/null. nginx has no token verification: in the policies case it does routes and limit only.

mod gateway;
mod haproxy;
mod nginx;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::case::Case;
use super::processors::Processors;
use super::proxy::{Proxy, free_address};
use super::secrets::Secrets;

/// A subject of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The gateway, from `PORTCULLIS_BIN`.
    Portcullis,
    /// Debian's nginx.
    Nginx,
    /// Debian's haproxy.
    Haproxy,
}

impl Subject {
    /// In the order of the tables.
    pub const ALL: [Subject; 3] = [Subject::Portcullis, Subject::Nginx, Subject::Haproxy];

    /// For tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Portcullis => "portcullis",
            Subject::Nginx => "nginx",
            Subject::Haproxy => "haproxy",
        }
    }

    /// Whether it verifies tokens in the policies case.
    pub fn verifies_tokens(self) -> bool {
        self != Subject::Nginx
    }

    /// What it says about its version; `None` when it is not there.
    pub fn version(self) -> Option<String> {
        let (program, argument) = match self {
            Subject::Portcullis => (gateway::program()?, "--version"),
            Subject::Nginx => ("nginx".into(), "-v"),
            Subject::Haproxy => ("haproxy".into(), "-v"),
        };
        let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        Some(String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").trim().to_owned())
    }

    /// Starts it for a case, in front of the upstream.
    pub fn start(self, case: Case, upstream: SocketAddr, secrets: &Secrets, on: Processors) -> Result<Proxy> {
        let address = free_address()?;
        let setup = Setup { case, address, upstream, secrets };
        let command = match self {
            Subject::Portcullis => gateway::command(&setup)?,
            Subject::Nginx => nginx::command(&setup)?,
            Subject::Haproxy => haproxy::command(&setup)?,
        };
        Proxy::start(command, address, &secrets.folder, on)
    }
}

/// What a subject's config is written from.
struct Setup<'a> {
    case: Case,
    address: SocketAddr,
    upstream: SocketAddr,
    secrets: &'a Secrets,
}

impl Setup<'_> {
    /// A new file or folder name for this subject and case.
    fn path(&self, subject: &str, what: &str) -> std::path::PathBuf {
        self.secrets.folder.join(format!("{subject}-{}.{what}", self.case.slug()))
    }
}
