//! With `host = "target"`, answers are told in the client's names.

use super::get;
use crate::header;
use crate::upstream::config::HostHeader;
use crate::upstream::tests::raw::upstream;
use crate::upstream::tests::{config, on_a_worker, open};
use tokio::io::AsyncWriteExt;

/// What `Location` and the cookie become on their way from the target at 127.0.0.1 with this port.
async fn told(host: HostHeader, location: &str, cookie: &str) -> (String, String) {
    let (location, cookie) = (location.to_owned(), cookie.to_owned());
    let address = upstream(move |_number, mut stream| {
        let (location, cookie) = (location.clone(), cookie.clone());
        async move {
            crate::upstream::tests::raw::read_head(&mut stream).await;
            let port = stream.local_addr().expect("connected").port().to_string();
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nSet-Cookie: {cookie}\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(answer.replace("PORT", &port).as_bytes()).await.ok();
        }
    })
    .await;
    let mut config = config(&[address]);
    config.host = host;
    let (head, _body, _timing) = get(&open(config), "/").await.expect("an answer");
    assert_eq!(head.fields.get_all(&header::SET_COOKIE).count(), 2);
    let text = |name| head.fields.get(name).and_then(|value| value.to_str()).expect("kept").to_owned();
    let port = address.port().to_string();
    (text(&header::LOCATION).replace(&port, "PORT"), text(&header::SET_COOKIE))
}

#[test]
fn what_names_the_target_becomes_the_client_s_name_and_nothing_else_does() {
    let cases = [
        ("http://127.0.0.1:PORT/login?a", "https://api.test/login?a"),
        ("HTTP://127.0.0.1:PORT", "https://api.test"),
        ("//127.0.0.1:PORT/x", "https://api.test/x"),
        ("http://127.0.0.1:PORT?next=http://127.0.0.1:PORT/", "https://api.test?next=http://127.0.0.1:PORT/"),
        ("/relative", "/relative"),
        ("http://127.0.0.1/other-port", "http://127.0.0.1/other-port"),
        ("http://127.0.0.1:PORT@evil.test/", "http://127.0.0.1:PORT@evil.test/"),
        ("http://other.test/?u=http://127.0.0.1:PORT/", "http://other.test/?u=http://127.0.0.1:PORT/"),
        ("ftp://127.0.0.1:PORT/", "ftp://127.0.0.1:PORT/"),
        ("/path//127.0.0.1:PORT/x", "/path//127.0.0.1:PORT/x"),
    ];
    on_a_worker(async move {
        for (said, expected) in cases {
            assert_eq!(told(HostHeader::Target, said, "a=1").await.0, expected);
            assert_eq!(told(HostHeader::Preserve, said, "a=1").await.0, said);
        }
    });
}

#[test]
fn a_cookie_for_the_target_becomes_one_for_the_client_s_host() {
    let cases = [
        ("a=1; Domain=127.0.0.1; Secure", "a=1; Domain=api.test; Secure"),
        ("a=1; path=/; domain=.127.0.0.1", "a=1; path=/; Domain=api.test"),
        ("a=1; Domain=other.test", "a=1; Domain=other.test"),
        ("a=Domain=127.0.0.1", "a=Domain=127.0.0.1"),
        ("a=1; HttpOnly", "a=1; HttpOnly"),
    ];
    on_a_worker(async move {
        for (said, expected) in cases {
            assert_eq!(told(HostHeader::Target, "/", said).await.1, expected);
        }
    });
}
