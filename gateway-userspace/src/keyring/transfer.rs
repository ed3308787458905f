//! One small GET over HTTP/1.1, for key documents only.
//!
//! Limits: [`super::document::BYTES_MAX`] of body, three redirects within the same origin, one deadline around all of
//! it (set by the caller). Link-local, multicast and unspecified addresses are never connected to, so a discovery
//! document cannot point the gateway at a cloud's metadata service.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::document::BYTES_MAX;

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Not an absolute `http` or `https` URL.
    #[error("`{0}` is not an http or https URL")]
    Url(Box<str>),
    /// The name does not resolve.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The host.
        host: Box<str>,
        /// What the resolver said.
        #[source]
        source: std::io::Error,
    },
    /// Every address is of a kind that key servers never have.
    #[error(
        "`{0}` has no address that may be connected to (link-local, multicast and unspecified ones are not)"
    )]
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
    /// HTTP went wrong.
    #[error("the exchange with the server failed")]
    Http(#[source] hyper::Error),
    /// A status other than 200.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// A redirect elsewhere, or too many.
    #[error("the server redirects to another origin, or too often")]
    Redirect,
    /// The body is too large or broke off.
    #[error("the document is larger than 1 MiB or broke off")]
    Body,
}

/// Reads the document at `url`. CA certificates of `ca` are trusted beside the system's.
pub async fn get(url: &str, ca: Option<&Path>) -> Result<Bytes, TransferError> {
    let bad_url = || TransferError::Url(url.into());
    let mut target = Target::parse(url).ok_or_else(bad_url)?;
    for _ in 0..=REDIRECTS_MAX {
        let response = exchange(&target, ca).await?;
        match response {
            Answer::Document(document) => return Ok(document),
            Answer::Redirect(location) => {
                target = target.redirected(&location).ok_or(TransferError::Redirect)?
            }
        }
    }
    Err(TransferError::Redirect)
}

/// Whether two URLs have the same scheme, host and port, or the second is at least as well protected.
pub fn keeps_protection(from: &str, to: &str) -> bool {
    match (Target::parse(from), Target::parse(to)) {
        (Some(from), Some(to)) => to.tls || !from.tls,
        _ => false,
    }
}

/// Whether nobody on the way can exchange what is read from `url`: it has TLS, or does not leave this machine.
pub fn is_protected(url: &str) -> bool {
    Target::parse(url).is_some_and(|target| {
        let host = target.bare_host();
        target.tls
            || host == "localhost"
            || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    tls: bool,
    host: Box<str>,
    port: u16,
    path: Box<str>,
}

enum Answer {
    Document(Bytes),
    Redirect(Box<str>),
}

impl Target {
    fn parse(url: &str) -> Option<Target> {
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
        Some(Target { tls, host: host.into(), port, path: path.into() })
    }

    /// The host without the brackets of an IPv6 literal.
    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    fn redirected(&self, location: &str) -> Option<Target> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Target { path: location.into(), ..self.clone() });
        }
        let other = Target::parse(location)?;
        (other.tls == self.tls && other.host.eq_ignore_ascii_case(&self.host) && other.port == self.port)
            .then_some(other)
    }
}

async fn exchange(target: &Target, ca: Option<&Path>) -> Result<Answer, TransferError> {
    let stream = connect(target).await?;
    if !target.tls {
        return converse(target, stream).await;
    }
    let host: Box<str> = target.bare_host().into();
    let name = ServerName::try_from(host.to_string()).map_err(|_| TransferError::Url(host.clone()))?;
    let connector = tokio_rustls::TlsConnector::from(client_config(ca)?);
    let stream =
        connector.connect(name, stream).await.map_err(|source| TransferError::Tls { host, source })?;
    converse(target, stream).await
}

async fn connect(target: &Target) -> Result<TcpStream, TransferError> {
    let host = target.bare_host();
    let addresses = tokio::net::lookup_host((host, target.port))
        .await
        .map_err(|source| TransferError::Resolve { host: host.into(), source })?;
    let mut failure = TransferError::Forbidden(host.into());
    for address in addresses.filter(|address| may_connect(address.ip())) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(source) => failure = TransferError::Connect { address, source },
        }
    }
    Err(failure)
}

fn may_connect(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => !(v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified()),
    }
}

async fn converse<S>(target: &Target, stream: S) -> Result<Answer, TransferError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(TransferError::Http)?;
    let request = http::Request::get(&*target.path)
        .header(http::header::HOST, target.authority())
        .header(http::header::ACCEPT, "application/json")
        .header(http::header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| TransferError::Url(target.path.clone()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(TransferError::Http)?;
        let status = response.status();
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            let location =
                response.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
            return location.map(|text| Answer::Redirect(text.into())).ok_or(TransferError::Redirect);
        }
        if status != http::StatusCode::OK {
            return Err(TransferError::Status(status.as_u16()));
        }
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
        body.map(|body| Answer::Document(body.to_bytes())).map_err(|_| TransferError::Body)
    };
    // The connection is driven beside the exchange and dropped with it.
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(TransferError::Http(error)),
        },
    }
}

/// Read anew for each fetch (every few minutes), so that a renewed CA bundle is taken up.
fn client_config(ca: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, TransferError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let unreadable = |error: &dyn std::fmt::Display| {
            TransferError::Authorities(format!("{}: {error}", path.display()).into())
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    }
    if roots.is_empty() {
        return Err(TransferError::Authorities("none found on this system, and no `ca` is set".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TransferError::Authorities(error.to_string().into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_traps_refused() {
        let target = Target::parse("https://[::1]:8443/keys?v=2#part").expect("a good URL");
        assert_eq!(
            (target.tls, target.bare_host(), target.port, &*target.path),
            (true, "::1", 8443, "/keys?v=2")
        );
        assert_eq!(Target::parse("http://issuer.example").expect("a good URL").port, 80);
        for bad in [
            "issuer.example/keys",
            "ftp://issuer.example/",
            "https://user:secret@issuer.example/",
            "",
            "https://",
        ] {
            assert_eq!(Target::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_tls_and_this_machine_count_as_protected() {
        for good in ["https://a.example/", "http://localhost:1/", "http://127.0.0.9/", "http://[::1]:80/k"] {
            assert!(is_protected(good), "{good}");
        }
        for bad in ["http://a.example/", "http://10.0.0.1/", "http://localhost.example/", "ftp://127.0.0.1/"]
        {
            assert!(!is_protected(bad), "{bad}");
        }
    }

    #[test]
    fn redirects_stay_within_their_origin() {
        let target = Target::parse("https://issuer.example/keys").expect("a good URL");
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
        for bad in
            ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1"]
        {
            assert!(!may_connect(bad.parse().expect("an address")), "{bad}");
        }
        for good in ["127.0.0.1", "10.0.0.1", "::1", "2001:db8::1"] {
            assert!(may_connect(good.parse().expect("an address")), "{good}");
        }
    }
}
