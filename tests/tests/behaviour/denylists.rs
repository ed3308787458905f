//! Lists that others keep, in force: by command, from a file and from a server, without a kernel stage.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tests::curl::{Answer, curl};
use tests::gateway::Gateway;

/// Longer than any of this takes on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn configuration(folder: &Path, port: u16, lists: &str) -> String {
    format!(
        "[gateway]\nstate = \"{}/state\"\ntrusted-proxies = [\"127.0.0.1/32\"]\n\
         [listen.main]\naddress = \"0.0.0.0:{port}\"\n\
         [log]\nto = \"file:{}/access.log\"\n\
         [route.open]\nmatch = \"/open\"\nrespond = {{ status = 200 }}\n{lists}",
        folder.display(),
        folder.display()
    )
}

/// A gateway whose clients are told apart by what a trusted proxy says.
pub fn gateway(lists: impl FnOnce(&Path) -> String) -> Gateway {
    Gateway::start_with(|folder, port| {
        let lists = lists(folder);
        configuration(folder, port, &lists)
    })
}

fn get(gateway: &Gateway, client: &str) -> Answer {
    curl(&["-H", &format!("X-Forwarded-For: {client}"), &gateway.url("/open")])
}

pub fn is_refused(gateway: &Gateway, client: &str) -> bool {
    let answer = get(gateway, client);
    assert_eq!(answer.status, if answer.header("x-gateway-reason") == "banned" { 403 } else { 200 });
    answer.status == 403
}

pub fn wait_until(what: &str, is: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, is);
}

