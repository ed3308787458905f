//! Every wait has an end, and says which one it was.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::{fetch, get, read, send};
use crate::http::rejection::Rejection;
use crate::upstream::body::Error;
use crate::upstream::tests::raw::{read_head, upstream};
use crate::upstream::tests::{config, full_body, head, no_body, on_a_worker, open};

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_head_that_does_not_come_is_an_upstream_timeout() {
    on_a_worker(async {
        let address = upstream(|_number, mut stream| async move {
            read_head(&mut stream).await;
            sleep(Duration::from_secs(30)).await;
        })
        .await;
        let mut config = config(&[address]);
        config.response_timeout = SHORT;
        let upstream = open(config);
        let started = Instant::now();
        assert_eq!(fetch(&upstream).await, Err(Rejection::UpstreamTimeout));
        let late = send(&upstream, head("POST", "/"), full_body("hello")).await;
        assert_eq!(late.err(), Some(Rejection::UpstreamTimeout));
        assert!(started.elapsed() >= 2 * SHORT);
        assert_eq!(upstream.connections_kept(), 0);
    });
}

#[test]
fn a_handshake_that_does_not_end_is_a_connect_timeout() {
    on_a_worker(async {
        let silent = upstream(|_number, stream| async move {
            sleep(Duration::from_secs(30)).await;
            drop(stream);
        })
        .await;
        let mut config = config(&[silent]);
        config.targets[0].tls = true;
        config.connect_timeout = SHORT;
        assert_eq!(fetch(&open(config)).await, Err(Rejection::UpstreamConnectTimeout));
    });
}

#[test]
fn a_body_that_pauses_for_too_long_breaks_off_and_one_that_only_dawdles_does_not() {
    on_a_worker(async {
        let address = upstream(|number, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n").await.ok();
            for _ in 0..8 {
                sleep(SHORT / 4).await;
                stream.write_all(b"x").await.ok();
                if number == 1 {
                    sleep(Duration::from_secs(30)).await;
                }
            }
        })
        .await;
        let mut config = config(&[address]);
        config.idle_timeout = SHORT;
        config.idle_connections = 0;
        let upstream = open(config);
        assert_eq!(fetch(&upstream).await.expect("an answer"), "xxxxxxxx");
        let (_head, body, _timing) = get(&upstream, "/").await.expect("a head");
        assert!(matches!(read(body).await, Err(Error::Idle(SHORT))));
    });
}

#[test]
fn an_upload_that_stalls_is_the_fault_of_whoever_stalls() {
    on_a_worker(async {
        let address = upstream(|_number, mut stream| async move {
            read_head(&mut stream).await;
            sleep(Duration::from_secs(30)).await;
        })
        .await;
        let mut config = config(&[address]);
        config.idle_timeout = SHORT;
        config.response_timeout = Duration::from_secs(20);
        let upstream = open(config);

        let more_than_sockets_hold = futures_util::stream::unfold((), |()| async {
            Some((Ok(Frame::data(Bytes::from(vec![0; 1 << 20]))), ()))
        });
        let endless = StreamBody::new(more_than_sockets_hold).boxed_unsync();
        let stalled = send(&upstream, head("POST", "/"), endless).await;
        assert_eq!(stalled.err(), Some(Rejection::UpstreamTimeout));

        let silent = StreamBody::new(futures_util::stream::pending()).boxed_unsync();
        let stalled = send(&upstream, head("POST", "/"), silent).await;
        assert_eq!(stalled.err(), Some(Rejection::BodyTooSlow));
    });
}

#[test]
fn the_time_for_an_answer_begins_at_the_end_of_a_slow_upload() {
    on_a_worker(async {
        let address = upstream(|_number, mut stream| async move {
            read_head(&mut stream).await;
            sleep(SHORT * 4).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.ok();
        })
        .await;
        let mut config = config(&[address]);
        config.response_timeout = SHORT * 2;
        let upstream = open(config);
        let slow = futures_util::stream::unfold(0, |sent| async move {
            sleep(SHORT / 2).await;
            (sent < 6).then(|| (Ok(Frame::data(Bytes::from_static(b"x"))), sent + 1))
        });
        let (head, _body, _timing) = send(&upstream, head("POST", "/"), StreamBody::new(slow).boxed_unsync())
            .await
            .expect("an answer");
        assert_eq!(head.status, 200);
        assert_eq!(
            send(&upstream, crate::upstream::tests::head("GET", "/"), no_body()).await.err(),
            Some(Rejection::UpstreamTimeout)
        );
    });
}
