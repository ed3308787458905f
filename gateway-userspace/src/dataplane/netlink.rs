//! The parts of rtnetlink that concern XDP: which program an interface has, and replacing it by another.
//!
//! Programs that were attached this way have no link, so the kernel is told which one is to be replaced
//! (`XDP_FLAGS_REPLACE`, since Linux 5.7), and refuses if it is no longer that one.

pub mod driver;

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, recv, send, socket};

use super::{
    Mode,
    syscall::{FLAG_GENERIC, FLAG_NATIVE},
};

/// `NETLINK_ROUTE` is 0, which is no number for a protocol.
const ROUTE: Option<Protocol> = None;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_FD: u16 = 1;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_FLAGS: u16 = 3;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_EXPECTED_FD: u16 = 8;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;
const XDP_FLAGS_REPLACE: u32 = 1 << 4;
const HEADER_BYTES: usize = 16;
const INTERFACE_BYTES: usize = 16;
/// More than the kernel says about one interface.
const ANSWER_BYTES: usize = 32 * 1024;

/// The program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnInterface {
    /// Its id.
    pub program: u32,
    /// Where it runs; `None` on the network card, or in several places.
    pub mode: Option<Mode>,
}

/// Asks which program an interface has.
pub fn program_of(interface: u32) -> io::Result<Option<OnInterface>> {
    let answer = ask(RTM_GETLINK, 0, interface, &[])?;
    Ok(read_program(&answer))
}

/// Replaces the program `old` of an interface by `new`, or by nothing.
///
/// # Errors
/// `EEXIST` if the interface has another program by now.
pub fn replace(
    interface: u32,
    mode: Mode,
    old: BorrowedFd<'_>,
    new: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let flags = XDP_FLAGS_REPLACE
        | match mode {
            Mode::Native => FLAG_NATIVE,
            Mode::Generic => FLAG_GENERIC,
        };
    let mut nested = Vec::new();
    attribute(&mut nested, IFLA_XDP_FD, &new.map_or(-1, |new| new.as_raw_fd()).to_ne_bytes());
    attribute(&mut nested, IFLA_XDP_FLAGS, &flags.to_ne_bytes());
    attribute(&mut nested, IFLA_XDP_EXPECTED_FD, &old.as_raw_fd().to_ne_bytes());
    let mut attributes = Vec::new();
    attribute(&mut attributes, IFLA_XDP | NLA_F_NESTED, &nested);
    ask(RTM_SETLINK, NLM_F_ACK, interface, &attributes).map(drop)
}

fn ask(kind: u16, flags: u16, interface: u32, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(INTERFACE_BYTES + attributes.len());
    // `struct ifinfomsg`: family and type, then the index, then flags and change.
    body.extend([0; 4]);
    body.extend(interface.to_ne_bytes());
    body.extend([0; 8]);
    body.extend(attributes);
    match exchange(ROUTE, kind, flags, &body)? {
        (NLMSG_ERROR | RTM_NEWLINK, answer) => Ok(answer),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Sends a request on a socket of its own. The kind of the answer, and all of it; [`NLMSG_ERROR`] if it only says that
/// the request was carried out.
fn exchange(protocol: Option<Protocol>, kind: u16, flags: u16, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut message = Vec::with_capacity(HEADER_BYTES + body.len());
    message.extend(((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, protocol)?;
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_BYTES];
    let (received, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(received);
    match (u16_at(&answer, 4), i32_at(&answer, HEADER_BYTES)) {
        (Some(NLMSG_ERROR), Some(error)) if error != 0 => Err(io::Error::from_raw_os_error(-error)),
        (Some(NLMSG_ERROR), None) | (None, _) => Err(io::ErrorKind::InvalidData.into()),
        (Some(kind), _) => Ok((kind, answer)),
    }
}

fn read_program(answer: &[u8]) -> Option<OnInterface> {
    let attributes = answer.get(HEADER_BYTES + INTERFACE_BYTES..)?;
    let xdp = Attributes(attributes).find(|(kind, _)| *kind == IFLA_XDP)?.1;
    let value = |wanted| Attributes(xdp).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let program = i32_at(value(IFLA_XDP_PROG_ID)?, 0)? as u32;
    let mode = match value(IFLA_XDP_ATTACHED)?.first()? {
        1 => Some(Mode::Native),
        2 => Some(Mode::Generic),
        _ => None,
    };
    Some(OnInterface { program, mode })
}

/// Length and type, the value, and as many zeros as make a multiple of four.
fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(((4 + value.len()) as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

fn i32_at(bytes: &[u8], offset: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(attached: u8, program: Option<u32>) -> Vec<u8> {
        let mut xdp = Vec::new();
        attribute(&mut xdp, IFLA_XDP_ATTACHED, &[attached]);
        if let Some(program) = program {
            attribute(&mut xdp, IFLA_XDP_PROG_ID, &program.to_ne_bytes());
        }
        let mut answer = vec![0; HEADER_BYTES + INTERFACE_BYTES];
        attribute(&mut answer, 3, b"eth0\0");
        attribute(&mut answer, IFLA_XDP | NLA_F_NESTED, &xdp);
        answer
    }

    #[test]
    fn the_program_and_its_mode_are_read_from_the_answer() {
        assert_eq!(
            read_program(&answer(1, Some(42))),
            Some(OnInterface { program: 42, mode: Some(Mode::Native) })
        );
        assert_eq!(read_program(&answer(2, Some(7))).and_then(|on| on.mode), Some(Mode::Generic));
        assert_eq!(read_program(&answer(4, Some(7))), Some(OnInterface { program: 7, mode: None }));
        assert_eq!(read_program(&answer(0, None)), None);
    }

    #[test]
    fn an_answer_cut_anywhere_is_no_program() {
        let whole = answer(1, Some(42));
        for length in 0..whole.len() {
            assert_eq!(read_program(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn loopback_has_no_program_and_an_interface_that_is_not_there_is_an_error() {
        assert_eq!(program_of(1).unwrap(), None);
        assert_eq!(program_of(u32::MAX >> 1).unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
