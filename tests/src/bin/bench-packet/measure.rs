//! Time: on a thread that nothing preempts, by the clock of its own CPU time.

use std::{io, thread};

use anyhow::{Result, anyhow};
use rustix::time::{ClockId, clock_gettime};

/// Runs on a thread of its own, fixed to the last CPU, with real-time priority. Wall time would be cut into
/// ticks by preemption; CPU time of a normal thread too.
pub fn on_realtime_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = thread::Builder::new().name("bench".into()).spawn(move || {
        if let Err(error) = become_realtime() {
            eprintln!("no real-time priority ({error}): the figures are noisier");
        }
        work()
    })?;
    thread.join().map_err(|_| anyhow!("the bench panicked"))?
}

fn become_realtime() -> io::Result<()> {
    let cpu = thread::available_parallelism().map_or(1, usize::from) - 1;
    // SAFETY: a set of CPUs is plain data, for which zero is the empty set; `CPU_SET` checks the bound.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: both calls read a struct of the size given, for the calling thread.
    let failed = unsafe {
        libc::sched_setaffinity(0, size_of_val(&set), &set) != 0
            || libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// CPU time that some work takes on this thread, in nanoseconds.
pub fn cpu_ns(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = thread_ns();
    work()?;
    Ok(thread_ns() - before)
}

fn thread_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Times of many calls, in nanoseconds per packet.
#[derive(Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, ns: f64) {
        self.0.push(ns);
    }

    /// The least: the cost without the neighbours.
    pub fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
