//! The server on a real socket, with real clients: raw ones, and curl as other users.

use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream as Client;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::connection::{BODY_BYTES_MAX, REQUEST_TIMEOUT};
use super::*;
use crate::abuse::enforcer::NoKernel;
use crate::abuse::exempt::Because;
use crate::abuse::keeper::{self, Keeper, Settings};
use crate::admin::api;
use crate::admin::problem::Problem;
use crate::config::history::Author;

const OPERATOR: u32 = 64_001;
const VIEWER: u32 = 64_002;
const STRANGER: u32 = 64_003;

/// A keeper that bans at layer 7, and nothing else of a gateway.
struct Part(keeper::Handle);

impl Backend for Part {
    fn keeper(&self) -> &keeper::Handle {
        &self.0
    }
    async fn status(&self) -> Result<api::Status, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn reload(&self, request: api::Reload, _: &Author) -> Result<api::Reloaded, Problem> {
        assert!(request.dry_run, "the test asks for nothing else");
        panic!("a handler that panics")
    }
    async fn apply(&self, _: api::Apply, _: &Author) -> Result<api::Applied, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn roll_back(&self, _: api::RollBack, _: &Author) -> Result<api::Applied, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn history(&self) -> Result<api::History, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn show_history(&self, _: api::ShowHistory) -> Result<api::Shown, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn explain(&self, request: api::Explain) -> Result<api::Explanation, Problem> {
        Ok(api::Explanation { steps: Vec::new(), outcome: request.url })
    }
    async fn keys(&self) -> Result<api::Keys, Problem> {
        Ok(api::Keys { keys: Vec::new() })
    }
    async fn routes(&self, _: api::ListRoutes) -> Result<api::Routes, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn tables(&self, _: api::GetTables) -> Result<api::Tables, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn set_table(&self, _: api::SetTable, _: &Author) -> Result<api::TableChanged, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn promote_rule(&self, _: api::PromoteRule, _: &Author) -> Result<api::Changed, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn delete_table(&self, _: api::DeleteTable, _: &Author) -> Result<api::TableChanged, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn import_deny(&self, request: api::ImportDeny, _: &Caller) -> Result<api::DenyImported, Problem> {
        Err(Problem::unavailable(format!("{} bytes for {}", request.list.len(), request.name)))
    }
    async fn export_deny(&self, request: api::ExportDeny) -> Result<api::DenyExported, Problem> {
        let entries = if request.name == "long" { 1 << 20 } else { 1 };
        Ok(api::DenyExported { list: "192.0.2.1\n".repeat(entries), entries: entries as u64, covered: 0 })
    }
    async fn remove_deny(&self, _: api::RemoveDeny) -> Result<api::Changed, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
    async fn top(&self) -> Result<api::Top, Problem> {
        Err(Problem::unavailable("no gateway here"))
    }
}

