//! Debian's haproxy with a configuration of the test's own.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::{folder, free_port};

/// A running haproxy, stopped when dropped.
pub struct Haproxy {
    /// Port of its frontend.
    pub port: u16,
    folder: PathBuf,
    child: Child,
}

impl Haproxy {
    /// One frontend on loopback with these `rules`, and the `backends` that they name.
    pub fn start(rules: &str, backends: &str) -> Haproxy {
        let (folder, port) = (folder(), free_port());
        let path = folder.join("haproxy.cfg");
        let configuration = format!(
            "global\nnbthread 1\nmaxconn 512\n\
             defaults\nmode http\ntimeout connect 5s\ntimeout client 20s\ntimeout server 20s\n\
             frontend main\nbind 127.0.0.1:{port}\n{rules}\n{backends}\n"
        );
        fs::write(&path, configuration).expect("haproxy's configuration can be written");
        let child = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("said")).expect("haproxy's output can be kept"))
            .spawn()
            .expect("haproxy runs; `cargo xtask test` installs it");
        let haproxy = Haproxy { port, folder, child };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let said = fs::read_to_string(haproxy.folder.join("said")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(10), "haproxy did not start: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
        haproxy
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
