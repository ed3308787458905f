//! Messages as real sockets receive them.

use std::io::Read;
use std::net::TcpListener;

use super::*;

/// A daemon's socket in a place of this test's own, removed at the end.
struct Daemon {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Daemon {
    fn start(name: &str) -> Daemon {
        let path = std::env::temp_dir().join(format!("portcullis-{}-{name}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = bind(&path);
        Daemon { path, socket }
    }

    fn receiver(&self) -> Receiver {
        Receiver::Local(self.path.clone())
    }

    fn restart(&mut self) {
        std::fs::remove_file(&self.path).expect("removed");
        self.socket = bind(&self.path);
    }

    fn next(&self) -> String {
        let mut bytes = vec![0; 128 << 10];
        let length = self.socket.recv(&mut bytes).expect("a message in time");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    socket
}

/// The text behind a local message's header.
fn text(message: &str) -> &str {
    message.split_once("]: ").expect("a header").1
}

#[test]
fn receivers_are_read_as_they_are_shown() {
    for written in [
        "syslog",
        "syslog:/run/log.sock",
        "syslog:udp://logs.example:514",
        "syslog:tcp://10.0.0.1:601",
        "syslog:udp://[2001:db8::1]:5514",
    ] {
        assert_eq!(Receiver::parse(written).expect(written).to_string(), written);
    }
    let default = Receiver::parse("syslog:udp://logs").expect("a receiver");
    assert_eq!(default, Receiver::Udp { host: "logs".into(), port: PORT });
    let bad =
        ["syslog:", "syslog:relative", "syslogd", "syslog:udp://", "syslog:udp://a:0", "syslog:tcp://[x]:1"];
    for bad in bad.into_iter().chain(["syslog:tcp://a b", "syslog:udp://a:70000", "syslog:http://a"]) {
        assert_eq!(Receiver::parse(bad), None, "{bad}");
    }
}

#[test]
fn headers_are_those_of_the_two_standards() {
    let now = jiff::Timestamp::from_millisecond(1_793_682_000_007).expect("a time");
    let local = Sender::new(Receiver::Local("/dev/log".into()));
    let process = std::process::id();
    assert_eq!(local.header(now), format!("<190>Nov  3 05:00:00 portcullis[{process}]: "));
    let mut remote = Sender::new(Receiver::Udp { host: "logs".into(), port: 514 });
    remote.host = host_name("gw1.example");
    assert_eq!(
        remote.header(now),
        format!("<190>1 2026-11-03T05:00:00.007Z gw1.example portcullis {process} access - ")
    );
    assert_eq!(host_name("two words"), "-");
    assert_eq!(host_name(""), "-");
}

#[test]
fn every_line_is_a_message_to_the_local_daemon_also_after_it_was_started_anew() {
    let mut daemon = Daemon::start("local");
    let mut sender = Sender::new(daemon.receiver());
    sender.send(b"one\ntwo\n").expect("sent");
    let first = daemon.next();
    assert!(first.starts_with("<190>") && first.ends_with("]: one"), "{first}");
    assert_eq!(text(&daemon.next()), "two");
    daemon.restart();
    sender.send(b"three\n").expect("sent");
    assert_eq!(text(&daemon.next()), "three");
}

#[test]
fn a_daemon_that_is_not_there_costs_exactly_its_lines() {
    let daemon = Daemon::start("absent");
    let mut sender = Sender::new(Receiver::Local("/nonexistent/log".into()));
    assert_eq!(sender.send(b"one\ntwo\n").expect_err("nobody").lines, 2);
    assert_eq!(sender.send(b"three\n").expect_err("left alone for a while").lines, 1);
    sender.receiver = daemon.receiver();
    sender.reconnect();
    sender.send(b"four\n").expect("sent");
    assert_eq!(text(&daemon.next()), "four");
}

#[test]
fn a_daemon_that_reads_nothing_costs_lines_within_the_timeout() {
    let daemon = Daemon::start("stalled");
    let mut sender = Sender::new(daemon.receiver());
    let lines = "line\n".repeat(100_000);
    let began = Instant::now();
    let lost = sender.send(lines.as_bytes()).expect_err("it does not read");
    assert!(lost.lines > 0 && lost.lines < 100_000, "{}", lost.lines);
    assert!(began.elapsed() < 3 * SEND_TIMEOUT, "{:?}", began.elapsed());
}

#[test]
fn a_line_that_no_datagram_holds_is_cut_between_characters() {
    let daemon = Daemon::start("long");
    let mut sender = Sender::new(daemon.receiver());
    let long = format!("a{}\n", "ü".repeat(TEXT_BYTES_MAX));
    sender.send(long.as_bytes()).expect("sent");
    let message = daemon.next();
    assert_eq!(text(&message).len(), TEXT_BYTES_MAX - 1);
}

#[test]
fn a_host_gets_a_datagram_for_each_line() {
    let host = UdpSocket::bind("127.0.0.1:0").expect("bound");
    host.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    let port = host.local_addr().expect("bound").port();
    let mut sender = Sender::new(Receiver::Udp { host: "127.0.0.1".into(), port });
    sender.send(b"{\"a\":1}\n{\"a\":2}\n").expect("sent");
    for expected in ["{\"a\":1}", "{\"a\":2}"] {
        let mut bytes = [0; 1024];
        let length = host.recv(&mut bytes).expect("a datagram in time");
        let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
        assert!(message.starts_with("<190>1 20"), "{message}");
        assert!(message.ends_with(&format!(" access - {expected}")), "{message}");
    }
}

#[test]
fn a_connection_carries_counted_messages_and_is_opened_again_when_it_was_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let mut sender = Sender::new(Receiver::Tcp { host: "localhost".into(), port });
    for expected in [["one", "two"], ["three", "four"]] {
        let lines = expected.map(|line| format!("{line}\n")).concat();
        sender.send(lines.as_bytes()).expect("sent");
        let (mut stream, _) = listener.accept().expect("accepted");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        for line in expected {
            let message = counted(&mut stream);
            assert!(message.ends_with(&format!(" access - {line}")), "{message}");
        }
        drop(stream);
        while !sender.has_ended() {
            std::thread::yield_now();
        }
    }
}

/// Reads `LENGTH SP MESSAGE`.
fn counted(stream: &mut impl Read) -> String {
    let mut length = 0;
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a length");
        match byte[0] {
            b' ' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).expect("a message");
    String::from_utf8(message).expect("text")
}
