//! Ctrl-C as a flag, so that a bench puts away what it made: namespaces, pins, processes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Result, ensure};

static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    ASKED.store(true, Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP set the flag and end nothing; a call that waits comes back.
pub fn watch() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: an action is plain data, for which zero means no flags and an empty mask; the handler does no more
        // than store to an atomic.
        let failed = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as libc::sighandler_t;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0
        };
        if failed {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether somebody asked to end.
pub fn asked() -> bool {
    ASKED.load(Relaxed)
}

/// An error once somebody asked to end.
pub fn check() -> Result<()> {
    ensure!(!asked(), "interrupted");
    Ok(())
}

/// Sleeps; an error as soon as somebody asks to end.
pub fn sleep(time: Duration) -> Result<()> {
    const SLICE: Duration = Duration::from_millis(20);
    let started = Instant::now();
    loop {
        check()?;
        let left = time.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(SLICE));
    }
}
