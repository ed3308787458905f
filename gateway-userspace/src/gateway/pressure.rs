//! Whether something presses on this machine: then the SYN budget is armed, and else it rests.
//!
//! At rest SYNs are charged as any other packet, and no packet is looked into behind its source address; clients that
//! open many connections at once are not held up. Three things press, each looked at once a second: more packets than
//! `[shield] pressure`, a source over one of its budgets, and a listening socket whose queues overflow or answer by
//! cookies (`/proc/thread-self/net/netstat`, where it can be read).
//!
//! What presses arms at once, within the second that it takes to be seen; what has not pressed for [`QUIET`] rests. The
//! kernel is told to rest for [`REST`] at a time, so it ends armed when this process dies or hangs. It is armed from the
//! start.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gateway_common::verdict::Reason;

use crate::config::model::{Shield, SynsArmed};
use crate::dataplane::{Counters, Dataplane};

/// How long nothing must have pressed before the budget rests.
const QUIET: Duration = Duration::from_secs(10);
/// For how long it rests unless it is told again, which it is once a second.
const REST: Duration = Duration::from_secs(3);
/// The time that packets per second are counted over at least: two looks may follow each other closely.
const SECOND: Duration = Duration::from_secs(1);

/// What the kernel counts when a listening socket has no room, or saves room by cookies.
const TCP: [&str; 5] =
    ["ListenDrops", "ListenOverflows", "TCPReqQFullDrop", "TCPReqQFullDoCookies", "SyncookiesSent"];

/// What a reload may change, and what came of it: for metrics and `portcullis status`.
pub struct Shared {
    packets_per_second: AtomicU64,
    always: AtomicBool,
    presses: AtomicBool,
}

impl Shared {
    /// As configured; nothing presses yet.
    pub fn new(shield: &Shield) -> Shared {
        let this = Shared {
            packets_per_second: AtomicU64::new(0),
            always: AtomicBool::new(true),
            presses: AtomicBool::new(false),
        };
        this.configure(shield);
        this
    }

    /// Takes over what a reload changed, in force within a second.
    pub fn configure(&self, shield: &Shield) {
        self.packets_per_second.store(shield.pressure, Relaxed);
        self.always.store(shield.syns_armed == SynsArmed::Always, Relaxed);
    }

    /// Whether something presses, or has within [`QUIET`].
    pub fn presses(&self) -> bool {
        self.presses.load(Relaxed)
    }
}

/// Looks and acts; the keeper's thread has it.
pub struct Watch {
    shared: Arc<Shared>,
    pressure: Pressure,
}

impl Watch {
    /// The first look is [`QUIET`] before the first rest.
    pub fn new(shared: Arc<Shared>, now: Instant) -> Watch {
        Watch { shared, pressure: Pressure::new(now) }
    }

    /// Whether something presses, or has within [`QUIET`].
    pub fn presses(&self) -> bool {
        self.pressure.presses()
    }

    /// One look, to be called about every second. On an error nothing is renewed, and the budget ends armed.
    pub fn turn(&mut self, dataplane: &mut Dataplane) -> Result<(), crate::dataplane::Error> {
        let netstat = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap_or_default();
        let reading = Reading::of(&dataplane.counters()?, &netstat);
        let before = self.pressure.presses();
        let cause = self.pressure.step(Instant::now(), reading, self.shared.packets_per_second.load(Relaxed));
        match cause.filter(|_| !before) {
            Some(cause) => tracing::warn!(%cause, "under pressure"),
            None if before && !self.pressure.presses() => {
                tracing::info!(quiet = ?QUIET, "no pressure any more")
            }
            None => {}
        }
        self.shared.presses.store(self.pressure.presses(), Relaxed);
        if self.pressure.is_armed() || self.shared.always.load(Relaxed) {
            dataplane.arm()
        } else {
            dataplane.calm(REST)
        }
    }
}

/// What has been counted until a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Reading {
    /// Packets that the kernel stage saw.
    packets: u64,
    /// Those of them that were over a budget, or would have been in the mode `observe`; and those that were over it and
    /// went on all the same.
    over: u64,
    /// [`TCP`]
    tcp: [u64; TCP.len()],
}

