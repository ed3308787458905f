//! The first message of a TLS client, taken out of raw bytes before the TLS library sees them.
//!
//! The bytes are a stranger's. The message may come in several records and the records in any number of segments;
//! [`Assembly`] looks at each byte once, keeps at most [`BYTES_MAX`], and gives up without a verdict on what is no
//! ClientHello or a longer one: whether such a handshake goes on is for the TLS library to say.

/// Most bytes of a message that are looked at, its records' headers included: a browser's, with a post-quantum key
/// share, has about 2 KiB.
pub const BYTES_MAX: usize = 16 << 10;

/// Type, version and length of a record (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;
const HANDSHAKE_RECORD: u8 = 22;
/// Type and length of a handshake message (RFC 8446 §4).
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// Puts a message together from the bytes of a connection as they come.
#[derive(Debug, Default)]
pub struct Assembly {
    /// Bytes of the connection that whole records were taken from.
    taken: usize,
    message: Vec<u8>,
}

/// How far an [`Assembly`] is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Incomplete,
    /// The message is whole; [`Assembly::hello`] reads it.
    Complete,
    /// Whatever comes, there is no ClientHello to be had.
    Hopeless,
}

impl Assembly {
    /// Goes on with all bytes since the beginning of the connection: those of earlier calls and what came since.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        while self.message.len() < self.wanted() {
            match record(bytes.get(self.taken..).unwrap_or_default()) {
                Record::Whole(payload) => {
                    self.message.extend_from_slice(payload);
                    self.taken += RECORD_HEADER + payload.len();
                }
                Record::Part if bytes.len() < BYTES_MAX => return Progress::Incomplete,
                Record::Part | Record::Other => return Progress::Hopeless,
            }
            if self.message[0] != CLIENT_HELLO || self.wanted() > BYTES_MAX {
                return Progress::Hopeless;
            }
        }
        Progress::Complete
    }

    /// The message, once it is complete and if it is in order.
    pub fn hello(&self) -> Option<ClientHello<'_>> {
        ClientHello::parse(self.message.get(MESSAGE_HEADER..self.wanted())?)
    }

    /// Bytes that the message has, with its header.
    fn wanted(&self) -> usize {
        match *self.message {
            [_, high, middle, low, ..] => {
                MESSAGE_HEADER + u32::from_be_bytes([0, high, middle, low]) as usize
            }
            _ => MESSAGE_HEADER,
        }
    }
}

enum Record<'a> {
    Whole(&'a [u8]),
    Part,
    /// Not of a handshake, or empty, which fragments of a handshake must not be (RFC 8446 §5.1).
    Other,
}

fn record(bytes: &[u8]) -> Record<'_> {
    match *bytes {
        [kind, ..] if kind != HANDSHAKE_RECORD => Record::Other,
        [_, _, _, high, low, ref rest @ ..] => match usize::from(u16::from_be_bytes([high, low])) {
            0 => Record::Other,
            length => rest.get(..length).map_or(Record::Part, Record::Whole),
        },
        _ => Record::Part,
    }
}

/// What a ClientHello says (RFC 8446 §4.1.2), as it lies on the wire.
#[derive(Debug, Clone, Copy)]
pub struct ClientHello<'a> {
    /// `legacy_version`.
    pub version: u16,
    cipher_suites: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Parses the body of a message. `None` when a length leads beyond its end, or something is left over.
    pub fn parse(body: &'a [u8]) -> Option<ClientHello<'a>> {
        const RANDOM: usize = 32;
        let mut rest = Bytes(body);
        let version = rest.number()?;
        rest.take(RANDOM)?;
        rest.short_vector()?; // legacy_session_id
        let cipher_suites = rest.vector()?;
        rest.short_vector()?; // legacy_compression_methods
        // Before TLS 1.3 the message could end here (RFC 5246 §7.4.1.2).
        let extensions = if rest.0.is_empty() { &[] } else { rest.vector()? };
        let hello = ClientHello { version, cipher_suites, extensions };
        let whole =
            rest.0.is_empty() && cipher_suites.len().is_multiple_of(2) && hello.extensions_are_whole();
        whole.then_some(hello)
    }

    /// The cipher suites in their order.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.cipher_suites)
    }

    /// Types and contents of the extensions in their order.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut rest = Bytes(self.extensions);
        std::iter::from_fn(move || Some((rest.number()?, rest.vector()?)))
    }

    fn extensions_are_whole(&self) -> bool {
        self.extensions().map(|(_, content)| 4 + content.len()).sum::<usize>() == self.extensions.len()
    }
}

