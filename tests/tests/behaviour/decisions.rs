//! Lists that are decisions of CrowdSec: everything once, then what has changed.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use tests::crowdsec::{CrowdSec, KEY};
use tests::gateway::Gateway;
use tests::privilege;

use crate::denylists::{PATIENCE, gateway, is_refused, said, the_list, wait_until, wait_within};

/// What an API answers, and what it was asked.
#[derive(Default)]
struct Script {
    /// To those who ask for everything; none: it is out of order.
    everything: Option<String>,
    /// To those who ask for changes, one after the other, and then that there are none.
    changes: VecDeque<String>,
    /// The targets of the requests.
    asked: Vec<String>,
    over: bool,
}

/// An API that says what the test lets it say.
struct Api {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    fn start() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = Arc::<Mutex<Script>>::default();
        let thread = std::thread::spawn({
            let script = script.clone();
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let mut script = script.lock().expect("not poisoned");
                    if script.over {
                        return;
                    }
                    // A client that breaks off asks again.
                    let _ = script.answer(stream);
                }
            }
        });
        Api { address, script, thread: Some(thread) }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("not poisoned")
    }

    /// Waits until it was asked so many times more, and returns what for.
    fn asked_next(&self, count: usize) -> Vec<String> {
        self.script().asked.clear();
        wait_until("it is asked", || self.script().asked.len() >= count);
        self.script().asked.clone()
    }
}

