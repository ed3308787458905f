//! The membership filter, written through shared memory.
//!
//! The kernel sees bits; here is what stands behind them, so that a bit is cleared only when nothing needs
//! it any more: a count per wide bit, and per line the patterns that were set. A line grows with the list:
//! the number of lines in use is a power of two that keeps about 16 bits per entry, so a short list stays
//! in the first-level cache.
//!
//! Costs 512 KiB for the counts, and some 15 bytes per entry.

use std::ops::Range;
use std::sync::atomic::Ordering;

use gateway_common::filter::{ENTRIES_PER_LINE, Line, Marks, Pattern, WIDE_BITS, WIDE_WORDS, wide6};
use gateway_common::maps;

use super::{Error, load::Maps, mapped::MappedWords, options::FILTER_LINES_MIN, settings::SettingsMap};

const WORDS_PER_LINE: usize = 8;

/// A pattern with the hash that chooses its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    line: u32,
    pattern: Pattern,
}

/// Marks that are noted and not yet set.
pub struct Noted {
    /// In the order of their lines.
    lines: Vec<Mark>,
    wide: Vec<Marks>,
}

/// Both parts of the filter.
pub struct Filter {
    wide: MappedWords,
    wide_counts: Vec<u32>,
    lines: MappedWords,
    /// What is set in each line in use; the length is a power of two.
    groups: Vec<Vec<Mark>>,
    marks: usize,
    lines_max: u32,
    /// Where [`Filter::read_back`] goes on: a group of wide words, or behind those a line.
    compared: usize,
}

impl Filter {
    /// Maps both parts. The bits in them are stale until [`Filter::rebuild`].
    pub fn open(maps: &mut Maps) -> Result<Self, Error> {
        let wide = maps.take_data(&maps::WIDE)?;
        let lines = maps.take_data(&maps::FILTER)?;
        let lines_max =
            lines.info().map_err(|error| Error::map("look at", maps::FILTER.name, error))?.max_entries();
        let failed = |map| move |source| Error::Map { doing: "map into memory", map, source };
        Ok(Self {
            wide: MappedWords::new(&wide, WIDE_WORDS as usize).map_err(failed(maps::WIDE.name))?,
            wide_counts: vec![0; 2 * WIDE_BITS as usize],
            lines: MappedWords::new(&lines, lines_max as usize * WORDS_PER_LINE)
                .map_err(failed(maps::FILTER.name))?,
            groups: vec![Vec::new()],
            marks: 0,
            lines_max,
            compared: 0,
        })
    }

    /// Sets the filter to exactly these marks. Bits that stay needed are never cleared in between, so a
    /// program that runs meanwhile goes on enforcing.
    pub fn rebuild(
        &mut self,
        settings: &mut SettingsMap,
        all: impl Iterator<Item = Marks>,
    ) -> Result<(), Error> {
        self.wide_counts.fill(0);
        self.groups = vec![Vec::new(); settings.filter_lines().min(self.lines_max) as usize];
        self.marks = 0;
        for marks in all {
            self.note(&marks);
        }
        for word in 0..WIDE_WORDS {
            self.write_wide_word(word);
        }
        for line in 0..self.groups.len() {
            self.write_line(line);
        }
        // Lines beyond the ones in use hold whatever an earlier owner left.
        for word in self.groups.len() * WORDS_PER_LINE..self.lines_max as usize * WORDS_PER_LINE {
            self.lines.store(word, 0);
        }
        self.resize(settings, self.lines_wanted())
    }

    /// Sets the bits of an entry.
    pub fn add(&mut self, settings: &mut SettingsMap, marks: &Marks) -> Result<(), Error> {
        self.note(marks);
        match marks {
            Marks::Line(line, pattern) => self.set(self.slot(*line), *pattern),
            Marks::Wide(..) | Marks::Hashed(..) => self.each_wide(marks, Self::write_wide_bit),
        }
        self.grow(settings)
    }

    /// Notes the bits of entries, and makes room for them, while the entries come into the kernel. The bits are set with
    /// [`Filter::show`], if not before.
    pub fn note_many(
        &mut self,
        settings: &mut SettingsMap,
        all: impl Iterator<Item = Marks>,
    ) -> (Noted, Result<(), Error>) {
        let mut wide = Vec::new();
        let lines = self.in_lines(all, |this, marks| {
            this.note(&marks);
            wide.push(marks);
        });
        for (slot, mark) in &lines {
            self.groups[*slot].push(*mark);
        }
        self.marks += lines.len();
        let lines = lines.into_iter().map(|(_, mark)| mark).collect();
        (Noted { lines, wide }, self.grow(settings))
    }