pub fn wait_within(patience: Duration, what: &str, mut is: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is() {
        assert!(started.elapsed() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn import(gateway: &Gateway, list: &str, arguments: &[&str]) -> Output {
    let file = gateway.folder.join("given.txt");
    fs::write(&file, list).expect("a file can be written");
    let file = file.display().to_string();
    gateway.cli(&[&["deny", "import", &file][..], arguments].concat())
}

/// The only list, as the gateway tells of it.
pub fn the_list(gateway: &Gateway) -> serde_json::Value {
    gateway.cli_json(&["deny", "list"])["lists"][0].clone()
}

#[test]
fn a_list_by_command_is_in_force_comes_back_as_it_was_and_outlives_a_restart() {
    let mut gateway = gateway(|_| String::new());
    assert_eq!(said(&gateway.cli(&["deny", "list"])), "there are no lists\n");
    let list =
        "203.0.113.0/30\n2001:db8::/32 # a network\n<br>\n127.0.0.1\n64.0.0.0/6\n203.0.113.9\n203.0.113.9\n";
    let dry = import(&gateway, list, &["--as", "drop", "--dry-run"]);
    assert!(
        said(&dry).contains("list drop would hold 3 addresses and networks until it is removed"),
        "{}",
        said(&dry)
    );
    assert!(!is_refused(&gateway, "203.0.113.9"));

    let imported = import(&gateway, list, &["--as", "drop"]);
    assert_eq!(
        said(&imported),
        "read as text: 6 taken, 1 skipped\n  skipped line 3: <br>\n2 left out:\n  \
         64.0.0.0/6: it is wider than /8\n  127.0.0.1: 127.0.0.1 is never banned (trusted proxy)\n\
         list drop holds 3 addresses and networks until it is removed\n\
         undo with: portcullis deny remove drop\n"
    );
    let refused = ["203.0.113.9", "203.0.113.2", "2001:db8::77", "203.0.113.4", "192.0.2.1"];
    let refused = |gateway: &Gateway| refused.map(|client| is_refused(gateway, client));
    assert_eq!(refused(&gateway), [true, true, true, false, false]);
    wait_until("the log names the list", || {
        gateway.access_log().iter().any(|line| line["deny.ban"] == 1 && line["deny.reason"] == "banned")
    });
    let explained = gateway.cli(&["explain", "GET", "http://x/open", "--from", "203.0.113.2"]);
    assert!(said(&explained).contains("on the list drop, which drops it"), "{}", said(&explained));
    let exported = gateway.cli(&["deny", "export", "drop"]);
    assert_eq!(said(&exported), "203.0.113.0/30\n203.0.113.9\n2001:db8::/32\n");
    let nft = gateway.cli(&["deny", "export", "drop", "--format", "nft"]);
    assert!(import(&gateway, &said(&nft), &["--as", "again", "--for", "1h"]).status.success());
    assert_eq!(said(&gateway.cli(&["deny", "export", "again"])), said(&exported));
    let forced = import(&gateway, list, &["--as", "again", "--force", "--observe"]);
    assert!(said(&forced).contains("list again counts 4 addresses"), "{}", said(&forced));
    assert!(!is_refused(&gateway, "64.0.0.1"), "it only counts");

    gateway.kill();
    gateway.restart();
    assert_eq!(refused(&gateway), [true, true, true, false, false], "at the first request");
    let lists = gateway.cli_json(&["deny", "list"]);
    let of = |index: usize| {
        (&lists["lists"][index]["name"], &lists["lists"][index]["id"], &lists["lists"][index]["entries"])
    };
    assert_eq!(of(0), (&"again".into(), &2.into(), &4.into()));
    assert_eq!(of(1), (&"drop".into(), &1.into(), &3.into()));
    let removed = gateway.cli(&["deny", "remove", "drop"]);
    assert_eq!(said(&removed), "removed the list drop of 3 addresses and networks\n");
    assert_eq!(refused(&gateway), [false; 5]);
    assert!(gateway.cli(&["deny", "remove", "drop"]).status.code() != Some(0));
    assert!(!gateway.folder.join("state/lists/drop.list").exists());
}

#[test]
fn a_list_in_a_file_follows_the_file_and_goes_with_its_table() {
    let file = |folder: &Path| folder.join("drop.txt");
    let gateway = gateway(|folder| {
        fs::write(file(folder), "203.0.113.9\nnonsense\n").expect("a file can be written");
        format!("[list.drop]\nfile = \"{}\"\n", file(folder).display())
    });
    wait_until("the file is read", || is_refused(&gateway, "203.0.113.9"));
    let list = the_list(&gateway);
    assert_eq!(
        (&list["entries"], &list["skipped"], &list["is_configured"]),
        (&1.into(), &1.into(), &true.into())
    );
    assert!(list["left_s"].as_u64().is_some_and(|left| left > 24 * 3600), "{list}");

    let other = gateway.folder.join("drop.new");
    fs::write(&other, "203.0.113.10\n").expect("a file can be written");
    fs::rename(&other, file(&gateway.folder)).expect("it can be moved");
    wait_until("the other file is read", || !is_refused(&gateway, "203.0.113.9"));
    assert!(is_refused(&gateway, "203.0.113.10"));

    fs::write(file(&gateway.folder), "<html>gone</html>\n").expect("a file can be written");
    wait_until("what is no list is told", || the_list(&gateway)["failure"].is_string());
    let failure = the_list(&gateway)["failure"].to_string();
    assert!(failure.contains("it begins with `<html>gone</html>`"), "{failure}");
    assert!(is_refused(&gateway, "203.0.113.10"), "what was read before holds on");

    for refused in
        [import(&gateway, "203.0.113.1\n", &["--as", "drop"]), gateway.cli(&["deny", "remove", "drop"])]
    {
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            said(&refused).contains("[list.drop] stands at ") && said(&refused).contains("gateway.toml:"),
            "{}",
            said(&refused)
        );
    }
    let text = configuration(&gateway.folder, gateway.port, "");
    gateway.write_configuration(&text);
    let reloaded = gateway.cli(&["reload"]);
    assert!(said(&reloaded).contains("list drop"), "{}", said(&reloaded));
    wait_until("the list goes with its table", || !is_refused(&gateway, "203.0.113.10"));
    assert_eq!(said(&gateway.cli(&["deny", "list"])), "there are no lists\n");
}

/// What a server answers: status, and the list.
type Says = Arc<Mutex<(u16, String)>>;

/// A server that knows the `ETag` of what it gives, as long as it gives anything.
struct Server {
    address: SocketAddr,
    says: Says,
    unchanged: Arc<Mutex<u32>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(list: &str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let says = Says::new(Mutex::new((200, list.into())));
        let (unchanged, stop) = (Arc::<Mutex<u32>>::default(), Arc::<AtomicBool>::default());
        let (answers, counted, stopped) = (says.clone(), unchanged.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A client that breaks off asks again.
                let _ = answer(stream, &answers, &counted);
            }
        });
        Server { address, says, unchanged, stop, thread: Some(thread) }
    }

    fn say(&self, status: u16, list: &str) {
        *self.says.lock().expect("not poisoned") = (status, list.into());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: TcpStream, says: &Says, unchanged: &Mutex<u32>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let (status, list) = says.lock().expect("not poisoned").clone();
    let tag = format!("\"{}\"", list.len());
    let (status, body) = match status {
        _ if !head.contains("x-key: open sesame") => (403, ""),
        200 if head.contains(&format!("if-none-match: {tag}")) => {
            *unchanged.lock().expect("not poisoned") += 1;
            (304, "")
        }
        200 => (200, &*list),
        status => (status, "out of order"),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\nETag: {tag}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn a_list_of_a_server_is_asked_for_again_and_holds_while_its_lease_does() {
    let server = Server::start("203.0.113.9\n");
    let url = format!("http://{}/drop?key=hush", server.address);
    let gateway = gateway(|folder| {
        fs::write(folder.join("key"), "open sesame\n").expect("a file can be written");
        format!(
            "[list.feed]\nurl = \"{url}\"\nrefresh = \"1s\"\nfor = \"15s\"\nheaders = {{ X-Key = \"file:{}/key\" }}\n",
            folder.display()
        )
    });
    wait_until("the list is fetched", || is_refused(&gateway, "203.0.113.9"));
    let unchanged = || *server.unchanged.lock().expect("not poisoned");
    // Ten of these take longer than half of the lease, so it was renewed from what was kept.
    wait_until("the server says that nothing has changed", || unchanged() >= 10);
    server.say(200, "203.0.113.10\n203.0.113.11\n");
    wait_until("the new list is fetched", || is_refused(&gateway, "203.0.113.10"));
    assert!(!is_refused(&gateway, "203.0.113.9"));
    let source = the_list(&gateway)["source"].to_string();
    assert!(source.contains("/drop") && !source.contains("hush"), "{source}");

    server.say(503, "");
    wait_until("the failure is told", || the_list(&gateway)["failure"].is_string());
    let failing = said(&gateway.cli(&["deny", "list"]));
    assert!(failing.contains("feed: not read again: the server answered with status 503"), "{failing}");
    let (_, metrics) = gateway.operations("/metrics");
    let count = |line: &str| {
        let found = metrics.lines().find_map(|other| other.strip_prefix(line)?.trim().parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("{line} in {metrics}"))
    };
    assert_eq!(count("portcullis_list_entries{list=\"feed\"}"), 2.0);
    assert!(count("portcullis_list_refreshes_total{list=\"feed\",result=\"unchanged\"}") >= 10.0);
    assert!(count("portcullis_list_refreshes_total{list=\"feed\",result=\"failed\"}") >= 1.0);
    assert_eq!(count("portcullis_list_refreshes_total{list=\"feed\",result=\"taken\"}"), 2.0);
    assert!(count("portcullis_list_lease_seconds{list=\"feed\"}") <= 15.0);
    wait_until("the list ends with its lease", || !is_refused(&gateway, "203.0.113.10"));
    server.say(200, "203.0.113.12\n");
    wait_until("the server is back", || is_refused(&gateway, "203.0.113.12"));
    assert!(the_list(&gateway)["failure"].is_null());
}

#[test]
fn the_api_takes_a_list_as_it_is_and_gives_it_back() {
    let gateway = gateway(|_| String::new());
    let socket = gateway.socket().display().to_string();
    let ask = |arguments: &[&str], path: &str| {
        curl(&[&["--unix-socket", &socket][..], arguments, &[&format!("http://x{path}")]].concat())
    };
    let list = "add bad 203.0.113.9 timeout 600\nadd bad 203.0.113.10 timeout 30\n";
    let put = ["-X", "PUT", "--data-binary", list];
    let dry = ask(&put, "/v1/deny/bad?dry-run&format=ipset");
    assert_eq!((dry.status, &dry.json()["entries"]), (200, &2.into()));
    assert!(!is_refused(&gateway, "203.0.113.9"));
    let done = ask(&put, "/v1/deny/bad");
    assert_eq!(
        done.json()["changes"][0],
        "list bad holds 2 addresses and networks for 10m",
        "the longest of their times"
    );
    assert!(is_refused(&gateway, "203.0.113.9"));
    let got = ask(&[], "/v1/deny/bad");
    assert_eq!((got.status, &*got.body), (200, "203.0.113.9\n203.0.113.10\n"));
    assert!(got.header("content-type").starts_with("text/plain"));
    assert!(ask(&[], "/v1/deny/bad?format=json").body.contains("\"value\":\"203.0.113.9\""));
    let lists = ask(&[], "/v1/deny").json();
    assert_eq!((&lists["lists"][0]["format"], &lists["lists"][0]["entries"]), (&"ipset".into(), &2.into()));
    for (path, status) in [
        ("/v1/deny/bad?froce", 400),
        ("/v1/deny/bad?observe=maybe", 400),
        ("/v1/deny/bad?for=soon", 400),
        ("/v1/deny/bad?format=csv", 400),
        ("/v1/deny/b%20d", 400),
        ("/v1/deny/..%2f..%2fetc", 400),
    ] {
        assert_eq!(ask(&put, path).status, status, "{path}");
    }
    assert_eq!(ask(&["-X", "PUT", "--data-binary", "<html>"], "/v1/deny/bad").status, 400);
    assert!(is_refused(&gateway, "203.0.113.9"), "what is not taken changes nothing");
    let wide = "10.0.0.1-10.255.255.254\n".repeat(30_000);
    let file = gateway.folder.join("wide.txt");
    fs::write(&file, wide).expect("a file can be written");
    let too_many = ask(&["-X", "PUT", "--data-binary", &format!("@{}", file.display())], "/v1/deny/bad");
    assert_eq!(too_many.status, 400);
    assert!(too_many.body.contains("more than 1000000 addresses and networks"), "{}", too_many.body);
    assert_eq!(ask(&["-X", "DELETE"], "/v1/deny/bad").status, 200);
    assert_eq!(ask(&["-X", "DELETE"], "/v1/deny/bad").status, 404);
    assert_eq!(ask(&[], "/v1/deny/bad").status, 404);
    assert!(!is_refused(&gateway, "203.0.113.9"));
}

#[test]
fn what_was_asked_for_by_somebody_who_went_away_is_done_and_in_the_audit_log() {
    let gateway = gateway(|_| String::new());
    // It takes longer to read it than to go away.
    let list: String = (0..300_000_u32)
        .map(|number| format!("11.{}.{}.{}\n", number >> 16, number >> 8 & 255, number & 255))
        .collect();
    let mut client = UnixStream::connect(gateway.socket()).expect("the socket is there");
    let head = format!("PUT /v1/deny/left HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", list.len());
    client.write_all(head.as_bytes()).and_then(|()| client.write_all(list.as_bytes())).expect("it is read");
    drop(client);
    wait_until("it is done", || is_refused(&gateway, "11.0.0.1"));
    wait_until("the audit log says so", || {
        let said = gateway.said();
        let mut lines = said.lines().filter(|line| line.contains("\"target\":\"audit\""));
        lines.any(|line| line.contains("\"message\":\"done\"") && line.contains("left"))
    });
}
