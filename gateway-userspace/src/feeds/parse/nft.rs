//! What nft lists and reads, of nftables 1: sets, rulesets, and scripts that add elements to sets or delete them.
//!
//! An entry is an element of a named set: an address, a prefix or an interval, with the rest of its time (`expires`), else its
//! `timeout`, else that of the set. Elements of something else (ports, concatenations, maps to verdicts) are skipped. Sets
//! without a name, within rules, are part of the rule and are not looked at.

mod json;
mod token;

use std::time::Duration;

use super::Sink;
use super::address::Span;
use super::duration::{self, Left};
use token::{Token, Tokens};

pub(super) fn parse(list: &[u8], sink: &mut Sink<'_>) {
    if list.trim_ascii_start().starts_with(b"{") {
        return json::parse(list, sink);
    }
    let mut tokens = Tokens::new(list);
    let mut statement = Statement::default();
    // Of the set whose block is read.
    let mut lasts = None;
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(word) => {
                if let ([Some(b"timeout"), None], Some(Left::For(time))) =
                    (statement.words, duration::read(word))
                {
                    lasts = Some(time);
                }
                statement.push(word);
            }
            Token::Open => match statement.words {
                [Some(b"elements"), Some(b"=")] => elements(&mut tokens, sink, lasts, false),
                [Some(b"add" | b"create"), Some(b"element")] => elements(&mut tokens, sink, None, false),
                [Some(b"delete" | b"destroy"), Some(b"element")] => elements(&mut tokens, sink, None, true),
                _ => (statement, lasts) = (Statement::default(), None),
            },
            Token::Close | Token::Line | Token::End => statement = Statement::default(),
            Token::Comma | Token::Quoted => {}
        }
    }
}

/// The words that a statement begins with.
#[derive(Default)]
struct Statement<'a> {
    words: [Option<&'a [u8]>; 2],
}

impl<'a> Statement<'a> {
    fn push(&mut self, word: &'a [u8]) {
        if let Some(free) = self.words.iter_mut().find(|place| place.is_none()) {
            *free = Some(word);
        }
    }
}

/// Reads elements up to the brace that closes them.
fn elements(tokens: &mut Tokens<'_>, sink: &mut Sink<'_>, default: Option<Duration>, gone: bool) {
    let mut element: Option<Element<'_>> = None;
    let mut depth = 0_usize;
    loop {
        let line = tokens.line;
        let start = tokens.position();
        let token = tokens.next();
        if matches!(token, Some(Token::Comma | Token::Close)) && depth == 0 {
            if let Some(element) = element.take() {
                element.finish(tokens.since(element.start, start), sink, default, gone);
            }
            if token == Some(Token::Close) {
                return;
            }
            continue;
        }
        match token {
            Some(Token::Line) => continue,
            // Broken off: the last one may be half of something else.
            None => {
                if let Some(element) = element {
                    sink.skip_line(element.line, tokens.since(element.start, start));
                }
                return;
            }
            Some(Token::Open) => depth += 1,
            Some(Token::Close) => depth -= 1,
            _ => {}
        }
        let element = element.get_or_insert(Element::new(start, line));
        match token {
            Some(Token::Word(word)) if depth == 0 => element.push(word),
            Some(Token::Quoted) if element.value.is_some() => {}
            _ => element.is_bad = true,
        }
    }
}

/// An element as far as it is read.
#[derive(Clone, Copy)]
struct Element<'a> {
    start: usize,
    line: u64,
    value: Option<&'a [u8]>,
    /// The word before, which says what the next one is.
    before: &'a [u8],
    timeout: Option<Option<Duration>>,
    expires: Option<Option<Duration>>,
    is_bad: bool,
}

impl<'a> Element<'a> {
    fn new(start: usize, line: u64) -> Element<'a> {
        Element { start, line, value: None, before: b"", timeout: None, expires: None, is_bad: false }
    }

    fn push(&mut self, word: &'a [u8]) {
        match (self.value, self.before) {
            (None, _) => self.value = Some(word),
            (_, b"timeout") => self.is_bad |= !time(word, None, &mut self.timeout),
            (_, b"expires") => self.is_bad |= !time(word, Some(LEAST), &mut self.expires),
            // A concatenation, a map, an interval with blanks.
            _ => self.is_bad |= matches!(word, b"." | b":" | b"-" | b"="),
        }
        self.before = word;
    }

    fn finish(self, text: &[u8], sink: &mut Sink<'_>, default: Option<Duration>, gone: bool) {
        let span = self.value.filter(|_| !self.is_bad).and_then(Span::read);
        match span {
            Some(span) if gone => sink.take(span, None, true),
            Some(span) => sink.take(span, self.expires.or(self.timeout).unwrap_or(default), false),
            None => sink.skip_line(self.line, text),
        }
    }
}

/// What is left of an element that is about to go.
const LEAST: Duration = Duration::from_millis(1);

