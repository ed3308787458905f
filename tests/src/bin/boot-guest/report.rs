//! What is said to the test that started this machine.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::boot::{Line, REPORT_DEVICE};

/// The serial line.
pub struct Report {
    device: File,
}

impl Report {
    /// Opens it.
    pub fn open() -> Report {
        let device = OpenOptions::new().write(true).open(REPORT_DEVICE);
        Report { device: device.expect("the machine has a second serial port") }
    }

    /// Sends one line.
    pub fn send(&mut self, line: &Line) {
        self.device.write_all(line.encode().as_bytes()).expect("the serial port takes it");
    }

    /// Carries out one step of the story and tells how it went: what it returns, or `None` if it panicked.
    pub fn step<T>(&mut self, name: &str, step: impl FnOnce() -> T) -> Option<T> {
        // What a step leaves half done is not used by a later one: the story ends there.
        match catch_unwind(AssertUnwindSafe(step)) {
            Ok(value) => {
                self.send(&Line::Passed(name.into()));
                Some(value)
            }
            Err(panic) => {
                self.send(&Line::Failed(name.into(), words(&*panic)));
                None
            }
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "it panicked without a word".to_owned(),
    }
}