/// The 16-bit numbers of a vector; half a number at its end is left out.
pub fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> + use<'_> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// Bytes that are read from the front (the presentation language of RFC 8446 §3).
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// A `uint16`.
    pub fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector with a length of two bytes.
    pub fn vector(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }

    /// A vector with a length of one byte.
    pub fn short_vector(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(length.into())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::hello::{self, message, records};

    /// The progress after each byte of `bytes`, fed one by one.
    fn fed_bytewise(bytes: &[u8]) -> (Assembly, Vec<Progress>) {
        let mut assembly = Assembly::default();
        let progress = (1..=bytes.len()).map(|end| assembly.advance(&bytes[..end])).collect();
        (assembly, progress)
    }

    #[test]
    fn a_message_is_whole_with_its_last_byte_however_it_is_cut_into_records() {
        let message = message(&hello::chrome());
        for record_bytes in [1, 2, 3, 5, 100, 16_000] {
            let wire = records(&message, record_bytes);
            let (assembly, mut progress) = fed_bytewise(&wire);
            assert_eq!(progress.pop(), Some(Progress::Complete), "{record_bytes}");
            assert!(progress.iter().all(|before| *before == Progress::Incomplete), "{record_bytes}");
            let hello = assembly.hello().expect("in order");
            assert_eq!(
                (hello.version, hello.cipher_suites().count(), hello.extensions().count()),
                (0x303, 16, 18)
            );
        }
    }

    #[test]
    fn what_follows_the_message_in_its_record_is_left_alone() {
        let mut two = message(&hello::chrome());
        two.extend_from_slice(&[11, 0, 0, 0]);
        let mut assembly = Assembly::default();
        assert_eq!(assembly.advance(&records(&two, 16_000)), Progress::Complete);
        assert!(assembly.hello().is_some());
    }

    #[test]
    fn other_protocols_and_other_messages_are_given_up_at_once() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x80\x2e\x01\x03\x01",                 // SSL 2
            b"\x15\x03\x01\x00\x02\x02\x28",         // an alert
            b"\x16\x03\x01\x00\x00",                 // an empty record
            b"\x16\x03\x01\x00\x01\x02",             // a ServerHello
            b"\x16\x03\x01\x00\x04\x01\x00\x40\x00", // a message of 16 KiB without its header
        ] {
            assert_eq!(Assembly::default().advance(bytes), Progress::Hopeless, "{bytes:x?}");
        }
    }

    #[test]
    fn no_more_than_so_many_bytes_are_waited_for_however_small_the_records() {
        let endless: Vec<u8> =
            [22, 3, 1, 0, 1, 1, 22, 3, 1, 0, 1, 0, 22, 3, 1, 0, 1, 0x3f, 22, 3, 1, 0, 1, 0xf0]
                .into_iter()
                .chain([22, 3, 1, 0, 1, 0].into_iter().cycle())
                .take(2 * BYTES_MAX)
                .collect();
        let (_, progress) = fed_bytewise(&endless);
        let given_up = progress.iter().position(|now| *now == Progress::Hopeless).expect("given up");
        assert!((BYTES_MAX - 6..=BYTES_MAX + 6).contains(&given_up), "{given_up}");
    }

    #[test]
    fn lengths_that_lead_beyond_the_end_and_bytes_left_over_are_no_hello() {
        let body = hello::chrome();
        assert!(ClientHello::parse(&body).is_some());
        // Cut behind the compression methods it is whole, as before TLS 1.3.
        let bare = body.len() - 2 - hello::chromes_extension_bytes();
        for cut in 0..body.len() {
            assert_eq!(ClientHello::parse(&body[..cut]).is_some(), cut == bare, "{cut}");
        }
        assert!(ClientHello::parse(&[&body[..], b"\0"].concat()).is_none());
    }
}
