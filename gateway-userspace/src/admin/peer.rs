//! Who is at the other end of a connection: a process of this machine, as the kernel says it, or who has the key of a
//! certificate.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use tokio::net::UnixStream;

use super::certificate::Name;
use crate::abuse::ban::By;
use crate::config::history::Author;

/// Most groups of a process that are looked at: as many as Linux lets it have (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Over the socket.
    Process(Process),
    /// Over TCP.
    Certificate(Holder),
}

/// A user's process, by `SO_PEERCRED` and `SO_PEERGROUPS`: what it was when it connected, and nothing that it could
/// have made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id, as seen from the gateway's namespace; none if it is in another one.
    pub pid: Option<i32>,
    /// Its other groups.
    pub groups: Box<[u32]>,
}

/// Somebody with a certificate of the CA that `[admin] tls` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The certificate's names, common names last.
    pub names: Box<[Name]>,
    /// Where the connection comes from.
    pub address: SocketAddr,
}

impl Caller {
    /// Of a connection to the socket. None when the kernel does not say.
    pub fn of(stream: &UnixStream) -> Option<Caller> {
        let credentials = stream.peer_cred().ok()?;
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        Some(Caller::Process(Process { uid, gid, pid, groups: groups(stream).unwrap_or_default() }))
    }

    /// Who made a ban that this caller asks for.
    pub fn by(&self) -> By {
        match self {
            Caller::Process(process) => By::Operator(process.uid),
            Caller::Certificate(holder) => By::Remote(holder.name().into()),
        }
    }

    /// Whom the history of configurations names for a command: the user's number, and the name if `/etc/passwd` has
    /// one; or the name in the certificate.
    pub fn author(&self, verb: &str) -> Author {
        let user = self
            .process()
            .and_then(|process| user_name(&std::fs::read_to_string("/etc/passwd").ok()?, process.uid));
        let who = user.map_or_else(|| self.to_string(), |name| format!("{self} ({name})"));
        Author { is_remote: self.holder().is_some(), ..Author::new(who, verb) }
    }

    /// The process, if it is one.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Caller::Process(process) => Some(process),
            Caller::Certificate(_) => None,
        }
    }

    /// The certificate's holder, if it is one.
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Caller::Process(_) => None,
            Caller::Certificate(holder) => Some(holder),
        }
    }
}

impl Holder {
    /// What the holder is called: the certificate's first name.
    pub fn name(&self) -> String {
        self.names.first().map_or_else(|| "a certificate without a name".into(), Name::to_string)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Process(process) => write!(f, "uid {}", process.uid),
            Caller::Certificate(holder) => f.write_str(&holder.name()),
        }
    }
}

fn user_name(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        (parts.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The groups of the process at the other end beside its own (Linux 4.13, 28b5ba2aa0f5).
fn groups(stream: &UnixStream) -> std::io::Result<Box<[u32]>> {
    let mut groups = vec![0_u32; 32];
    loop {
        let mut bytes = libc::socklen_t::try_from(size_of_val(&groups[..])).unwrap_or(libc::socklen_t::MAX);
        // SAFETY: the descriptor is open as long as the stream is borrowed; the buffer is as long as `bytes` says, and
        // any bytes are valid numbers.
        let result = unsafe {
            libc::getsockopt(
                stream.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let found = bytes as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(found);
            return Ok(groups.into());
        }
        let error = std::io::Error::last_os_error();
        // Then `bytes` says how many are needed.
        if error.raw_os_error() != Some(libc::ERANGE) || found <= groups.len() || found > GROUPS_MAX {
            return Err(error);
        }
        groups.resize(found, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_by_the_list_of_users() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\nalice:x:1000:1000::/srv/alice:/bin/sh\n";
        assert_eq!(user_name(users, 1000).as_deref(), Some("alice"));
        assert_eq!(user_name(users, 0).as_deref(), Some("root"));
        assert_eq!(user_name(users, 1001), None);
    }

    #[test]
    fn the_author_of_a_command_is_remote_if_a_certificate_names_them() {
        let address = "192.0.2.1:1".parse().unwrap();
        let holder = Holder { names: Box::default(), address };
        assert!(Caller::Certificate(holder).author("apply").is_remote);
        let process = Process { uid: 64_001, gid: 0, pid: None, groups: Box::default() };
        assert!(!Caller::Process(process).author("apply").is_remote);
    }
}
