//! Polling of an interface by a kernel thread, and what that thread has done.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CpuSet, Pid, sched_setaffinity};
use tests::namespace::Namespace;

/// Has the interface polled by threads of its own instead of in whatever is running.
pub fn thread_polling(namespace: &Namespace) -> Result<()> {
    let file = format!("/sys/class/net/{}/threaded", namespace.interface);
    let output = namespace.command("sh").args(["-c", &format!("echo 1 > {file}")]).output()?;
    ensure!(
        output.status.success(),
        "no threaded NAPI (Linux 5.12): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Lets the interface join packets (GRO), which is what makes a veth poll at all without a program on it. Run in its
/// namespace.
pub fn join_packets(namespace: &Namespace) -> Result<()> {
    /// `struct ethtool_value`
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    /// `struct ifreq` with `ifr_data`
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        data: *mut Value,
        rest: [u8; 16],
    }
    const SIOCETHTOOL: libc::c_ulong = 0x8946;
    const ETHTOOL_SGRO: u32 = 0x2c;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let mut value = Value { command: ETHTOOL_SGRO, data: 1 };
    let mut request = Request { name: [0; libc::IFNAMSIZ], data: &raw mut value, rest: [0; 16] };
    ensure!(namespace.interface.len() < request.name.len(), "the name of an interface is too long");
    request.name[..namespace.interface.len()].copy_from_slice(namespace.interface.as_bytes());
    // SAFETY: the request has the form and at least the size of a `struct ifreq`; it and the value that it points to live
    // until the call returns.
    let failed = unsafe {
        libc::ioctl(std::os::fd::AsRawFd::as_raw_fd(&socket), SIOCETHTOOL as _, &raw mut request) != 0
    };
    ensure!(!failed, "GRO cannot be switched on: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Keeps the thread that polls the interface on one processor, ahead of everything else there; its process id.
pub fn pin(namespace: &Namespace, processor: usize) -> Result<Pid> {
    let wanted = format!("napi/{}-", namespace.interface);
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.starts_with(&wanted) {
            threads.extend(Pid::from_raw(process));
        }
    }
    ensure!(threads.len() == 1, "{} threads poll {}, not one", threads.len(), namespace.interface);
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(Some(threads[0]), &only).context("the polling thread cannot be pinned")?;
    become_realtime(threads[0].as_raw_pid())?;
    Ok(threads[0])
}

/// Gives a thread (0: this one) real-time priority, so that whoever else wants its processor neither slows it down nor
/// empties its caches. The kernel keeps a twentieth of the time for the others.
pub fn become_realtime(thread: libc::pid_t) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters live until the call returns.
    let failed = unsafe { libc::sched_setscheduler(thread, libc::SCHED_FIFO, &raw const parameters) != 0 };
    ensure!(!failed, "no real-time priority: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Time that a thread had on a processor.
pub fn run_time(thread: Pid) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{}/schedstat", thread.as_raw_pid()))?;
    let on_processor = text.split(' ').next().context("an empty schedstat")?;
    Ok(Duration::from_nanos(on_processor.parse()?))
}

/// What has come in since the namespace was made.
pub struct Received {
    /// By the interface, dropped ones among them.
    pub packets: u64,
    /// By TCP.
    pub segments: u64,
}

impl Received {
    /// Of this thread's namespace.
    pub fn by(interface: &str) -> Result<Received> {
        let devices = fs::read_to_string("/proc/thread-self/net/dev")?;
        let packets = devices
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))
            .and_then(|columns| columns.split_whitespace().nth(1)?.parse().ok());
        let protocols = fs::read_to_string("/proc/thread-self/net/snmp")?;
        let mut tcp = protocols.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (tcp.next().context("no TCP")?, tcp.next().context("no TCP")?);
        let segments = names
            .split(' ')
            .zip(values.split(' '))
            .find_map(|(name, value)| (name == "InSegs").then(|| value.parse().ok())?);
        Ok(Received {
            packets: packets.with_context(|| format!("nothing about {interface}"))?,
            segments: segments.context("no InSegs")?,
        })
    }
}
