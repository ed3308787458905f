//! Links between the program and the interfaces.
//!
//! Every link is pinned, so it holds without this process, and it is reused: the program behind it is
//! replaced in one step. Native mode (in the driver) is tried first, and the fall-back to generic mode (in
//! the network stack) is explicit, because the kernel does not fall back by itself when the driver has XDP
//! but not for this interface (a large MTU, LRO).

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
};

use super::{
    AttachMode, Error, Options,
    load::Program,
    pins,
    syscall::{self, FLAG_GENERIC, FLAG_NATIVE},
};

/// Where in the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel makes a packet of the frame.
    Native,
    /// In the network stack, after it.
    Generic,
}

impl Mode {
    /// Name in lower case, as status, metrics and pins show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn flag(self) -> u32 {
        match self {
            Self::Native => FLAG_NATIVE,
            Self::Generic => FLAG_GENERIC,
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One interface that the program is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the interface.
    pub interface: String,
    /// Its index.
    pub index: u32,
    /// How it is attached.
    pub mode: Mode,
}

struct PinnedLink {
    attachment: Attachment,
    link: OwnedFd,
    pin: PathBuf,
    /// The link was there before this process.
    inherited: bool,
}

/// The links of all configured interfaces.
pub struct Links {
    interfaces: Vec<String>,
    mode: AttachMode,
    pin_root: PathBuf,
    links: Vec<PinnedLink>,
}

impl Links {
    pub fn new(options: &Options) -> Self {
        Self {
            interfaces: options.interfaces.clone(),
            mode: options.mode,
            pin_root: options.pin_root.clone(),
            links: Vec::new(),
        }
    }

    /// Attaches to all interfaces, or to none: an error takes back the links that this call has made.
    pub fn attach_all(&mut self, program: &Program) -> Result<(), Error> {
        let mut missing = self.interfaces.clone();
        missing.retain(|name| !self.links.iter().any(|link| link.attachment.interface == *name));
        let mut made = Vec::new();
        for interface in missing {
            match self.attach(program, &interface) {
                Ok(link) => made.push(link),
                Err(error) => {
                    for link in made.into_iter().filter(|link| !link.inherited) {
                        // The error that is returned is the one to act on.
                        let _ = link.detach();
                    }
                    return Err(error);
                }
            }
        }
        self.links.append(&mut made);
        self.leave_others()
    }

    /// Detaches from interfaces that an earlier run was attached to and that are no longer on the list: packets
    /// would go on being dropped there, and no status would show it.
    fn leave_others(&self) -> Result<(), Error> {
        for (interface, pin) in pins::links(&self.pin_root) {
            if self.interfaces.contains(&interface) {
                continue;
            }
            if let Ok(link) = syscall::open_pin(&pin) {
                // It may have lost its interface already.
                let _ = syscall::link_detach(link.as_fd());
            }
            pins::remove(&pin)?;
        }
        Ok(())
    }

    pub fn attachments(&self) -> Vec<Attachment> {
        self.links.iter().map(|link| link.attachment.clone()).collect()
    }

    /// Attaches again where the interface behind a link is gone and one of the same name is there.
    pub fn reattach(&mut self, program: &Program) -> Result<Vec<Attachment>, Error> {
        let mut renewed = Vec::new();
        for interface in self.interfaces.clone() {
            let Some(index) = index_of(&interface) else { continue };
            let holds = |link: &PinnedLink| {
                link.attachment.interface == interface
                    && syscall::link_info(link.link.as_fd()).is_ok_and(|info| info.interface == index)
            };
            if self.links.iter().any(holds) {
                continue;
            }
            let link = self.attach(program, &interface)?;
            renewed.push(link.attachment.clone());
            self.links.retain(|old| old.attachment.interface != interface);
            self.links.push(link);
        }
        Ok(renewed)
    }

    /// Detaches all; every link is tried before the first failure is returned.
    pub fn detach_all(&mut self) -> Result<(), Error> {
        self.links.drain(..).map(PinnedLink::detach).fold(Ok(()), Result::and)
    }

