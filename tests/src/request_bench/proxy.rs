//! A proxy process: started on its processor, waited for, and ended by its own process id.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::processors::{self, Processors};

/// How long a proxy may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running proxy; ended when dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    /// What it said.
    diagnostics: PathBuf,
}

impl Proxy {
    /// Starts `command` on the proxy's processor. What it writes to standard output, an access log at most, goes to
    /// /dev/null; what it writes to standard error is shown when it does not come up.
    pub fn start(mut command: Command, address: SocketAddr, folder: &Path, on: Processors) -> Result<Proxy> {
        let diagnostics = folder.join(format!("{}.stderr", address.port()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&diagnostics)?);
        // A process starts where the thread is that starts it.
        processors::pin(on.proxy)?;
        let child = command.spawn();
        processors::pin(on.load)?;
        let child = child.with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut proxy = Proxy { address, child, diagnostics };
        proxy.wait_until_it_listens()?;
        Ok(proxy)
    }

    /// Its process id; children of it count as part of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", fs::read_to_string(&self.diagnostics)?.trim());
            }
            if started.elapsed() > PATIENCE {
                let said = fs::read_to_string(&self.diagnostics)?;
                bail!("it does not listen on {}: {}", self.address, said.trim());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        // If it has ended already there is nobody to signal.
        rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A port on loopback that is free now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
