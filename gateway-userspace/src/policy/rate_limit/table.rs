//! One arrival time for each key, in a table of fixed size that all workers share.
//!
//! Each key has one bucket of ten slots. A known key is found and charged without a lock: its slot's word is changed
//! by compare-and-swap, so of any number of concurrent requests exactly as many pass as the rate allows. A new key takes
//! its bucket's lock (no other bucket waits) and the slot whose TAT is oldest: a free one, else the one that has
//! refilled most and so loses least. An evicted key starts afresh; a stranger is never refused for lack of room, and
//! the table never grows. A key that runs ahead of its rate has a late TAT and is the last to be evicted.
//!
//! A slot's word is the TAT with a generation in its low three bits, changed with the key: a compare-and-swap that was
//! prepared for one key does not succeed on another, unless the thread sleeps through eight evictions of the slot *and*
//! the TATs agree to eight nanoseconds.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use super::gcra::{GRAIN_NS, Rate};

const SLOTS: usize = 10;
const GENERATION: u64 = GRAIN_NS - 1;
/// A word while its slot changes hands; no TAT comes near it.
const BUSY: u64 = u64::MAX;

/// The table. Takes 256 bytes for each bucket of ten keys, all of it from the beginning.
#[derive(Debug)]
pub struct Table {
    buckets: Box<[Bucket]>,
    evicted: AtomicU64,
}

/// Four cache lines: a lock for changing keys, and the slots.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Bucket {
    keys: Mutex<()>,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default)]
struct Slot {
    word: AtomicU64,
    key_high: AtomicU64,
    key_low: AtomicU64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The key's TAT, with this request if it passed.
    pub tat_ns: u64,
    /// Nanoseconds until a request would pass, where this one did not.
    pub wait_ns: Option<u64>,
}

impl Table {
    /// A table of at least so many buckets, rounded up to a power of two.
    pub fn new(buckets: usize) -> Table {
        let buckets = (0..buckets.next_power_of_two()).map(|_| Bucket::default()).collect();
        Table { buckets, evicted: AtomicU64::new(0) }
    }

    /// Charges one request to a key. The key must be a keyed hash, or clients could choose their bucket.
    pub fn take(&self, key: u128, now_ns: u64, rate: Rate) -> Outcome {
        let bucket = self.bucket(key);
        loop {
            let Some((slot, word)) = bucket.find(key) else {
                match self.insert(bucket, key, now_ns, rate) {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            };
            let tat_ns = word & !GENERATION;
            match rate.step(tat_ns, now_ns) {
                Err(wait_ns) => return Outcome { tat_ns, wait_ns: Some(wait_ns) },
                Ok(tat_ns) => {
                    if slot.replace(word, tat_ns | word & GENERATION) {
                        return Outcome { tat_ns, wait_ns: None };
                    }
                }
            }
        }
    }

    /// What [`Table::take`] would say, without charging; the TAT is the one before the request.
    pub fn peek(&self, key: u128, now_ns: u64, rate: Rate) -> Outcome {
        let tat_ns = self.bucket(key).find(key).map_or(0, |(_, word)| word & !GENERATION);
        Outcome { tat_ns, wait_ns: rate.step(tat_ns, now_ns).err() }
    }

    /// Gives back what [`Table::take`] charged.
    pub fn refund(&self, key: u128, rate: Rate) {
        let bucket = self.bucket(key);
        while let Some((slot, word)) = bucket.find(key) {
            if slot.replace(word, rate.back(word & !GENERATION) | word & GENERATION) {
                return;
            }
        }
    }

    /// How many keys were evicted before they had refilled: above zero, the table is too small for its traffic.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// A table of the same size and keys under another rate.
    pub fn carried_over(&self, now_ns: u64, old: Rate, new: Rate) -> Table {
        let copy = Table::new(self.buckets.len());
        for (from, to) in self.buckets.iter().zip(&copy.buckets) {
            let _keys = from.keys.lock().unwrap_or_else(PoisonError::into_inner);
            for (from, to) in from.slots.iter().zip(&to.slots) {
                let tat_ns = from.word.load(Ordering::Acquire) & !GENERATION;
                if tat_ns > now_ns {
                    to.word.store(new.carry_over(old, tat_ns, now_ns), Ordering::Relaxed);
                    to.key_high.store(from.key_high.load(Ordering::Relaxed), Ordering::Relaxed);
                    to.key_low.store(from.key_low.load(Ordering::Relaxed), Ordering::Relaxed);
                }
            }
        }
        copy
    }

    fn bucket(&self, key: u128) -> &Bucket {
        let (high, _) = halves(key);
        let mask = self.buckets.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "the low bits choose the bucket")]
        &self.buckets[high as usize & mask]
    }

    /// Gives a slot to a key that has none and charges its first request; `None` when the key came to be meanwhile.
    fn insert(&self, bucket: &Bucket, key: u128, now_ns: u64, rate: Rate) -> Option<Outcome> {
        let _keys = bucket.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.find(key).is_some() {
            return None;
        }
        let tat_ns = rate.step(0, now_ns).ok()?;
        loop {
            let words = bucket.slots.iter().map(|slot| (slot.word.load(Ordering::Relaxed), slot));
            let (word, slot) = words.min_by_key(|(word, _)| *word)?;
            if !slot.replace(word, BUSY) {
                continue;
            }
            if word > now_ns {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            // Whoever sees a half of the new key after this must also see that the slot is busy, or done.
            fence(Ordering::Release);
            let (high, low) = halves(key);
            slot.key_high.store(high, Ordering::Relaxed);
            slot.key_low.store(low, Ordering::Relaxed);
            slot.word.store(tat_ns | word.wrapping_add(1) & GENERATION, Ordering::Release);
            return Some(Outcome { tat_ns, wait_ns: None });
        }
    }
}

impl Bucket {
    /// The slot of a key and its word at a moment at which the slot was the key's.
    fn find(&self, key: u128) -> Option<(&Slot, u64)> {
        let (high, low) = halves(key);
        for slot in &self.slots {
            loop {
                let word = slot.word.load(Ordering::Acquire);
                let other = slot.key_high.load(Ordering::Relaxed) != high
                    || slot.key_low.load(Ordering::Relaxed) != low;
                if word == BUSY || word == 0 || other {
                    break;
                }
                fence(Ordering::Acquire);
                if slot.word.load(Ordering::Relaxed) == word {
                    return Some((slot, word));
                }
            }
        }
        None
    }
}

impl Slot {
    fn replace(&self, old: u64, new: u64) -> bool {
        self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn halves(key: u128) -> (u64, u64) {
    ((key >> 64) as u64, key as u64)
}

#[cfg(test)]
mod tests;