/// Reads a time, or `never`; `zero` is what none at all means. Whether it is one.
fn time(word: &[u8], zero: Option<Duration>, time: &mut Option<Option<Duration>>) -> bool {
    *time = match word {
        b"never" => Some(None),
        _ => duration::read(word).map(|left| match left {
            Left::Over => zero,
            Left::For(left) => Some(left),
        }),
    };
    time.is_some()
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::tests::{read, said};
    use crate::feeds::Format;

    /// Printed by nft 1.0.6 on Linux 6.18.
    const LISTED: &str = include_str!("nft/listed.txt");
    const LISTED_JSON: &str = include_str!("nft/listed.json");

    #[test]
    fn a_ruleset_is_read_set_by_set() {
        let (items, outcome) = read(LISTED, Format::Auto);
        assert_eq!(outcome.format, Format::Nft);
        let expected = [
            "1.2.3.4/32 for 3599.976s",
            "1.2.3.9/32 for 89.976s",
            "10.0.0.0/8 for 2591999.976s",
            "192.0.2.3/32 for 3599.976s",
            "192.0.2.4/30 for 3599.976s",
            "192.0.2.8/31 for 3599.976s",
            "1.2.3.4/32",
            "2001:db8::/32",
            "fe80::1/128",
            "fe80::2/127",
            "fe80::4/126",
            "fe80::8/127",
            "1.1.1.1/32 for 35999.98s",
            "1.1.1.1/32 for 35999.98s",
            "1.1.1.2/32",
            "1.1.1.3/32",
            "1.1.1.4/32",
            "1.1.1.5/32 for 1209599.98s",
            "1.1.1.6/32 for 1.48s",
        ];
        assert_eq!(items, expected);
        assert_eq!(said(&outcome), ["1.2.3.4 . 80", "1.2.3.5 . 443", "1.2.3.4 : drop", "1.2.3.7 : accept"]);
        assert_eq!(outcome.first_bad[1].place, Place::Line(24));
        assert_eq!((outcome.taken, outcome.skipped), (14, 4));
    }

    #[test]
    fn the_same_ruleset_as_json_says_the_same() {
        let (items, outcome) = read(LISTED_JSON, Format::Auto);
        assert_eq!(outcome.format, Format::Nft);
        let whole_seconds = |items: Vec<String>| -> Vec<String> {
            let cut = |item: String| item.split('.').take(4).collect::<Vec<_>>().join(".").replace("s", "");
            items.into_iter().map(|item| cut(item.split(" for ").next().unwrap_or("").into())).collect()
        };
        let (text, as_text) = read(LISTED, Format::Nft);
        assert_eq!(whole_seconds(items.clone()), whole_seconds(text));
        assert_eq!(items[0], "1.2.3.4/32 for 3599s");
        assert_eq!((outcome.taken, outcome.skipped), (as_text.taken, as_text.skipped));
        assert_eq!(outcome.first_bad[0].text.as_ref(), r#"{"concat": ["1.2.3.4", 80]}"#);
    }

    #[test]
    fn scripts_add_and_delete_elements_and_have_defaults() {
        let script = "#!/usr/sbin/nft -f\ntable inet t {\n set a { type ipv4_addr; timeout 1h; elements={192.0.2.1,\n\
                      192.0.2.2 timeout 5m comment \"timeout 9s }\" , 192.0.2.3 timeout never,} }\n\
                      set b { type ipv4_addr; elements = { 192.0.2.4 } }\n}\n\
                      add element inet t a { 192.0.2.5 timeout 10s, bad, 192.0.2.6 timeout soon } # { 1.1.1.1 }\n\
                      delete element inet t a { 192.0.2.7 }; destroy element t a { 192.0.2.8 }\n\
                      add rule inet t c ip saddr { 192.0.2.9 } drop\nadd element inet t a { 192.0.2.10, 192.0.2.1";
        let (items, outcome) = read(script, Format::Auto);
        let expected = [
            "192.0.2.1/32 for 3600s",
            "192.0.2.2/32 for 300s",
            "192.0.2.3/32",
            "192.0.2.4/32",
            "192.0.2.5/32 for 10s",
            "192.0.2.7/32 gone",
            "192.0.2.8/32 gone",
            "192.0.2.10/32",
        ];
        assert_eq!(items, expected);
        assert_eq!(said(&outcome), ["bad", "192.0.2.6 timeout soon", "192.0.2.1"], "the last one is cut");
    }

    #[test]
    fn scripts_in_json_do_too() {
        let script = r#"{"nftables": [{"add": {"element": {"family": "inet", "table": "t", "name": "a", "elem":
            ["192.0.2.1", {"elem": {"val": "192.0.2.2", "timeout": 5}}, 7]}}},
            {"delete": {"element": {"elem": [{"prefix": {"addr": "192.0.2.0", "len": 24}}]}}},
            {"add": {"set": {"name": "b", "timeout": 9, "elem": [{"range": ["192.0.2.3", "192.0.2.4"]}]}}}]}"#;
        let (items, outcome) = read(script, Format::Auto);
        let expected = [
            "192.0.2.1/32",
            "192.0.2.2/32 for 5s",
            "192.0.2.0/24 gone",
            "192.0.2.3/32 for 9s",
            "192.0.2.4/32 for 9s",
        ];
        assert_eq!(items, expected);
        assert_eq!(said(&outcome), ["7"]);
    }
}
