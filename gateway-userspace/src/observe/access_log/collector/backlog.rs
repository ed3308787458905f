//! Lines that wait to be sent, in batches, within a bound.

use std::collections::VecDeque;
use std::time::Instant;

use super::settings::{BatchLimits, Settings};

/// All lines that wait, those that are being sent included.
#[derive(Debug, Default)]
pub struct Backlog {
    batches: VecDeque<Batch>,
    bytes: usize,
    lines: u64,
    closed: bool,
}

/// Lines that are sent together, each with its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub bytes: Vec<u8>,
    pub lines: u64,
    /// When the first of them came.
    pub since: Instant,
}

/// When the next batch is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    At(Instant),
    /// Nothing waits.
    WithMore,
    /// Nothing waits, and nothing will come.
    Never,
}

impl Backlog {
    /// Adds whole lines; returns how many there was no room for. What waits is kept and what comes is dropped, so that
    /// the log has one gap and not many.
    pub fn add(&mut self, lines: &[u8], settings: &Settings, now: Instant) -> u64 {
        let mut lost = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if self.bytes + line.len() > settings.buffer_bytes {
                lost += 1;
                continue;
            }
            self.bytes += line.len();
            self.lines += 1;
            match self.batches.back_mut() {
                Some(last) if last.has_room(line.len(), &settings.batch) => {
                    last.bytes.extend_from_slice(line);
                    last.lines += 1;
                }
                last => {
                    if let Some(full) = last {
                        full.bytes.shrink_to_fit();
                    }
                    self.batches.push_back(Batch { bytes: line.to_vec(), lines: 1, since: now });
                }
            }
        }
        lost
    }

    /// Nothing will be added any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// When the first batch is to be sent.
    pub fn due(&self, limits: &BatchLimits, now: Instant) -> Due {
        match self.batches.front() {
            None if self.closed => Due::Never,
            None => Due::WithMore,
            Some(first) => {
                let time = first.since + limits.age;
                let full = self.batches.len() > 1
                    || first.bytes.len() >= limits.bytes
                    || first.lines >= limits.lines;
                if full || self.closed || time <= now { Due::Now } else { Due::At(time) }
            }
        }
    }

    /// The first batch. It counts until it is [settled](Backlog::settle).
    pub fn take(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }

    /// Lines that were taken are sent or given up.
    pub fn settle(&mut self, bytes: usize, lines: u64) {
        self.bytes -= bytes;
        self.lines -= lines;
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lines that wait.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

impl Batch {
    fn has_room(&self, bytes: usize, limits: &BatchLimits) -> bool {
        self.bytes.len() + bytes <= limits.bytes && self.lines < limits.lines
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::settings;
    use super::*;

    fn limited(bytes: usize, lines: u64, buffer_bytes: usize) -> Settings {
        let batch = BatchLimits { bytes, lines, age: Duration::from_secs(1) };
        Settings { batch, buffer_bytes, ..settings("http://localhost/") }
    }

    #[test]
    fn batches_are_cut_by_bytes_and_by_lines_and_never_within_a_line() {
        let now = Instant::now();
        for (settings, expected) in [
            (limited(8, 100, 1000), vec!["a\nbb\n", "ccccccccccc\n", "d\ne\n"]),
            (limited(1000, 2, 1000), vec!["a\nbb\n", "ccccccccccc\nd\n", "e\n"]),
        ] {
            let mut backlog = Backlog::default();
            assert_eq!(backlog.add(b"a\nbb\nccccccccccc\n", &settings, now), 0);
            assert_eq!(backlog.add(b"d\ne\n", &settings, now), 0);
            let taken: Vec<_> = std::iter::from_fn(|| backlog.take()).collect();
            let texts: Vec<_> = taken.iter().map(|batch| String::from_utf8_lossy(&batch.bytes)).collect();
            assert_eq!(texts, expected);
            assert_eq!((backlog.bytes(), backlog.lines()), (21, 5), "until they are settled");
            taken.iter().for_each(|batch| backlog.settle(batch.bytes.len(), batch.lines));
            assert_eq!((backlog.bytes(), backlog.lines()), (0, 0));
        }
    }

    #[test]
    fn a_batch_is_due_when_it_is_full_or_old_or_the_last() {
        let (now, settings) = (Instant::now(), limited(8, 3, 1000));
        let mut backlog = Backlog::default();
        assert_eq!(backlog.due(&settings.batch, now), Due::WithMore);
        backlog.add(b"a\n", &settings, now);
        let old = now + Duration::from_secs(1);
        assert_eq!(backlog.due(&settings.batch, now), Due::At(old));
        assert_eq!(backlog.due(&settings.batch, old), Due::Now);
        backlog.add(b"b\nc\n", &settings, now);
        assert_eq!(backlog.due(&settings.batch, now), Due::Now, "three lines");
        backlog.take();
        backlog.add(b"d\n", &settings, now);
        backlog.close();
        assert_eq!(backlog.due(&settings.batch, now), Due::Now, "the last");
        backlog.take();
        assert_eq!(backlog.due(&settings.batch, now), Due::Never);
    }

    #[test]
    fn what_comes_is_dropped_when_too_much_waits_also_while_it_is_being_sent() {
        let (now, settings) = (Instant::now(), limited(4, 100, 10));
        let mut backlog = Backlog::default();
        assert_eq!(backlog.add(b"a\nb\nc\nd\ne\nf\ng\n", &settings, now), 2);
        let first = backlog.take().expect("a batch");
        assert_eq!(backlog.add(b"h\n", &settings, now), 1);
        backlog.settle(first.bytes.len(), first.lines);
        assert_eq!(backlog.add(b"i\nj\nk\n", &settings, now), 1);
        assert_eq!((backlog.bytes(), backlog.lines()), (10, 5));
    }
}
