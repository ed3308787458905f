//! Large bodies go through without being held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::sleep;

use super::{get, read, send};
use crate::upstream::tests::origin::{Origin, Speaks, full};
use crate::upstream::tests::{config, head, on_a_worker, open, raw};

const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 1024;

/// 64 MiB, of which it is known how much has been asked for.
fn chunks<E>(asked: &Arc<AtomicUsize>) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, E>> + use<E> {
    let asked = asked.clone();
    let chunk = Bytes::from(vec![7; CHUNK]);
    futures_util::stream::unfold(0, move |sent| {
        let (asked, chunk) = (asked.clone(), chunk.clone());
        async move {
            (sent < CHUNKS).then(|| {
                asked.fetch_add(CHUNK, Ordering::Relaxed);
                (Ok(Frame::data(chunk)), sent + 1)
            })
        }
    })
}

#[test]
fn a_large_answer_is_taken_only_as_fast_as_the_client_reads() {
    on_a_worker(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let given = asked.clone();
        let origin = Origin::start(Speaks::Http1, move |_request| {
            let body = StreamBody::new(chunks(&given)).boxed_unsync();
            async move { Response::new(body) }
        })
        .await;
        let (_head, mut body, _timing) = get(&open(config(&[origin.address])), "/").await.expect("an answer");
        sleep(Duration::from_millis(200)).await;
        assert!(
            asked.load(Ordering::Relaxed) < 16 << 20,
            "{} bytes went out to a client that does not read",
            asked.load(Ordering::Relaxed)
        );
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            received += frame.expect("a whole body").data_ref().map_or(0, Bytes::len);
            // What is on the way is what sockets and one buffer hold, however much has gone through.
            assert!(asked.load(Ordering::Relaxed) - received < 16 << 20);
        }
        assert_eq!(received, CHUNK * CHUNKS);
    });
}

#[test]
fn a_large_upload_is_taken_only_as_fast_as_the_upstream_reads() {
    on_a_worker(async {
        let origin = Origin::start(Speaks::Http1, |request| async move {
            sleep(Duration::from_millis(200)).await;
            let mut received = 0;
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                received += frame.expect("a whole body").data_ref().map_or(0, Bytes::len);
            }
            Response::new(full(received.to_string()))
        })
        .await;
        let asked = Arc::new(AtomicUsize::new(0));
        let body = StreamBody::new(chunks(&asked)).boxed_unsync();
        let upstream = open(config(&[origin.address]));
        let watched = asked.clone();
        let watcher = tokio::task::spawn_local(async move {
            sleep(Duration::from_millis(150)).await;
            watched.load(Ordering::Relaxed)
        });
        let (_head, body, _timing) = send(&upstream, head("POST", "/"), body).await.expect("an answer");
        let text = body.collect().await.expect("a body").to_bytes();
        assert_eq!(text, (CHUNK * CHUNKS).to_string());
        let asked_early = watcher.await.expect("watched");
        assert!(
            asked_early > 0 && asked_early < 16 << 20,
            "{asked_early} bytes before the upstream read any"
        );
    });
}

#[test]
fn both_directions_stream_at_the_same_time() {
    on_a_worker(async {
        // An echo: the answer begins before the request has ended.
        let origin = Origin::start(Speaks::Http1, |request| async move {
            Response::new(request.into_body().map_err(std::io::Error::other).boxed_unsync())
        })
        .await;
        let upstream = open(config(&[origin.address]));
        let (tx, rx) = tokio::sync::mpsc::channel::<Bytes>(1);
        let sent = futures_util::stream::unfold(rx, |mut rx| async move {
            rx.recv().await.map(|bytes| (Ok(Frame::data(bytes)), rx))
        });
        let (_head, mut body, _timing) =
            send(&upstream, head("POST", "/"), StreamBody::new(sent).boxed_unsync())
                .await
                .expect("an answer");
        for word in ["one", "two", "three"] {
            tx.send(Bytes::from(word)).await.expect("the gateway takes it");
            let frame = body.frame().await.expect("an echo").expect("whole");
            assert_eq!(frame.into_data().expect("data"), word);
        }
        drop(tx);
        assert!(body.frame().await.is_none());
        while upstream.connections_kept() == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn an_upload_that_fails_is_told_apart_and_its_connection_is_not_used_again() {
    on_a_worker(async {
        let (address, _heard) = raw::hears().await;
        let upstream = open(config(&[address]));
        let parts = [Ok(Frame::data(Bytes::from_static(b"half"))), Err("the client left".into())];
        let body = StreamBody::new(futures_util::stream::iter(parts)).boxed_unsync();
        assert_eq!(body.size_hint().exact(), None);
        let failed = send(&upstream, head("POST", "/"), body).await;
        assert_eq!(failed.err(), Some(crate::http::rejection::Rejection::BodyIncomplete));
        assert_eq!(upstream.connections_kept(), 0);
        let (_head, body, _timing) = get(&upstream, "/").await.expect("an answer");
        read(body).await.expect("a body");
    });
}
