//! Connections that name a client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::super::forward;
use super::read;
use crate::request::{Context, Peer};
use crate::upstream::Upstream;
use crate::upstream::config::Config;
use crate::upstream::proxy_protocol::Version;
use crate::upstream::tests::raw::{read_head, upstream};
use crate::upstream::tests::{TestBody, config, context, head, no_body, on_a_worker, open};

const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Answers each request with the number of its connection and the line that the connection began with.
async fn tells_the_line() -> SocketAddr {
    upstream(|number, mut stream| async move {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.expect("a line"));
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        while !read_head(&mut stream).await.is_empty() {
            let text = format!("{number} {line}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await.ok();
        }
    })
    .await
}

fn settings(address: SocketAddr, version: Version) -> Config {
    let mut config = config(&[address]);
    config.proxy_protocol = Some(version);
    config
}

/// A request over a connection from `source`, for a client that is known by `client`.
fn from(source: &str, client: &str) -> Context {
    let source: SocketAddr = source.parse().expect("an address");
    let local = SocketAddr::from(([198, 51, 100, 1], 443));
    let peer = Peer { socket: source, source, local, trusted: true, tls: None };
    Context { client: client.parse().expect("an address"), peer: Arc::new(peer), ..context() }
}

async fn ask(upstream: &Upstream<TestBody>, context: &Context) -> String {
    let (_head, body, _timing) = forward(context, head("GET", "/"), None, no_body(), upstream)
        .expect("a request")
        .await
        .expect("an answer");
    String::from_utf8(read(body).await.expect("a body").to_vec()).expect("text")
}

#[test]
fn a_connection_names_its_client_and_serves_nobody_else() {
    on_a_worker(async {
        let upstream = open(settings(tells_the_line().await, Version::V1));
        let (alice, bob) = (from("192.0.2.1:1001", "192.0.2.1"), from("192.0.2.2:1002", "192.0.2.2"));
        let to = "198.51.100.1";
        assert_eq!(ask(&upstream, &alice).await, format!("0 PROXY TCP4 192.0.2.1 {to} 1001 443"));
        assert_eq!(ask(&upstream, &bob).await, format!("1 PROXY TCP4 192.0.2.2 {to} 1002 443"));
        // Both are idle now, and each goes to whom it belongs, whichever was used last.
        assert_eq!(ask(&upstream, &alice).await, format!("0 PROXY TCP4 192.0.2.1 {to} 1001 443"));
        assert_eq!(ask(&upstream, &bob).await, format!("1 PROXY TCP4 192.0.2.2 {to} 1002 443"));
        // Another port of the same client is another connection of it.
        let again = from("192.0.2.1:1003", "192.0.2.1");
        assert_eq!(ask(&upstream, &again).await, format!("2 PROXY TCP4 192.0.2.1 {to} 1003 443"));
        assert_eq!(upstream.connections_kept(), 3);
    });
}

#[test]
fn the_client_is_the_one_that_a_trusted_proxy_names_and_its_port_is_then_not_known() {
    on_a_worker(async {
        let upstream = open(settings(tells_the_line().await, Version::V1));
        let context = from("10.0.0.1:1001", "2001:db8::7");
        let line = "0 PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 0 443";
        assert_eq!(ask(&upstream, &context).await, line);
    });
}

#[test]
fn the_oldest_connection_makes_room_for_a_new_client() {
    on_a_worker(async {
        let mut config = settings(tells_the_line().await, Version::V1);
        config.idle_connections = 2;
        let upstream = open(config);
        let client = |number: u8| from(&format!("192.0.2.{number}:1"), &format!("192.0.2.{number}"));
        for number in 0..3_u8 {
            assert!(ask(&upstream, &client(number)).await.starts_with(&format!("{number} ")));
        }
        assert_eq!(upstream.connections_kept(), 2);
        assert!(ask(&upstream, &client(2)).await.starts_with("2 "), "kept");
        assert!(ask(&upstream, &client(0)).await.starts_with("3 "), "opened anew");
    });
}

#[test]
fn version_2_goes_before_everything_else() {
    on_a_worker(async {
        let address = upstream(|_number, mut stream| async move {
            let mut header = [0; 28];
            stream.read_exact(&mut header).await.expect("a header");
            assert_eq!(&header[..12], SIGNATURE_2);
            assert_eq!(header[12..20], [0x21, 0x11, 0, 12, 192, 0, 2, 1]);
            assert!(read_head(&mut stream).await.starts_with("GET / HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.ok();
            sleep(Duration::from_secs(5)).await;
        })
        .await;
        let upstream = open(settings(address, Version::V2));
        assert_eq!(ask(&upstream, &from("192.0.2.1:1001", "192.0.2.1")).await, "ok");
    });
}
