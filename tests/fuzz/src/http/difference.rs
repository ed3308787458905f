//! Why a message is not taken, and in which of these cases hyper takes it. Every disagreement of the two must be a row here; the
//! same rows stand in `docs/operations/http1.md`.

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    // Both refuse these.
    /// Not a head: a line, a name or a value that is none, a version, a target.
    Syntax,
    /// Too many fields.
    TooMany,
    /// A length that is no number, or several that differ.
    Length,
    /// A transfer coding that does not end in `chunked`, in a request.
    Coding,
    /// A transfer coding in HTTP/1.0.
    CodingBefore11,
    /// No size where a chunk begins, or no CRLF where a line or a chunk ends.
    Chunk,
    // Hyper takes these; see [`ROWS`].
    LineEnd,
    LengthTwice,
    LengthHuge,
    Both,
    CodingList,
    AnswerCoding,
    Bodiless,
    Switch,
    ChunkZeros,
    ChunkPadding,
    ChunkExtension,
    TrailerLineEnd,
    Overhead,
    /// Taken by both, but we end the connection after it.
    NearlyClose,
}

/// Whose messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client,
    Upstream,
    Either,
}

/// A case in which hyper takes what we refuse.
#[derive(Debug)]
pub struct Row {
    pub why: Why,
    pub from: From,
    /// What stands in the message.
    pub what: &'static str,
    /// What hyper does with it.
    pub library: &'static str,
    /// Why we do not.
    pub because: &'static str,
}

/// All of them. There is none the other way round: nothing is taken that hyper refuses.
pub const ROWS: &[Row] = &[
    Row {
        why: Why::LineEnd,
        from: From::Client,
        what: "a line that ends with LF alone",
        library: "takes it for the end of the line",
        because: "RFC 9112 §2.2 lets one, but a proxy before us that does not sees one line where we see two",
    },
    Row {
        why: Why::LengthTwice,
        from: From::Client,
        what: "`Content-Length` more than once, all equal",
        library: "takes the first",
        because: "RFC 9112 §6.3 lets one, but nobody of good faith sends it",
    },
    Row {
        why: Why::LengthHuge,
        from: From::Either,
        what: "a `Content-Length` of more than 2^63 - 1",
        library: "takes lengths up to 2^64 - 3",
        because: "others read lengths into a signed number, where this one is negative or cut",
    },
    Row {
        why: Why::Both,
        from: From::Either,
        what: "`Transfer-Encoding` beside `Content-Length`",
        library: "drops the length, reads chunks, and closes afterwards",
        because: "that is how requests are smuggled (RFC 9112 §6.3, §11.2)",
    },
    Row {
        why: Why::CodingList,
        from: From::Either,
        what: "a list of codings that ends in `chunked`, in one field or several, `chunked` twice among them",
        library: "reads chunks, once",
        because: "what is within the chunks is coded once more, and who reads on takes it for data",
    },
    Row {
        why: Why::AnswerCoding,
        from: From::Upstream,
        what: "a transfer coding that does not end in `chunked`",
        library: "reads until the connection ends",
        because: "what comes is coded, and goes on as if it were not",
    },
    Row {
        why: Why::Bodiless,
        from: From::Upstream,
        what: "framing that is none, in a 204, a 304 or an answer to HEAD",
        library: "does not look",
        because: "an upstream that frames so frames the next answer so",
    },
    Row {
        why: Why::Switch,
        from: From::Upstream,
        what: "an answer that switches protocols (101)",
        library: "hands the connection over",
        because: "nobody asked for it",
    },
    Row {
        why: Why::ChunkZeros,
        from: From::Either,
        what: "a chunk's size of more than 16 digits, zeros before it",
        library: "skips zeros, however many",
        because: "16 digits hold every size, and readers differ in what they do with more",
    },
    Row {
        why: Why::ChunkPadding,
        from: From::Either,
        what: "more than 16 spaces or tabs after a chunk's size",
        library: "skips them, however many",
        because: "RFC 9112 §7.1 has none there; old software pads with a few",
    },
    Row {
        why: Why::ChunkExtension,
        from: From::Either,
        what: "a control character in a chunk extension",
        library: "skips it",
        because: "RFC 9112 §7.1.1 has none there; a reader that ends lines at one sees other chunks",
    },
    Row {
        why: Why::TrailerLineEnd,
        from: From::Either,
        what: "a trailer line that ends with LF alone",
        library: "takes an empty one for the end of the trailers, and skips what follows",
        because: "it is refused in a head for the same reason",
    },
    Row {
        why: Why::Overhead,
        from: From::Either,
        what: "chunk extensions and trailers of more than 16 KiB together",
        library: "has that limit for each",
        because: "a sender has no use for more",
    },
    Row {
        why: Why::NearlyClose,
        from: From::Client,
        what: "`close` in `Connection` with parameters, or beside bytes that are no text; what follows the request",
        library: "does not see it and reads on",
        because: "a proxy before us that sees it will not send another request, so what comes is not one",
    },
];

impl Row {
    /// The row as it stands in the documentation.
    pub fn written(&self) -> String {
        let from = match self.from {
            From::Client => "client",
            From::Upstream => "upstream",
            From::Either => "either",
        };
        format!("| {} | {from} | {} | {} |", self.what, self.library, self.because)
    }
}

/// Whether hyper may take what is refused for this.
pub fn library_may_take(why: Why) -> bool {
    ROWS.iter().any(|row| row.why == why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_these_rows_and_no_others() {
        let page = include_str!("../../../../docs/operations/http1.md");
        let (_, table) = page.split_once("## What hyper takes and we refuse").expect("a section");
        let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
        let rows: Vec<String> = ROWS.iter().map(Row::written).collect();
        assert_eq!(lines.collect::<Vec<_>>(), rows);
    }

    #[test]
    fn each_case_is_there_once() {
        for (number, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..number].iter().all(|other| other.why != row.why), "{:?}", row.why);
        }
    }
}
