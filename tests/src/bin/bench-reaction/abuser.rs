//! The abuser: refused again and again, then at the door again and again.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use tests::interrupt;

/// Between two SYNs.
pub const INTERVAL: Duration = Duration::from_millis(2);
/// Refused requests; as many as it takes to be banned.
const REFUSALS: usize = 20;
/// A SYN that is not answered by then is not answered; its first repetition would come after a second.
const SILENCE: Duration = Duration::from_millis(300);

/// A SYN that is out.
struct Knock {
    socket: OwnedFd,
    sent: Instant,
    /// By a reset or by ICMP: it is not served any more either, so it counts as not answered.
    turned_away: bool,
}

/// The time from the last refusal to the first SYN after which none was answered. An error if that takes longer than
/// `patience`. SYNs begin `phase` after the last refusal.
pub fn attack(source: Ipv4Addr, target: SocketAddr, phase: Duration, patience: Duration) -> Result<Duration> {
    let refused = be_refused(source, target)?;
    let mut next = refused + phase;
    // Unanswered ones, in the order in which they were sent.
    let mut out: Vec<Knock> = Vec::new();
    let mut answered = 0_u32;
    loop {
        interrupt::check()?;
        let now = Instant::now();
        if let Some(first) = out.first()
            && now - first.sent > SILENCE
        {
            return Ok(first.sent - refused);
        }
        if now - refused > patience {
            bail!("not banned after {} s: {answered} SYNs were answered", patience.as_secs());
        }
        if now >= next {
            out.push(Knock { socket: knock(source, target)?, sent: Instant::now(), turned_away: false });
            // After a pause of the machine SYNs are not made up for.
            next = (next + INTERVAL).max(now);
            continue;
        }
        // Whoever is answered proves that those before it were, or that they were lost and not refused.
        if let Some(last) = newest_answered(&mut out, next - now)? {
            answered += last as u32 + 1;
            for knock in out.drain(..=last) {
                // Closed by a reset: thousands of connections need not be remembered by both sides.
                sockopt::set_socket_linger(&knock.socket, Some(Duration::ZERO))?;
            }
        }
    }
}

/// Sends requests that are refused, and notes when the last refusal was there.
fn be_refused(source: Ipv4Addr, target: SocketAddr) -> Result<Instant> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(source, 0)).context("the source is not ours")?;
    connect(&socket, &target).context("cannot connect")?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut received = Instant::now();
    for _ in 0..REFUSALS {
        stream.write_all(b"GET /closed HTTP/1.1\r\nHost: victim.test\r\nUser-Agent: abuser\r\n\r\n")?;
        let status = answer(&mut stream).context("no answer")?;
        received = Instant::now();
        ensure!(status == "403", "answered with {status}");
    }
    Ok(received)
}

/// Reads one answer to its end; its status.
fn answer(stream: &mut TcpStream) -> Result<String> {
    const BYTES_MAX: usize = 16 << 10;
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0 && text.len() < BYTES_MAX, "it ends early or never: {text}");
        text += std::str::from_utf8(&buffer[..read])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.context("no Content-Length")? {
            return Ok(head.get(9..12).unwrap_or_default().to_owned());
        }
    }
}

/// Sends a SYN.
fn knock(source: Ipv4Addr, target: SocketAddr) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    match connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error).context("a SYN cannot be sent"),
    }
}

/// Waits for answers, for a time at most; the place of the newest SYN that was accepted.
fn newest_answered(out: &mut [Knock], time: Duration) -> Result<Option<usize>> {
    let waiting: Vec<usize> = (0..out.len()).filter(|&place| !out[place].turned_away).collect();
    let mut events: Vec<PollFd<'_>> =
        waiting.iter().map(|&place| PollFd::new(&out[place].socket, PollFlags::OUT)).collect();
    match poll(&mut events, Some(&Timespec::try_from(time)?)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let happened: Vec<PollFlags> = events.iter().map(PollFd::revents).collect();
    let mut newest = None;
    for (&place, happened) in waiting.iter().zip(happened) {
        if happened.intersects(PollFlags::ERR | PollFlags::HUP) {
            out[place].turned_away = true;
        } else if happened.contains(PollFlags::OUT) {
            newest = Some(place);
        }
    }
    Ok(newest)
}
