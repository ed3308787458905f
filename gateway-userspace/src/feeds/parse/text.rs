//! Lists as text: a line each, as blocklists are given out.
//!
//! A line is an address, a network or a range; what stands behind white space or a comma is a further column, what
//! stands behind `#` or `;` a comment. Empty lines and comments are no entries.

use super::address::Span;
use super::{Sink, lines};

pub(super) fn parse(list: &[u8], sink: &mut Sink<'_>) {
    for (number, line) in lines(list) {
        let said = match memchr::memchr2(b'#', b';', line) {
            Some(comment) => line[..comment].trim_ascii_end(),
            None => line,
        };
        if said.is_empty() {
            continue;
        }
        match entry(said) {
            Some(span) => sink.take(span, None, false),
            None => sink.skip_line(number, line),
        }
    }
}

/// The first column, or two of them with a dash between.
fn entry(line: &[u8]) -> Option<Span> {
    let (first, rest) = column(line);
    if let Some(first) = first.strip_suffix(b"-") {
        return Span::range(first, column(rest).0);
    }
    let range =
        rest.strip_prefix(b"-").and_then(|rest| Span::range(first, column(rest.trim_ascii_start()).0));
    range.or_else(|| Span::read(first))
}

fn column(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b',').unwrap_or(text.len());
    (&text[..end], text[end..].trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use crate::feeds::Format;

    #[test]
    fn the_first_column_counts_and_comments_do_not() {
        let list = "; Spamhaus DROP List 2026/11/27\r\n1.10.16.0/20 ; SBL256894\r\n\r\n# a comment\n\
                    192.0.2.7\t5\n192.0.2.9,ssh,3\n198.51.100.1 - 198.51.100.2 # a pair\n\
                    198.51.100.8- 198.51.100.9\n203.0.113.5 -seen twice\n 2001:db8::/32# all of it\n10.1.2.3/8";
        let (items, outcome) = read(list, Format::Text);
        let expected = "1.10.16.0/20 192.0.2.7/32 192.0.2.9/32 198.51.100.1/32 198.51.100.2/32 198.51.100.8/31 \
                        203.0.113.5/32 2001:db8::/32 10.0.0.0/8";
        assert_eq!(items.join(" "), expected);
        assert_eq!((outcome.taken, outcome.skipped), (8, 0));
    }

    #[test]
    fn what_is_no_address_is_shown_with_its_line() {
        let (items, outcome) =
            read("1.2.3.4\nexample.com\n\n1.2.3.9-1.2.3.4 # backwards\n5.6.7.8-", Format::Text);
        assert_eq!(items, ["1.2.3.4/32"]);
        let bad: Vec<_> =
            outcome.first_bad.iter().map(|bad| format!("{}: {}", bad.place, bad.text)).collect();
        assert_eq!(bad, ["line 2: example.com", "line 4: 1.2.3.9-1.2.3.4 # backwards", "line 5: 5.6.7.8-"]);
        assert_eq!((outcome.taken, outcome.skipped), (1, 3));
    }
}
