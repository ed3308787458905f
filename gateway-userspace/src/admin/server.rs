//! The admin API's server on its Unix socket: HTTP/1.1 with JSON, on the control thread.
//!
//! Limits: one request on each connection, a body of at most 1 MiB (24 MiB of an `apply`) that comes within 5 s (64 MiB within a
//! minute of a list, one at a time; one given out at a time to viewers, and one to others), 32
//! connections at once (more wait in the kernel's queue) of which callers below the admin role may hold 24 and strangers
//! 4, and two minutes for everything,
//! so that a client that does not read its answer does not hold a place for ever.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::access::{Access, Subject};
use super::api::Role;
use super::handlers::Backend;
use super::peer::Caller;
use super::{connection, socket};

const CONNECTIONS_MAX: usize = 32;
/// Of those, callers below the admin role: the rest is for whoever sets things right.
const LESSER_MAX: usize = 24;
/// Of those, strangers.
const STRANGERS_MAX: usize = 4;
/// How long accepting pauses when the process has no file descriptor left.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the socket is and who may use it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Unix socket.
    pub socket: PathBuf,
    /// Who has which role beside root and the gateway's own user.
    pub grants: Vec<(Role, Subject)>,
}

/// A socket that is there, and not served yet.
pub struct Server {
    listener: UnixListener,
    door: Rc<Door>,
}

/// Who comes in, over the socket and over TCP; a reload may change it while the server runs.
pub struct Door {
    name: socket::Name,
    access: RefCell<Access>,
    lesser: Cell<usize>,
    strangers: Cell<usize>,
}

impl Server {
    /// Makes the socket. Must be called in a tokio runtime.
    pub fn bind(options: Options) -> Result<Server, socket::Error> {
        let Options { socket: path, grants } = options;
        let access = Access::new(grants);
        let (listener, name) = socket::listen(&path, access.admits_others())?;
        let listen_failed = |source| socket::Error::System { what: "listen on", path, source };
        let listener = UnixListener::from_std(listener).map_err(listen_failed)?;
        let door = Door { name, access: RefCell::new(access), lesser: Cell::new(0), strangers: Cell::new(0) };
        Ok(Server { listener, door: Rc::new(door) })
    }

    /// To change who comes in.
    pub fn door(&self) -> Rc<Door> {
        self.door.clone()
    }

    /// Serves until the future is dropped, which also ends every connection. Must be called in a `LocalSet`.
    pub async fn serve<B: Backend>(self, backend: Rc<B>) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                    Ok((stream, _)) => {
                        if let Some(guest) = Guest::admit(&self.door, &stream) {
                            let backend = backend.clone();
                            connections.spawn_local(async move {
                                connection::serve(stream, &guest.caller, guest.role, &*backend).await;
                            });
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the admin socket");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "an admin request failed");
                },
            }
        }
    }
}

impl Door {
    /// Takes over what a reload changed. Connections that stand keep their role.
    pub fn change(&self, grants: Vec<(Role, Subject)>) -> io::Result<()> {
        let access = Access::new(grants);
        let admits_others = access.admits_others();
        // First, so that whoever has lost a role has lost it even if the socket's mode cannot be changed.
        self.access.replace(access);
        self.name.admit_others(admits_others)
    }

    /// The role of a caller; none for a stranger.
    pub fn role(&self, caller: &Caller) -> Option<Role> {
        self.access.borrow().role(caller)
    }
}

/// Somebody with a connection; whoever is not an admin gives a place back when they go.
struct Guest {
    caller: Caller,
    role: Option<Role>,
    door: Rc<Door>,
}

impl Guest {
    /// None: not even an answer, since there are enough of their kind already, or nobody knows who it is.
    fn admit(door: &Rc<Door>, stream: &UnixStream) -> Option<Guest> {
        Guest::enter(door, Caller::of(stream)?)
    }

    fn enter(door: &Rc<Door>, caller: Caller) -> Option<Guest> {
        let role = door.role(&caller);
        let places = [(&door.lesser, LESSER_MAX), (&door.strangers, STRANGERS_MAX)];
        let places = &places[..counted(role)];
        if places.iter().any(|(held, most)| held.get() >= *most) {
            return None;
        }
        places.iter().for_each(|(held, _)| held.set(held.get() + 1));
        Some(Guest { caller, role, door: door.clone() })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let places = [&self.door.lesser, &self.door.strangers];
        places[..counted(self.role)].iter().for_each(|held| held.set(held.get() - 1));
    }
}

/// In how many of the two counts, of those below the admin role and of strangers, somebody is.
fn counted(role: Option<Role>) -> usize {
    match role {
        Some(Role::Admin) => 0,
        Some(_) => 1,
        None => 2,
    }
}

#[cfg(test)]
mod tests;
