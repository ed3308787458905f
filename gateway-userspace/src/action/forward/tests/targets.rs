//! Which target a request goes to when some are down.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::fetch;
use crate::http::rejection::Rejection;
use crate::upstream::endpoint::Standing;
use crate::upstream::tests::origin::Origin;
use crate::upstream::tests::raw::nobody;
use crate::upstream::tests::{config, on_a_worker, open};

#[test]
fn a_target_that_is_down_costs_nobody_an_error_while_another_is_up() {
    on_a_worker(async {
        let origin = Origin::text("up").await;
        let upstream = open(config(&[nobody().await, origin.address]));
        for _ in 0..100 {
            assert_eq!(fetch(&upstream).await.expect("an answer"), "up");
        }
        let down = upstream.plan().endpoints().next().expect("two targets").report(std::time::Instant::now());
        assert_eq!((down.standing, down.failures, down.connections_failed), (Standing::Down, 1, 1));
    });
}

#[test]
fn the_only_target_refusing_is_told_once_and_then_nobody_is_kept_waiting() {
    on_a_worker(async {
        let upstream = open(config(&[nobody().await]));
        assert_eq!(fetch(&upstream).await, Err(Rejection::UpstreamUnreachable));
        assert_eq!(fetch(&upstream).await, Err(Rejection::NoHealthyUpstream));
    });
}

#[test]
fn without_any_target_up_the_answer_is_503_until_one_comes_back() {
    on_a_worker(async {
        let addresses: [SocketAddr; 2] = [nobody().await, nobody().await];
        let upstream = open(config(&addresses));
        for _ in 0..10 {
            assert_eq!(fetch(&upstream).await, Err(Rejection::NoHealthyUpstream));
        }
        // Back on the same port; one request per second finds out.
        let listener = TcpListener::bind(addresses[1]).await.expect("the port is still free");
        tokio::task::spawn_local(async move {
            let (stream, _peer) = listener.accept().await.expect("a probe");
            let service = hyper::service::service_fn(|_request| async {
                Ok::<_, std::convert::Infallible>(http::Response::new(crate::upstream::tests::origin::full(
                    "back",
                )))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).await.ok();
        });
        while fetch(&upstream).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..10 {
            assert_eq!(fetch(&upstream).await.expect("an answer"), "back");
        }
    });
}
