//! Counts the frames by which an HTTP/2 client makes us work without asking for anything.
//!
//! SETTINGS and PING must be answered, PRIORITY and unknown frames be read, and a reset throws away a request that was
//! begun. The library limits only some of them, so a connection that sends more than [`CONTROL_FRAMES_MAX`] within
//! [`WINDOW`] is ended. WINDOW_UPDATE is not counted: a fast download needs many. Only frame headers are looked at,
//! and a frame is charged when its header is complete.

use std::time::{Duration, Instant};

/// Most control frames in a window; a busy client sends a handful.
pub const CONTROL_FRAMES_MAX: u32 = 1000;

/// The time in which they are counted.
pub const WINDOW: Duration = Duration::from_secs(10);

const FRAME_HEADER_BYTES: usize = 9;
const PREFACE_BYTES: usize = 24;
const HEADERS: u8 = 1;

/// Follows the frames of one connection.
#[derive(Debug)]
pub struct ControlFrames {
    /// Bytes of the preface or of a payload that are still to come.
    skip: usize,
    header: [u8; FRAME_HEADER_BYTES],
    header_length: usize,
    window_ends: Instant,
    count: u32,
    asked: bool,
}

/// Too many control frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many HTTP/2 control frames")]
pub struct Flood;

impl ControlFrames {
    /// Begins before the client's preface.
    pub fn new(now: Instant) -> ControlFrames {
        ControlFrames {
            skip: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_length: 0,
            window_ends: now + WINDOW,
            count: 0,
            asked: false,
        }
    }

    /// Whether the client ever began a header section.
    pub fn asked(&self) -> bool {
        self.asked
    }

    /// Looks at the next bytes of the connection; `now` is asked for only when there is something to count.
    pub fn step(&mut self, now: impl Fn() -> Instant, mut bytes: &[u8]) -> Result<(), Flood> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = (FRAME_HEADER_BYTES - self.header_length).min(bytes.len());
            self.header[self.header_length..][..taken].copy_from_slice(&bytes[..taken]);
            self.header_length += taken;
            bytes = &bytes[taken..];
            if self.header_length < FRAME_HEADER_BYTES {
                return Ok(());
            }
            self.header_length = 0;
            let [high, middle, low, kind, ..] = self.header;
            self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
            self.asked |= kind == HEADERS;
            if is_control(kind) {
                self.charge(now())?;
            }
        }
    }

    fn charge(&mut self, now: Instant) -> Result<(), Flood> {
        if now >= self.window_ends {
            self.window_ends = now + WINDOW;
            self.count = 0;
        }
        self.count += 1;
        if self.count > CONTROL_FRAMES_MAX { Err(Flood) } else { Ok(()) }
    }
}

/// Everything but DATA (0), HEADERS (1), WINDOW_UPDATE (8) and CONTINUATION (9), which the library limits.
fn is_control(kind: u8) -> bool {
    !matches!(kind, 0 | 1 | 8 | 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn only_control_frames_count_whatever_stands_in_payloads() {
        let now = Instant::now();
        let mut frames = ControlFrames::new(now);
        frames.step(|| now, PREFACE).unwrap();
        // A payload full of what would be PING headers.
        let payload = frame(6, &[]).repeat(1000);
        for kind in [0, 1, 8, 9] {
            frames.step(|| now, &frame(kind, &payload)).unwrap();
        }
        assert_eq!(frames.count, 0);
        for kind in [2, 3, 4, 5, 6, 7, 10, 255] {
            frames.step(|| now, &frame(kind, &payload)).unwrap();
        }
        assert_eq!(frames.count, 8);
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let now = Instant::now();
        let bytes = [PREFACE, &frame(4, &[7; 18]), &frame(0, &[6; 300]), &frame(6, &[6; 8])].concat();
        for size in 1..bytes.len() {
            let mut frames = ControlFrames::new(now);
            for piece in bytes.chunks(size) {
                frames.step(|| now, piece).unwrap();
            }
            assert_eq!((frames.count, frames.skip, frames.header_length), (2, 0, 0), "pieces of {size}");
        }
    }

    #[test]
    fn a_flood_is_found_and_a_steady_trickle_is_not() {
        let start = Instant::now();
        let ping = frame(6, &[0; 8]);
        let mut flooded = ControlFrames::new(start);
        flooded.step(|| start, PREFACE).unwrap();
        let sent = (1..).find(|_| flooded.step(|| start, &ping).is_err());
        assert_eq!(sent, Some(CONTROL_FRAMES_MAX + 1));
        let mut steady = ControlFrames::new(start);
        steady.step(|| start, PREFACE).unwrap();
        for i in 0..10 * CONTROL_FRAMES_MAX {
            steady.step(|| start + WINDOW * i / CONTROL_FRAMES_MAX, &ping).unwrap();
        }
    }
}
