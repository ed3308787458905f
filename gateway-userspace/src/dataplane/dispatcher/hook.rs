//! What is on an interface: nothing, a dispatcher of libxdp with its programs, or something else.
//!
//! Source: lib/libxdp/protocol.org of xdp-tools, "Reading list of existing programs from the kernel".

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use super::config::{Config, SIZES, Terms};
use crate::dataplane::{Mode, netlink, syscall};

/// Name of the program, by which libxdp knows it too.
const NAME: &[u8] = b"xdp_dispatcher";

/// A dispatcher that is attached.
pub struct Dispatcher {
    pub interface: u32,
    pub mode: Mode,
    pub id: u32,
    pub config: Config,
    program: OwnedFd,
}

/// A program in one of its places.
pub struct Member {
    /// Id of the program.
    pub id: u32,
    /// Pin of the program.
    pub pin: PathBuf,
    pub terms: Terms,
}

impl Dispatcher {
    /// The dispatcher on an interface. `None` if there is nothing, or a program that is no dispatcher, or one of
    /// a version that is not known.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN, which the kernel wants before it shows a program to somebody else.
    pub fn on(interface: u32) -> io::Result<Option<Self>> {
        let Some(on) = netlink::program_of(interface)? else { return Ok(None) };
        let Some(mode) = on.mode else { return Ok(None) };
        let program = syscall::program_by_id(on.program)?;
        let info = syscall::program_info(program.as_fd())?;
        let (NAME, Some(map)) = (info.name.as_slice(), info.only_map) else { return Ok(None) };
        let value = syscall::only_value_of_array(map, &SIZES)?;
        let config = value.and_then(|bytes| Config::decode(&bytes));
        Ok(config.map(|config| Self { interface, mode, id: on.program, config, program }))
    }

    /// Its programs, in the order in which they run. Only while [`lock`](super::pins::lock) is held.
    pub fn members(&self, root: &Path) -> io::Result<Vec<Member>> {
        let directory = super::pins::directory(root, self.interface, self.id);
        let places = self.config.programs.iter().enumerate();
        places
            .map(|(place, terms)| {
                let pin = super::pins::program(&directory, place);
                let program = syscall::open_pin(&pin)?;
                let info = syscall::program_info(program.as_fd())?;
                Ok(Member { id: info.id, pin, terms: *terms })
            })
            .collect()
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}
