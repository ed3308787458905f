//! One pinned link: the program alone on an interface.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use super::{Attachment, Mode};
use crate::dataplane::{
    AttachMode, Error,
    load::Program,
    pins,
    syscall::{self, FLAG_GENERIC, FLAG_NATIVE},
};

impl Mode {
    const fn flag(self) -> u32 {
        match self {
            Self::Native => FLAG_NATIVE,
            Self::Generic => FLAG_GENERIC,
        }
    }

    fn is_wanted(self, wanted: AttachMode) -> bool {
        match wanted {
            AttachMode::Auto => true,
            AttachMode::Native => self == Self::Native,
            AttachMode::Generic => self == Self::Generic,
        }
    }
}

impl From<Mode> for AttachMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Native => Self::Native,
            Mode::Generic => Self::Generic,
        }
    }
}

/// A link that holds without this process.
pub struct PinnedLink {
    pub attachment: Attachment,
    link: OwnedFd,
    pin: PathBuf,
    /// The program was on the interface before this process, be it by this link or by one in another mode.
    pub inherited: bool,
}

impl PinnedLink {
    /// Uses the pinned link, if there is one that still leads to the interface in a mode that is asked for,
    /// and replaces its program in one step. Else makes and pins one in the first mode that the interface takes.
    ///
    /// An interface has one link, so one in a mode that is not asked for has to go before the new one is made. If that
    /// fails, the program is attached in the old mode again before the error is returned.
    pub fn take_over_or_make(
        pin_root: &Path,
        wanted: AttachMode,
        program: &Program,
        interface: &str,
        index: u32,
    ) -> Result<Self, Error> {
        let mut before = None;
        for mode in [Mode::Native, Mode::Generic] {
            let pin = pins::link(pin_root, interface, mode);
            let Ok(link) = syscall::open_pin(&pin) else { continue };
            let here = syscall::link_info(link.as_fd()).is_ok_and(|info| info.interface == index);
            if mode.is_wanted(wanted) && here && syscall::link_update(link.as_fd(), program.fd()).is_ok() {
                let attachment = Attachment { interface: interface.into(), index, mode, shared: None };
                return Ok(Self { attachment, link, pin, inherited: true });
            }
            // The interface is gone, or the mode is not the one asked for: make room for a new link.
            before = before.or(here.then_some(mode));
            let _ = syscall::link_detach(link.as_fd());
            pins::remove(&pin)?;
        }
        let made = Self::make(pin_root, wanted, program, interface, index);
        if let (Err(_), Some(before)) = (&made, before) {
            // The pin keeps it. The error that is returned is the one to act on.
            let _ = Self::make(pin_root, before.into(), program, interface, index);
        }
        made.map(|link| Self { inherited: before.is_some(), ..link })
    }

    fn make(
        pin_root: &Path,
        wanted: AttachMode,
        program: &Program,
        interface: &str,
        index: u32,
    ) -> Result<Self, Error> {
        let mut refused = None;
        for mode in [Mode::Native, Mode::Generic].into_iter().filter(|mode| mode.is_wanted(wanted)) {
            match syscall::link_create(program.fd(), index, mode.flag()) {
                Ok(link) => return Self::pin(pin_root, link, interface, index, mode),
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

    fn pin(pin_root: &Path, link: OwnedFd, interface: &str, index: u32, mode: Mode) -> Result<Self, Error> {
        let pin = pins::link(pin_root, interface, mode);
        pins::remove(&pin)?;
        syscall::pin(link.as_fd(), &pin).map_err(|source| Error::Pin {
            doing: "pin the link",
            path: pin.clone(),
            source,
        })?;
        let attachment = Attachment { interface: interface.into(), index, mode, shared: None };
        Ok(Self { attachment, link, pin, inherited: false })
    }

    /// Whether it still leads to the interface with this index: not if the interface is gone, or if somebody
    /// has detached the link.
    pub fn holds(&self, index: u32) -> bool {
        syscall::link_info(self.link.as_fd()).is_ok_and(|info| info.interface == index)
    }

    /// Detaches and removes the pin.
    pub fn detach(self) -> Result<(), Error> {
        let removed = pins::remove(&self.pin);
        match syscall::link_detach(self.link.as_fd()) {
            Err(source) if source.raw_os_error() != Some(libc::ENOLINK) => {
                removed.and(Err(Error::Pin { doing: "detach the link", path: self.pin, source }))
            }
            _ => removed,
        }
    }
}
