//! JA4: which software a TLS client is, by what it offers.
//!
//! After FoxIO's specification of the TLS client fingerprint (technical_details/JA4.md, BSD 3-Clause): counts of what
//! the ClientHello offers, and hashes of its sorted cipher suites and extensions. Values of GREASE (RFC 8701) count
//! nowhere. It is no secret and no proof: whoever wants to can look like somebody else.

use aws_lc_rs::digest;

use super::client_hello::{Bytes, ClientHello, numbers};

/// A fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ja4([u8; Ja4::LENGTH]);

const SERVER_NAME: u16 = 0x0000;
const SIGNATURE_ALGORITHMS: u16 = 0x000d;
const ALPN: u16 = 0x0010;
const SUPPORTED_VERSIONS: u16 = 0x002b;

/// What stands for the hash of an empty list.
const NOTHING: [u8; Ja4::HASH_LENGTH] = *b"000000000000";

impl Ja4 {
    /// Bytes of a fingerprint, all of them ASCII.
    pub const LENGTH: usize = 10 + 2 * (1 + Ja4::HASH_LENGTH);
    const HASH_LENGTH: usize = 12;

    /// The fingerprint of a client over TCP.
    pub fn of(hello: &ClientHello<'_>) -> Ja4 {
        let mut list: Vec<u16> = without_grease(hello.cipher_suites()).collect();
        let mut text = Vec::new();
        let ciphers = count(list.len());
        let cipher_hash = sorted_hash(&mut list, &mut text, &[]);

        list.clear();
        list.extend(without_grease(hello.extensions().map(|(kind, _)| kind)));
        let extensions = count(list.len());
        let to_domain = list.contains(&SERVER_NAME);
        list.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
        let algorithms = content(hello, SIGNATURE_ALGORITHMS).and_then(|content| Bytes(content).vector());
        let extension_hash = sorted_hash(&mut list, &mut text, algorithms.unwrap_or_default());

        let mut fingerprint = Ja4([b'_'; Ja4::LENGTH]);
        let (head, hashes) = fingerprint.0.split_at_mut(10);
        head[0] = b't';
        head[1..3].copy_from_slice(version(hello));
        head[3] = if to_domain { b'd' } else { b'i' };
        head[4..6].copy_from_slice(&ciphers);
        head[6..8].copy_from_slice(&extensions);
        head[8..].copy_from_slice(&protocol(hello));
        hashes[1..13].copy_from_slice(&cipher_hash);
        hashes[14..].copy_from_slice(&extension_hash);
        fingerprint
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl std::fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// RFC 8701 §2: 0x0A0A, 0x1A1A and so on.
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

fn without_grease(values: impl Iterator<Item = u16>) -> impl Iterator<Item = u16> {
    values.filter(|value| !is_grease(*value))
}

/// The content of the first extension of a kind.
fn content<'a>(hello: &ClientHello<'a>, kind: u16) -> Option<&'a [u8]> {
    hello.extensions().find(|(other, _)| *other == kind).map(|(_, content)| content)
}

/// Two digits, at most 99.
fn count(entries: usize) -> [u8; 2] {
    let entries = entries.min(99) as u8;
    [b'0' + entries / 10, b'0' + entries % 10]
}

/// The highest version that is offered (RFC 8446 §4.2.1), else that of the message.
fn version(hello: &ClientHello<'_>) -> &'static [u8; 2] {
    let offered = content(hello, SUPPORTED_VERSIONS).and_then(|content| Bytes(content).short_vector());
    let highest = offered.and_then(|offered| without_grease(numbers(offered)).max());
    match highest.unwrap_or(hello.version) {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    }
}

/// First and last character of the first protocol of ALPN (RFC 7301 §3.1); of its hexadecimal form where one of them is
/// no letter or digit.
fn protocol(hello: &ClientHello<'_>) -> [u8; 2] {
    let name = content(hello, ALPN).and_then(|content| {
        let list = Bytes(content).vector()?;
        Bytes(list).short_vector()
    });
    match name {
        None | Some([]) => *b"00",
        Some(name) => {
            let (first, last) = (name[0], name[name.len() - 1]);
            if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
                [first, last]
            } else {
                [hex(first >> 4), hex(last & 0x0f)]
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 0x0f)]
}

/// The hash of a list that is sorted first, and of signature algorithms in the order in which they came. `text` is
/// room to work in.
fn sorted_hash(list: &mut [u16], text: &mut Vec<u8>, algorithms: &[u8]) -> [u8; Ja4::HASH_LENGTH] {
    if list.is_empty() {
        return NOTHING;
    }
    list.sort_unstable();
    text.clear();
    append(text, list.iter().copied(), b',');
    append(text, without_grease(numbers(algorithms)), b'_');
    let hash = digest::digest(&digest::SHA256, text);
    let mut digits = NOTHING;
    for (pair, byte) in digits.chunks_exact_mut(2).zip(hash.as_ref()) {
        pair.copy_from_slice(&[hex(byte >> 4), hex(*byte)]);
    }
    digits
}

/// Appends numbers of four digits with commas between them, and `before` where something stands already.
fn append(text: &mut Vec<u8>, values: impl Iterator<Item = u16>, before: u8) {
    let mut separator = before;
    for value in values {
        if !text.is_empty() {
            text.push(separator);
        }
        separator = b',';
        let [high, low] = value.to_be_bytes();
        text.extend_from_slice(&[hex(high >> 4), hex(high), hex(low >> 4), hex(low)]);
    }
}

#[cfg(test)]
mod tests;
