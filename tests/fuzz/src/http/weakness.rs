//! Weaknesses that a reader of HTTP/1 may have. One is laid before our layer: it gets the first head with what it would
//! wrongly accept made right, and so takes it. Or one is laid behind it, and its last answer is another. Each must be found.

/// Something that is accepted and must not be, or an answer that is not as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// Lines that end with LF alone.
    LineEnd,
    /// A second `Content-Length`.
    LengthTwice,
    /// `Content-Length` beside `Transfer-Encoding`.
    Both,
    /// `chunked, chunked` as `chunked`.
    ChunkedTwice,
    /// Any coding before `chunked`.
    CodingList,
    /// White space before the colon.
    SpaceBeforeColon,
    /// Folded lines.
    Folded,
    /// A sign before a length.
    LengthSign,
    /// Chunked in HTTP/1.0.
    CodingBefore11,
    /// A chunk's size in 64 bits, whatever was before.
    ChunkOverflow,
    /// LF alone after a chunk's size.
    ChunkLineEnd,
    /// No answer to a request.
    NoAnswer,
    /// No answer to what is not a request.
    NoRefusal,
    /// Another status for what is not a request.
    OtherStatus,
    /// A refusal that does not say that the connection ends.
    NoClose,
}

impl Weakness {
    /// All of them.
    pub const ALL: [Weakness; 15] = [
        Weakness::LineEnd,
        Weakness::LengthTwice,
        Weakness::Both,
        Weakness::ChunkedTwice,
        Weakness::CodingList,
        Weakness::SpaceBeforeColon,
        Weakness::Folded,
        Weakness::LengthSign,
        Weakness::CodingBefore11,
        Weakness::ChunkOverflow,
        Weakness::ChunkLineEnd,
        Weakness::NoAnswer,
        Weakness::NoRefusal,
        Weakness::OtherStatus,
        Weakness::NoClose,
    ];

    /// The answers to requests as a layer with the weakness would have sent them; `refused` if the last of them is to what is
    /// not a request.
    pub fn spoil(self, answers: &mut Vec<u8>, refused: bool) {
        let Some(last) = answers.windows(7).rposition(|window| window == b"HTTP/1.") else { return };
        match self {
            Weakness::NoAnswer if !refused => answers.truncate(last),
            Weakness::NoRefusal if refused => answers.truncate(last),
            Weakness::OtherStatus if refused => drop(answers.splice(last + 9..last + 12, *b"200")),
            Weakness::NoClose if refused => {
                let field = b"connection: close\r\n";
                if let Some(at) = find(&answers[last..], field) {
                    answers.drain(last + at..last + at + field.len());
                }
            }
            _ => {}
        }
    }

    /// What a layer without the weakness would have to get to do what one with it does. Nothing is changed that may be taken
    /// as it is.
    pub fn repair(self, bytes: &[u8], is_answer: bool) -> Vec<u8> {
        if is_answer && matches!(self, Weakness::LineEnd | Weakness::LengthTwice) {
            return bytes.to_vec();
        }
        let ends =
            [&b"\r\n\r\n"[..], b"\n\n", b"\n\r\n"].map(|end| find(bytes, end).map(|at| at + end.len()));
        let Some(end) = ends.into_iter().flatten().min() else { return bytes.to_vec() };
        let (head, rest) = bytes.split_at(end);
        let mut lines: Vec<Vec<u8>> =
            head.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let is = |line: &[u8], name: &str| {
            line.len() > name.len()
                && line[..name.len()].eq_ignore_ascii_case(name.as_bytes())
                && line[name.len()] == b':'
        };
        let mut rest = rest.to_vec();
        let is_coded = lines.iter().any(|line| is(line, "transfer-encoding"));
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        match self {
            Weakness::LineEnd => lines.iter_mut().for_each(|line| {
                if !line.ends_with(b"\r\n") {
                    line.splice(line.len() - 1.., *b"\r\n");
                }
            }),
            Weakness::LengthTwice => {
                let mut seen = false;
                lines.retain(|line| {
                    !is(line, "content-length")
                        || !std::mem::replace(&mut seen, true)
                        || !line.ends_with(b"\r\n")
                });
            }
            Weakness::Both => {
                if is_coded {
                    lines.retain(|line| !is(line, "content-length"));
                }
            }
            Weakness::ChunkedTwice | Weakness::CodingList => lines.iter_mut().for_each(|line| {
                let text = String::from_utf8_lossy(line).to_ascii_lowercase();
                let ends =
                    if self == Weakness::ChunkedTwice { "chunked, chunked\r\n" } else { ", chunked\r\n" };
                if is(line, "transfer-encoding") && text.ends_with(ends) {
                    *line = b"Transfer-Encoding: chunked\r\n".to_vec();
                }
            }),
            Weakness::SpaceBeforeColon => lines.iter_mut().skip(1).for_each(|line| {
                if let Some(at @ 1..) = find(line, b":")
                    && line[at - 1] == b' '
                {
                    line.remove(at - 1);
                }
            }),
            Weakness::Folded => {
                let mut unfolded: Vec<Vec<u8>> = Vec::new();
                for line in lines {
                    match unfolded.last_mut() {
                        Some(last) if line.starts_with(b" ") && last.ends_with(b"\r\n") => {
                            last.splice(last.len() - 2.., line);
                        }
                        _ => unfolded.push(line),
                    }
                }
                lines = unfolded;
            }
            Weakness::LengthSign => lines.iter_mut().for_each(|line| {
                if let (true, Some(at)) = (is(line, "content-length"), find(line, b"+")) {
                    line.remove(at);
                }
            }),
            Weakness::CodingBefore11 => {
                if let (Some(first), true) = (lines.first_mut(), is_coded)
                    && let Some(at) = find(first, b"HTTP/1.0")
                {
                    first[at + 7] = b'1';
                }
            }
            Weakness::ChunkOverflow => {
                if is_coded && digits == 17 && rest[0] != b'0' {
                    rest.remove(0);
                }
            }
            Weakness::ChunkLineEnd => {
                if is_coded && digits > 0 && rest.get(digits) == Some(&b'\n') {
                    rest.insert(digits, b'\r');
                }
            }
            Weakness::NoAnswer | Weakness::NoRefusal | Weakness::OtherStatus | Weakness::NoClose => {}
        }
        [lines.concat(), rest].concat()
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
