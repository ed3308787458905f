//! A lock on a file that lasts as long as the process, so that two gateways do not share what only one may have.

use std::fs::File;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A gateway that is just ending, or a child of ours between `fork` and `exec`, holds a lock for a moment longer.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock; false if somebody else has it and keeps it. Waits for at most 300 ms.
pub fn take(file: &File) -> std::io::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_given_up_soon_is_waited_for_and_one_that_is_kept_is_not() {
        let path = std::env::temp_dir().join(format!("portcullis-lock-{}", std::process::id()));
        let open =
            || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let (first, second) = (open(), open());
        assert!(take(&first).unwrap());
        assert!(!take(&second).unwrap());
        let ending = std::thread::spawn(move || {
            std::thread::park_timeout(Duration::from_millis(50));
            drop(first);
        });
        assert!(take(&second).unwrap());
        ending.join().unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
