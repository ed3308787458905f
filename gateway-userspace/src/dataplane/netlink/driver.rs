//! Whether the driver of an interface runs XDP programs, by the generic netlink family `netdev` (since Linux 6.3,
//! Documentation/netlink/specs/netdev.yaml).

use std::io;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketType, netlink, recv, send, socket};

use super::{ANSWER_BYTES, Attributes, HEADER_BYTES, NLM_F_REQUEST, NLMSG_ERROR, attribute, i32_at, u16_at};

const GENERIC: Option<Protocol> = Some(netlink::GENERIC);
/// `GENL_ID_CTRL`: the family that knows the others.
const CONTROL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_BASIC`: the driver can pass and drop.
const BASIC: u8 = 1;
/// Bytes of `struct genlmsghdr`.
const GENERIC_HEADER_BYTES: usize = 4;

/// Whether the driver of an interface runs programs that pass and drop.
///
/// # Errors
/// `ENOENT` on a kernel that does not tell, `ENODEV` for an interface that is not there.
pub fn runs_xdp(interface: u32) -> io::Result<bool> {
    let family = ask(CONTROL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")?;
    let family = value_of(&family, CTRL_ATTR_FAMILY_ID).and_then(|id| u16_at(id, 0));
    let family = family.ok_or(io::ErrorKind::InvalidData)?;
    let device = ask(family, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &interface.to_ne_bytes())?;
    let features = value_of(&device, NETDEV_A_DEV_XDP_FEATURES).ok_or(io::ErrorKind::InvalidData)?;
    // A number of 64 bits in the machine's order, of which the lowest is meant.
    let lowest = if cfg!(target_endian = "little") { features.first() } else { features.last() };
    Ok(lowest.is_some_and(|byte| byte & BASIC != 0))
}

fn ask(family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let mut attributes = Vec::new();
    attribute(&mut attributes, kind, value);
    let mut message = Vec::new();
    message.extend(((HEADER_BYTES + GENERIC_HEADER_BYTES + attributes.len()) as u32).to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, GENERIC)?;
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_BYTES];
    let (received, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(received);
    match (u16_at(&answer, 4), i32_at(&answer, HEADER_BYTES)) {
        (Some(NLMSG_ERROR), Some(error)) => Err(io::Error::from_raw_os_error(-error)),
        (Some(kind), _) if kind == family => Ok(answer),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn value_of(answer: &[u8], wanted: u16) -> Option<&[u8]> {
    let attributes = answer.get(HEADER_BYTES + GENERIC_HEADER_BYTES..)?;
    Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_no_xdp_in_its_driver_where_the_kernel_tells() {
        match runs_xdp(1) {
            Ok(native) => assert!(!native),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}"),
        }
        assert!(runs_xdp(u32::MAX >> 1).is_err());
    }
}
