//! Accepting connections on one worker.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::connection_count::{Full, Permit};
use super::{Listener, Settings};

/// How long accepting rests when the process is out of files or memory. Without a rest the loop would spin: the
/// connection stays in the queue and the socket stays readable.
const EXHAUSTED_REST: Duration = Duration::from_millis(100);

/// A connection that was taken from the kernel and may go on.
pub struct Accepted {
    /// The socket.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// Whether `peer` is a trusted proxy.
    pub trusted: bool,
    /// Settings of the listener at this moment.
    pub settings: Arc<Settings>,
    /// When: every deadline of the connection's beginning counts from here.
    pub at: Instant,
    /// Counts the connection until it ends.
    pub permit: Permit,
}

/// Told of a connection that was closed at once because a limit was reached; the flag says whether it is a trusted
/// proxy's.
pub type OnRefused = Rc<dyn Fn(SocketAddr, bool, Full)>;

/// Accepts on `socket` until [`Listener::stop`], and hands over every admitted connection.
///
/// When it ends, connections that the kernel has already completed for this socket have been handed over, and the
/// socket is closed. `socket` must be one of those that [`super::bind`] made.
pub async fn run(
    listener: Arc<Listener>,
    socket: std::net::TcpListener,
    refused: OnRefused,
    mut take: impl FnMut(Accepted),
) -> io::Result<()> {
    let socket = TcpListener::from_std(socket)?;
    let mut stop = listener.stop.subscribe();
    let mut admit = |(stream, peer): (TcpStream, SocketAddr)| {
        if let Some(accepted) = admit(&listener, stream, peer, &refused) {
            take(accepted);
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stopped| *stopped) => {}
        never = accept_all(async || socket.accept().await, &mut admit) => match never {},
    }
    drain_queue(socket, admit)
}

/// Takes what the kernel has completed for a socket that is about to close; closing would reset those connections.
fn drain_queue(socket: TcpListener, mut admit: impl FnMut((TcpStream, SocketAddr))) -> io::Result<()> {
    let socket = socket.into_std()?;
    while let Ok((stream, peer)) = socket.accept() {
        stream.set_nonblocking(true)?;
        admit((TcpStream::from_std(stream)?, peer));
    }
    Ok(())
}

/// Accepts for ever; rests when files or memory have run out.
async fn accept_all<T>(
    mut accept: impl AsyncFnMut() -> io::Result<T>,
    take: &mut impl FnMut(T),
) -> std::convert::Infallible {
    let mut exhausted = false;
    loop {
        match accept().await {
            Ok(connection) => {
                exhausted = false;
                take(connection);
            }
            Err(error) if ended_already(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut exhausted, true) {
                    tracing::warn!(%error, "cannot accept connections; trying again every 100 ms");
                }
                tokio::time::sleep(EXHAUSTED_REST).await;
            }
        }
    }
}

/// Whether only this one connection failed, because its client was gone before it was taken.
fn ended_already(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}

fn admit(listener: &Listener, stream: TcpStream, peer: SocketAddr, refused: &OnRefused) -> Option<Accepted> {
    let settings = listener.settings();
    let trusted = settings.trusted.contains(peer.ip());
    let limits = &settings.limits;
    let per_address = (!trusted).then_some(limits.connections_per_address_max);
    let permit = match listener.count.admit(peer.ip(), limits.connections_max, per_address) {
        Ok(permit) => permit,
        Err(full) => {
            // A reset leaves nothing behind in the kernel; an orderly close would keep state for a minute.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            refused(peer, trusted, full);
            return None;
        }
    };
    let local = stream.local_addr().unwrap_or(listener.address);
    Some(Accepted { stream, peer, local, trusted, settings, at: Instant::now(), permit })
}

#[cfg(test)]
mod tests;
