//! Entries on their way into the kernel, written by two threads: one begins while the other still says what to write.
//!
//! Nearly all the time of it is the kernel's, which locks single buckets only. Which thread writes what is not
//! foreseen, so one key must not be said twice.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, Sender},
    },
    thread::{self, Scope},
};

use gateway_common::denylist::DenyValue;

use crate::dataplane::{prefix::Key, syscall::update_batch};

/// Entries that a thread writes in one go: some 500 µs, where to start a thread takes 50.
const SHARE: usize = 512;

/// Exact entries as the kernel takes them.
#[derive(Default)]
pub struct Share {
    keys4: Vec<[u8; 4]>,
    values4: Vec<DenyValue>,
    keys6: Vec<[u8; 8]>,
    values6: Vec<DenyValue>,
}

impl Share {
    fn len(&self) -> usize {
        self.keys4.len() + self.keys6.len()
    }

    /// On an error some may have been written.
    fn write(&self, fds: &[OwnedFd; 4]) -> io::Result<()> {
        let written = update_batch(fds[0].as_fd(), &self.keys4, &self.values4);
        written.and(update_batch(fds[1].as_fd(), &self.keys6, &self.values6))
    }

    /// Its entries.
    pub fn rows(&self) -> impl Iterator<Item = (Key, DenyValue)> + '_ {
        let rows4 = self.keys4.iter().zip(&self.values4).map(|(key, value)| (Key::Source4(*key), *value));
        let rows6 = self.keys6.iter().zip(&self.values6).map(|(key, value)| (Key::Source6(*key), *value));
        rows4.chain(rows6)
    }
}

/// Takes entries that are to be written.
pub struct Writing<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    /// What another thread does: it writes until no more come.
    work: Option<&'scope (dyn Fn() + Sync)>,
    sender: Sender<Share>,
    share: Share,
    prefixes: Vec<(Key, DenyValue)>,
}

impl Writing<'_, '_> {
    /// Writes an entry, now or a little later.
    pub fn push(&mut self, key: Key, value: DenyValue) {
        match key {
            Key::Source4(address) => put(&mut self.share.keys4, &mut self.share.values4, address, value),
            Key::Source6(network) => put(&mut self.share.keys6, &mut self.share.values6, network, value),
            Key::Prefix4(..) | Key::Prefix6(..) => self.prefixes.push((key, value)),
        }
        if self.share.len() == SHARE {
            self.send();
            if let Some(work) = self.work.take() {
                // Where there is no other thread this one writes all.
                let _ = thread::Builder::new().name("denylist".into()).spawn_scoped(self.scope, work);
            }
        }
    }

    fn send(&mut self) {
        // There is somebody who receives as long as this lives.
        let _ = self.sender.send(std::mem::take(&mut self.share));
    }
}

fn put<K>(keys: &mut Vec<K>, values: &mut Vec<DenyValue>, key: K, value: DenyValue) {
    if keys.is_empty() {
        keys.reserve_exact(SHARE);
        values.reserve_exact(SHARE);
    }
    keys.push(key);
    values.push(value);
}

/// What has become of entries that were to be written.
pub struct Written<R> {
    /// Those of which some may not have been written.
    pub failed: Vec<Share>,
    /// Those of prefixes, which are left to the caller: the kernel has no faster way for them than one by one.
    pub prefixes: Vec<(Key, DenyValue)>,
    /// What the caller had to say besides.
    pub said: R,
}

/// Writes the exact entries that `say` pushes. What else it does is done meanwhile.
pub fn write<R>(fds: &[OwnedFd; 4], say: impl FnOnce(&mut Writing<'_, '_>) -> R) -> Written<R> {
    let (sender, receiver) = mpsc::channel::<Share>();
    let (receiver, failed) = (Mutex::new(receiver), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let share = lock(&receiver).recv();
            let Ok(share) = share else { return };
            if share.write(fds).is_err() {
                lock(&failed).push(share);
            }
        }
    };
    let (said, prefixes) = thread::scope(|scope| {
        let share = Share::default();
        let mut writing = Writing { scope, work: Some(&work), sender, share, prefixes: Vec::new() };
        let said = say(&mut writing);
        writing.send();
        let Writing { prefixes, sender, .. } = writing;
        // Nothing more comes: both go on until all is written.
        drop(sender);
        work();
        (said, prefixes)
    });
    Written { failed: failed.into_inner().unwrap_or_else(PoisonError::into_inner), prefixes, said }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