    /// Sets bits that are noted.
    pub fn show(&mut self, noted: &Noted) {
        noted.wide.iter().for_each(|marks| self.each_wide(marks, Self::write_wide_bit));
        noted.lines.iter().for_each(|mark| self.set(self.slot(mark.line), mark.pattern));
    }

    fn grow(&mut self, settings: &mut SettingsMap) -> Result<(), Error> {
        if self.marks > self.groups.len() * ENTRIES_PER_LINE as usize {
            self.resize(settings, self.lines_wanted())?;
        }
        Ok(())
    }

    /// Clears the bits of an entry, except those that another entry needs. The entry must have been added.
    pub fn remove(&mut self, marks: &Marks) {
        self.remove_many(std::iter::once(marks.clone()));
    }

    /// Clears the bits of entries, except those that another entry needs. They must have been added.
    pub fn remove_many(&mut self, all: impl Iterator<Item = Marks>) {
        let marks = self.in_lines(all, |this, marks| {
            this.each_wide(&marks, |this, bit| {
                let count = &mut this.wide_counts[bit as usize];
                *count = count.saturating_sub(1);
                this.write_wide_bit(bit);
            });
        });
        for of_line in marks.chunk_by(|(slot, _), (other, _)| slot == other) {
            for (slot, mark) in of_line {
                if let Some(position) = self.groups[*slot].iter().position(|other| other == mark) {
                    self.groups[*slot].swap_remove(position);
                    self.marks -= 1;
                }
            }
            if let Some((slot, _)) = of_line.first() {
                self.write_line(*slot);
            }
        }
    }

    /// Those marks that are of a line, with it and in its order: memory is then gone through once and in order.
    fn in_lines(
        &mut self,
        all: impl Iterator<Item = Marks>,
        mut wide: impl FnMut(&mut Self, Marks),
    ) -> Vec<(usize, Mark)> {
        let mut of_lines = Vec::new();
        for marks in all {
            match marks {
                Marks::Line(line, pattern) => of_lines.push((self.slot(line), Mark { line, pattern })),
                marks => wide(self, marks),
            }
        }
        of_lines.sort_unstable_by_key(|(slot, _)| *slot);
        of_lines
    }

    /// Writes the bits of an entry again, if something else has changed them. Returns how many words it had changed.
    pub fn repair(&mut self, marks: &Marks) -> usize {
        let mut words = 0;
        match marks {
            Marks::Line(line, _) => words += self.write_line(self.slot(*line)),
            Marks::Wide(..) | Marks::Hashed(..) => self.each_wide(marks, |this, bit| {
                words += usize::from(this.write_wide_word(bit / 64));
            }),
        }
        words
    }

    /// Compares the next `count` lines in use, or as much of the wide words, with what they must be, going round, and
    /// repairs them. Returns how many words had been changed.
    pub fn read_back(&mut self, count: usize) -> usize {
        let wide = WIDE_WORDS as usize / WORDS_PER_LINE;
        let all = wide + self.groups.len();
        let mut words = 0;
        for _ in 0..count.min(all) {
            self.compared = if self.compared < all { self.compared } else { 0 };
            words += match self.compared.checked_sub(wide) {
                Some(line) => self.write_line(line),
                None => {
                    let first = (self.compared * WORDS_PER_LINE) as u32;
                    (first..first + WORDS_PER_LINE as u32).filter(|word| self.write_wide_word(*word)).count()
                }
            };
            self.compared += 1;
        }
        words
    }

    /// Groups of words in use: of wide ones, then lines.
    pub fn groups(&self) -> usize {
        WIDE_WORDS as usize / WORDS_PER_LINE + self.groups.len()
    }

    /// How many words there are in some groups, and how many of them are not what they must be. None is changed.
    pub fn compare(&self, groups: Range<usize>) -> (usize, usize) {
        let wide = WIDE_WORDS as usize / WORDS_PER_LINE;
        let (mut words, mut differ) = (0, 0);
        for group in groups.start..groups.end.min(self.groups()) {
            let (map, first, bits) = match group.checked_sub(wide) {
                Some(slot) => (&self.lines, slot * WORDS_PER_LINE, self.line(slot).words),
                None => {
                    let first = group * WORDS_PER_LINE;
                    (&self.wide, first, std::array::from_fn(|word| self.wide_word((first + word) as u32)))
                }
            };
            let found = map.words().get(first..first + WORDS_PER_LINE).unwrap_or_default().iter();
            let same = found.zip(bits).filter(|(found, bits)| found.load(Ordering::Relaxed) == *bits).count();
            words += WORDS_PER_LINE;
            differ += WORDS_PER_LINE - same;
        }
        (words, differ)
    }

