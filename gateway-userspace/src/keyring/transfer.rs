//! One small GET over HTTP/1.1, for key documents only.
//!
//! Limits: [`super::document::BYTES_MAX`] of body, three redirects within the same origin, one deadline around all of
//! it (set by the caller). Addresses that [`dial::serves_documents`] refuses are never connected to.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;

use super::document::BYTES_MAX;
use crate::dial::{self, Url};

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Not an absolute `http` or `https` URL.
    #[error("`{0}` is not an http or https URL")]
    Url(Box<str>),
    /// No connection; link-local, multicast and unspecified addresses are not connected to.
    #[error(transparent)]
    Dial(#[from] dial::Error),
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
    let mut target = Url::parse(url).ok_or_else(bad_url)?;
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
    match (Url::parse(from), Url::parse(to)) {
        (Some(from), Some(to)) => to.tls || !from.tls,
        _ => false,
    }
}

/// Whether nobody on the way can exchange what is read from `url`: it has TLS, or does not leave this machine.
pub fn is_protected(url: &str) -> bool {
    Url::parse(url).is_some_and(|url| url.is_protected())
}

enum Answer {
    Document(Bytes),
    Redirect(Box<str>),
}

async fn exchange(target: &Url, ca: Option<&Path>) -> Result<Answer, TransferError> {
    let stream = dial::connect(target, ca, dial::serves_documents).await?;
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
