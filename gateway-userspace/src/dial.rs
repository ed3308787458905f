//! A connection of the gateway's own to an `http` or `https` URL: for what it fetches and sends itself (keys, logs),
//! never for the traffic of clients, whose connections `upstream` makes and keeps.
//!
//! A certificate is always verified, against the system's roots and those of a `ca` file; there is no way to turn that
//! off. There is no deadline here: callers put one around all of an exchange.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name does not resolve.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The host.
        host: Box<str>,
        /// What the resolver said.
        #[source]
        source: std::io::Error,
    },
    /// Every address is of a kind that the caller does not connect to.
    #[error("`{0}` has no address that may be connected to")]
    Forbidden(Box<str>),
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The TLS handshake failed.
    #[error("TLS with `{host}` failed")]
    Tls {
        /// The host.
        host: Box<str>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The CA file cannot be read, or no CA is known at all.
    #[error("CA certificates: {0}")]
    Authorities(Box<str>),
}

/// An absolute `http` or `https` URL without user and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https`.
    pub tls: bool,
    /// A name or an address, an IPv6 one in brackets.
    pub host: Box<str>,
    /// The port, that of the scheme if none is written.
    pub port: u16,
    /// Path and query, at least `/`.
    pub path: Box<str>,
}

impl Url {
    /// Takes a URL apart; `None` if it is none, has another scheme, or names a user.
    pub fn parse(url: &str) -> Option<Url> {
        let uri: Uri = url.split('#').next()?.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = uri.host().filter(|host| !host.is_empty())?;
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Url { tls, host: host.into(), port, path: path.into() })
    }

    /// For people, without what stands behind a `?`: that may be a key.
    pub fn without_query(&self) -> String {
        self.to_string().split('?').next().unwrap_or_default().to_owned()
    }

    /// The host without the brackets of an IPv6 literal.
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// What stands in `Host`: the port only where it is not that of the scheme.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// Where a redirect from here leads, if that is within the same origin: scheme, host and port.
    pub fn redirected(&self, location: &str) -> Option<Url> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Url { path: location.into(), ..self.clone() });
        }
        let other = Url::parse(location)?;
        (other.tls == self.tls && other.host.eq_ignore_ascii_case(&self.host) && other.port == self.port)
            .then_some(other)
    }

    /// Whether nobody on the way can read or exchange what is sent: it has TLS, or does not leave this machine.
    pub fn is_protected(&self) -> bool {
        let host = self.bare_host();
        self.tls
            || host == "localhost"
            || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

/// Metadata services that are not on a link-local address: of Alibaba Cloud and Oracle Cloud (Classic), …
const METADATA4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
/// … of Google Cloud and Scaleway. Those of EC2 have [`EC2`] to themselves.
const METADATA6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)];
/// fd00:ec2::/32: metadata and credentials of pods among others.
const EC2: [u16; 2] = [0xfd00, 0xec2];

/// Whether documents may be fetched from `address`: none from link-local, multicast and unspecified ones, nor from those
/// of clouds' metadata services, so that no document can point the gateway at one.
pub fn serves_documents(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_link_local()
                || v4.is_multicast()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || METADATA4.contains(&v4))
        }
        IpAddr::V6(v6) => {
            !(v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                || v6.segments().starts_with(&EC2)
                || METADATA6.contains(&v6))
        }
    }
}

/// Bytes to and from a server.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Connects to the first address of `url` that `may` allows and that answers. CA certificates of `ca` are trusted
/// beside the system's.
pub async fn connect(url: &Url, ca: Option<&Path>, may: fn(IpAddr) -> bool) -> Result<Stream, Error> {
    let tcp = connect_tcp(url, may).await?;
    if !url.tls {
        return Ok(Stream::Plain(tcp));
    }
    let host: Box<str> = url.bare_host().into();
    let tls_error = |source| Error::Tls { host: host.clone(), source };
    let name =
        ServerName::try_from(host.to_string()).map_err(|error| tls_error(std::io::Error::other(error)))?;
    let connector = tokio_rustls::TlsConnector::from(client_config(ca)?);
    connector.connect(name, tcp).await.map(|stream| Stream::Tls(Box::new(stream))).map_err(tls_error)
}

/// How long an address may take while others are left to try: one that swallows packets must not hide the rest.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_secs(2);

async fn connect_tcp(url: &Url, may: fn(IpAddr) -> bool) -> Result<TcpStream, Error> {
    let host = url.bare_host();
    let addresses = tokio::net::lookup_host((host, url.port))
        .await
        .map_err(|source| Error::Resolve { host: host.into(), source })?;
    let mut failure = Error::Forbidden(host.into());
    let mut addresses = addresses.filter(|address| may(address.ip())).peekable();
    while let Some(address) = addresses.next() {
        // The last one has all the time that the caller gives; the others must leave it some.
        let connected = match addresses.peek() {
            Some(_) => tokio::time::timeout(NEXT_ADDRESS_AFTER, TcpStream::connect(address))
                .await
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
            None => TcpStream::connect(address).await,
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(source) => failure = Error::Connect { address, source },
        }
    }
    Err(failure)
}

/// Read anew for each connection, which are few, so that a renewed CA bundle is taken up.
fn client_config(ca: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let unreadable =
            |error: &dyn std::fmt::Display| Error::Authorities(format!("{}: {error}", path.display()).into());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    }
    if roots.is_empty() {
        return Err(Error::Authorities("none found on this system, and no `ca` is set".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Authorities(error.to_string().into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_traps_refused() {
        let url = Url::parse("https://[::1]:8443/keys?v=2#part").expect("a good URL");
        assert_eq!((url.tls, url.bare_host(), url.port, &*url.path), (true, "::1", 8443, "/keys?v=2"));
        assert_eq!(url.to_string(), "https://[::1]:8443/keys?v=2");
        let plain = Url::parse("http://issuer.example").expect("a good URL");
        assert_eq!((plain.port, plain.authority().as_str()), (80, "issuer.example"));
        for bad in [
            "issuer.example/keys",
            "ftp://issuer.example/",
            "https://user:secret@issuer.example/",
            "",
            "https://",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_tls_and_this_machine_count_as_protected() {
        let protected = |url: &str| Url::parse(url).is_some_and(|url| url.is_protected());
        for good in ["https://a.example/", "http://localhost:1/", "http://127.0.0.9/", "http://[::1]:80/k"] {
            assert!(protected(good), "{good}");
        }
        for bad in ["http://a.example/", "http://10.0.0.1/", "http://localhost.example/"] {
            assert!(!protected(bad), "{bad}");
        }
    }

    #[test]
    fn redirects_stay_within_their_origin() {
        let target = Url::parse("https://issuer.example/keys").expect("a good URL");
        for good in ["/v2/keys", "https://issuer.example/v2", "https://ISSUER.example:443/v2"] {
            assert!(target.redirected(good).is_some(), "{good}");
        }
        for bad in [
            "http://issuer.example/keys",
            "//evil.example/",
            "https://evil.example/",
            "https://issuer.example:444/",
        ] {
            assert!(target.redirected(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn metadata_services_are_never_connected_to() {
        for bad in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
        ] {
            assert!(!serves_documents(bad.parse().expect("an address")), "{bad}");
        }
        for good in
            ["127.0.0.1", "10.0.0.1", "100.100.100.201", "::1", "2001:db8::1", "fd00:ec3::1", "fd20:ce::253"]
        {
            assert!(serves_documents(good.parse().expect("an address")), "{good}");
        }
    }
}
