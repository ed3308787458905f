//! Debian's slowhttptest: clients that hold connections by doing next to nothing on them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::gateway::folder;

/// An attack ends by itself after so many seconds, whatever becomes of its test.
const SECONDS_MAX: &str = "60";

/// A running attack, ended when dropped.
///
/// What it says of its own connections is not to be used: those that were reset still count as connected there.
pub struct Attack {
    child: Child,
    folder: PathBuf,
}

/// Whether there is a slowhttptest.
pub fn installed() -> bool {
    Command::new("slowhttptest").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

impl Attack {
    /// Attacks `url` with so many connections, a hundred more each second. `how` are the arguments that say by what means.
    ///
    /// # Panics
    /// If slowhttptest does not run.
    pub fn start(url: &str, connections: usize, how: &[&str]) -> Attack {
        let folder = folder();
        let child = Command::new("slowhttptest")
            .args(["-c", &connections.to_string(), "-r", "100", "-l", SECONDS_MAX, "-p", "3", "-u", url])
            .args(how)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("slowhttptest runs; `cargo xtask test` installs it");
        Attack { child, folder }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
