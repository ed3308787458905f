//! tcpdump as a witness: what went over an interface, as told by a program that is not ours.
//!
//! On the gateway's side of a veth pair it sees what the kernel stage let through, for packet sockets come after XDP; on
//! the client's side it sees all that was sent.

use std::fs;
use std::io::{BufRead, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use gateway_userspace::demo::network::Host;
use rustix::process::{Pid, Signal, kill_process};

use crate::gateway::folder;

/// Magic of a capture file in the machine's byte order, with nanoseconds (pcap-savefile(5)).
const MAGIC_NS: u32 = 0xa1b2_3c4d;
const FILE_HEADER: usize = 24;
const FRAME_HEADER: usize = 16;
/// Memory for frames that tcpdump has not yet taken, in KiB: a flood must not cost one of them.
const BUFFER_KIB: &str = "32768";

/// A frame as tcpdump saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When, by the kernel's clock.
    pub time: SystemTime,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// A TCP segment over IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Who sent it.
    pub from: SocketAddrV4,
    /// To whom.
    pub to: SocketAddrV4,
    /// Its flags: [`SYN`](crate::packet::SYN), [`ACK`](crate::packet::ACK) and others.
    pub flags: u8,
}

impl Frame {
    /// The source of an IPv4 packet without tags.
    pub fn source4(&self) -> Option<Ipv4Addr> {
        let is_ipv4 = self.bytes.get(12..14)? == [0x08, 0x00];
        is_ipv4.then(|| self.address(26)).flatten()
    }

    /// The TCP segment of an IPv4 packet without tags that is no later fragment.
    pub fn segment(&self) -> Option<Segment> {
        let source = self.source4()?;
        let byte = |at: usize| self.bytes.get(at).copied();
        let is_first = (byte(20)? & 0x1f, byte(21)?) == (0, 0);
        if byte(23)? != 6 || !is_first {
            return None;
        }
        let start = 14 + usize::from(byte(14)? & 0x0f) * 4;
        let port = |at: usize| Some(u16::from_be_bytes([byte(at)?, byte(at + 1)?]));
        Some(Segment {
            from: SocketAddrV4::new(source, port(start)?),
            to: SocketAddrV4::new(self.address(30)?, port(start + 2)?),
            flags: byte(start + 13)?,
        })
    }

    fn address(&self, at: usize) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.bytes.get(at..at + 4)?.try_into().ok()?;
        Some(bytes.into())
    }
}