impl Script {
    fn answer(&mut self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            head.extend(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = match &self.everything {
            _ if !head.to_ascii_lowercase().contains("x-api-key: k") => (403, String::new()),
            None => (500, String::new()),
            Some(everything) if target.contains("startup=true") => (200, everything.clone()),
            Some(_) => (200, self.changes.pop_front().unwrap_or_else(|| stream_of(&[], &[]))),
        };
        self.asked.push(target);
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.script().over = true;
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn stream_of(new: &[(u32, &str, &str)], deleted: &[(u32, &str)]) -> String {
    let decision = |number: u32, value: &str, duration: &str| {
        let scope = if value.contains('/') { "Range" } else { "Ip" };
        format!(
            r#"{{"id":{number},"duration":"{duration}","scope":"{scope}","type":"ban","value":"{value}"}}"#
        )
    };
    let new: Vec<_> =
        new.iter().map(|(number, value, duration)| decision(*number, value, duration)).collect();
    let deleted: Vec<_> = deleted.iter().map(|(number, value)| decision(*number, value, "-1s")).collect();
    format!(r#"{{"new": [{}], "deleted": [{}]}}"#, new.join(","), deleted.join(","))
}

fn with_list(url: &str, key: &str, rest: &str) -> Gateway {
    gateway(|_| {
        format!(
            "[list.crowd]\nurl = \"{url}\"\nheaders = {{ X-Api-Key = \"{key}\" }}\nrefresh = \"1s\"\n{rest}"
        )
    })
}

#[test]
fn decisions_are_read_as_a_whole_after_a_start_and_a_failure_and_by_what_has_changed_in_between() {
    let api = Api::start();
    api.script().everything = Some(stream_of(
        &[
            (1, "203.0.113.1", "4h"),
            (2, "203.0.113.1", "4h"),
            (3, "203.0.113.3", "4h"),
            (4, "198.51.100.0/24", "4h"),
            (5, "127.0.0.1", "4h"),
        ],
        &[(9, "203.0.113.9")],
    ));
    let url = format!("http://{}/v1/decisions/stream?startup=false&origins=crowdsec", api.address);
    let mut gateway = with_list(&url, "k", "");
    wait_until("everything is read", || is_refused(&gateway, "203.0.113.1"));
    let target =
        |everything: bool| format!("/v1/decisions/stream?origins=crowdsec&startup={everything}&dedup=false");
    assert_eq!(api.script().asked[0], target(true));
    assert_eq!(api.asked_next(2)[..2], [target(false), target(false)]);
    let list = the_list(&gateway);
    assert_eq!(
        (&list["entries"], &list["guarded"], &list["format"]),
        (&3.into(), &1.into(), &"crowdsec".into())
    );

    let change = |new: &[_], deleted: &[_]| api.script().changes.push_back(stream_of(new, deleted));
    change(&[(6, "203.0.113.6", "4h")], &[(1, "203.0.113.1"), (3, "203.0.113.3"), (4, "198.51.100.0/24")]);
    wait_until("what is new is refused", || is_refused(&gateway, "203.0.113.6"));
    let refused = ["203.0.113.1", "203.0.113.3", "198.51.100.9"].map(|client| is_refused(&gateway, client));
    assert_eq!(refused, [true, false, false], "one of two decisions is left");
    change(&[], &[(2, "203.0.113.1")]);
    wait_until("the last of its decisions is gone", || !is_refused(&gateway, "203.0.113.1"));
    // Clients are refused, or not, before the file says so.
    wait_until("it is kept", || said(&gateway.cli(&["deny", "export", "crowd"])) == "203.0.113.6\n");
    change(&[], &[(6, "203.0.113.6")]);
    wait_until("nobody is left", || !is_refused(&gateway, "203.0.113.6"));
    change(&[(7, "203.0.113.7", "4h")], &[]);
    wait_until("and somebody comes", || is_refused(&gateway, "203.0.113.7"));
    let asked = api.script().asked.clone();
    assert!(asked.iter().all(|asked| *asked == target(false)), "{asked:?}");

    // What was answered while it failed is lost, so everything is asked for.
    {
        let mut script = api.script();
        script.changes = ["<html>busy</html>".into(), stream_of(&[(8, "203.0.113.8", "4h")], &[])].into();
        script.everything = Some(stream_of(&[(8, "203.0.113.8", "4h")], &[]));
    }
    wait_until("it is read again", || is_refused(&gateway, "203.0.113.8"));
    assert!(!is_refused(&gateway, "203.0.113.7"));
    assert!(api.script().asked.contains(&target(true)));
    assert_eq!(api.asked_next(2)[1], target(false));
    let everything = api.script().everything.take();
    wait_until("the failure is told", || the_list(&gateway)["failure"].is_string());
    assert!(is_refused(&gateway, "203.0.113.8"), "what was read before holds on");
    assert_eq!(api.asked_next(1)[0], target(true));
    api.script().everything = everything;
    wait_until("it goes on", || the_list(&gateway)["failure"].is_null());

    gateway.kill();
    api.script().asked.clear();
    gateway.restart();
    assert!(is_refused(&gateway, "203.0.113.8"), "from what was kept");
    wait_until("it goes on", || api.script().asked.len() >= 2);
    assert_eq!(api.script().asked[..2], [target(true), target(false)]);
}

#[test]
fn a_decision_ends_in_time_although_nobody_can_be_asked_and_a_list_is_renewed_as_a_whole() {
    let api = Api::start();
    api.script().everything = Some(stream_of(&[(1, "203.0.113.1", "4h"), (2, "203.0.113.2", "4h")], &[]));
    let url = format!("http://{}/v1/decisions/stream", api.address);
    let gateway = with_list(&url, "k", "for = \"1h\"\n");
    wait_until("everything is read", || is_refused(&gateway, "203.0.113.1"));
    // Its time is short only now: the gateway's start takes as long as it takes.
    api.script().changes.push_back(stream_of(&[(1, "203.0.113.1", "8s")], &[]));
    wait_until("its time is told", || api.script().changes.is_empty());
    api.script().everything = None;
    wait_until("its time is over", || !is_refused(&gateway, "203.0.113.1"));
    assert!(is_refused(&gateway, "203.0.113.2"));

    api.script().everything = Some(stream_of(&[(2, "203.0.113.2", "4h")], &[]));
    gateway.write_configuration(&crate::denylists::configuration(
        &gateway.folder,
        gateway.port,
        &format!(
            "[list.crowd]\nurl = \"{url}\"\nheaders = {{ X-Api-Key = \"k\" }}\nrefresh = \"1s\"\nfor = \"20s\"\n"
        ),
    ));
    let reloaded = gateway.cli(&["reload"]);
    assert!(reloaded.status.success(), "{}", said(&reloaded));
    let wholes = || api.script().asked.iter().filter(|asked| asked.contains("startup=true")).count();
    wait_until("it is read under its new terms", || {
        the_list(&gateway)["left_s"].as_u64().is_some_and(|left| left <= 20)
            && api.script().asked.last().is_some_and(|asked| asked.contains("startup=false"))
    });
    let before = wholes();
    wait_until("it is read as a whole when half of its lease is over", || wholes() >= before + 2);
    assert!(is_refused(&gateway, "203.0.113.2"));
}

#[test]
fn the_local_api_of_crowdsec_is_followed() {
    let Some(mut crowdsec) = CrowdSec::start() else {
        privilege::skip_unavailable(
            "the_local_api_of_crowdsec_is_followed",
            "CrowdSec is not to be had here",
        );
        return;
    };
    let add = |crowdsec: &CrowdSec, what: [&str; 2], rest: &[&str]| {
        crowdsec.cli(&[&["decisions", "add", "--duration", "4h"], &what[..], rest].concat());
    };
    add(&crowdsec, ["--ip", "203.0.113.1"], &[]);
    add(&crowdsec, ["--range", "198.51.100.0/24"], &[]);
    add(&crowdsec, ["--ip", "203.0.113.2"], &["--type", "captcha"]);
    add(&crowdsec, ["--scope", "Country"], &["--value", "XX"]);
    let url = format!("{}/v1/decisions/stream?scopes=ip,range,country", crowdsec.url());
    let gateway = with_list(&url, KEY, "");
    wait_until("everything is read", || is_refused(&gateway, "203.0.113.1"));
    let refused = ["203.0.113.2", "198.51.100.77"].map(|client| is_refused(&gateway, client));
    assert_eq!(refused, [false, true]);
    let list = the_list(&gateway);
    assert_eq!((&list["entries"], &list["skipped"]), (&2.into(), &2.into()), "{list}");

    // Another decision about the same address, longer than the first; both go one after the other, the longer one first.
    crowdsec.cli(&["decisions", "add", "--ip", "203.0.113.1", "--duration", "8h"]);
    add(&crowdsec, ["--ip", "2001:db8::1"], &[]);
    wait_until("what is new is refused", || is_refused(&gateway, "2001:db8::1"));
    let both = crowdsec.decisions("203.0.113.1");
    assert_eq!(both.len(), 2, "{both:?}");
    let longer = both.iter().max().expect("two");
    crowdsec.cli(&["decisions", "delete", "--id", &longer.to_string()]);
    crowdsec.cli(&["decisions", "delete", "--ip", "2001:db8::1"]);
    wait_until("what is deleted is free", || !is_refused(&gateway, "2001:db8::1"));
    assert!(is_refused(&gateway, "203.0.113.1"), "one decision is left");
    crowdsec.cli(&["decisions", "delete", "--ip", "203.0.113.1"]);
    wait_until("the last one is deleted", || !is_refused(&gateway, "203.0.113.1"));
    crowdsec.cli(&["decisions", "delete", "--type", "captcha"]);
    wait_until("those for others are counted", || the_list(&gateway)["skipped"] == 1);

    crowdsec.cli(&["decisions", "add", "--ip", "203.0.113.3", "--duration", "30s"]);
    wait_until("a short one is refused", || is_refused(&gateway, "203.0.113.3"));
    crowdsec.stop();
    wait_until("the failure is told", || the_list(&gateway)["failure"].is_string());
    wait_within(2 * PATIENCE, "its time is over", || !is_refused(&gateway, "203.0.113.3"));
    assert!(is_refused(&gateway, "198.51.100.77"));
    crowdsec.restart();
    wait_until("the API is back", || the_list(&gateway)["failure"].is_null());
    add(&crowdsec, ["--ip", "203.0.113.4"], &[]);
    wait_until("it goes on", || is_refused(&gateway, "203.0.113.4"));
    let kept = gateway.folder.join("state/lists/crowd.list");
    // It is written after layer 7 refuses.
    wait_until("it is kept", || {
        fs::read_to_string(&kept).is_ok_and(|kept| kept == "198.51.100.0/24\n203.0.113.4\n")
    });
}
