//! A value and the place in a file where it was written.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

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
}

impl Sources {
    /// Adds a file and returns its index.
    pub fn add(&mut self, path: PathBuf, text: Arc<str>) -> u32 {
        self.0.push(Source { path, text });
        (self.0.len() - 1) as u32
    }

    /// Path and text of a file.
    pub fn get(&self, file: u32) -> Option<(&std::path::Path, &str)> {
        self.0.get(file as usize).map(|source| (source.path.as_path(), &*source.text))
    }

    /// Line and column of a place's beginning, both from 1, the column in characters.
    pub fn line_column(&self, place: &Place) -> (usize, usize) {
        let Some((_, text)) = self.get(place.file) else { return (1, 1) };
        let before = &text[..text.floor_char_boundary(place.span.start.min(text.len()))];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}
