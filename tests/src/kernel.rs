//! The real kernel program, loaded for one test.

use std::{
    net::IpAddr,
    ops::{Deref, DerefMut},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use gateway_common::verdict::Reason;
use gateway_userspace::dataplane::{Counters, Dataplane, Error, Options};
use ipnet::IpNet;

use crate::privilege;

/// XDP actions (`enum xdp_action`).
pub const XDP_DROP: u32 = 1;
/// See [`XDP_DROP`].
pub const XDP_PASS: u32 = 2;

/// A loaded program with maps of its own, all of which go with it.
pub struct Kernel {
    dataplane: Option<Dataplane>,
    options: Options,
}

impl Kernel {
    /// Loads with the defaults: enforcing, no budgets, small lists.
    pub fn load() -> Option<Self> {
        Self::load_with(|_| {})
    }

    /// Loads with changed options. `None`, and a line that says so, where the kernel is out of reach.
    pub fn load_with(change: impl FnOnce(&mut Options)) -> Option<Self> {
        let mut options = Options { pin_root: fresh_pin_root(), deny_capacity: 4096, ..Options::default() };
        change(&mut options);
        match Dataplane::open(&options) {
            Ok(dataplane) => Some(Self { dataplane: Some(dataplane), options }),
            Err(
                error @ (Error::NoProgram
                | Error::NoBpf
                | Error::NoBpfFilesystem { .. }
                | Error::Privilege { .. }
                | Error::Refused { .. }),
            ) => {
                privilege::skip(thread::current().name().unwrap_or("test"), &error.to_string());
                None
            }
            Err(error) => panic!("the program does not load: {}", chain(&error)),
        }
    }

    /// The options it was loaded with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Drops the process's side, as `kill -9` would, and opens the same pins again.
    pub fn reopen(&mut self) {
        self.dataplane = None;
        let opened = Dataplane::open(&self.options);
        self.dataplane = Some(opened.unwrap_or_else(|error| panic!("does not reopen: {}", chain(&error))));
    }

    /// Drops the process's side and opens the same pins with changed options.
    ///
    /// # Errors
    /// As [`Dataplane::open`]; the process's side is gone then.
    pub fn reopen_with(&mut self, change: impl FnOnce(&mut Options)) -> Result<(), Error> {
        self.dataplane = None;
        change(&mut self.options);
        self.dataplane = Some(Dataplane::open(&self.options)?);
        Ok(())
    }

    /// Drops the process's side only: the pins stay.
    pub fn close(&mut self) {
        self.dataplane = None;
    }

    /// Runs the program once: the action, and what it has counted.
    pub fn send(&self, frame: &[u8]) -> (u32, Counters) {
        let before = self.counters().expect("counters can be read");
        let (action, _) = self.test_run(frame, 1).expect("the program runs");
        (action, self.counters().expect("counters can be read").since(&before))
    }

    /// Asserts that a frame has the fate that its reason means, and is counted under it, once.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn expect(&self, description: &str, frame: &[u8], reason: Reason) {
        let (action, counters) = self.send(frame);
        let counted: Vec<_> = counters
            .iter()
            .filter(|(_, tally)| tally.packets > 0)
            .map(|(reason, tally)| (reason.name(), tally.packets))
            .collect();
        assert_eq!(counters.of(reason).packets, 1, "{description}: {} expected, {counted:?}", reason.name());
        assert_eq!(counters.of(reason).bytes, frame.len() as u64, "{description}: bytes");
        let expected = if reason.is_drop() { XDP_DROP } else { XDP_PASS };
        assert_eq!(action, expected, "{description}: action, {counted:?}");
    }
}

impl Deref for Kernel {
    type Target = Dataplane;

    fn deref(&self) -> &Dataplane {
        self.dataplane.as_ref().expect("open between load and drop")
    }
}

impl DerefMut for Kernel {
    fn deref_mut(&mut self) -> &mut Dataplane {
        self.dataplane.as_mut().expect("open between load and drop")
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let dataplane = self.dataplane.take().or_else(|| Dataplane::open(&self.options).ok());
        if let Some(mut dataplane) = dataplane {
            let _ = dataplane.detach(true);
        }
        // A test that planted foreign pins leaves a directory that the dataplane does not remove.
        let _ = std::fs::remove_dir_all(&self.options.pin_root);
    }
}

/// A prefix, from its text.
pub fn net(text: &str) -> IpNet {
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).expect("a prefix")
}

/// An error with its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A pin directory that no other test uses.
fn fresh_pin_root() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("/sys/fs/bpf/portcullis-test-{}-{number}", process::id()))
}