/// A running tcpdump, stopped when dropped.
pub struct Capture {
    folder: PathBuf,
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Capture {
    /// On an interface of this namespace: the frames that `filter` (pcap-filter(7)) selects.
    pub fn here(interface: &str, filter: &str) -> Capture {
        Capture::start(Command::new("tcpdump"), interface, filter)
    }

    /// On a host's own end of its pair.
    pub fn within(host: &Host, filter: &str) -> Capture {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &host.name, "tcpdump"]);
        Capture::start(command, &format!("{}1", host.name), filter)
    }

    fn start(mut command: Command, interface: &str, filter: &str) -> Capture {
        let folder = folder();
        command.args(["-i", interface, "-n", "-U", "-s", "0", "-B", BUFFER_KIB, "-Z", "root"]);
        command.args(["--immediate-mode", "--time-stamp-precision=nano", "-w"]).arg(folder.join("frames"));
        command.arg(filter).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: only an async-signal-safe system call (prctl) is made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                    .map_err(std::io::Error::from)
            });
        }
        let mut child = command.spawn().expect("tcpdump runs; `cargo xtask test` installs it");
        let mut said = BufReader::new(child.stderr.take().expect("its standard error was piped"));
        let mut line = String::new();
        // It says so once its socket is bound; an error comes in place of it.
        while !line.contains("listening on ") {
            let before = line.len();
            said.read_line(&mut line).expect("what it says can be read");
            assert!(line.len() > before, "tcpdump did not start: {line}");
        }
        Capture { folder, child, said }
    }

    /// All that went over the interface so far.
    pub fn frames(&mut self) -> Vec<Frame> {
        let started = Instant::now();
        let (_, received) = self.tally();
        while self.tally().0 < received {
            assert!(started.elapsed() < Duration::from_secs(10), "tcpdump writes what it has received");
            std::thread::sleep(Duration::from_millis(5));
        }
        read(&fs::read(self.folder.join("frames")).unwrap_or_default())
    }

    /// Ends it; all that it captured.
    ///
    /// # Panics
    /// If the kernel dropped a frame that it should have seen: then it is no witness.
    pub fn stop(mut self) -> Vec<Frame> {
        let frames = self.frames();
        self.signal(Signal::INT);
        let mut said = String::new();
        self.said.read_to_string(&mut said).expect("what it says can be read");
        assert!(said.contains("\n0 packets dropped by kernel"), "tcpdump missed frames: {said}");
        frames
    }

    /// Frames that it has written, and those that the kernel had for it. Asked by SIGUSR1 (tcpdump(1)).
    fn tally(&mut self) -> (u64, u64) {
        self.signal(Signal::USR1);
        let mut line = String::new();
        self.said.read_line(&mut line).expect("what it says can be read");
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [written, received, _] => (written, received),
            _ => panic!("tcpdump does not tell what it has: {line}"),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child has a pid");
        kill_process(pid, signal).expect("it can be signalled");
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The frames of a capture file; one that is not yet whole at its end is left out.
fn read(file: &[u8]) -> Vec<Frame> {
    let number = |at: usize| {
        let bytes = file.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let mut frames = Vec::new();
    let Some(magic) = number(0) else { return frames };
    assert_eq!(magic, MAGIC_NS, "a capture file with nanoseconds");
    let mut at = FILE_HEADER;
    while let (Some(seconds), Some(nanoseconds), Some(kept)) = (number(at), number(at + 4), number(at + 8)) {
        let start = at + FRAME_HEADER;
        let Some(bytes) = file.get(start..start + kept as usize) else { break };
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds.into(), nanoseconds);
        frames.push(Frame { time, bytes: bytes.to_vec() });
        at = start + kept as usize;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, SYN, arp};

    #[test]
    fn segments_are_told_from_what_else_there_is() {
        let of = |bytes| Frame { time: SystemTime::UNIX_EPOCH, bytes };
        let tcp = Packet::from("192.0.2.1").tcp(443, SYN);
        let expected = Segment {
            from: "192.0.2.1:40000".parse().unwrap(),
            to: "198.51.100.1:443".parse().unwrap(),
            flags: SYN,
        };
        assert_eq!(of(tcp.clone().build()).segment(), Some(expected));
        assert_eq!(of(tcp.clone().options(3).build()).segment(), Some(expected));
        for other in [
            tcp.clone().fragment(5).build(),
            tcp.tagged(0x8100).build(),
            Packet::from("192.0.2.1").udp(443).build(),
            Packet::from("2001:db8::1").tcp(443, SYN).build(),
            arp(),
            Vec::new(),
        ] {
            assert_eq!(of(other).segment(), None);
        }
    }

    #[test]
    fn whole_frames_are_read_and_the_beginning_of_one_is_left_for_later() {
        let mut file = [MAGIC_NS, 0, 0, 0, 0, 1].map(u32::to_ne_bytes).concat();
        assert_eq!(read(&file), []);
        assert_eq!(read(&file[..3]), []);
        file.extend([7, 5, 3, 60].map(u32::to_ne_bytes).concat());
        file.extend([1, 2]);
        assert_eq!(read(&file), []);
        file.push(3);
        let time = SystemTime::UNIX_EPOCH + Duration::new(7, 5);
        assert_eq!(read(&file), [Frame { time, bytes: vec![1, 2, 3] }]);
    }
}
