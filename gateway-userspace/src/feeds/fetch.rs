//! One GET of a list over HTTP/1.1, which need not be carried if it is the one that is known.
//!
//! Limits: [`BYTES_MAX`] of body, three redirects within the same origin, one deadline around all of it. No compression
//! is asked for, and none is taken.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

use crate::dial::{self, Url};

/// The largest list: 256 MiB, some sixteen million addresses as text.
pub const BYTES_MAX: usize = 256 << 20;
/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 3;
/// What is taken of the size that a server announces before its bytes come.
const RESERVED_MAX: usize = 4 << 20;

/// Where a list is, and how to ask for it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// An absolute `http` or `https` URL.
    pub url: &'a str,
    /// Fields of the request beside our own, such as a key. They go to this origin only.
    pub headers: &'a HeaderMap,
    /// PEM file with CA certificates that are trusted beside the system's.
    pub ca: Option<&'a Path>,
    /// For all of it, from the look-up of the name to the last byte.
    pub deadline: Duration,
    /// Most bytes, up to [`BYTES_MAX`].
    pub bytes_max: usize,
}

/// What a server calls the version of a list that it gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// `ETag`, as it came.
    pub tag: Option<HeaderValue>,
    /// `Last-Modified`, as it came.
    pub modified: Option<HeaderValue>,
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The version that is known is still the one (304).
    Unchanged,
    /// A list, and its version to ask with next time.
    List(Vec<u8>, Version),
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an absolute `http` or `https` URL.
    #[error("`{0}` is not an http or https URL")]
    Url(Box<str>),
    /// No connection.
    #[error(transparent)]
    Dial(#[from] dial::Error),
    /// HTTP went wrong, or the body broke off.
    #[error("the exchange with the server failed")]
    Http(#[source] hyper::Error),
    /// A status that is neither 200 nor the answer to what was asked.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// A redirect elsewhere, or too many.
    #[error("the server redirects to another origin, or too often")]
    Redirect,
    /// It is compressed, which nobody asked for.
    #[error("the server encodes the list as `{0}`")]
    Encoding(Box<str>),
    /// There is more of it than that many bytes.
    #[error("the list is larger than {0} bytes")]
    TooLarge(usize),
    /// The deadline passed.
    #[error("the list did not come within {} s", .0.as_secs_f64())]
    Late(Duration),
}

/// Fetches the list of `source`, unless it is the version `known` still.
pub async fn get(source: &Source<'_>, known: &Version) -> Result<Fetched, Error> {
    let fetched = tokio::time::timeout(source.deadline, follow(source, known)).await;
    fetched.unwrap_or(Err(Error::Late(source.deadline)))
}

async fn follow(source: &Source<'_>, known: &Version) -> Result<Fetched, Error> {
    let mut target = Url::parse(source.url).ok_or_else(|| Error::Url(source.url.into()))?;
    for _ in 0..=REDIRECTS_MAX {
        match exchange(&target, source, known).await? {
            Answer::Fetched(fetched) => return Ok(fetched),
            Answer::Redirect(location) => target = target.redirected(&location).ok_or(Error::Redirect)?,
        }
    }
    Err(Error::Redirect)
}

enum Answer {
    Fetched(Fetched),
    Redirect(Box<str>),
}

async fn exchange(target: &Url, source: &Source<'_>, known: &Version) -> Result<Answer, Error> {
    let request = request(target, source.headers, known).ok_or_else(|| Error::Url(target.path.clone()))?;
    let stream = dial::connect(target, source.ca, dial::serves_documents).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Error::Http)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(Error::Http)?;
        let fields = response.headers();
        match response.status().as_u16() {
            200 => {}
            304 if *known != Version::default() => return Ok(Answer::Fetched(Fetched::Unchanged)),
            301 | 302 | 303 | 307 | 308 => {
                let location = fields.get(header::LOCATION).and_then(|value| value.to_str().ok());
                return location.map(|text| Answer::Redirect(text.into())).ok_or(Error::Redirect);
            }
            status => return Err(Error::Status(status)),
        }
        if let Some(encoding) = fields.get(header::CONTENT_ENCODING).filter(|value| *value != "identity") {
            return Err(Error::Encoding(String::from_utf8_lossy(encoding.as_bytes()).into()));
        }
        let field = |name: HeaderName| fields.get(name).cloned();
        let version = Version { tag: field(header::ETAG), modified: field(header::LAST_MODIFIED) };
        let list = body(response.into_body(), source.bytes_max.min(BYTES_MAX)).await?;
        Ok(Answer::Fetched(Fetched::List(list, version)))
    };
    // The connection is driven beside the exchange and dropped with it.
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(Error::Http(error)),
        },
    }
}

/// What is configured stands in place of our own, but for what the exchange depends on.
fn request(target: &Url, headers: &HeaderMap, known: &Version) -> Option<http::Request<Empty<Bytes>>> {
    let mut request = http::Request::get(&*target.path).body(Empty::new()).ok()?;
    let fields = request.headers_mut();
    fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let agent = concat!("portcullis/", env!("CARGO_PKG_VERSION"));
    fields.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in headers {
        fields.insert(name, value.clone());
    }
    fields.insert(header::HOST, HeaderValue::try_from(target.authority()).ok()?);
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in [(header::IF_NONE_MATCH, &known.tag), (header::IF_MODIFIED_SINCE, &known.modified)] {
        match value {
            Some(value) => drop(fields.insert(name, value.clone())),
            None => drop(fields.remove(name)),
        }
    }
    Some(request)
}

async fn body(mut body: hyper::body::Incoming, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let announced = hyper::body::Body::size_hint(&body).lower();
    if announced > bytes_max as u64 {
        return Err(Error::TooLarge(bytes_max));
    }
    let mut list = Vec::with_capacity((announced as usize).min(RESERVED_MAX));
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Error::Http)?.into_data() {
            if list.len() + data.len() > bytes_max {
                return Err(Error::TooLarge(bytes_max));
            }
            list.extend_from_slice(&data);
        }
    }
    Ok(list)
}
