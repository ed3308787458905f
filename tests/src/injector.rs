//! Frames put on an interface as they are, whatever addresses they bear.

use std::ffi::CString;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// A packet socket (packet(7)) that sends on one interface.
pub struct Injector {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Injector {
    /// On an interface of this thread's namespace.
    ///
    /// # Errors
    /// If there is no such interface, or without the capability `CAP_NET_RAW`.
    pub fn on(interface: &str) -> Result<Injector> {
        let name = CString::new(interface)?;
        // SAFETY: plain system calls; the descriptor is owned from the moment it exists, and the address is plain data.
        unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            if socket < 0 {
                return Err(Error::last_os_error());
            }
            let socket = OwnedFd::from_raw_fd(socket);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = match libc::if_nametoindex(name.as_ptr()) {
                0 => return Err(Error::last_os_error()),
                index => index as i32,
            };
            Ok(Injector { socket, address })
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the interface has no room for it, or is gone.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        // SAFETY: the frame and the address outlive the call and are as long as it is told.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const self.address).cast(),
                size_of_val(&self.address) as u32,
            )
        };
        if sent == frame.len() as isize { Ok(()) } else { Err(Error::last_os_error()) }
    }
}
