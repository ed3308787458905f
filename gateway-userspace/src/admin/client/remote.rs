//! The admin API over TLS: `https://HOST:PORT`, a client certificate, and the CA that the gateway's is signed by.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;

use super::Stream;
use crate::tls::TlsError;
use crate::tls::certificates::{read_chain, read_key};

/// A gateway on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What to show there, and whom to believe.
    pub credentials: Credentials,
}

/// Files for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// PEM file with the client's certificate, and those between it and the CA.
    pub certificate: Option<PathBuf>,
    /// PEM file with its key.
    pub key: Option<PathBuf>,
    /// PEM file with the CA of the gateway's certificate; if not given, those that the system trusts.
    pub ca: Option<PathBuf>,
}

/// Why a gateway on another machine is not even asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `https://HOST:PORT`.
    #[error("`{0}` is neither the path of a socket nor https://HOST:PORT")]
    BadUrl(String),
    /// The gateway admits nobody without.
    #[error(
        "{0} wants a client certificate: give --cert and --key, or set PORTCULLIS_CERT and PORTCULLIS_KEY"
    )]
    NoCertificate(String),
    /// A file.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file's content.
    #[error("the certificates cannot be used")]
    Unusable(#[source] rustls::Error),
    /// No CA in the system.
    #[error("the system trusts no CA; name the gateway's with --ca")]
    NoRoots,
}

impl Remote {
    /// From `https://HOST:PORT`.
    pub fn parse(url: &str, credentials: Credentials) -> Result<Remote, Error> {
        let bad = || Error::BadUrl(url.to_owned());
        let rest = url.strip_prefix("https://").ok_or_else(bad)?;
        let (host, port) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once(':').ok_or_else(bad)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| bad())?;
        if host.is_empty() || ServerName::try_from(host).is_err() {
            return Err(bad());
        }
        Ok(Remote { host: host.to_owned(), port, credentials })
    }

    /// Connects and shakes hands. The inner error is the network's or the gateway's, the outer one our own.
    pub fn connect(&self, deadline: Instant) -> Result<io::Result<Session>, Error> {
        let config = self.tls()?;
        let name = ServerName::try_from(self.host.clone()).map_err(|_| Error::BadUrl(self.to_string()))?;
        let session = ClientConnection::new(config, name).map_err(Error::Unusable)?;
        Ok(self.dial(deadline).and_then(|stream| {
            let mut session = Session(StreamOwned::new(session, stream));
            session.0.conn.complete_io(&mut session.0.sock)?;
            Ok(session)
        }))
    }

    fn dial(&self, deadline: Instant) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.set_write_timeout(Some(left))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        let Credentials { certificate, key, ca } = &self.credentials;
        let (Some(certificate), Some(key)) = (certificate, key) else {
            return Err(Error::NoCertificate(self.to_string()));
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::Unusable)?
            .with_root_certificates(roots(ca.as_deref())?)
            .with_client_auth_cert(read_chain(certificate)?, read_key(key)?)
            .map_err(Error::Unusable)?;
        Ok(Arc::new(config))
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in read_chain(path)? {
                roots.add(certificate).map_err(Error::Unusable)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() { Err(Error::NoRoots) } else { Ok(roots) }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Remote { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "https://[{host}]:{port}")
        } else {
            write!(f, "https://{host}:{port}")
        }
    }
}

/// A TLS connection.
pub struct Session(StreamOwned<ClientConnection, TcpStream>);

impl Read for Session {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Session {
    fn limit(&self, left: Duration) -> io::Result<()> {
        self.0.sock.set_read_timeout(Some(left))?;
        self.0.sock.set_write_timeout(Some(left))
    }
}

/// Whether the other side said that it does not want this client. With TLS 1.3 that comes after the handshake.
pub fn is_refusal(error: &io::Error) -> bool {
    use AlertDescription as Alert;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(
        inner,
        Some(rustls::Error::AlertReceived(
            Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
        ))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_over_https() {
        let parse =
            |url: &str| Remote::parse(url, Credentials::default()).ok().map(|remote| remote.to_string());
        for url in ["https://gw.example.com:9443", "https://192.0.2.1:9443", "https://[::1]:9443"] {
            assert_eq!(parse(url).as_deref(), Some(url));
        }
        assert_eq!(parse("https://gw:9443/").as_deref(), Some("https://gw:9443"));
        for url in
            ["http://gw:9443", "https://gw", "https://:9443", "https://gw:x", "https://g w:1", "gw:9443"]
        {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[test]
    fn without_a_certificate_nothing_is_sent_anywhere() {
        let remote = Remote::parse("https://192.0.2.1:9443", Credentials::default()).unwrap();
        let error = remote.connect(Instant::now()).err().unwrap();
        assert!(error.to_string().contains("--cert and --key"), "{error}");
    }
}
