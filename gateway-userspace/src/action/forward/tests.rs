//! Forwarding, over real sockets.

mod connections;
mod framing;
mod http2;
mod invalid;
mod names;
mod proxy_protocol;
mod streaming;
mod targets;
mod timeouts;
mod tls;

use bytes::Bytes;
use http_body_util::BodyExt;

use super::super::Body;
use super::{UpstreamTiming, forward};
use crate::http::rejection::Rejection;
use crate::request::Head;
use crate::response;
use crate::upstream::Upstream;
use crate::upstream::tests::{TestBody, context, head, no_body};

type Forwarded = Result<(response::Head, Body<TestBody>, UpstreamTiming), Rejection>;

async fn send(upstream: &Upstream<TestBody>, head: Head, body: TestBody) -> Forwarded {
    let context = context();
    let answer = forward(&context, head, None, body, upstream)?.await;
    answer.map_err(|failure| failure.rejection(&context, "origin"))
}

async fn get(upstream: &Upstream<TestBody>, target: &str) -> Forwarded {
    send(upstream, head("GET", target), no_body()).await
}

/// The whole body, or how it broke off.
async fn read(body: Body<TestBody>) -> Result<Bytes, crate::upstream::body::Error> {
    Ok(body.collect().await?.to_bytes())
}

/// Sends a GET and reads all of the answer: its body, or the rejection.
async fn fetch(upstream: &Upstream<TestBody>) -> Result<Bytes, Rejection> {
    let (_head, body, _timing) = get(upstream, "/").await?;
    Ok(read(body).await.expect("a whole body"))
}
