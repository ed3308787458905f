//! Requests written byte by byte, for what no client would send.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Sends bytes to a port of loopback and reads until the other end closes, five seconds at most; what came.
pub fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("somebody listens on this port");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
    // A peer that has refused already may have closed.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends `GET TARGET` as it stands; status and body, 0 when there was no answer.
pub fn get(port: u16, target: &str, more: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n{more}\r\n");
    let answer = exchange(port, request.as_bytes());
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunked(body) } else { body.to_owned() })
}

/// The pieces of a chunked body, joined (RFC 9112 §7.1).
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(piece) = rest.get(..size).filter(|piece| !piece.is_empty()) else { break };
        whole.push_str(piece);
        body = rest.get(size + 2..).unwrap_or("");
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::unchunked;

    #[test]
    fn pieces_are_joined_up_to_the_last() {
        assert_eq!(unchunked("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), "abc0123456789");
        assert_eq!(unchunked("0\r\n\r\n"), "");
        assert_eq!(unchunked("5\r\nab"), "");
    }
}
