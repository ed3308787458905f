//! Debian's Chromium as a client, without a screen: what a browser lets a page see is known best by a browser.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::folder;

/// A page that has not loaded by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether there is a Chromium.
pub fn installed() -> bool {
    let found =
        Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Loads a page of this machine and returns its document as it stands after its scripts ran. The profile is new and
/// goes away; nothing but loopback can be reached.
///
/// # Panics
/// If Chromium does not end within a minute, or fails.
pub fn document(url: &str) -> String {
    let folder = folder();
    let (document, said) = (folder.join("document.html"), folder.join("said.log"));
    let mut child = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args([
            "--disable-sync",
            "--disable-extensions",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(["--dump-dom", url])
        .env("HOME", &folder)
        .stdin(Stdio::null())
        .stdout(File::create(&document).expect("a file in a folder of its own"))
        .stderr(File::create(&said).expect("a file in a folder of its own"))
        .spawn()
        .expect("chromium runs; `cargo xtask test` installs it");
    let started = Instant::now();
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break Some(status),
            None if started.elapsed() > PATIENCE => break None,
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = fs::read_to_string(&document).unwrap_or_default();
    let words = fs::read_to_string(&said).unwrap_or_default();
    let _ = fs::remove_dir_all(&folder);
    assert!(status.is_some_and(|status| status.success()), "chromium: {status:?}\n{words}");
    text
}
