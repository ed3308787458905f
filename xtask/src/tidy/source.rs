//! Rust source as the rules see it: without comments and literals, with the tests apart, with its imports resolved.
//!
//! No full parser: a scanner that blanks what is not code, keeping every line where it is, and a reader of paths.
//! Limits: what a macro builds out of pieces is not seen, and a test module counts as tests to the end of the file.

/// One file.
pub struct Source<'a> {
    /// From the repository's root, with `/`.
    pub path: &'a str,
    /// The text with comments, strings and characters blanked; as long as the original, line by line.
    pub code: String,
    /// From this line on (counted from 1) the file is tests.
    tests_from: usize,
}

/// A path to something in the same crate, such as `crate::route::table`, with the line it is named in.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    /// `route::table::Table`, without `crate`.
    pub path: Vec<String>,
    pub line: usize,
}

impl<'a> Source<'a> {
    pub fn new(path: &'a str, text: &str) -> Self {
        let code = blank(text);
        let tests_from = if is_test_file(path) { 1 } else { first_test_line(&code) };
        Self { path, code, tests_from }
    }

    /// Whether the line belongs to tests.
    pub fn is_test(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    /// The lines that are no tests, with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines()).filter(|(line, _)| !self.is_test(*line))
    }

    /// The module's place in its crate: `src/policy/jwt/verify.rs` is `policy::jwt::verify`.
    pub fn module(&self) -> Vec<&'a str> {
        let inside = self.path.split_once("/src/").map_or("", |(_, inside)| inside);
        let stem = inside.strip_suffix(".rs").unwrap_or(inside);
        let mut parts: Vec<_> = stem.split('/').collect();
        if parts.last().is_some_and(|last| matches!(*last, "mod" | "lib" | "main")) {
            parts.pop();
        }
        parts
    }

    /// Every path outside the tests that begins with `crate::` or `super::`, groups in braces taken apart.
    pub fn imports(&self) -> Vec<Import> {
        let mut found = Vec::new();
        for start in words(&self.code, "crate") {
            self.read_path(start + "crate".len(), Vec::new(), &mut found);
        }
        let module = self.module();
        for start in words(&self.code, "super") {
            // `super::super::x` is read once, from its first word.
            if self.code[..start].trim_end().ends_with("::") {
                continue;
            }
            let (mut depth, mut end) = (1, start + "super".len());
            while let Some(rest) = self.code[end..].strip_prefix("::super") {
                depth += 1;
                end = self.code.len() - rest.len();
            }
            let parent =
                module[..module.len().saturating_sub(depth)].iter().map(ToString::to_string).collect();
            self.read_path(end, parent, &mut found);
        }
        found.retain(|import| !self.is_test(import.line));
        found
    }

    /// Reads `::a::b` or `::{a, b::c}` from `at`, with `prefix` in front. Returns where it ended.
    fn read_path(&self, at: usize, mut prefix: Vec<String>, found: &mut Vec<Import>) -> usize {
        let line = 1 + self.code[..at].matches('\n').count();
        let mut rest = &self.code[at..];
        while let Some(after) = rest.trim_start().strip_prefix("::") {
            rest = after.trim_start();
            if let Some(group) = rest.strip_prefix('{') {
                return self.read_group(self.code.len() - group.len(), &prefix, found);
            }
            let word = identifier(rest);
            if word.is_empty() {
                break;
            }
            prefix.push(word.to_owned());
            rest = &rest[word.len()..];
        }
        if !prefix.is_empty() {
            found.push(Import { path: prefix, line });
        }
        self.code.len() - rest.len()
    }

    fn read_group(&self, mut at: usize, prefix: &[String], found: &mut Vec<Import>) -> usize {
        loop {
            let rest = self.code[at..].trim_start_matches([' ', '\n', '\t', ',']);
            at = self.code.len() - rest.len();
            let word = identifier(rest);
            match rest.chars().next() {
                None => return at,
                Some('}') => return at + 1,
                Some(_) if !word.is_empty() => {
                    let mut path = prefix.to_vec();
                    if word != "self" {
                        path.push(word.to_owned());
                    }
                    at = self.read_path(at + word.len(), path, found);
                    at = self.after_rename(at);
                }
                Some(other) => at += other.len_utf8(),
            }
        }
    }

    /// Passes over ` as name`.
    fn after_rename(&self, at: usize) -> usize {
        let rest = self.code[at..].trim_start();
        match rest.strip_prefix("as ") {
            Some(rest) => self.code.len() - rest.len() + identifier(rest.trim_start()).len(),
            None => at,
        }
    }
}

/// Where `word` stands as a word of its own.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    let alone = |&start: &usize| {
        let before = code[..start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    };
    code.match_indices(word).map(|(start, _)| start).filter(alone).collect()
}

fn identifier(text: &str) -> &str {
    let end =
        text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
    &text[..end]
}

/// `tests.rs` and what lies under it, the package `tests`, and `testing.rs`, where tests of several modules meet.
fn is_test_file(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    path.starts_with("tests/") || path.contains("/tests/") || matches!(file, "tests.rs" | "testing.rs")
}

