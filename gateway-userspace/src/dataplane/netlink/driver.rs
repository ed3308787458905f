//! Whether the driver of an interface runs XDP programs, by the generic netlink family `netdev` (since Linux 6.3,
//! Documentation/netlink/specs/netdev.yaml).

use std::io;

use rustix::net::{Protocol, netlink};

use super::{Attributes, HEADER_BYTES, attribute, exchange, u16_at};

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
    // `struct genlmsghdr`: command, version, reserved.
    let mut body = vec![command, 1, 0, 0];
    attribute(&mut body, kind, value);
    match exchange(GENERIC, family, 0, &body)? {
        (kind, answer) if kind == family => Ok(answer),
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
