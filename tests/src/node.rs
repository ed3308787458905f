//! Peers that only exist for Node.js: a script under `tests/peers/`, run with the npm packages that set-up installed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running script, stopped when dropped.
pub struct Node {
    /// Where it listens on loopback.
    pub port: u16,
    child: Child,
    /// Kept open, so that the script can go on talking.
    _said: BufReader<ChildStdout>,
}

impl Node {
    /// Starts `tests/peers/SCRIPT` and waits until it has printed `listening PORT`.
    pub fn start(script: &str, arguments: &[&str]) -> Node {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = root.join("tests/peers").join(script);
        let mut command = Command::new("node");
        // Read from standard input, a module finds the packages of the working folder.
        command
            .args(["--input-type=module", "-"])
            .args(arguments)
            .current_dir(root.join(".tools/node"))
            .stdin(File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // SAFETY: only an async-signal-safe system call (prctl) is made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                    .map_err(std::io::Error::from)
            });
        }
        let mut child = command.spawn().expect("node runs; `cargo xtask test` installs it");
        let mut said = BufReader::new(child.stdout.take().expect("standard output was piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("the script's output can be read");
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("`{script}` did not start: {line:?}"));
        Node { port, child, _said: said }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a machine that goes away.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}
