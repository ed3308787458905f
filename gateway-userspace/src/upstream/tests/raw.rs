//! Upstreams that say exactly what a test wants them to say, valid or not.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Runs `each` for every connection, with its number from 0.
pub(crate) async fn upstream<C, F>(each: C) -> SocketAddr
where
    C: Fn(usize, TcpStream) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
    let address = listener.local_addr().expect("bound");
    tokio::task::spawn_local(async move {
        for number in 0.. {
            let Ok((stream, _peer)) = listener.accept().await else { return };
            tokio::task::spawn_local(each(number, stream));
        }
    });
    address
}

/// Answers the first request of each connection with these bytes and closes.
pub(crate) async fn says(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = Rc::<[u8]>::from(answer.into());
    upstream(move |_number, mut stream| {
        let answer = answer.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(&answer).await.ok();
        }
    })
    .await
}

/// Keeps what it is sent as the head of a request, and answers 200 without content.
pub(crate) async fn hears() -> (SocketAddr, Rc<RefCell<Vec<String>>>) {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let keep = heard.clone();
    let address = upstream(move |_number, mut stream| {
        let keep = keep.clone();
        async move {
            let head = read_head(&mut stream).await;
            keep.borrow_mut().push(head);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.ok();
            // Whatever is left of the request is read, so that the close is not a reset.
            let mut rest = Vec::new();
            stream.shutdown().await.ok();
            stream.read_to_end(&mut rest).await.ok();
        }
    })
    .await;
    (address, heard)
}

/// A port that nobody listens on.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
    listener.local_addr().expect("bound")
}

/// Reads up to the end of a header section, or of the connection.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_end) => break,
        }
    }
    String::from_utf8(head).expect("a head in ASCII")
}
