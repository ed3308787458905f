//! HTTP/2 frame by frame: deadlines, windows, floods, draining, and what is reported of it.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `GET path` as a HEADERS frame that ends its stream: HPACK with literals that are not indexed.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x01, 1, b'a', 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    frame(HEADERS, 0x05, stream, &block)
}

impl Client {
    async fn http2(front: &Front) -> Client {
        let mut client = front.connect().await;
        client.send(PREFACE).await;
        client.send(frame(SETTINGS, 0, 0, &[])).await;
        client
    }

    /// The next frame: kind, stream and payload; `None` when the server has closed. Pings are answered.
    async fn frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let next = self.read_frame().await?;
        if next.0 == PING {
            let _ = self.0.write_all(&frame(PING, 1, 0, &next.2)).await;
        }
        Some(next)
    }

    async fn read_frame(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a frame or the end")
    }

    /// The next frame of this kind.
    async fn frame_of(&mut self, kind: u8) -> (u32, Vec<u8>) {
        loop {
            match self.frame().await {
                Some((seen, stream, payload)) if seen == kind => return (stream, payload),
                Some(_) => {}
                None => panic!("the server closed before a frame of kind {kind}"),
            }
        }
    }
}

#[test]
fn a_preface_in_single_bytes_is_recognised() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = front.connect().await;
        for byte in [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1, "/x")].concat() {
            client.send([byte]).await;
            tokio::task::yield_now().await;
        }
        let (stream, payload) = client.frame_of(DATA).await;
        assert_eq!((stream, payload.as_slice()), (1, &b"GET a /x"[..]));
        drop(client);
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn prior_knowledge_is_refused_where_http2_is_off() {
    run(async {
        let front = Front::start(|settings| settings.http2 = false);
        let mut client = front.connect().await;
        client.send(PREFACE).await;
        let answer = client.rest().await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(front.reports().await, [Broken::Malformed]);
    });
}

#[test]
fn an_idle_connection_gets_goaway_and_ends_although_it_pings() {
    run(async {
        let front = Front::start(|settings| settings.limits.idle_timeout = SHORT);
        let mut client = Client::http2(&front).await;
        client.send(get(1, "/x")).await;
        client.frame_of(DATA).await;
        client.send(frame(PING, 0, 0, &[1; 8])).await;
        client.frame_of(GOAWAY).await;
        drop(client);
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn the_first_request_is_due_in_header_time_and_only_one_that_was_begun_is_reported() {
    run(async {
        for (sent, reports) in [
            (vec![], &[][..]),
            (frame(PING, 0, 0, &[0; 8]), &[][..]),
            (frame(HEADERS, 0x01, 1, &[0x82, 0x86]), &[Broken::HeaderTimeout]), // CONTINUATION never comes.
        ] {
            let front = Front::start(|settings| settings.limits.header_timeout = SHORT);
            let mut client = Client::http2(&front).await;
            client.send(&sent).await;
            let started = Instant::now();
            while client.frame().await.is_some() {}
            assert!(started.elapsed() < 5 * SHORT);
            assert_eq!(front.reports().await, reports, "{sent:?}");
        }
    });
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset_and_others_go_on() {
    run(async {
        let front = Front::start(|settings| settings.limits.write_timeout = SHORT);
        let mut client = Client::http2(&front).await;
        // The first settings leave every stream 64 KiB; no WINDOW_UPDATE follows. The second stream answers without
        // any window of its own being used up.
        client.send(get(1, "/endless")).await;
        let (stream, reason) = client.frame_of(RST_STREAM).await;
        assert_eq!(stream, 1, "{reason:?}");
        client.send(frame(8, 0, 0, &[0, 1, 0, 0])).await; // Opens the connection's window again.
        client.send(get(3, "/x")).await;
        let (stream, payload) = client.frame_of(DATA).await;
        assert_eq!((stream, payload.as_slice()), (3, &b"GET a /x"[..]));
        drop(client);
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn streams_that_are_reset_as_fast_as_they_are_opened_end_the_connection() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = Client::http2(&front).await;
        let mut burst = Vec::new();
        for stream in (1..2000).step_by(2) {
            burst.extend(get(stream, "/never"));
            burst.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        }
        let _ = client.0.write_all(&burst).await; // The server may close before it has read everything.
        assert_eq!(front.reports().await, [Broken::Protocol]);
    });
}

#[test]
fn a_panic_ends_its_stream_and_nothing_else() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = Client::http2(&front).await;
        client.send(get(1, "/panic")).await;
        let (stream, payload) = client.frame_of(DATA).await;
        assert_eq!(stream, 1);
        assert!(String::from_utf8(payload).unwrap().contains("\"status\":500"));
        client.send(get(3, "/panic-body")).await;
        let (stream, _) = client.frame_of(RST_STREAM).await;
        assert_eq!(stream, 3);
        client.send(get(5, "/x")).await;
        assert_eq!(client.frame_of(DATA).await, (5, b"GET a /x".to_vec()));
        drop(client);
        assert_eq!(front.reports().await, [Broken::Panicked]);
    });
}

#[test]
fn draining_sends_goaway_and_finishes_streams() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = Client::http2(&front).await;
        client.send(get(1, "/soon")).await;
        tokio::time::sleep(SHORT / 3).await; // The request is under way.
        front.drain.begin();
        client.frame_of(GOAWAY).await;
        let (stream, payload) = client.frame_of(DATA).await;
        assert_eq!((stream, payload.as_slice()), (1, &b"soon"[..]));
        while client.frame().await.is_some() {}
        assert_eq!(front.reports().await, []);
    });
}

#[test]
fn what_breaks_the_protocol_is_reported() {
    run(async {
        let front = Front::start(|_| {});
        let mut client = Client::http2(&front).await;
        client.send(frame(DATA, 0, 1, b"on a stream that was never opened")).await;
        client.frame_of(GOAWAY).await;
        drop(client);
        assert_eq!(front.reports().await, [Broken::Protocol]);
    });
}

#[test]
fn floods_of_frames_that_ask_for_nothing_end_the_connection() {
    run(async {
        let front = Front::start(|_| {});
        let floods = [
            frame(PING, 0, 0, &[0; 8]),
            frame(SETTINGS, 0, 0, &[]),
            frame(2, 0, 1, &[0, 0, 0, 0, 16]), // PRIORITY
            frame(0xBA, 0, 0, &[0; 100]),      // Not known to anybody.
        ];
        for flood in floods {
            let mut client = Client::http2(&front).await;
            client.send(get(1, "/x")).await;
            client.frame_of(DATA).await;
            let _ = client.0.write_all(&flood.repeat(2000)).await; // The server may close before it has read all.
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(PATIENCE, client.0.read_to_end(&mut rest)).await.expect("it is cut");
        }
        assert_eq!(front.reports().await, [Broken::Protocol; 4]);
    });
}
