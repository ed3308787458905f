//! The tokens of a valid text as lines and values, without their blanks.

use std::borrow::Cow;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

/// One line outside of values.
#[derive(Debug)]
pub enum Line<'t> {
    /// One or more empty lines.
    Blank,
    /// A comment on a line of its own.
    Comment(&'t str),
    /// `[a.b]` or `[[a.b]]`
    Header { text: String, comment: Option<&'t str> },
    /// `key = value`
    Pair { key: String, value: Value<'t>, comment: Option<&'t str> },
}

/// What stands behind a `=` or in an array.
#[derive(Debug)]
pub enum Value<'t> {
    /// Everything but arrays and tables.
    Scalar(Cow<'t, str>),
    /// An array or an inline table.
    List(List<'t>),
}

/// An array or an inline table.
#[derive(Debug)]
pub struct List<'t> {
    /// Which of the two.
    pub is_table: bool,
    /// Whether there is a line break in it.
    pub spread: bool,
    /// A comment behind the bracket that opens it.
    pub opening: Option<&'t str>,
    /// Its content.
    pub parts: Vec<Part<'t>>,
}

impl List<'_> {
    /// The brackets around it.
    pub fn brackets(&self) -> (char, char) {
        if self.is_table { ('{', '}') } else { ('[', ']') }
    }
}

/// What stands in a list.
#[derive(Debug)]
pub enum Part<'t> {
    /// One or more empty lines between two others.
    Blank,
    /// A comment on a line of its own.
    Comment(&'t str),
    /// An item, with its key in an inline table.
    Item { key: Option<String>, value: Value<'t>, comment: Option<&'t str> },
}