impl Reading {
    fn of(counters: &Counters, netstat: &str) -> Reading {
        let sum = |of: fn(Reason) -> bool| {
            counters.iter().filter(|(reason, _)| of(*reason)).map(|(_, tally)| tally.packets).sum()
        };
        Reading { packets: sum(|reason| !reason.is_beside()), over: sum(is_over), tcp: tcp(netstat) }
    }
}

fn is_over(reason: Reason) -> bool {
    use Reason::{Established, ObservedPackets, ObservedSyns, OverPackets, OverSyns, Repeated};
    matches!(reason, OverPackets | OverSyns | ObservedPackets | ObservedSyns | Repeated | Established)
}

/// Reads the counters of `TcpExt`, of which netstat has a line of names and a line of values. What is not there is 0.
fn tcp(netstat: &str) -> [u64; TCP.len()] {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let of = |wanted| {
        let mut pairs = names.split(' ').zip(values.split(' '));
        pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok())
    };
    TCP.map(|name| of(name).unwrap_or_default())
}

/// What presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// So many packets per second.
    Packets(u64),
    /// So many packets over a budget since the last look.
    Over(u64),
    /// A counter of the kernel's and by how much it grew.
    Tcp(&'static str, u64),
}

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packets(per_second) => write!(f, "{per_second} packets per second"),
            Self::Over(packets) => write!(f, "{packets} packets over the budget of their source"),
            Self::Tcp(counter, count) => {
                write!(f, "listening sockets have no room ({counter}: {count} more)")
            }
        }
    }
}

/// The decision: what was read comes in with its time, and it remembers.
#[derive(Debug)]
struct Pressure {
    last: Option<(Instant, Reading)>,
    quiet_since: Instant,
    presses: bool,
    armed: bool,
}

impl Pressure {
    /// Armed, though nothing is known to press.
    fn new(now: Instant) -> Pressure {
        Pressure { last: None, quiet_since: now, presses: false, armed: true }
    }

    /// Takes in a reading; what presses just now. More than `limit` packets per second press.
    fn step(&mut self, now: Instant, reading: Reading, limit: u64) -> Option<Cause> {
        let cause = self.last.replace((now, reading)).and_then(|(then, before)| {
            cause(&before, &reading, now.saturating_duration_since(then).max(SECOND), limit)
        });
        if cause.is_some() {
            (self.quiet_since, self.presses) = (now, true);
        }
        let quiet = now.saturating_duration_since(self.quiet_since) >= QUIET;
        self.presses &= !quiet;
        self.armed = !quiet;
        cause
    }

    fn presses(&self) -> bool {
        self.presses
    }

    fn is_armed(&self) -> bool {
        self.armed
    }
}

