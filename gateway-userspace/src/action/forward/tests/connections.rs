//! Which connection a request goes over, and what becomes of it after.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::{fetch, get, read, send};
use crate::http::rejection::Rejection;
use crate::upstream::Upstreams;
use crate::upstream::registry::Registry;
use crate::upstream::tests::origin::Origin;
use crate::upstream::tests::raw::{read_head, upstream};
use crate::upstream::tests::{config, full_body, head, on_a_worker, open};

#[test]
fn a_thousand_requests_in_a_row_split_evenly_over_one_connection_to_each_target() {
    on_a_worker(async {
        let origins = [Origin::text("a").await, Origin::text("b").await];
        let upstream = open(config(&origins.each_ref().map(|origin| origin.address)));
        for _ in 0..1000 {
            fetch(&upstream).await.expect("an answer");
        }
        for origin in &origins {
            assert_eq!((origin.seen.requests.get(), origin.seen.connections.get()), (500, 1));
        }
    });
}

#[test]
fn no_more_connections_are_kept_than_the_config_allows_and_the_youngest_is_used_first() {
    on_a_worker(async {
        // Each connection answers with its number, the later ones later.
        let address = upstream(|number, mut stream| async move {
            while !read_head(&mut stream).await.is_empty() {
                sleep(Duration::from_millis(10 * number as u64)).await;
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                stream.write_all(answer.as_bytes()).await.ok();
            }
        })
        .await;
        let mut config = config(&[address]);
        config.idle_connections = 3;
        let upstream = open(config);
        let answers = join_all((0..8).map(|_| fetch(&upstream))).await;
        let mut numbers: Vec<_> = answers.into_iter().map(|answer| answer.expect("an answer")).collect();
        numbers.sort();
        assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6", "7"]);
        assert_eq!(upstream.connections_kept(), 3);
        for _ in 0..5 {
            assert_eq!(fetch(&upstream).await.expect("an answer"), "2", "the last that was put back");
        }
    });
}

#[test]
fn connections_idle_for_the_keep_alive_time_are_closed() {
    on_a_worker(async {
        let origin = Origin::text("a").await;
        let mut config = config(&[origin.address]);
        config.keep_alive = Duration::from_millis(1);
        let upstreams = Upstreams::new(0);
        let upstream = upstreams.open(Arc::new(Registry::new().compile(config).expect("valid")));
        fetch(&upstream).await.expect("an answer");
        assert_eq!(upstream.connections_kept(), 1);
        while upstream.connections_kept() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_reload_keeps_the_connections_of_targets_that_it_does_not_change() {
    on_a_worker(async {
        let (kept, dropped) = (Origin::text("a").await, Origin::text("b").await);
        let (registry, upstreams) = (Registry::new(), Upstreams::new(0));
        let plan = registry.compile(config(&[kept.address, dropped.address])).expect("valid");
        let before = upstreams.open(Arc::new(plan));
        for _ in 0..2 {
            fetch(&before).await.expect("an answer");
        }
        let mut changed = config(&[kept.address]);
        changed.response_timeout = Duration::from_secs(1);
        let after = upstreams.open(Arc::new(registry.compile(changed).expect("valid")));
        drop(before);
        fetch(&after).await.expect("an answer");
        assert_eq!(kept.seen.connections.get(), 1);
        assert_eq!(registry.endpoints().len(), 1);
    });
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_pooled_connection_that_has_closed_costs_nobody_an_error() {
    // On a thread of its own, so that it closes while the worker is not looking.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("bound");
    let origin = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _peer) = listener.accept().expect("a connection");
            assert!(stream.read(&mut [0; 1024]).expect("a request") > 0);
            stream.write_all(ANSWER).expect("the gateway reads");
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    on_a_worker(async move {
        let upstream = open(config(&[address]));
        for _ in 0..3 {
            assert_eq!(fetch(&upstream).await.expect("an answer"), "ok");
            std::thread::sleep(Duration::from_millis(600));
        }
    });
    origin.join().expect("three connections, one request on each");
}

#[test]
fn a_request_that_was_written_is_never_sent_again() {
    on_a_worker(async {
        let requests = Rc::new(Cell::new(0));
        let counted = requests.clone();
        let address = upstream(move |number, mut stream| {
            let counted = counted.clone();
            async move {
                read_head(&mut stream).await;
                let mut body = [0; 5];
                stream.read_exact(&mut body).await.expect("a body");
                counted.set(counted.get() + 1);
                stream.write_all(ANSWER).await.expect("the gateway reads");
                assert_eq!(number, 0, "the second request came again on a new connection");
                read_head(&mut stream).await;
                stream.read_exact(&mut body).await.expect("a body");
                counted.set(counted.get() + 1);
            }
        })
        .await;
        let upstream = open(config(&[address]));
        let (_head, body, _timing) =
            send(&upstream, head("POST", "/"), full_body("hello")).await.expect("an answer");
        read(body).await.expect("a body");
        let broken = send(&upstream, head("POST", "/"), full_body("hello")).await;
        assert_eq!(broken.err(), Some(Rejection::UpstreamUnreachable));
        sleep(Duration::from_millis(20)).await;
        assert_eq!(requests.get(), 2);
    });
}

#[test]
fn a_client_that_leaves_takes_its_upstream_connection_with_it() {
    on_a_worker(async {
        let closed = Rc::new(Cell::new(0));
        let counted = closed.clone();
        let address = upstream(move |number, mut stream| {
            let counted = counted.clone();
            async move {
                read_head(&mut stream).await;
                if number > 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun").await.ok();
                }
                assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "nothing more is sent");
                counted.set(counted.get() + 1);
            }
        })
        .await;
        let upstream = open(config(&[address]));
        // It leaves before the head, and then in the middle of the body.
        let waiting = tokio::time::timeout(Duration::from_millis(50), get(&upstream, "/"));
        assert!(waiting.await.is_err());
        drop(get(&upstream, "/").await.expect("a head"));
        while closed.get() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(upstream.connections_kept(), 0);
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_does_not_put_the_connection_back() {
    on_a_worker(async {
        let address = upstream(|_number, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await.ok();
            sleep(Duration::from_secs(5)).await;
        })
        .await;
        let upstream = open(config(&[address]));
        // More than the sockets can hold, so most of it is still to come when the answer is there.
        let (head, body, _timing) =
            send(&upstream, head("POST", "/"), full_body(vec![0; 32 << 20])).await.expect("413");
        assert_eq!(head.status, 413);
        read(body).await.expect("an empty body");
        assert_eq!(upstream.connections_kept(), 0);
    });
}