/// The line of a `#[cfg(test)]` that opens a module in the file itself.
fn first_test_line(code: &str) -> usize {
    let lines: Vec<_> = code.lines().map(str::trim).collect();
    let opens = |index: usize| {
        let next = lines[index + 1..].iter().find(|line| !line.is_empty() && !line.starts_with("#["));
        lines[index].starts_with("#[cfg(test)]")
            && next.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    (0..lines.len()).find(|&index| opens(index)).map_or(usize::MAX, |index| index + 1)
}

/// Blanks comments and literals. Quotes of a string stay, so that `""` remains an expression.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest, 1),
            'r' | 'b' | 'c' if !ends_in_name(&code) => literal_with_prefix(rest),
            '\'' => character(rest),
            _ => 0,
        };
        let (literal, after) = rest.split_at(length);
        if length == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(literal.chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

fn ends_in_name(code: &str) -> bool {
    code.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_')
}

/// The length of a comment that may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of a string literal whose opening quote ends at `at`.
fn string(text: &str, mut at: usize) -> usize {
    while let Some(character) = text[at..].chars().next() {
        at += character.len_utf8();
        match character {
            '\\' => at += text[at..].chars().next().map_or(0, char::len_utf8),
            '"' => break,
            _ => {}
        }
    }
    at
}

/// The length of `r#"…"#`, `b"…"`, `br"…"`, `c"…"`, or 0 if the letters begin a name.
fn literal_with_prefix(text: &str) -> usize {
    let letters = text.len() - text.trim_start_matches(['r', 'b', 'c']).len();
    let hashes = text[letters..].len() - text[letters..].trim_start_matches('#').len();
    let body = letters + hashes;
    if letters > 2 || !text[body..].starts_with('"') {
        return 0;
    }
    if !text[..letters].contains('r') {
        return if hashes == 0 { string(text, body + 1) } else { 0 };
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[body + 1..].find(&end).map_or(text.len(), |found| body + 1 + found + end.len())
}

/// The length of a character literal, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |end| 3 + end + 1),
        Some((at, character)) if text[at + character.len_utf8()..].starts_with('\'') => {
            at + character.len_utf8() + 1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path, text);
        source.imports().iter().map(|import| format!("{} {}", import.line, import.path.join("::"))).collect()
    }

    #[test]
    fn groups_and_renames_are_taken_apart() {
        let text = "use crate::{\n    cache::Key as K,\n    route::{self, table::{Table, Row}},\n};\n";
        assert_eq!(
            imports("x/src/a.rs", text),
            ["2 cache::Key", "3 route", "3 route::table::Table", "3 route::table::Row"]
        );
    }

    #[test]
    fn paths_within_expressions_count_and_words_in_comments_and_strings_do_not() {
        let text = "// crate::a\nfn f() { crate::b::c(); g(\"crate::d\", r#\"crate::e\"#, '\"'); }\n/* crate::f */\n";
        assert_eq!(imports("x/src/a.rs", text), ["2 b::c"]);
    }

    #[test]
    fn super_is_resolved_from_the_modules_place() {
        let text = "use super::clock;\nuse super::super::cors::Origin;\n";
        assert_eq!(
            imports("x/src/policy/jwt/verify.rs", text),
            ["1 policy::jwt::clock", "2 policy::cors::Origin"]
        );
    }

    #[test]
    fn tests_at_the_end_are_apart() {
        let text = "use crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n";
        assert_eq!(imports("x/src/a.rs", text), ["1 a"]);
        let source = Source::new("x/src/a.rs", text);
        assert!(!source.is_test(1) && source.is_test(2));
        for path in
            ["x/src/a/tests.rs", "x/src/a/tests/http1.rs", "x/src/a/testing.rs", "tests/src/packet.rs"]
        {
            assert_eq!(imports(path, "use crate::b;\n"), [""; 0], "{path}");
        }
    }

    #[test]
    fn a_test_module_in_its_own_file_does_not_end_the_code() {
        let text = "#[cfg(test)]\nmod tests;\nuse crate::a;\n";
        assert_eq!(imports("x/src/a.rs", text), ["3 a"]);
    }

    #[test]
    fn blanking_keeps_lines_and_lifetimes() {
        let code = blank("fn f<'a>(x: &'a str) -> char { '\\'' } // \"\nlet y = b\"\\\"x\";\n");
        assert_eq!(code.lines().count(), 2);
        assert!(
            code.contains("<'a>")
                && code.contains("let y =")
                && !code.contains('x'.to_string().repeat(2).as_str())
        );
        assert!(!code.contains("\\"));
    }

    #[test]
    fn modules_are_named_by_their_place() {
        assert_eq!(Source::new("g/src/policy/jwt.rs", "").module(), ["policy", "jwt"]);
        assert_eq!(Source::new("g/src/lib.rs", "").module(), [""; 0]);
    }
}
