//! The PROXY protocol, versions 1 and 2: a load balancer in front says where a connection really comes from.
//!
//! Read only when the listener asks for it and the socket's peer is a trusted proxy; then it is required, and a
//! connection that begins otherwise is refused. After HAProxy's `proxy-protocol.txt` (2020/03/05), strictly: version 1
//! takes exactly one space between fields and no leading zeros, version 2 takes only stream protocols, and a header
//! may be at most [`HEADER_BYTES_MAX`] long. `UNKNOWN`, `AF_UNIX` and `LOCAL` say nothing about the client, so
//! the socket's own addresses stay, and forwarding headers are not believed. TLVs are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header: version 2's 16 bytes, IPv6 addresses, and TLVs of the usual balancers with room to spare.
pub const HEADER_BYTES_MAX: usize = 1024;

/// Longest version 1 line, by the specification, with its CRLF.
const LINE_BYTES_MAX: usize = 107;

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Nothing about the client: the proxy's own connection (a health check), or an unknown protocol.
    Local,
    /// The connection that the proxy took.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
}

/// Why the beginning of a connection is not a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither version's signature.
    #[error("no PROXY protocol header where the listener requires one")]
    Signature,
    /// Longer than allowed.
    #[error("PROXY protocol header too long")]
    TooLong,
    /// A version 1 line that is not one.
    #[error("malformed PROXY protocol line")]
    Line,
    /// A version, command, family or length that version 2 does not have.
    #[error("malformed PROXY protocol version 2 header")]
    Binary,
}

/// Reads the header at the beginning of `bytes`: with its length once it is complete, `None` while it is not.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    if begins(bytes, SIGNATURE_2) {
        version_2(bytes)
    } else if begins(bytes, SIGNATURE_1) {
        version_1(bytes)
    } else {
        Err(Fault::Signature)
    }
}

/// Whether `bytes` begin with `signature`, as far as they go.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let length = bytes.len().min(signature.len());
    bytes[..length] == signature[..length]
}

fn version_1(bytes: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() >= LINE_BYTES_MAX { Err(Fault::TooLong) } else { Ok(None) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Fault::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| Fault::Line)?;
    let mut fields = line.split(' ').skip(1);
    let header = match fields.next() {
        // Whatever follows must be ignored (section 2.1).
        Some("UNKNOWN") => Header::Local,
        Some(family @ ("TCP4" | "TCP6")) => line_addresses(family, &mut fields).ok_or(Fault::Line)?,
        _ => return Err(Fault::Line),
    };
    Ok(Some((header, end + 1)))
}

fn line_addresses<'a>(family: &str, fields: &mut impl Iterator<Item = &'a str>) -> Option<Header> {
    let mut address = || -> Option<IpAddr> {
        let text = fields.next()?;
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            _ => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        }
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || -> Option<u16> {
        let text = fields.next()?;
        let canonical = text == "0" || !text.starts_with(['0', '+']);
        canonical.then(|| text.parse().ok())?
    };
    let (source_port, destination_port) = (port()?, port()?);
    if fields.next().is_some() {
        return None;
    }
    Some(Header::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

fn version_2(bytes: &[u8]) -> Result<Option<(Header, usize)>, Fault> {
    // What is there is judged at once, so that a wrong header does not hold the connection until the deadline.
    let command = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(Fault::Binary),
    };
    let Some([family, length_high, length_low]) = bytes.get(13..16) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
    if 16 + length > HEADER_BYTES_MAX {
        return Err(Fault::TooLong);
    }
    let Some(addresses) = bytes.get(16..16 + length) else { return Ok(None) };
    let header = match (command, family) {
        (Command::Local, _) | (Command::Proxy, 0x00 | 0x31) => Header::Local,
        (Command::Proxy, 0x11) => binary_addresses::<4>(addresses)?,
        (Command::Proxy, 0x21) => binary_addresses::<16>(addresses)?,
        _ => return Err(Fault::Binary),
    };
    Ok(Some((header, 16 + length)))
}

#[derive(Clone, Copy)]
enum Command {
    Local,
    Proxy,
}

fn binary_addresses<const N: usize>(bytes: &[u8]) -> Result<Header, Fault>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>().ok_or(Fault::Binary)?;
    let (destination, rest) = rest.split_first_chunk::<N>().ok_or(Fault::Binary)?;
    let ports = rest.first_chunk::<4>().ok_or(Fault::Binary)?;
    Ok(Header::Proxied {
        source: SocketAddr::new((*source).into(), u16::from_be_bytes([ports[0], ports[1]])),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes([ports[2], ports[3]])),
    })
}

#[cfg(test)]
mod tests;
