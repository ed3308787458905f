//! A real gateway: the built binary, started with a configuration of the test's own and stopped when dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the gateway may take to start or to stop; an emulated processor is twenty times as slow as a real one.
const PATIENCE: Duration = Duration::from_secs(240);

/// A running gateway.
pub struct Gateway {
    /// Folder with `gateway.toml`, the admin socket, the access log and what the gateway said.
    pub folder: PathBuf,
    /// The listener's port, as `{port}` in the configuration.
    pub port: u16,
    /// The operations listener's port.
    pub operations: u16,
    child: Child,
    /// Environment of its own, beside the test's.
    variables: &'static [(&'static str, &'static str)],
}

/// Path of the binary under test: `PORTCULLIS_BIN`, which `cargo xtask test` sets, else the debug build.
pub fn binary() -> PathBuf {
    std::env::var_os("PORTCULLIS_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/portcullis"),
        PathBuf::from,
    )
}

/// A new empty folder for one test.
pub fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("portcullis-test-{}-{count}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made in the temporary directory");
    folder
}

/// A port on which nobody listens right now, and that no other test of this process is given. Below the range that
/// the kernel takes ports of outgoing connections from, so that none of those gets in between.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(211);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = (FIRST + offset) as u16;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("all of {COUNT} ports are taken");
}

impl Gateway {
    /// Starts a gateway with one listener `{port}` on all IPv4 addresses and `rest` as the rest of its configuration.
    pub fn start(rest: &str) -> Gateway {
        Gateway::start_with(|_, port| format!("[listen.main]\naddress = \"0.0.0.0:{port}\"\n\n{rest}"))
    }

    /// Starts a gateway with a configuration made for a folder and a free port. `[operations]`, `[admin]` and, unless it
    /// is there, `[gateway] state` are added; an `[admin]` that is there gets the socket.
    pub fn start_with(configuration: impl FnOnce(&Path, u16) -> String) -> Gateway {
        let folder = folder();
        let port = free_port();
        let text = configuration(&folder, port);
        Gateway::start_in(folder, port, &text)
    }

    /// Starts a gateway in a folder that may hold the state of an earlier one.
    pub fn start_in(folder: PathBuf, port: u16, configuration: &str) -> Gateway {
        Gateway::start_as(folder, port, configuration, &[])
    }

    /// As [`Gateway::start`], with variables in its environment.
    pub fn start_with_variables(variables: &'static [(&'static str, &'static str)], rest: &str) -> Gateway {
        let port = free_port();
        let text = format!("[listen.main]\naddress = \"0.0.0.0:{port}\"\n\n{rest}");
        Gateway::start_as(folder(), port, &text, variables)
    }

    fn start_as(
        folder: PathBuf,
        port: u16,
        configuration: &str,
        variables: &'static [(&'static str, &'static str)],
    ) -> Gateway {
        let operations = free_port();
        let text = complete(&folder, operations, configuration);
        fs::write(folder.join("gateway.toml"), text).expect("the configuration can be written");
        let child = spawn(&folder, variables);
        let mut gateway = Gateway { folder, port, operations, child, variables };
        gateway.wait_until_ready();
        gateway
    }

