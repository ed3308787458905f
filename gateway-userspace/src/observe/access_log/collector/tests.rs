//! Batches as a real socket receives them, from receivers that fail in every way.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc as channel;

use super::super::queue::Queue;
use super::*;
use crate::dial::Url;

/// Settings for lines as they are, with small limits.
pub fn settings(url: &str) -> Settings {
    Settings {
        url: Url::parse(url).expect("a URL"),
        protocol: Protocol::Http(Framing::Lines),
        headers: Vec::new(),
        ca: None,
        gzip: false,
        batch: BatchLimits { bytes: 1 << 10, lines: 100, age: Duration::from_millis(1) },
        buffer_bytes: 64 << 10,
        timeout: Duration::from_secs(5),
        retry_for: Duration::from_secs(60),
        json: true,
    }
}

/// A collector on a thread of its own, as the writer runs it.
struct Running {
    queue: Queue,
    settings: watch::Sender<Arc<Settings>>,
    end: watch::Sender<Option<Instant>>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    fn start(settings: Settings) -> Running {
        let (chunks, received) = mpsc::channel(64);
        let tally = Arc::new(Tally::default());
        let (settings, watched) = watch::channel(Arc::new(settings));
        let end = watch::Sender::new(None);
        let parts = Parts {
            name: "test".into(),
            received,
            settings: watched,
            end: end.subscribe(),
            pool: Arc::default(),
            tally: tally.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let thread = std::thread::spawn(move || runtime.block_on(run(parts)));
        Running { queue: Queue { chunks, tally }, settings, end, thread }
    }

    fn send(&self, lines: &[&str]) {
        let bytes = lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        self.queue.send(Chunk { bytes, lines: lines.len() as u64 });
    }

    /// Lets it end within a time; what was counted.
    fn end(self, within: Duration) -> Arc<Tally> {
        let Running { queue: Queue { chunks, tally }, settings, end, thread } = self;
        end.send_replace(Some(Instant::now() + within));
        drop((chunks, settings));
        thread.join().expect("no panic");
        tally
    }
}

/// Answers with these heads in turn, the last for ever; tells the bodies that it got.
fn receiver(heads: &[&str]) -> (String, channel::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let url = format!("http://{}/in", listener.local_addr().expect("bound"));
    let (bodies, received) = channel::channel();
    let mut heads: VecDeque<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream);
            while let Some(body) = read(&mut reader) {
                let head = if heads.len() > 1 { heads.pop_front() } else { heads.front().cloned() };
                let head = head.expect("at least one");
                if bodies.send(body).is_err() {
                    return;
                }
                let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
                let _ = reader.get_mut().write_all(answer.as_bytes());
            }
        }
    });
    (url, received)
}

/// The body of the next request.
fn read(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?
            }
            Some(_) => {}
            None if line.starts_with("POST ") => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

fn next(bodies: &channel::Receiver<String>) -> String {
    bodies.recv_timeout(Duration::from_secs(10)).expect("a batch in time")
}

#[test]
fn a_batch_that_cannot_be_taken_now_comes_again_and_nothing_is_lost() {
    let (url, bodies) = receiver(&["503 Busy\r\nRetry-After: 0", "429 Slow\r\nRetry-After: 0", "200 OK"]);
    let running = Running::start(settings(&url));
    running.send(&["one", "two"]);
    assert_eq!([next(&bodies), next(&bodies), next(&bodies)], ["one\ntwo\n"; 3]);
    running.send(&["three"]);
    assert_eq!(next(&bodies), "three\n");
    let tally = running.end(Duration::from_secs(5));
    assert_eq!((tally.written(), tally.dropped_in_all(), tally.waiting_bytes()), (3, 0, 0));
}

#[test]
fn what_a_receiver_does_not_want_is_dropped_and_counted_and_does_not_hold_up_the_rest() {
    let (url, bodies) = receiver(&["400 Bad", "200 OK"]);
    let running = Running::start(settings(&url));
    running.send(&["one", "two"]);
    assert_eq!(next(&bodies), "one\ntwo\n");
    running.send(&["three"]);
    assert_eq!(next(&bodies), "three\n");
    let tally = running.end(Duration::from_secs(5));
    assert_eq!((tally.written(), tally.dropped(Reason::Refused)), (1, 2));
}

#[test]
fn lines_that_got_too_old_are_given_up() {
    let (url, bodies) = receiver(&["503 Busy", "200 OK"]);
    let running = Running::start(Settings { retry_for: Duration::ZERO, ..settings(&url) });
    running.send(&["old"]);
    assert_eq!(next(&bodies), "old\n");
    running.send(&["new"]);
    assert_eq!(next(&bodies), "new\n");
    let tally = running.end(Duration::from_secs(5));
    assert_eq!((tally.written(), tally.dropped(Reason::Expired)), (1, 1));
}

#[test]
fn while_nobody_is_there_lines_wait_within_their_bound_and_the_end_comes_in_time() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound").local_addr().expect("bound");
    let settings = Settings { buffer_bytes: 50, ..settings(&format!("http://{nobody}/")) };
    let running = Running::start(settings);
    for _ in 0..10 {
        running.send(&["123456789"]);
    }
    let tally = running.queue.tally.clone();
    while tally.dropped(Reason::Full) < 5 {
        std::thread::yield_now();
    }
    assert_eq!(tally.waiting_bytes(), 50);
    let began = Instant::now();
    running.end(Duration::from_millis(100));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((tally.dropped(Reason::Full), tally.dropped(Reason::Ended)), (5, 5));
}

#[test]
fn other_settings_are_used_at_once_for_what_waits() {
    let (away, refused) = receiver(&["401 Unauthorized\r\nRetry-After: 300"]);
    let (url, bodies) = receiver(&["200 OK"]);
    let running = Running::start(settings(&away));
    running.send(&["one"]);
    assert_eq!(next(&refused), "one\n");
    running.settings.send_replace(Arc::new(settings(&url)));
    assert_eq!(next(&bodies), "one\n");
    let tally = running.end(Duration::from_secs(5));
    assert_eq!((tally.written(), tally.dropped_in_all()), (1, 0));
}

#[test]
fn what_waits_is_sent_once_more_at_the_end_whatever_pause_was_asked_for() {
    let (url, bodies) = receiver(&["503 Busy\r\nRetry-After: 300", "200 OK"]);
    let running = Running::start(settings(&url));
    running.send(&["one"]);
    assert_eq!(next(&bodies), "one\n");
    let tally = running.end(Duration::from_secs(5));
    assert_eq!((tally.written(), tally.dropped_in_all()), (1, 0));
}

#[test]
fn a_kept_connection_that_the_receiver_has_closed_is_no_failure() {
    let (url, bodies) = receiver(&["200 OK\r\nConnection: close"]);
    let running = Running::start(settings(&url));
    for line in ["one", "two", "three"] {
        running.send(&[line]);
        assert_eq!(next(&bodies), format!("{line}\n"));
    }
    let tally = running.end(Duration::from_secs(5));
    assert_eq!((tally.written(), tally.dropped_in_all()), (3, 0));
}
