//! Which processor does what, and how much time a process has had.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The proxy has one processor, load and upstream share the other.
#[derive(Debug, Clone, Copy)]
pub struct Processors {
    /// The proxy's.
    pub proxy: usize,
    /// Everybody else's; the same one on a machine that has only one.
    pub load: usize,
    /// How many there are to choose from.
    pub count: u32,
}

impl Processors {
    /// The last two that this process may use.
    pub fn choose() -> Result<Processors> {
        let allowed = sched_getaffinity(None)?;
        let mut usable = (0..CpuSet::MAX_CPU).rev().filter(|&processor| allowed.is_set(processor));
        let proxy = usable.next().context("no processor")?;
        Ok(Processors { proxy, load: usable.next().unwrap_or(proxy), count: allowed.count() })
    }
}

/// Keeps the calling thread, and what it starts from now on, on one processor.
pub fn pin(processor: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    Ok(sched_setaffinity(None, &only)?)
}

/// Time on a processor, user and system, of a process with all its threads and children.
///
/// From the scheduler, in nanoseconds; a thread that has ended is no longer counted, so it is for processes that keep
/// their threads.
pub fn time_of(root: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for process in tree(root)? {
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_processor = text.split(' ').next().context("an empty schedstat")?;
            nanoseconds += on_processor.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of a process and its children, in bytes; what they share counts for each.
pub fn memory_of(root: u32) -> Result<u64> {
    let mut bytes = 0;
    for process in tree(root)? {
        let text = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        bytes += kibibytes << 10;
    }
    Ok(bytes)
}

fn tree(root: u32) -> Result<Vec<u32>> {
    let mut processes = vec![root];
    let mut next = 0;
    while let Some(&process) = processes.get(next) {
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let children = fs::read_to_string(task?.path().join("children"))?;
            for child in children.split_whitespace() {
                processes.push(child.parse()?);
            }
        }
        next += 1;
    }
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_of_this_process_grow_with_its_work() {
        let own = std::process::id();
        let before = time_of(own).expect("schedstat");
        let work: Vec<u64> = (0..4 << 20).collect();
        assert_eq!(work[1 << 20], 1 << 20);
        while time_of(own).expect("schedstat") - before < Duration::from_millis(5) {}
        assert!(memory_of(own).expect("status") > 32 << 20);
    }
}