    fn attach(&self, program: &Program, interface: &str) -> Result<PinnedLink, Error> {
        let index = index_of(interface)
            .ok_or_else(|| Error::NoInterface { name: interface.into(), known: interfaces() })?;
        if let Some(link) = self.take_over(program, interface, index)? {
            return Ok(link);
        }
        let modes: &[Mode] = match self.mode {
            AttachMode::Auto => &[Mode::Native, Mode::Generic],
            AttachMode::Native => &[Mode::Native],
            AttachMode::Generic => &[Mode::Generic],
        };
        let mut refused = None;
        for &mode in modes {
            match syscall::link_create(program.fd(), index, mode.flag()) {
                Ok(link) => return self.pin(link, interface, index, mode),
                Err(source) => match source.raw_os_error() {
                    Some(libc::EBUSY | libc::EEXIST) => {
                        return Err(Error::Occupied { interface: interface.into() });
                    }
                    Some(libc::EPERM) => {
                        return Err(Error::Refused { doing: "to attach the program", source });
                    }
                    _ => refused = Some((mode, source)),
                },
            }
        }
        let (mode, source) = refused.expect("at least one mode is tried");
        Err(Error::Attach { interface: interface.into(), mode, source })
    }

    /// Uses the pinned link, if there is one that still leads to the interface in a mode that is asked for.
    fn take_over(&self, program: &Program, interface: &str, index: u32) -> Result<Option<PinnedLink>, Error> {
        for mode in [Mode::Native, Mode::Generic] {
            let pin = pins::link(&self.pin_root, interface, mode);
            let Ok(link) = syscall::open_pin(&pin) else { continue };
            let wanted = match self.mode {
                AttachMode::Auto => true,
                AttachMode::Native => mode == Mode::Native,
                AttachMode::Generic => mode == Mode::Generic,
            };
            let here = syscall::link_info(link.as_fd()).is_ok_and(|info| info.interface == index);
            if wanted && here && syscall::link_update(link.as_fd(), program.fd()).is_ok() {
                let attachment = Attachment { interface: interface.into(), index, mode };
                return Ok(Some(PinnedLink { attachment, link, pin, inherited: true }));
            }
            // The interface is gone, or the mode is not the one asked for: make room for a new link.
            let _ = syscall::link_detach(link.as_fd());
            pins::remove(&pin)?;
        }
        Ok(None)
    }

    fn pin(&self, link: OwnedFd, interface: &str, index: u32, mode: Mode) -> Result<PinnedLink, Error> {
        let pin = pins::link(&self.pin_root, interface, mode);
        pins::remove(&pin)?;
        syscall::pin(link.as_fd(), &pin).map_err(|source| Error::Pin {
            doing: "pin the link",
            path: pin.clone(),
            source,
        })?;
        let attachment = Attachment { interface: interface.into(), index, mode };
        Ok(PinnedLink { attachment, link, pin, inherited: false })
    }
}

impl PinnedLink {
    fn detach(self) -> Result<(), Error> {
        let removed = pins::remove(&self.pin);
        match syscall::link_detach(self.link.as_fd()) {
            Err(source) if source.raw_os_error() != Some(libc::ENOLINK) => {
                removed.and(Err(Error::Pin { doing: "detach the link", path: self.pin, source }))
            }
            _ => removed,
        }
    }
}

/// Index of an interface in the network namespace of this thread.
fn index_of(interface: &str) -> Option<u32> {
    let name = CString::new(interface).ok()?;
    // SAFETY: the name is a C string that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => None,
        index => Some(index),
    }
}

/// Names of the interfaces in the network namespace of this thread.
fn interfaces() -> Vec<String> {
    // SAFETY: the call has no precondition; it returns null or an array to be freed below.
    let start = unsafe { libc::if_nameindex() };
    let mut names = Vec::new();
    if start.is_null() {
        return names;
    }
    let mut entry = start;
    // SAFETY: the array ends with an entry whose index is 0 and whose name is null; each name before it is a
    // C string that lives until the array is freed, and it is copied before that.
    unsafe {
        while (*entry).if_index != 0 && !(*entry).if_name.is_null() {
            names.push(CStr::from_ptr((*entry).if_name).to_string_lossy().into_owned());
            entry = entry.add(1);
        }
        libc::if_freenameindex(start);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_named_with_those_that_are() {
        assert!(index_of("no-such-interface").is_none());
        let known = interfaces();
        assert!(known.iter().any(|name| name == "lo"), "{known:?}");
        let text = Error::NoInterface { name: "eth9".into(), known }.to_string();
        assert!(text.contains("eth9") && text.contains("lo"), "{text}");
    }

    #[test]
    fn a_name_with_a_null_byte_is_no_interface() {
        assert!(index_of("lo\0").is_none());
    }
}
