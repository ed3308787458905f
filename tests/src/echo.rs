//! An upstream that answers with what it saw, byte for byte: for what nginx cannot show.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A running echo upstream, stopped when dropped.
pub struct Echo {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections accepted so far.
    pub connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Echo {
    /// Listens on a free port of loopback. Each answer is 200 with a JSON object: `line` (the request line), `headers`
    /// (a list of `[name, value]` in order) and `body`.
    pub fn start() -> Echo {
        Echo::named("")
    }

    /// The same; the answers also say `name`, so that a test can tell several apart.
    pub fn named(name: &'static str) -> Echo {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stopped) = (connections.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || while answer_one(&stream, name).is_some() {});
            }
        });
        Echo { address, connections, stop }
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept loop, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer_one(stream: &TcpStream, name: &str) -> Option<()> {
    let (line, headers, body) = read_request(&mut BufReader::new(stream))?;
    let answer = serde_json::json!({
        "line": line, "headers": headers, "body": String::from_utf8_lossy(&body),
        "name": name,
    })
    .to_string();
    // In one piece, or Nagle's algorithm and delayed acknowledgements hold the second for 40 ms.
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    if !line.starts_with("HEAD ") {
        response.push_str(&answer);
    }
    let mut stream = stream;
    stream.write_all(response.as_bytes()).ok()
}

/// A request as it came: the request line, the fields in order, the body.
type Request = (String, Vec<(String, String)>, Vec<u8>);

/// The next request; `None` at the connection's end.
pub(crate) fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok()?;
        let Some((name, value)) = field.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let body = read_body(reader, &headers)?;
    Some((line.trim_end().to_owned(), headers, body))
}

fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> Option<Vec<u8>> {
    let find = |name: &str| {
        headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    let mut body = Vec::new();
    if let Some(length) = find("content-length") {
        body.resize(length.parse().ok()?, 0);
        reader.read_exact(&mut body).ok()?;
    } else if find("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let begin = body.len();
            body.resize(begin + size, 0);
            reader.read_exact(&mut body[begin..]).ok()?;
            let mut end = String::new();
            reader.read_line(&mut end).ok()?;
            if size == 0 {
                break;
            }
        }
    }
    Some(body)
}
