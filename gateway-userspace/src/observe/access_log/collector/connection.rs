//! One request after another over a connection that is kept.

use std::net::IpAddr;
use std::path::PathBuf;

use bytes::Bytes;
use http::header;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::encode::Body;
use super::settings::Settings;
use crate::dial::{self, Url};

/// Most bytes of an answer that are read; of a longer one only the status counts.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] dial::Error),
    /// HTTP went wrong.
    #[error("the exchange with the receiver failed")]
    Http(#[from] hyper::Error),
    /// The parts of the request do not make one.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

/// What a receiver said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Bytes,
}

/// An open connection, and what it was opened for.
pub struct Connection {
    requests: SendRequest<Full<Bytes>>,
    url: Url,
    ca: Option<PathBuf>,
}

/// Sends a batch over `kept`, or over a new connection that is kept then. A kept connection that turns out to be closed
/// is no failure: receivers close what is idle.
pub async fn exchange(
    kept: &mut Option<Connection>,
    settings: &Settings,
    body: Body,
) -> Result<Answer, Error> {
    let usable = |connection: &Connection| {
        connection.url == settings.url && connection.ca == settings.ca && !connection.requests.is_closed()
    };
    let bytes = Bytes::from(body.bytes);
    if let Some(mut connection) = kept.take().filter(usable)
        && let Ok(answer) = ask(&mut connection, settings, body.content_type, bytes.clone()).await
    {
        *kept = Some(connection);
        return Ok(answer);
    }
    let mut connection = connect(settings).await?;
    let answer = ask(&mut connection, settings, body.content_type, bytes).await?;
    *kept = Some(connection);
    Ok(answer)
}

async fn connect(settings: &Settings) -> Result<Connection, Error> {
    let anywhere: fn(IpAddr) -> bool = |_| true;
    let stream = dial::connect(&settings.url, settings.ca.as_deref(), anywhere).await?;
    let (requests, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with the last request's sender; an error of it is also that of the request.
    tokio::spawn(connection);
    Ok(Connection { requests, url: settings.url.clone(), ca: settings.ca.clone() })
}

async fn ask(
    connection: &mut Connection,
    settings: &Settings,
    content_type: &'static str,
    bytes: Bytes,
) -> Result<Answer, Error> {
    let mut request = http::Request::post(&*settings.url.path)
        .header(header::HOST, settings.url.authority())
        .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, content_type);
    if settings.gzip {
        request = request.header(header::CONTENT_ENCODING, "gzip");
    }
    for (name, value) in &settings.headers {
        request = request.header(name.raw(), value.raw());
    }
    connection.requests.ready().await?;
    let response = connection.requests.send_request(request.body(Full::new(bytes))?).await?;
    let (head, body) = response.into_parts();
    let retry_after = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Ok(Answer { status: head.status.as_u16(), retry_after: retry_after.map(str::to_owned), body })
}