/// Serves on a socket of its own while the test runs on other threads.
fn with_server(grants: Vec<(Role, Subject)>, test: impl FnOnce(&Path) + Send + 'static) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("portcullis-admin-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new().mode(0o755).create(&folder).unwrap();
    let settings = Settings {
        rules: Vec::new(),
        enforce: true,
        parole: None,
        capacity: 1_000,
        collateral: 0,
        exempt: vec![("192.0.2.10/32".parse().unwrap(), Because::Upstream)],
    };
    let enforcer = NoKernel { because: "a test".into() };
    let keeper = Keeper::spawn(keeper::Options { settings, state: None }, Box::new(enforcer)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let socket = folder.join("admin.sock");
    let result = tokio::task::LocalSet::new().block_on(&runtime, async {
        let server = Server::bind(Options { socket: socket.clone(), grants }).unwrap();
        let test = tokio::task::spawn_blocking(move || test(&socket));
        tokio::select! {
            never = server.serve(Rc::new(Part(keeper.handle()))) => match never {},
            result = test => result,
        }
    });
    keeper.stop();
    let _ = std::fs::remove_dir_all(&folder);
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Sends bytes and returns everything that comes until the end, which a refusal may bring before all was sent.
fn raw(socket: &Path, request: &[u8]) -> String {
    let mut client = Client::connect(socket).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = client.write_all(request);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn ask(socket: &Path, method: &str, target: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    let answer = raw(socket, request.as_bytes());
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

#[test]
fn bans_are_made_seen_and_lifted_with_what_curl_would_send() {
    with_server(vec![], |socket| {
        let (status, body) = ask(socket, "POST", "/v1/bans", r#"{"address":"203.0.113.9","for":"10m"}"#);
        let changed: api::Changed = serde_json::from_str(&body).unwrap();
        assert_eq!((status, changed.undo.as_deref()), (200, Some("portcullis unban 1")));
        let (_, body) = ask(socket, "GET", "/v1/bans/1", "");
        let bans: api::Bans = serde_json::from_str(&body).unwrap();
        assert_eq!(bans.bans[0].by, format!("operator {}", rustix::process::geteuid().as_raw()));
        assert_eq!((bans.bans[0].enforced.as_str(), bans.bans[0].left_s), ("gateway", Some(600)));
        assert_eq!(ask(socket, "DELETE", "/v1/bans/203.0.113.9", "").0, 200);
        assert_eq!(ask(socket, "GET", "/v1/bans", "").1, "{\"bans\":[]}\n");
    });
}

#[test]
fn problems_come_as_problem_json_with_their_status() {
    with_server(vec![], |socket| {
        for (method, target, body, status, detail) in [
            ("POST", "/v1/nonsense", "{}", 404, "there is no /v1/nonsense"),
            ("GET", "/v1/bans/9", "", 404, "there is no ban 9"),
            ("DELETE", "/v1/bans/203.0.113.9", "", 404, "203.0.113.9 is not banned"),
            ("POST", "/v1/ban", "{\"prefix\":", 400, "the body cannot be read: EOF while parsing"),
            ("POST", "/v1/bans", r#"{"address":"127.0.0.1"}"#, 409, "127.0.0.1 is never banned"),
            ("POST", "/v1/bans", r#"{"address":"192.0.2.0/24"}"#, 409, "192.0.2.0/24 covers 192.0.2.10"),
            ("POST", "/v1/bans", r#"{"address":"203.0.113.9","for":0}"#, 400, "a ban lasts at least"),
            ("GET", "/v1/status", "", 503, "no gateway here"),
        ] {
            let (found, body) = ask(socket, method, target, body);
            let problem: Problem = serde_json::from_str(&body).expect(&body);
            assert_eq!((found, problem.status), (status, status), "{method} {target}");
            assert!(problem.detail.starts_with(detail), "{method} {target}: {}", problem.detail);
        }
        let answer = raw(socket, b"PUT /v1/bans HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, POST\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
    });
}

#[test]
fn what_is_too_large_or_garbage_is_refused_and_the_next_request_is_served() {
    with_server(vec![], |socket| {
        let large = format!("{{\"reason\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
        let (status, _) = ask(socket, "POST", "/v1/ban", &large);
        assert_eq!(status, 413);
        let chunk = format!("100000\r\n{}\r\n", "y".repeat(0x10_0000));
        let chunked = format!(
            "POST /v1/ban HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}1\r\n!\r\n0\r\n\r\n"
        );
        assert!(raw(socket, chunked.as_bytes()).starts_with("HTTP/1.1 413"));
        assert!(!raw(socket, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").contains("200 OK"));
        let deep = "[".repeat(100_000);
        assert_eq!(ask(socket, "POST", "/v1/ban", &deep).0, 400);
        assert_eq!(ask(socket, "GET", "/v1/keys", ""), (200, "{\"keys\":[]}\n".into()));
    });
}

#[test]
fn a_list_may_be_larger_than_other_requests_and_comes_as_it_is_one_at_a_time() {
    with_server(vec![], |socket| {
        let list = "192.0.2.1\n".repeat(400_000);
        let (status, body) = ask(socket, "PUT", "/v1/deny/drop?format=text", &list);
        assert!(status == 503 && body.contains("4000000 bytes for drop"), "{status} {body}");
        let command = serde_json::json!({ "name": "drop", "list": list }).to_string();
        let (status, body) = ask(socket, "POST", "/v1/deny-import", &command);
        assert!(status == 503 && body.contains("4000000 bytes for drop"), "{status} {body}");
        let head = "PUT /v1/deny/drop HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n\r\n192.0.2.1\n";
        let mut client = Client::connect(socket).unwrap();
        client.write_all(head.as_bytes()).unwrap();
        let mut answer_begins = [0; 12];
        client.read_exact(&mut answer_begins).unwrap();
        assert_eq!(&answer_begins, b"HTTP/1.1 413", "before it has come");
        assert_eq!(ask(socket, "POST", "/v1/deny/drop", &list).0, 413, "only a list may be so large");
        let answer = raw(socket, b"GET /v1/deny/drop HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.contains("content-type: text/plain"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n192.0.2.1\n"), "{answer}");
        assert_eq!(ask(socket, "GET", "/v1/deny", ""), (200, "{\"lists\":[]}\n".into()));

        let mut slow = Client::connect(socket).unwrap();
        slow.write_all(b"GET /v1/deny/long HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        slow.read_exact(&mut answer_begins).unwrap();
        assert_eq!(&answer_begins, b"HTTP/1.1 200");
        for (method, target, body) in
            [("GET", "/v1/deny/drop", ""), ("POST", "/v1/deny-export", r#"{"name":"drop"}"#)]
        {
            let (status, body) = ask(socket, method, target, body);
            assert!(status == 503 && body.contains("another list is being exported"), "{status} {body}");
        }
        drop(slow);
        assert_eq!(ask(socket, "GET", "/v1/deny/drop", ""), (200, "192.0.2.1\n".into()));
    });
}

/// Collects what is logged on the server's thread.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_change_leaves_an_audit_line_and_looking_leaves_none() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        with_server(vec![], |socket| {
            ask(socket, "GET", "/v1/bans", "");
            ask(socket, "POST", "/v1/bans", r#"{"address":"203.0.113.9","reason":"scanner"}"#);
            ask(socket, "DELETE", "/v1/bans/203.0.113.8", "");
        });
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let audit: Vec<&str> = text.lines().filter(|line| line.contains(" audit: ")).collect();
    let who = format!(
        "uid={} gid={} pid={}",
        rustix::process::geteuid(),
        rustix::process::getegid(),
        std::process::id()
    );
    assert_eq!(audit.len(), 2, "{text}");
    assert!(
        audit[0].contains("done") && audit[0].contains(&who) && audit[0].contains("203.0.113.9/32"),
        "{text}"
    );
    assert!(audit[1].contains("refused") && audit[1].contains("203.0.113.8 is not banned"), "{text}");
}

#[test]
fn a_page_of_another_origin_cannot_use_a_browsers_certificate() {
    with_server(vec![], |socket| {
        let ask = |origin: &str| {
            raw(
                socket,
                format!("GET /v1/keys HTTP/1.1\r\nHost: gw:9443\r\nOrigin: {origin}\r\n\r\n").as_bytes(),
            )
        };
        for origin in ["https://evil.test", "null", "http://gw:9443", "https://gw:9443.evil.test"] {
            assert!(ask(origin).starts_with("HTTP/1.1 403"), "{origin}");
        }
        assert!(ask("https://gw:9443").starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_handler_that_panics_ends_its_own_request_only() {
    with_server(vec![], |socket| {
        assert_eq!(ask(socket, "POST", "/v1/reload", r#"{"dry_run":true}"#), (0, String::new()));
        assert_eq!(ask(socket, "GET", "/v1/keys", "").0, 200);
    });
}

#[test]
fn slow_clients_are_cut_off_and_do_not_keep_others_waiting() {
    with_server(vec![], |socket| {
        let start = Instant::now();
        let mut in_head = Client::connect(socket).unwrap();
        in_head.write_all(b"GET /v1/ke").unwrap();
        let mut in_body = Client::connect(socket).unwrap();
        in_body.write_all(b"POST /v1/ban HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").unwrap();
        assert_eq!(ask(socket, "GET", "/v1/keys", "").0, 200);
        assert!(start.elapsed() < REQUEST_TIMEOUT);
        let mut answer = String::new();
        in_body.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        in_head.read_to_string(&mut String::new()).unwrap();
        assert!(start.elapsed() >= REQUEST_TIMEOUT && start.elapsed() < 3 * REQUEST_TIMEOUT);
    });
}

#[test]
fn connections_beyond_the_limit_wait_and_are_served_when_others_go() {
    with_server(vec![], |socket| {
        let mut idle: Vec<Client> = (0..CONNECTIONS_MAX).map(|_| Client::connect(socket).unwrap()).collect();
        let mut waiting = Client::connect(socket).unwrap();
        waiting.write_all(b"GET /v1/keys HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        waiting.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(waiting.read(&mut [0; 1]).is_err(), "it waits");
        idle.pop();
        waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

/// What curl gets as another user; none when it could not even connect.
fn curl_as(uid: u32, socket: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "10", "--write-out", "%{http_code}", "--unix-socket"])
        .arg(socket)
        .args(arguments)
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Whether this test can become other users and has curl; says so loudly when not.
fn can_be_others(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let curl = Command::new("curl").arg("--version").output().is_ok();
    if !(root && curl) {
        eprintln!("SKIPPED {test}: needs root (have: {root}) and curl (have: {curl})");
    }
    root && curl
}

#[test]
fn a_second_user_is_refused_by_the_sockets_mode_when_nobody_else_is_admitted() {
    if !can_be_others("a_second_user_is_refused_by_the_sockets_mode_when_nobody_else_is_admitted") {
        return;
    }
    with_server(vec![], |socket| {
        assert_eq!(curl_as(STRANGER, socket, &["http://x/v1/keys"]), None);
        assert!(curl_as(0, socket, &["http://x/v1/keys"]).unwrap().ends_with("200"));
    });
}

#[test]
fn strangers_get_403_viewers_look_and_operators_change() {
    if !can_be_others("strangers_get_403_viewers_look_and_operators_change") {
        return;
    }
    let grants = vec![(Role::Operator, Subject::User(OPERATOR)), (Role::Viewer, Subject::Group(VIEWER))];
    with_server(grants, |socket| {
        let look = ["http://x/v1/bans"];
        let change = ["http://x/v1/bans", "-d", r#"{"address":"203.0.113.9"}"#];
        for (uid, may_look, may_change) in
            [(STRANGER, "403", "403"), (VIEWER, "200", "403"), (OPERATOR, "200", "200"), (0, "200", "200")]
        {
            let looked = curl_as(uid, socket, &look).unwrap();
            assert!(looked.ends_with(may_look), "{uid}: {looked}");
            let changed = curl_as(uid, socket, &change).unwrap();
            assert!(changed.ends_with(may_change), "{uid}: {changed}");
        }
        let answer = curl_as(STRANGER, socket, &look).unwrap();
        let problem: Problem = serde_json::from_str(answer.trim_end_matches("403")).unwrap();
        let said = format!("/v1/bans needs the role viewer, and uid {STRANGER} has no role in [admin]");
        assert_eq!(problem.detail, said);
        let changed = curl_as(VIEWER, socket, &change).unwrap();
        let problem: Problem = serde_json::from_str(changed.trim_end_matches("403")).unwrap();
        let refused = problem.refused.unwrap();
        assert_eq!((refused.role, refused.role_needed), (Some(Role::Viewer), Role::Operator));
        assert_eq!(refused.caller, format!("uid {VIEWER}"));
        let (_, body) = ask(socket, "GET", "/v1/bans?ended", "");
        assert!(body.contains(&format!("operator {OPERATOR}")), "{body}");
    });
}

#[test]
fn callers_below_the_admin_role_cannot_hold_every_place() {
    let folder = std::env::temp_dir().join(format!("portcullis-places-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o755).create(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let door = runtime.block_on(async {
        let grants = vec![(Role::Viewer, Subject::User(VIEWER)), (Role::Operator, Subject::User(OPERATOR))];
        Server::bind(Options { socket: folder.join("admin.sock"), grants }).unwrap().door()
    });
    let enter = |uid| {
        let process = crate::admin::peer::Process { uid, gid: uid, pid: None, groups: Box::default() };
        Guest::enter(&door, Caller::Process(process))
    };
    let hold = |uid, times| (0..times).map_while(|_| enter(uid)).collect::<Vec<_>>();
    let strangers = hold(STRANGER, CONNECTIONS_MAX);
    let operators = hold(OPERATOR, 10);
    let viewers = hold(VIEWER, CONNECTIONS_MAX);
    assert_eq!([strangers.len(), operators.len(), viewers.len()], [STRANGERS_MAX, 10, LESSER_MAX - 14]);
    assert_eq!(hold(0, CONNECTIONS_MAX - LESSER_MAX).len(), 8);
    drop(viewers);
    assert!(enter(OPERATOR).is_some(), "a place that was given back");
    let _ = std::fs::remove_dir_all(&folder);
}