    fn note(&mut self, marks: &Marks) {
        match marks {
            Marks::Line(line, pattern) => {
                let slot = self.slot(*line);
                self.groups[slot].push(Mark { line: *line, pattern: *pattern });
                self.marks += 1;
            }
            Marks::Wide(..) | Marks::Hashed(..) => {
                self.each_wide(marks, |this, bit| this.wide_counts[bit as usize] += 1);
            }
        }
    }

    fn each_wide(&mut self, marks: &Marks, mut act: impl FnMut(&mut Self, u32)) {
        match marks {
            Marks::Line(..) => {}
            Marks::Wide(bits) => bits.clone().for_each(|bit| act(self, bit)),
            Marks::Hashed(networks) => networks.clone().for_each(|network| act(self, wide6(network))),
        }
    }

    fn slot(&self, line: u32) -> usize {
        line as usize & (self.groups.len() - 1)
    }

    fn lines_wanted(&self) -> u32 {
        let wanted = self.marks.div_ceil(ENTRIES_PER_LINE as usize).next_power_of_two();
        u32::try_from(wanted).unwrap_or(u32::MAX).clamp(FILTER_LINES_MIN, self.lines_max)
    }

    /// Changes the number of lines in use: first the bits of both layouts, then the number, then the bits
    /// of the new layout only. A packet in flight across the last step may miss an entry, once.
    fn resize(&mut self, settings: &mut SettingsMap, lines: u32) -> Result<(), Error> {
        if lines == settings.filter_lines() {
            return Ok(());
        }
        let before = self.groups.len();
        self.regroup(lines as usize);
        for slot in 0..self.groups.len() {
            let new = self.line(slot);
            for (offset, bits) in new.words.into_iter().enumerate() {
                let word = slot * WORDS_PER_LINE + offset;
                self.lines.store(word, self.lines.words()[word].load(Ordering::Relaxed) | bits);
            }
        }
        settings.set_filter_lines(lines)?;
        for slot in 0..before.max(self.groups.len()) {
            self.write_line(slot);
        }
        Ok(())
    }

    /// Sorts the marks into that many lines, a power of two.
    fn regroup(&mut self, lines: usize) {
        // A line's marks go to it and to the one that is as many lines behind it as there were.
        while self.groups.len() < lines {
            let before = self.groups.len();
            let mut upper = Vec::with_capacity(before);
            for group in &mut self.groups {
                let of_upper = |mark: &Mark| mark.line as usize & before != 0;
                upper.push(group.iter().copied().filter(of_upper).collect());
                group.retain(|mark| !of_upper(mark));
            }
            self.groups.append(&mut upper);
        }
        while self.groups.len() > lines {
            let upper = self.groups.split_off(self.groups.len() / 2);
            self.groups.iter_mut().zip(upper).for_each(|(group, upper)| group.extend(upper));
        }
    }

    /// Sets bits of a line beside those that it has.
    fn set(&self, slot: usize, pattern: Pattern) {
        for (offset, bit) in pattern.bits() {
            let word = slot * WORDS_PER_LINE + offset;
            self.lines.store(word, self.lines.words()[word].load(Ordering::Relaxed) | 1 << bit);
        }
    }

    /// The bits that a line must have; none beyond the lines in use.
    fn line(&self, slot: usize) -> Line {
        let mut line = Line::default();
        for mark in self.groups.get(slot).into_iter().flatten() {
            mark.pattern.set(&mut line);
        }
        line
    }

    /// Returns how many words change.
    fn write_line(&self, slot: usize) -> usize {
        let words = self.line(slot).words.into_iter().enumerate();
        words.filter(|(offset, bits)| self.lines.store(slot * WORDS_PER_LINE + offset, *bits)).count()
    }

    fn write_wide_bit(&mut self, bit: u32) {
        self.write_wide_word(bit / 64);
    }

    /// Whether it changes.
    fn write_wide_word(&self, word: u32) -> bool {
        self.wide.store(word as usize, self.wide_word(word))
    }

    /// The bits that a word of WIDE must have.
    fn wide_word(&self, word: u32) -> u64 {
        let first = word as usize * 64;
        let counts = self.wide_counts[first..first + 64].iter().enumerate();
        counts.fold(0, |bits, (bit, count)| if *count > 0 { bits | 1 << bit } else { bits })
    }
}