fn cause(before: &Reading, now: &Reading, elapsed: Duration, limit: u64) -> Option<Cause> {
    let grown = |now: u64, before: u64| Some(now.saturating_sub(before)).filter(|more| *more > 0);
    let packets = u128::from(now.packets.saturating_sub(before.packets));
    let per_second = u64::try_from(packets * 1_000 / elapsed.as_millis().max(1)).unwrap_or(u64::MAX);
    if per_second > limit {
        return Some(Cause::Packets(per_second));
    }
    if let Some(more) = grown(now.over, before.over) {
        return Some(Cause::Over(more));
    }
    let mut counters = TCP.into_iter().zip(now.tcp.into_iter().zip(before.tcp));
    counters.find_map(|(name, (now, before))| Some(Cause::Tcp(name, grown(now, before)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decision that is looked at once a second, with a limit of 1000 packets per second.
    struct Bench {
        pressure: Pressure,
        now: Instant,
        reading: Reading,
    }

    impl Bench {
        fn new() -> Bench {
            let now = Instant::now();
            Bench { pressure: Pressure::new(now), now, reading: Reading::default() }
        }

        /// A second in which `change` is counted.
        fn second(&mut self, change: impl FnOnce(&mut Reading)) -> Option<Cause> {
            change(&mut self.reading);
            self.now += SECOND;
            self.pressure.step(self.now, self.reading, 1_000)
        }

        fn quiet(&mut self, seconds: u32) {
            (0..seconds).for_each(|_| assert_eq!(self.second(|reading| reading.packets += 1_000), None));
        }

        fn state(&self) -> (bool, bool) {
            (self.pressure.presses(), self.pressure.is_armed())
        }
    }

    #[test]
    fn it_is_armed_until_nothing_has_pressed_for_a_while() {
        let mut bench = Bench::new();
        bench.reading = Reading { packets: 1 << 40, over: 1 << 30, tcp: [7; TCP.len()] };
        bench.quiet(9);
        assert_eq!(bench.state(), (false, true), "what was counted before the start says nothing");
        bench.quiet(1);
        assert_eq!(bench.state(), (false, false));
    }

    #[test]
    fn whatever_presses_arms_at_once_and_for_a_while_after_its_end() {
        let presses: [fn(&mut Reading); 4] = [
            |reading| reading.packets += 1_001,
            |reading| reading.over += 1,
            |reading| reading.tcp[0] += 1,
            |reading| reading.tcp[TCP.len() - 1] += 1,
        ];
        for press in presses {
            let mut bench = Bench::new();
            bench.quiet(20);
            let cause = bench.second(press);
            assert_eq!(bench.state(), (true, true), "{cause:?}");
            bench.quiet(5);
            assert!(bench.second(press).is_some());
            bench.quiet(9);
            assert_eq!(bench.state(), (true, true), "{cause:?}");
            bench.quiet(1);
            assert_eq!(bench.state(), (false, false), "{cause:?}");
        }
    }

    #[test]
    fn a_late_look_counts_packets_over_its_time_and_one_too_soon_over_a_second() {
        let mut bench = Bench::new();
        bench.quiet(1);
        let mut step = |after_ms, packets| {
            bench.now += Duration::from_millis(after_ms);
            bench.reading.packets += packets;
            bench.pressure.step(bench.now, bench.reading, 1_000)
        };
        assert_eq!(step(4_000, 4_000), None);
        assert_eq!(step(1, 1_000), None);
        assert_eq!(step(0, 1_001), Some(Cause::Packets(1_001)));
        assert_eq!(step(2_000, 4_000), Some(Cause::Packets(2_000)));
    }

    #[test]
    fn counters_that_begin_anew_are_no_pressure() {
        let mut bench = Bench::new();
        bench.reading = Reading { packets: 1 << 40, over: 9, tcp: [9; TCP.len()] };
        bench.quiet(1);
        assert_eq!(bench.second(|reading| *reading = Reading::default()), None);
    }

    #[test]
    fn the_kernels_own_counters_are_found_by_name() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPReqQFullDrop\n\
                       TcpExt: 1 2 3 18446744073709551615\nIpExt: ListenDrops\nIpExt: 9\n";
        assert_eq!(tcp(netstat), [3, 2, u64::MAX, 0, 1]);
        for broken in ["", "TcpExt: ListenDrops\n", "TcpExt: ListenDrops\nTcpExt: many\n", "TcpExt:"] {
            assert_eq!(tcp(broken), [0; TCP.len()], "{broken:?}");
        }
        let here = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
        let names = here.lines().next().unwrap();
        assert!(TCP.iter().all(|name| names.split(' ').any(|one| one == *name)), "{names}");
    }

    #[test]
    fn a_packet_counts_once_and_over_is_whoever_was_over_a_budget() {
        let over: Vec<_> = Reason::ALL.into_iter().filter(|reason| is_over(*reason)).collect();
        assert!(over.iter().all(|reason| *reason == Reason::OverPackets
            || *reason == Reason::OverSyns
            || reason.is_beside()));
        assert!(
            ![Reason::DeniedSource, Reason::ObservedSource, Reason::FilterMiss, Reason::Paroled]
                .iter()
                .any(|reason| over.contains(reason))
        );
    }
}
