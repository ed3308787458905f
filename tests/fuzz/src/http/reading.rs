//! A second reading of messages, after RFC 9112 and the table in [`gateway_userspace::http1`]: line by line over all bytes at
//! once, with nothing of the parser or the decoder that it is held against.

mod chunks;

use http::Uri;

use super::difference::Why;

/// Most fields of a section.
const FIELDS_MAX: usize = 100;

/// Longest length: what a signed number of 64 bits holds, since others read lengths into one.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// A name in lower case, and a value.
pub type Field = (Vec<u8>, Vec<u8>);

/// Why there is no further message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The bytes end before it does, or there are none.
    Partial,
    /// It must not be taken.
    Refused(Why),
}

/// Who speaks, and what the answer is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Requests.
    Client,
    /// Answers; `true` after HEAD.
    Upstream { to_head: bool },
}

/// A head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method, or the status.
    pub word: Vec<u8>,
    /// The target; empty in an answer.
    pub target: Vec<u8>,
    /// The digit after `HTTP/1.`.
    pub minor: u8,
    /// All fields in their order.
    pub fields: Vec<Field>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Known(u64),
    Chunked,
    UntilClose,
}

/// A message whose head is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub head: Head,
    pub length: Length,
    /// Data and trailers, if all of it is there.
    pub body: Result<(Vec<u8>, Vec<Field>), Stop>,
    /// Data before the end or the fault.
    pub data: Vec<u8>,
    /// Where in the bytes the next message begins, or this one breaks off.
    pub end: usize,
}

/// The first message of these bytes, interim answers left out.
///
/// # Errors
/// Why there is none.
pub fn message(bytes: &[u8], side: Side) -> Result<Message, Stop> {
    let mut at = 0;
    loop {
        let (head, after) = head(bytes, at, side)?;
        at = after;
        if side != Side::Client && head.word.starts_with(b"1") {
            if head.word == b"101" {
                return Err(Stop::Refused(Why::Switch));
            }
            continue;
        }
        let length = length(&head, side).map_err(Stop::Refused)?;
        let mut body = chunks::Reader::new(&bytes[at..]);
        let whole = match length {
            Length::Known(length) => body.data(length).map(|()| Vec::new()),
            Length::Chunked => body.chunks(),
            Length::UntilClose => body.data((bytes.len() - at) as u64).map(|()| Vec::new()),
        };
        let end = at + body.at();
        let data = body.into_data();
        let body = whole.map(|trailers| (data.clone(), trailers));
        return Ok(Message { head, length, body, data, end });
    }
}

impl Head {
    /// All values of a field.
    pub fn values<'h>(&'h self, name: &'static str) -> impl Iterator<Item = &'h [u8]> + Clone + use<'h> {
        self.fields
            .iter()
            .filter(move |(found, _)| found == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    }

    /// Whether the connection may be used after this message.
    pub fn persists(&self) -> bool {
        let closes = self.options().any(|option| {
            let name = option.split(|byte| *byte == b';').next().unwrap_or_default();
            trim(name).eq_ignore_ascii_case(b"close")
        });
        !closes && self.persists_by_words()
    }

    /// The same, where only the words themselves count, in fields that are text.
    pub fn persists_by_words(&self) -> bool {
        let words = self.values("connection").filter(|value| value.is_ascii());
        let words = words.flat_map(|value| value.split(|byte| *byte == b',')).map(trim);
        let says = |wanted: &[u8]| words.clone().any(|word| word.eq_ignore_ascii_case(wanted));
        !says(b"close") && (self.minor == 1 || says(b"keep-alive"))
    }

    fn options(&self) -> impl Iterator<Item = &[u8]> {
        self.values("connection").flat_map(|value| value.split(|byte| *byte == b','))
    }
}

/// A head, and where it ends.
fn head(bytes: &[u8], from: usize, side: Side) -> Result<(Head, usize), Stop> {
    let mut lines = Lines { bytes, at: from, alone: false };
    let first = loop {
        let line = lines.next()?;
        if !line.is_empty() {
            break line;
        }
    };
    let (word, target, minor) = match side {
        Side::Client => request_line(first)?,
        Side::Upstream { .. } => status_line(first)?,
    };
    let fields = fields(&mut lines)?;
    if lines.alone && side == Side::Client {
        return Err(Stop::Refused(Why::LineEnd));
    }
    Ok((Head { word, target, minor, fields }, lines.at))
}

/// Field lines up to an empty one.
fn fields(lines: &mut Lines<'_>) -> Result<Vec<Field>, Stop> {
    let mut fields = Vec::new();
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Stop::Refused(Why::Syntax))?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if name.is_empty()
            || !name.iter().all(|byte| is_token(*byte))
            || !value.iter().all(|byte| is_text(*byte))
        {
            return Err(Stop::Refused(Why::Syntax));
        }
        if fields.len() == FIELDS_MAX {
            return Err(Stop::Refused(Why::TooMany));
        }
        fields.push((name.to_ascii_lowercase(), value.to_vec()));
    }
}

type First = (Vec<u8>, Vec<u8>, u8);

