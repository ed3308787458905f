//! A new connection to a target: TCP, what comes before everything else, then TLS where the target speaks it, all
//! within one timeout.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::Protocol;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The target's name has not been resolved, or resolves to nothing.
    #[error("the name has no address")]
    NoAddress,
    /// It took longer than the upstream's `connect_timeout`.
    #[error("no connection in time")]
    Timeout,
    /// TCP refused, unreachable, or broken while shaking hands.
    #[error("cannot connect")]
    Io(#[source] Arc<std::io::Error>),
    /// The target does not speak HTTP/2.
    #[error("the target did not agree to HTTP/2 by ALPN")]
    NotHttp2,
    /// The connection broke at its first bytes.
    #[error("the HTTP connection did not begin")]
    Handshake(#[source] Arc<hyper::Error>),
}

/// How the targets of an upstream are spoken to with TLS.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) client: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// Bytes to and from a target.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Tries the addresses in order, each with an equal share of what is left of `time`. `first` is sent as soon as TCP
/// stands.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    first: &[u8],
    tls: Option<&Tls>,
    protocol: Protocol,
    time: Duration,
) -> Result<(Stream, SocketAddr), Error> {
    timeout(time, async {
        let (mut tcp, address) = connect_tcp(addresses, time).await?;
        if !first.is_empty() {
            tcp.write_all(first).await.map_err(|error| Error::Io(Arc::new(error)))?;
        }
        let stream = match tls {
            None => Stream::Plain(tcp),
            Some(tls) => Stream::Tls(Box::new(handshake(tcp, tls, protocol).await?)),
        };
        Ok((stream, address))
    })
    .await
    .unwrap_or(Err(Error::Timeout))
}

async fn connect_tcp(addresses: &[SocketAddr], time: Duration) -> Result<(TcpStream, SocketAddr), Error> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = Error::NoAddress;
    for &address in addresses {
        last = match timeout(time / count, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                tcp.set_nodelay(true).map_err(|error| Error::Io(Arc::new(error)))?;
                return Ok((tcp, address));
            }
            Ok(Err(error)) => Error::Io(Arc::new(error)),
            Err(_elapsed) => Error::Timeout,
        };
    }
    Err(last)
}

async fn handshake(tcp: TcpStream, tls: &Tls, protocol: Protocol) -> Result<TlsStream<TcpStream>, Error> {
    let connector = TlsConnector::from(tls.client.clone());
    let stream =
        connector.connect(tls.name.clone(), tcp).await.map_err(|error| Error::Io(Arc::new(error)))?;
    let agreed_on_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    if protocol == Protocol::Http2 && !agreed_on_http2 {
        return Err(Error::NotHttp2);
    }
    Ok(stream)
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
