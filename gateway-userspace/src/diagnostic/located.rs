//! A value and the place in a file where it was written.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// A range of bytes in one of the files that were read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// Index into [`Sources`].
    pub file: u32,
    /// Bytes within the file.
    pub span: Range<usize>,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

impl<T> Located<T> {
    /// Joins a value with its place.
    pub fn new(value: T, place: Place) -> Located<T> {
        Located { value, place }
    }

    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), place: self.place }
    }
}

/// The files that were read, for showing the lines around a problem.
#[derive(Debug, Clone, Default)]
pub struct Sources(Vec<Source>);

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    text: Arc<str>,
    /// Byte at which each line begins, so that finding a line takes no time even in a large file. Looked for when the
    /// first line is asked for: of a configuration without a problem none is.
    line_starts: OnceLock<Arc<[usize]>>,
    /// What is not to be shown.
    secrets: Vec<Range<usize>>,
}

impl Sources {
    /// Adds a file and returns its index.
    pub fn add(&mut self, path: PathBuf, text: Arc<str>) -> u32 {
        self.0.push(Source { path, text, line_starts: OnceLock::new(), secrets: Vec::new() });
        (self.0.len() - 1) as u32
    }

    /// Path and text of a file.
    pub fn get(&self, file: u32) -> Option<(&std::path::Path, &str)> {
        self.0.get(file as usize).map(|source| (source.path.as_path(), &*source.text))
    }

    /// Paths and texts of all files, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&std::path::Path, &Arc<str>)> {
        self.0.iter().map(|source| (source.path.as_path(), &source.text))
    }

    /// Says that what stands at a place is a secret. What refers to a variable, which is no secret itself, stays.
    pub fn conceal(&mut self, place: &Place) {
        let Some(source) = self.0.get_mut(place.file as usize) else { return };
        let written = source.text.get(place.span.clone());
        if written.is_some_and(|written| !written.contains("${")) {
            source.secrets.push(place.span.clone());
        }
    }

    /// Says that these bytes of a file are a secret, whatever they look like: of what is not valid nobody knows.
    pub fn conceal_all(&mut self, file: u32, bytes: Range<usize>) {
        if let Some(source) = self.0.get_mut(file as usize) {
            source.secrets.push(bytes);
        }
    }

    /// The text of a file with asterisks in place of its secrets, but not of the quotes around them. It has as many
    /// bytes and lines as the text.
    pub fn shown(&self, file: u32) -> String {
        let Some(source) = self.0.get(file as usize) else { return String::new() };
        // There may be thousands: both go forward together.
        let mut secrets = source.secrets.clone();
        secrets.sort_by_key(|secret| secret.start);
        let mut secrets = secrets.into_iter().peekable();
        let (mut hidden_to, mut shown) = (0, String::with_capacity(source.text.len()));
        for (at, character) in source.text.char_indices() {
            while let Some(secret) = secrets.next_if(|secret| secret.start <= at) {
                hidden_to = hidden_to.max(secret.end);
            }
            match character {
                '"' | '\'' | '\n' | '\r' => shown.push(character),
                _ if at < hidden_to => shown.extend(std::iter::repeat_n('*', character.len_utf8())),
                _ => shown.push(character),
            }
        }
        shown
    }

    /// Whether anything in a file is not to be shown.
    pub fn has_secrets(&self, file: u32) -> bool {
        self.0.get(file as usize).is_some_and(|source| !source.secrets.is_empty())
    }

    /// Line and column of a place's beginning, both from 1, the column in characters.
    pub fn line_column(&self, place: &Place) -> (usize, usize) {
        let Some(source) = self.0.get(place.file as usize) else { return (1, 1) };
        let text = &source.text;
        let at = text.floor_char_boundary(place.span.start.min(text.len()));
        let line_starts = source.line_starts();
        let line = line_starts.partition_point(|start| *start <= at);
        (line, text[line_starts[line - 1]..at].chars().count() + 1)
    }

    /// The byte at which a line begins; lines count from 1, and one behind the last begins at the end.
    pub fn line_start(&self, file: u32, line: usize) -> usize {
        let Some(source) = self.0.get(file as usize) else { return 0 };
        source.line_starts().get(line.saturating_sub(1)).copied().unwrap_or(source.text.len())
    }
}

impl Source {
    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let after_newlines = self.text.match_indices('\n').map(|(newline, _)| newline + 1);
            std::iter::once(0).chain(after_newlines).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_count_characters() {
        let mut sources = Sources::default();
        let file = sources.add("a".into(), "é\nbü\n\nd".into());
        let at = |start: usize| sources.line_column(&Place { file, span: start..start });
        assert_eq!([at(0), at(2), at(3), at(4), at(6)], [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]);
        assert_eq!([at(7), at(8), at(9), at(99)], [(3, 1), (4, 1), (4, 2), (4, 2)]);
        assert_eq!([1, 2, 4, 5].map(|line| sources.line_start(file, line)), [0, 3, 8, 9]);
        assert_eq!(sources.line_column(&Place { file: 7, span: 0..1 }), (1, 1));
    }
}