fn request_line(line: &[u8]) -> Result<First, Stop> {
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else { return Err(Stop::Refused(Why::Syntax)) };
    let method_is_one = !method.is_empty() && method.iter().all(|byte| is_token(*byte));
    let target_is_text = !target.is_empty() && target.iter().all(|byte| matches!(byte, b'!'..=b'~' | 0x80..));
    if !method_is_one || !target_is_text || str::from_utf8(target).is_err() || Uri::try_from(target).is_err()
    {
        return Err(Stop::Refused(Why::Syntax));
    }
    Ok((method.to_vec(), target.to_vec(), minor(version)?))
}

fn status_line(line: &[u8]) -> Result<First, Stop> {
    let (version, rest) = line.split_at_checked(8).ok_or(Stop::Refused(Why::Syntax))?;
    let minor = minor(version)?;
    let (status, reason) = rest.split_at_checked(4).ok_or(Stop::Refused(Why::Syntax))?;
    let is_status =
        status[0] == b' ' && (b'1'..=b'9').contains(&status[1]) && status[2..].iter().all(u8::is_ascii_digit);
    let is_reason = reason.is_empty() || reason[0] == b' ' && reason.iter().all(|byte| is_text(*byte));
    if !is_status || !is_reason {
        return Err(Stop::Refused(Why::Syntax));
    }
    Ok((status[1..].to_vec(), Vec::new(), minor))
}

fn minor(version: &[u8]) -> Result<u8, Stop> {
    match version {
        b"HTTP/1.0" => Ok(0),
        b"HTTP/1.1" => Ok(1),
        _ => Err(Stop::Refused(Why::Syntax)),
    }
}

/// Where the body of a message with this head ends.
fn length(head: &Head, side: Side) -> Result<Length, Why> {
    let bodiless = side == Side::Upstream { to_head: true }
        || side != Side::Client && matches!(&head.word[..], b"204" | b"304");
    let judged = match side {
        Side::Client => request_length(head),
        Side::Upstream { .. } => answer_length(head),
    };
    // The library does not look where there is no body to be framed.
    match judged {
        Err(_) if bodiless => Err(Why::Bodiless),
        Ok(_) if bodiless => Ok(Length::Known(0)),
        judged => judged,
    }
}

fn request_length(head: &Head) -> Result<Length, Why> {
    let lengths: Vec<&[u8]> = head.values("content-length").collect();
    if coding(head)? {
        return if lengths.is_empty() { Ok(Length::Chunked) } else { Err(Why::Both) };
    }
    match lengths[..] {
        [] => Ok(Length::Known(0)),
        [length] => number(length).map(Length::Known),
        [first, ..] => {
            let first = number(first)?;
            let same = lengths.iter().all(|length| number(length) == Ok(first));
            Err(if same { Why::LengthTwice } else { Why::Length })
        }
    }
}

fn answer_length(head: &Head) -> Result<Length, Why> {
    let coded = coding(head).map_err(|why| if why == Why::Coding { Why::AnswerCoding } else { why })?;
    let lengths = head.values("content-length").flat_map(|value| value.split(|byte| *byte == b','));
    let lengths = lengths.map(|length| number(trim(length))).collect::<Vec<_>>();
    if coded {
        return if lengths.is_empty() { Ok(Length::Chunked) } else { Err(Why::Both) };
    }
    let Some(first) = lengths.first() else { return Ok(Length::UntilClose) };
    let first = (*first)?;
    match lengths.iter().find(|length| **length != Ok(first)) {
        None => Ok(Length::Known(first)),
        Some(_) => Err(Why::Length),
    }
}

/// Whether it is chunked.
fn coding(head: &Head) -> Result<bool, Why> {
    let codings: Vec<&[u8]> = head.values("transfer-encoding").collect();
    match codings[..] {
        [] => Ok(false),
        _ if head.minor == 0 => Err(Why::CodingBefore11),
        [one] if one.eq_ignore_ascii_case(b"chunked") => Ok(true),
        [.., last] => {
            let last = trim(last.rsplit(|byte| *byte == b',').next().unwrap_or_default());
            Err(if last.eq_ignore_ascii_case(b"chunked") { Why::CodingList } else { Why::Coding })
        }
    }
}

fn number(digits: &[u8]) -> Result<u64, Why> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Why::Length);
    }
    let digits = str::from_utf8(digits).map_err(|_| Why::Length)?;
    let number: u64 = digits.parse().map_err(|_| Why::Length)?;
    if number > LENGTH_MAX { Err(Why::LengthHuge) } else { Ok(number) }
}

/// Lines that end with LF, and with CR before it.
struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Whether one ended with LF alone.
    alone: bool,
}

impl<'b> Lines<'b> {
    fn next(&mut self) -> Result<&'b [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Stop::Partial)?;
        self.at += end + 1;
        let line = match rest[..end].strip_suffix(b"\r") {
            Some(line) => line,
            None => {
                self.alone = true;
                &rest[..end]
            }
        };
        if line.contains(&b'\r') { Err(Stop::Refused(Why::Syntax)) } else { Ok(line) }
    }
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a value or a reason may hold.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
