//! The pieces that a text of nft is made of.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word; `=` is one.
    Word(&'a [u8]),
    /// A text in quotes, whatever it says.
    Quoted,
    /// `{`
    Open,
    /// `}`
    Close,
    /// `,`
    Comma,
    /// The end of a line.
    Line,
    /// `;`
    End,
}

/// Reads them one after another; comments are passed over.
pub(super) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    /// The line that the next one stands in or behind, from 1.
    pub line: u64,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a [u8]) -> Tokens<'a> {
        Tokens { text, at: 0, line: 1 }
    }

    /// Where the next one begins.
    pub fn position(&mut self) -> usize {
        let blank = |byte: &u8| byte.is_ascii_whitespace() && *byte != b'\n';
        self.at += self.text[self.at..].iter().take_while(|byte| blank(byte)).count();
        self.at
    }

    /// The text between two positions, without the white space around it.
    pub fn since(&self, start: usize, end: usize) -> &'a [u8] {
        self.text[start..end].trim_ascii()
    }

    pub fn next(&mut self) -> Option<Token<'a>> {
        let start = self.position();
        let rest = &self.text[start..];
        let (token, bytes) = match rest.first()? {
            b'#' => {
                self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                return self.next_line();
            }
            b'\n' => return self.next_line(),
            b'"' => {
                // No text goes beyond its line, so that a lost quote costs no more than that.
                let end = memchr::memchr2(b'"', b'\n', &rest[1..]).map_or(rest.len(), |end| end + 1);
                (Token::Quoted, if rest.get(end) == Some(&b'"') { end + 1 } else { end })
            }
            b'{' => (Token::Open, 1),
            b'}' => (Token::Close, 1),
            b',' => (Token::Comma, 1),
            b';' => (Token::End, 1),
            b'=' => (Token::Word(&rest[..1]), 1),
            _ => {
                let end =
                    rest.iter().position(|byte| byte.is_ascii_whitespace() || b"{},;=\"#".contains(byte));
                let bytes = end.unwrap_or(rest.len());
                (Token::Word(&rest[..bytes]), bytes)
            }
        };
        self.at += bytes;
        Some(token)
    }

    fn next_line(&mut self) -> Option<Token<'a>> {
        self.text.get(self.at)?;
        self.at += 1;
        self.line += 1;
        Some(Token::Line)
    }
}
