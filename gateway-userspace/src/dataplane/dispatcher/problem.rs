//! Why an interface that carries programs of libxdp could not be shared.

use std::{io, path::PathBuf};

use aya::{EbpfError, pin::PinError, programs::ProgramError};

use super::config::PLACES;

/// What stood in the way. The dispatcher that was there, with its programs, has been left as it was.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No CAP_SYS_ADMIN.
    #[error(
        "the kernel shows other people's programs only to a process with CAP_SYS_ADMIN (systemd: AmbientCapabilities=)"
    )]
    Privilege,
    /// The library's file is not there.
    #[error(
        "there is no xdp-dispatcher.o of libxdp on this host; install it (Debian: libxdp1), or name its directory in \
         LIBXDP_OBJECT_PATH"
    )]
    NoObject,
    /// The library's file does not fit.
    #[error("{} cannot be used for the dispatcher that is attached; is it of another version?", path.display())]
    Object {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<EbpfError>,
    },
    /// All places are taken.
    #[error("all {PLACES} places of its dispatcher are taken")]
    Full,
    /// The dispatcher works for one network card only.
    #[error("its dispatcher is bound to the network card")]
    DeviceBound,
    /// Somebody else changes it all the time.
    #[error("its dispatcher changes faster than it can be joined; try again")]
    Busy,
    /// A program does not load, or does not fit into its place.
    #[error("the kernel refuses to put a program into a place of the dispatcher")]
    Program(#[source] Box<ProgramError>),
    /// A system call failed.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Our own program.
    #[error(transparent)]
    Own(Box<crate::dataplane::Error>),
}

impl Problem {
    /// For a failed system call.
    pub fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM) => Self::Privilege,
            _ => Self::System { doing, source },
        }
    }
}

impl From<ProgramError> for Problem {
    fn from(error: ProgramError) -> Self {
        Self::Program(Box::new(error))
    }
}

impl From<PinError> for Problem {
    fn from(error: PinError) -> Self {
        Self::System { doing: "pin a program of the dispatcher", source: io::Error::other(error) }
    }
}