/// Takes a text apart that is known to be valid TOML; its depth is limited by the parser that found it so (80 levels).
pub fn parse(text: &str) -> Vec<Line<'_>> {
    let tokens: Vec<Token> = Source::new(text).lex().collect();
    Parser { text, tokens, at: 0 }.lines()
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'t> Parser<'t> {
    fn lines(mut self) -> Vec<Line<'t>> {
        let mut lines = Vec::new();
        loop {
            self.skip_blanks();
            match self.kind() {
                TokenKind::Eof => return lines,
                TokenKind::Newline => {
                    self.at += 1;
                    if !matches!(lines.last(), Some(Line::Blank)) {
                        lines.push(Line::Blank);
                    }
                    continue;
                }
                TokenKind::Comment => lines.push(Line::Comment(self.comment())),
                TokenKind::LeftSquareBracket => {
                    let text = self.header();
                    lines.push(Line::Header { text, comment: self.comment_behind() });
                }
                _ => {
                    let (key, value) = self.pair();
                    lines.push(Line::Pair { key, value, comment: self.comment_behind() });
                }
            }
            // The end of the line.
            if self.kind() == TokenKind::Newline {
                self.at += 1;
            }
        }
    }

    fn header(&mut self) -> String {
        self.at += 1;
        let twice = self.kind() == TokenKind::LeftSquareBracket;
        self.at += usize::from(twice);
        let key = self.key(TokenKind::RightSquareBracket);
        self.at += if twice { 2 } else { 1 };
        if twice { format!("[[{key}]]") } else { format!("[{key}]") }
    }

    fn pair(&mut self) -> (String, Value<'t>) {
        let key = self.key(TokenKind::Equals);
        self.at += 1;
        (key, self.value())
    }

    /// The parts of a key up to what ends it.
    fn key(&mut self, end: TokenKind) -> String {
        let mut key = String::new();
        while !matches!(self.kind(), TokenKind::Eof) && self.kind() != end {
            let (kind, raw) = (self.kind(), self.raw(self.at));
            match kind {
                TokenKind::Whitespace => {}
                TokenKind::LiteralString | TokenKind::BasicString => {
                    let inner = &raw[1..raw.len() - 1];
                    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                    match !inner.is_empty() && inner.bytes().all(bare) {
                        true => key.push_str(inner),
                        false => key.push_str(&quoted(kind, raw)),
                    }
                }
                _ => key.push_str(raw),
            }
            self.at += 1;
        }
        key
    }

    fn value(&mut self) -> Value<'t> {
        self.skip_blanks();
        match self.kind() {
            TokenKind::LeftSquareBracket => Value::List(self.list(TokenKind::RightSquareBracket)),
            TokenKind::LeftCurlyBracket => Value::List(self.list(TokenKind::RightCurlyBracket)),
            _ => Value::Scalar(self.scalar()),
        }
    }

    /// One token mostly; a number with a fraction and a date with a blank in it are several.
    fn scalar(&mut self) -> Cow<'t, str> {
        let start = self.at;
        while !matches!(
            self.kind(),
            TokenKind::Comma
                | TokenKind::RightSquareBracket
                | TokenKind::RightCurlyBracket
                | TokenKind::Newline
                | TokenKind::Comment
                | TokenKind::Eof
        ) {
            self.at += 1;
        }
        let text =
            self.text[self.tokens[start].span().start()..self.tokens[self.at].span().start()].trim_end();
        quoted(self.tokens[start].kind(), text)
    }

    fn list(&mut self, close: TokenKind) -> List<'t> {
        let is_table = close == TokenKind::RightCurlyBracket;
        let mut list = List { is_table, spread: false, opening: None, parts: Vec::new() };
        // Line breaks since the last thing in it.
        let mut breaks = 0;
        loop {
            self.at += 1;
            self.skip_blanks();
            let kind = self.kind();
            if breaks > 1 && !list.parts.is_empty() && !matches!(kind, TokenKind::Newline | TokenKind::Comma)
            {
                list.parts.push(Part::Blank);
            }
            match kind {
                TokenKind::Eof => break,
                _ if kind == close => break,
                TokenKind::Newline => {
                    list.spread = true;
                    breaks += 1;
                    continue;
                }
                TokenKind::Comma => continue,
                TokenKind::Comment => {
                    let comment = self.raw(self.at).trim_end();
                    match list.parts.last_mut() {
                        None if breaks == 0 => list.opening = Some(comment),
                        Some(Part::Item { comment: behind @ None, .. }) if breaks == 0 => {
                            *behind = Some(comment);
                        }
                        _ => list.parts.push(Part::Comment(comment)),
                    }
                }
                _ => {
                    let key = is_table.then(|| self.key(TokenKind::Equals));
                    self.at += usize::from(is_table);
                    let value = self.value();
                    // Line breaks inside a table's values are the values' own.
                    list.spread |= !is_table && matches!(&value, Value::List(inner) if inner.spread);
                    list.parts.push(Part::Item { key, value, comment: None });
                    // The loop steps over the token that it has looked at.
                    self.at -= 1;
                }
            }
            breaks = 0;
        }
        self.at += 1;
        if matches!(list.parts.last(), Some(Part::Blank)) {
            list.parts.pop();
        }
        list.spread &= !(list.parts.is_empty() && list.opening.is_none());
        list
    }

    fn comment(&mut self) -> &'t str {
        self.at += 1;
        self.raw(self.at - 1).trim_end()
    }

    /// The comment in the rest of the line.
    fn comment_behind(&mut self) -> Option<&'t str> {
        self.skip_blanks();
        (self.kind() == TokenKind::Comment).then(|| self.comment())
    }

    fn skip_blanks(&mut self) {
        while self.kind() == TokenKind::Whitespace {
            self.at += 1;
        }
    }

    fn kind(&self) -> TokenKind {
        self.tokens.get(self.at).map_or(TokenKind::Eof, Token::kind)
    }

    fn raw(&self, at: usize) -> &'t str {
        let span = self.tokens[at].span();
        &self.text[span.start()..span.end()]
    }
}

/// `'text'` as `"text"` if that means the same; everything else as it is.
fn quoted(kind: TokenKind, raw: &str) -> Cow<'_, str> {
    let plain = |character: char| !matches!(character, '"' | '\\') && !character.is_control();
    match (kind, raw.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''))) {
        (TokenKind::LiteralString, Some(inner)) if inner.chars().all(plain) => {
            Cow::Owned(format!("\"{inner}\""))
        }
        _ => Cow::Borrowed(raw),
    }
}
