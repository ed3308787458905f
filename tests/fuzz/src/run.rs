//! Trying inputs, one after the other, until one is wrong or enough have been right.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::mutate::mutate;
use crate::record::Record;
use ::tests::chance::Chance;

/// Inputs that are kept to be changed further; beyond that one takes the place of another.
const KEPT_MAX: usize = 4096;
/// Inputs between two looks at the clock.
const CLOCK_EVERY: u64 = 64;
/// An input that takes longer than that hangs: they take microseconds, the largest milliseconds.
pub const HANG: Duration = Duration::from_secs(60);

/// What is fuzzed.
pub trait Target {
    /// Inputs to begin with.
    fn seeds(&self) -> Vec<Vec<u8>>;
    /// Now and then an input that owes nothing to those before it, for a target that can make one.
    fn fresh(&self, _chance: &mut Chance) -> Option<Vec<u8>> {
        None
    }
    /// What inputs are made of.
    fn words(&self) -> &'static [&'static [u8]];
    /// The longest input.
    fn bytes_max(&self) -> usize;
    /// Tries an input. A number for what it went through, so that an input is kept that goes through something else; or what
    /// was wrong.
    fn check(&mut self, input: &[u8]) -> Result<u64, String>;
}

/// When it has been enough, whatever comes first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limit {
    /// After so many inputs.
    pub inputs: Option<u64>,
    /// After so much time.
    pub time: Option<Duration>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Inputs that were tried.
    pub inputs: u64,
    /// How many different ways they went.
    pub ways: usize,
}

/// An input that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Itself.
    pub input: Vec<u8>,
    /// What was wrong.
    pub what: String,
}

/// How far a run is, for whoever watches it from another thread.
pub static TRIED: AtomicU64 = AtomicU64::new(0);

/// Runs inputs made with `seed` through the target.
///
/// # Errors
/// The first input that goes wrong, made as short as it is easily made.
pub fn run(
    target: &mut dyn Target,
    seed: u64,
    limit: Limit,
    record: Option<&Record>,
) -> Result<Tally, Failure> {
    let started = Instant::now();
    let mut chance = Chance::new(seed);
    let (words, bytes_max) = (target.words(), target.bytes_max());
    let mut kept = target.seeds();
    let mut ways = HashSet::new();
    for input in &kept {
        let way = try_one(target, input, record);
        ways.insert(way.map_err(|failure| shorten(target, failure, record))?);
    }
    let mut inputs = kept.len() as u64;
    while limit.inputs.is_none_or(|most| inputs < most) {
        if inputs.is_multiple_of(CLOCK_EVERY) && limit.time.is_some_and(|time| started.elapsed() >= time) {
            break;
        }
        let input = target.fresh(&mut chance).unwrap_or_else(|| {
            let mut input = chance.of(&kept).clone();
            let other = chance.of(&kept);
            mutate(&mut chance, &mut input, other, words, bytes_max);
            input
        });
        inputs += 1;
        if ways.insert(try_one(target, &input, record).map_err(|failure| shorten(target, failure, record))?) {
            if kept.len() < KEPT_MAX {
                kept.push(input);
            } else {
                let place = chance.below(KEPT_MAX);
                kept[place] = input;
            }
        }
    }
    Ok(Tally { inputs, ways: ways.len() })
}

/// Tries one input; a panic is a failure too.
///
/// # Errors
/// What went wrong.
pub fn try_one(target: &mut dyn Target, input: &[u8], record: Option<&Record>) -> Result<u64, Failure> {
    TRIED.fetch_add(1, Relaxed);
    let failed = |what: String| Failure { input: input.to_vec(), what };
    if let Some(record) = record {
        record.note(input).map_err(|error| failed(format!("the input cannot be recorded: {error}")))?;
    }
    match catch_unwind(AssertUnwindSafe(|| target.check(input))) {
        Ok(checked) => checked.map_err(failed),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no text");
            Err(failed(format!("panic: {text}")))
        }
    }
}

/// Leaves out what is not needed to fail: pieces of it, from large to small.
fn shorten(target: &mut dyn Target, mut failure: Failure, record: Option<&Record>) -> Failure {
    let mut bytes = failure.input.len().next_power_of_two();
    while bytes > 0 {
        let mut at = 0;
        while at < failure.input.len() {
            let mut shorter = failure.input.clone();
            shorter.drain(at..(at + bytes).min(shorter.len()));
            match try_one(target, &shorter, record) {
                Err(failed) => failure = failed,
                Ok(_) => at += bytes,
            }
        }
        bytes /= 2;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes wrong where `needle` stands, and panics at a `!`.
    struct Needle(&'static [u8]);

    impl Target for Needle {
        fn seeds(&self) -> Vec<Vec<u8>> {
            vec![b"hay and more hay".to_vec()]
        }

        fn words(&self) -> &'static [&'static [u8]] {
            &[b"ne", b"ed", b"le"]
        }

        fn bytes_max(&self) -> usize {
            100
        }

        fn check(&mut self, input: &[u8]) -> Result<u64, String> {
            assert!(self.0 != b"!" || !input.contains(&b'!'), "a mark");
            let has = |wanted: &[u8]| input.windows(wanted.len()).any(|part| part == wanted);
            if has(self.0) {
                return Err("found".into());
            }
            // How much of it is there already is what is new.
            Ok((0..=self.0.len()).filter(|end| has(&self.0[..(*end).max(1)])).count() as u64)
        }
    }

    #[test]
    fn what_is_wrong_is_found_step_by_step_and_made_short() {
        let limit = Limit { inputs: Some(300_000), time: None };
        let failure = run(&mut Needle(b"needle"), 1, limit, None).expect_err("it is there to be found");
        assert_eq!((failure.input.as_slice(), failure.what.as_str()), (&b"needle"[..], "found"));
        let again = run(&mut Needle(b"needle"), 1, limit, None);
        assert_eq!(again, Err(failure), "a seed gives the same run");
    }

    #[test]
    fn a_panic_is_found_too() {
        let limit = Limit { inputs: Some(100_000), time: None };
        let failure = run(&mut Needle(b"!"), 1, limit, None).expect_err("a panic");
        assert_eq!((failure.input.as_slice(), failure.what.as_str()), (&b"!"[..], "panic: a mark"));
    }

    #[test]
    fn a_run_ends_after_its_inputs() {
        let limit = Limit { inputs: Some(500), time: None };
        let tally = run(&mut Needle(b"\0\xff\x07 is not there"), 1, limit, None);
        assert_eq!(tally.map(|tally| tally.inputs), Ok(500));
    }
}