    /// `http://127.0.0.1:PORT` + path
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The listener on loopback.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// Runs a verb of the command line against this gateway.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .output()
            .expect("the binary runs")
    }

    /// The same, its standard output as JSON; fails the test when the verb failed.
    pub fn cli_json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let output = self.cli(&arguments);
        assert!(
            output.status.success(),
            "{arguments:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("JSON on standard output")
    }

    /// Writes another configuration in place of the one it runs with, without asking it to reload.
    pub fn write_configuration(&self, configuration: &str) {
        let text = complete(&self.folder, self.operations, configuration);
        fs::write(self.folder.join("gateway.toml"), text).expect("the configuration can be written");
    }

    /// `GET` of the operations listener: status and body.
    pub fn operations(&self, path: &str) -> (u16, String) {
        get(self.operations, path).unwrap_or((0, String::new()))
    }

    /// What the gateway wrote to standard error and output, the access log included unless it goes elsewhere.
    pub fn said(&self) -> String {
        fs::read_to_string(self.folder.join("said.log")).unwrap_or_default()
    }

    /// The lines of the access log as JSON.
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let lines = fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The same, once there are `count` lines; what there is when five seconds have not brought them.
    pub fn access_log_of(&self, count: usize) -> Vec<serde_json::Value> {
        let started = Instant::now();
        loop {
            let lines = self.access_log();
            if lines.len() >= count || started.elapsed() > Duration::from_secs(5) {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).expect("a child has a pid");
        rustix::process::kill_process(pid, signal).expect("the gateway can be signalled");
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end; its exit code, `None` when a signal ended it or it did not end in time.
    pub fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Starts the binary again in the same folder, with the configuration that stands there.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.folder, self.variables);
        self.wait_until_ready();
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .and_then(|value| value.trim().parse::<u64>().ok())
            .map_or(0, |kib| kib << 10)
    }

    /// Connections of its IPv4 listener that stand, as the kernel counts them: those that clients have given up too, until
    /// the gateway closes its side.
    pub fn open_connections(&self) -> usize {
        /// `TCP_ESTABLISHED` and `TCP_CLOSE_WAIT` of the kernel's `tcp_states.h`.
        const OPEN: [&str; 2] = ["01", "08"];
        let end = format!(":{:04X}", self.port);
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let open = |line: &&str| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (local, _, state) = (fields.next(), fields.next(), fields.next());
            local.is_some_and(|local| local.ends_with(&end))
                && state.is_some_and(|state| OPEN.contains(&state))
        };
        sockets.lines().filter(open).count()
    }

    fn wait_until_ready(&mut self) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the gateway ended with {status} at its start:\n{}", self.said());
            }
            if matches!(get(self.operations, "/readyz"), Some((200, _))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway was not ready within {PATIENCE:?}:\n{}", self.said());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(rustix::process::Signal::TERM);
            if self.wait().is_none() {
                self.kill();
            }
        }
        if std::thread::panicking() {
            eprintln!("--- what the gateway said ---\n{}", self.said());
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Runs the binary with arguments alone: for `check`, bad usage and failures at start.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary runs")
}

fn complete(folder: &Path, operations: u16, configuration: &str) -> String {
    let folder = folder.display();
    let mut text = String::new();
    if !configuration.contains("[gateway]") {
        text.push_str(&format!("[gateway]\nworkers = 2\nstate = \"{folder}/state\"\n\n"));
    }
    text.push_str(&format!("[operations]\naddress = \"127.0.0.1:{operations}\"\n\n"));
    let admin = format!("[admin]\nsocket = \"{folder}/admin.sock\"\n");
    if !configuration.contains("[admin]\n") {
        text.push_str(&format!("{admin}\n"));
    }
    if !configuration.contains("[log]") {
        text.push_str(&format!("[log]\nto = \"file:{folder}/access.log\"\n\n"));
    }
    text.push_str(&configuration.replace("[admin]\n", &admin));
    text
}

fn spawn(folder: &Path, variables: &[(&str, &str)]) -> Child {
    let said = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("said.log"))
        .expect("the gateway's output can be kept");
    let mut command = Command::new(binary());
    command
        .arg("run")
        .arg("--config")
        .arg(folder.join("gateway.toml"))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(said.try_clone().expect("a file can be shared"))
        .stderr(said)
        .process_group(0);
    // SAFETY: only an async-signal-safe system call (prctl) is made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .map_err(std::io::Error::from)
        });
    }
    command.spawn().expect("the gateway's binary runs; build it with `cargo xtask build`")
}

fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.get(9..12)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Some((status, body.to_owned()))
}
