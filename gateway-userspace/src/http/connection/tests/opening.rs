//! The beginning of a connection: TLS, the PROXY protocol, and the one deadline over both.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use super::*;
use crate::http::client_address::TrustedProxies;
use crate::tls::Tls;
use crate::tls::testing::Folder;

fn tls_front(folder: &Folder, change: impl FnOnce(&mut Settings)) -> Front {
    let certificates = [
        folder.certificate(&["api.example.com", "www.example.com"], &rcgen::PKCS_ECDSA_P256_SHA256),
        folder.certificate(&["*.shop.example.com"], &rcgen::PKCS_ECDSA_P256_SHA256),
    ];
    let tls = Tls::load(&certificates, true).unwrap();
    Front::start(|settings| {
        settings.tls = Some(tls);
        change(settings);
    })
}

async fn tls_client(
    front: &Front,
    name: &'static str,
    alpn: &[&[u8]],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let connector = TlsConnector::from(Arc::new(crate::tls::testing::trusting_client(alpn)));
    let stream = front.stream().await;
    connector.connect(ServerName::try_from(name).unwrap(), stream).await.unwrap()
}

#[test]
fn requests_over_tls_are_served_for_the_hosts_of_the_certificate() {
    run(async {
        let folder = Folder::new();
        let front = tls_front(&folder, |_| {});
        for (host, expected) in [
            ("api.example.com", "HTTP/1.1 200"),
            ("www.example.com", "HTTP/1.1 200"),
            ("a.shop.example.com", "HTTP/1.1 421"),
        ] {
            let mut client = tls_client(&front, "api.example.com", &[]).await;
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).await.unwrap();
            assert!(response.starts_with(expected), "{host}: {response}");
        }
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn http2_is_spoken_when_alpn_agrees_on_it() {
    run(async {
        let folder = Folder::new();
        let front = tls_front(&folder, |_| {});
        let client = tls_client(&front, "api.example.com", &[b"h2", b"http/1.1"]).await;
        assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = hyper_util::rt::TokioIo::new(client);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(executor, io).await.unwrap();
        spawn_local(connection);
        let request = http::Request::get("https://www.example.com/x").body(Full::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "GET www.example.com /x");
        drop(sender);
        assert_eq!(front.reports().await, []);
    });
}

/// A client's end that sends at most so many bytes at once, and lets others run before each.
struct Pieces {
    stream: TcpStream,
    bytes: usize,
    yielded: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.yielded = !self.yielded;
        if self.yielded {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = &bytes[..bytes.len().min(self.bytes)];
        Pin::new(&mut self.stream).poll_write(cx, piece)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The fingerprint of a client whose bytes come in such pieces, as the connection's owner sees it.
async fn fingerprint_seen(folder: &Folder, fingerprint: bool, bytes: usize) -> String {
    let front = tls_front(folder, |settings| settings.fingerprint = fingerprint);
    let stream = front.stream().await;
    stream.set_nodelay(true).unwrap();
    let pieces = Pieces { stream, bytes, yielded: false };
    let connector = TlsConnector::from(Arc::new(crate::tls::testing::trusting_client(&[])));
    let name = ServerName::try_from("api.example.com").unwrap();
    let mut client = connector.connect(name, pieces).await.unwrap();
    let request = "GET /ja4 HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    client.flush().await.unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    drop(client);
    assert_eq!(front.reports().await, []);
    let (_, body) = response.split_once("\r\n\r\n").expect("an answer");
    body.to_owned()
}

#[test]
fn a_fingerprint_is_taken_where_it_is_asked_for_however_the_bytes_come() {
    run(async {
        let folder = Folder::new();
        let whole = fingerprint_seen(&folder, true, 16_384).await;
        // The library offers TLS 1.3 and a name, and here no protocol.
        assert!(whole.starts_with("t13d") && whole[8..].starts_with("00_"), "{whole}");
        assert_eq!(whole.len(), crate::tls::Ja4::LENGTH);
        assert_eq!(fingerprint_seen(&folder, true, 7).await, whole);
        assert_eq!(fingerprint_seen(&folder, false, 16_384).await, "none");
    });
}

#[test]
fn what_is_no_client_hello_is_refused_as_without_fingerprints() {
    run(async {
        let folder = Folder::new();
        for fingerprint in [false, true] {
            let front = tls_front(&folder, |settings| settings.fingerprint = fingerprint);
            for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"]
            {
                let mut stream = front.stream().await;
                stream.write_all(bytes).await.unwrap();
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
            assert_eq!(front.reports().await, [Broken::TlsHandshake, Broken::TlsHandshake]);
        }
    });
}

#[test]
fn a_handshake_must_be_done_in_time_and_silence_is_not_reported() {
    run(async {
        let folder = Folder::new();
        for (sent, reports) in [
            (&b""[..], &[][..]),
            (&b"\x16\x03\x01\x02"[..], &[Broken::HandshakeTimeout]),
            (&b"GET / HTTP/1.1\r\n\r\n"[..], &[Broken::TlsHandshake]),
        ] {
            let front = tls_front(&folder, |settings| settings.limits.handshake_timeout = SHORT);
            let mut client = front.connect().await;
            let started = Instant::now();
            client.send(sent).await;
            let _ = tokio::time::timeout(PATIENCE, client.0.read_to_end(&mut Vec::new()))
                .await
                .expect("it is cut");
            assert!(started.elapsed() < 5 * SHORT);
            assert_eq!(front.reports().await, reports, "{sent:?}");
        }
    });
}

#[test]
fn the_first_header_section_is_due_from_accept_also_after_tls() {
    run(async {
        let folder = Folder::new();
        let front = tls_front(&folder, |settings| settings.limits.header_timeout = SHORT);
        let mut client = tls_client(&front, "api.example.com", &[]).await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 408"), "{response}");
        assert_eq!(front.reports().await, [Broken::HeaderTimeout]);
    });
}

#[test]
fn a_preface_that_stops_halfway_is_cut() {
    run(async {
        let front = Front::start(|settings| settings.limits.handshake_timeout = SHORT);
        let mut client = front.connect().await;
        client.send("PRI * HTTP/2.0\r\n\r\nSM").await;
        assert_eq!(client.rest().await, "");
        assert_eq!(front.reports().await, [Broken::HandshakeTimeout]);
    });
}

fn behind_proxy(settings: &mut Settings) {
    settings.proxy_protocol = true;
    settings.limits.handshake_timeout = SHORT;
    settings.trusted = Arc::new(TrustedProxies::new(&["127.0.0.0/8".parse().unwrap()]));
}

const REQUEST: &str =
    "GET /client HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n";

#[test]
fn the_proxy_protocol_names_the_client_and_then_its_headers_are_not_believed() {
    run(async {
        let front = Front::start(behind_proxy);
        for pieces in [1, 3, 1000] {
            let mut client = front.connect().await;
            let bytes = format!("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n{REQUEST}");
            for piece in bytes.as_bytes().chunks(bytes.len().div_ceil(pieces)) {
                client.send(piece).await;
                tokio::task::yield_now().await;
            }
            let response = client.rest().await;
            assert!(response.ends_with("192.0.2.1"), "{response}");
        }
        let mut balancer_itself = front.connect().await;
        balancer_itself.send(format!("PROXY UNKNOWN\r\n{REQUEST}")).await;
        let response = balancer_itself.rest().await;
        assert!(response.ends_with("127.0.0.1"), "a header that any client may have sent is not: {response}");
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn a_trusted_proxy_without_its_header_is_refused() {
    run(async {
        for sent in [REQUEST, "PROXY TCP4 192.0.2.1 198.51.100.1 4711 443", "PROXY TCP4 x\r\n"] {
            let front = Front::start(behind_proxy);
            let mut client = front.connect().await;
            client.send(sent).await;
            let mut answer = Vec::new();
            let read = client.0.read_to_end(&mut answer);
            let _ = tokio::time::timeout(PATIENCE, read).await.expect("it is cut");
            assert_eq!(answer, b"", "{sent}");
            let reports = front.reports().await;
            assert!(
                matches!(reports[..], [Broken::ProxyHeader | Broken::HandshakeTimeout]),
                "{sent}: {reports:?}"
            );
        }
    });
}

#[test]
fn without_the_setting_a_proxy_header_is_just_a_bad_request() {
    run(async {
        let front = Front::start(|settings| {
            behind_proxy(settings);
            settings.proxy_protocol = false;
        });
        let mut client = front.connect().await;
        client.send(format!("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n{REQUEST}")).await;
        assert!(client.rest().await.starts_with("HTTP/1.1 400"));
        assert_eq!(front.reports().await, [Broken::Malformed]);
    });
}

#[test]
fn an_idle_tls_connection_is_closed_with_a_word() {
    run(async {
        let folder = Folder::new();
        let front = tls_front(&folder, |settings| settings.limits.idle_timeout = SHORT);
        let mut client = tls_client(&front, "api.example.com", &[]).await;
        client.write_all(b"GET /a HTTP/1.1\r\nHost: api.example.com\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // Without `close_notify` this is an error, as the end could be somebody else's doing (RFC 8446 §6.1).
        client.read_to_end(&mut answer).await.expect("an orderly end");
        assert!(answer.ends_with(b"GET api.example.com /a"), "{}", answer.escape_ascii());
    });
}
