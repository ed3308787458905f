//! Upstreams that speak HTTP/2 with prior knowledge.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::sleep;

use super::{fetch, get, read, send};
use crate::action::Body;
use crate::http::rejection::Rejection;
use crate::upstream::Upstream;
use crate::upstream::config::{HostHeader, Protocol};
use crate::upstream::tests::origin::{Origin, Speaks, full};
use crate::upstream::tests::{TestBody, config, full_body, head, on_a_worker, open, raw};

fn open_http2(origin: &Origin) -> Upstream<TestBody> {
    let mut config = config(&[origin.address]);
    config.protocol = Protocol::Http2;
    open(config)
}

#[test]
fn more_streams_than_a_connection_takes_open_more_connections() {
    on_a_worker(async {
        let origin = Origin::start(Speaks::Http2 { streams_max: 100 }, |_request| async {
            sleep(Duration::from_millis(100)).await;
            Response::new(full("ok"))
        })
        .await;
        let upstream = open_http2(&origin);
        for answer in join_all((0..250).map(|_| fetch(&upstream))).await {
            assert_eq!(answer.expect("an answer"), "ok");
        }
        assert_eq!(origin.seen.connections.get(), 3);
        assert_eq!(upstream.connections_kept(), 3);
        fetch(&upstream).await.expect("an answer");
        assert_eq!(origin.seen.connections.get(), 3);
    });
}

#[test]
fn fewer_streams_than_usual_are_not_exceeded_and_nothing_is_lost() {
    on_a_worker(async {
        let origin = Origin::start(Speaks::Http2 { streams_max: 5 }, |_request| async {
            sleep(Duration::from_millis(5)).await;
            Response::new(full("ok"))
        })
        .await;
        let upstream = open_http2(&origin);
        for _ in 0..2 {
            for answer in join_all((0..200).map(|_| fetch(&upstream))).await {
                assert_eq!(answer.expect("an answer"), "ok");
            }
        }
        assert!(origin.seen.connections.get() <= 8, "{}", origin.seen.connections.get());
    });
}

#[test]
fn a_request_has_pseudo_fields_and_trailers_come_back() {
    on_a_worker(async {
        let origin = Origin::start(Speaks::Http2 { streams_max: 100 }, |request| async move {
            let said = format!(
                "{} {} te={:?} host={:?} via={:?}",
                request.method(),
                request.uri(),
                request.headers()["te"],
                request.headers().get("host"),
                request.headers()["via"],
            );
            let sent = request.into_body().collect().await.expect("a body").to_bytes();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let frames = [Frame::data(Bytes::from(said)), Frame::data(sent), Frame::trailers(trailers)];
            Response::new(StreamBody::new(futures_util::stream::iter(frames.map(Ok))).boxed_unsync())
        })
        .await;
        let mut config = config(&[origin.address]);
        config.protocol = Protocol::Http2;
        config.host = HostHeader::Fixed("users.internal".into());
        let upstream = open(config);
        let (_head, body, _timing) =
            send(&upstream, head("POST", "/a?b"), full_body("!")).await.expect("an answer");
        let collected = body.collect().await.expect("a body");
        let trailers = collected.trailers().cloned().expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(
            collected.to_bytes(),
            "POST http://users.internal/a?b te=\"trailers\" host=None via=\"1.1 portcullis\"!"
        );
    });
}

#[test]
fn a_target_that_drains_its_connections_loses_no_request() {
    on_a_worker(async {
        let address = raw::upstream(|_number, stream| async move {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            for served in 0.. {
                let Some(Ok((_request, mut respond))) = connection.accept().await else { return };
                if served == 3 {
                    connection.graceful_shutdown();
                }
                let mut body = respond.send_response(Response::new(()), false).expect("a stream");
                body.send_data(Bytes::from_static(b"ok"), true).expect("a stream");
            }
        })
        .await;
        let mut config = config(&[address]);
        config.protocol = Protocol::Http2;
        let upstream = open(config);
        for _ in 0..50 {
            for answer in join_all((0..3).map(|_| fetch(&upstream))).await {
                assert_eq!(answer.expect("an answer"), "ok");
            }
        }
    });
}

#[test]
fn a_stream_that_is_refused_unprocessed_is_sent_once_more_if_it_has_no_body() {
    on_a_worker(async {
        let address = raw::upstream(|number, stream| async move {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            for served in 0.. {
                let Some(Ok((_request, mut respond))) = connection.accept().await else { return };
                if (number, served) == (0, 1) || (number, served) == (0, 3) {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    respond.send_response(Response::new(()), true).expect("a stream");
                }
            }
        })
        .await;
        let mut config = config(&[address]);
        config.protocol = Protocol::Http2;
        let upstream = open(config);
        fetch(&upstream).await.expect("an answer");
        fetch(&upstream).await.expect("an answer, the second time");
        let refused = send(&upstream, head("POST", "/"), full_body("x")).await;
        assert_eq!(refused.err(), Some(Rejection::UpstreamUnreachable));
    });
}

#[test]
fn a_stream_that_is_reset_breaks_the_body_off_and_leaves_the_connection() {
    on_a_worker(async {
        let address = raw::upstream(|number, stream| async move {
            assert_eq!(number, 0, "one connection is enough");
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(Response::new(()), false).expect("a stream");
                let whole = request.uri().path() == "/whole";
                body.send_data(Bytes::from_static(b"ok"), whole).expect("a stream");
                if !whole {
                    tokio::task::spawn_local(async move {
                        sleep(Duration::from_millis(20)).await;
                        body.send_reset(h2::Reason::INTERNAL_ERROR);
                    });
                }
            }
        })
        .await;
        let mut config = config(&[address]);
        config.protocol = Protocol::Http2;
        let upstream = open(config);
        let (_head, body, _timing) = get(&upstream, "/broken").await.expect("a head");
        assert!(read(body).await.is_err());
        let (_head, body, _timing) = get(&upstream, "/whole").await.expect("a head");
        assert_eq!(read(body).await.expect("a body"), "ok");
    });
}

#[test]
fn an_upstream_without_http2_is_invalid_or_unreachable_and_never_understood() {
    on_a_worker(async {
        for answer in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ""] {
            let mut config = config(&[raw::says(answer).await]);
            config.protocol = Protocol::Http2;
            let refused = fetch(&open(config)).await.expect_err("no answer");
            assert!(
                matches!(refused, Rejection::UpstreamInvalid | Rejection::UpstreamUnreachable),
                "{refused:?}"
            );
        }
    });
}

#[test]
fn a_head_without_a_body_has_none() {
    on_a_worker(async {
        let origin =
            Origin::start(Speaks::Http2 { streams_max: 100 }, |_request| async { Response::new(full("")) })
                .await;
        let (_head, body, _timing) = get(&open_http2(&origin), "/").await.expect("an answer");
        assert!(matches!(body, Body::Empty) || read(body).await.expect("a body").is_empty());
    });
}
