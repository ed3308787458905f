//! Who may administer the gateway, from where, and what comes of it: users over the socket, certificates over TLS.

use std::io::{Read, Write};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tests::authority::Authority;
use tests::curl::{Answer, curl, curl_by};
use tests::gateway::{Gateway, binary, folder, free_port, run};
use tests::privilege;

const ROUTE: &str = "[route.all]\nmatch = \"/*\"\nrespond = { status = 200, body = \"ok\" }\n";

/// Whether this test can become another user; says so loudly when not.
fn can_be_nobody(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        privilege::skip(test, "only root can become another user");
    }
    root
}

/// curl over the admin socket, as the user `nobody`.
fn curl_as_nobody(gateway: &Gateway, arguments: &[&str]) -> Answer {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "curl", "--unix-socket"]);
    curl_by(command.arg(gateway.socket()), arguments)
}

fn cli_as_nobody(gateway: &Gateway, arguments: &[&str]) -> Output {
    // The binary may stand where a stranger cannot read. Copied by a process of its own: a file that this one had open to
    // write would be busy for as long as any child that another test starts meanwhile has inherited it.
    let copy = gateway.folder.join("portcullis");
    if !copy.exists() {
        assert!(Command::new("cp").arg(binary()).arg(&copy).status().unwrap().success());
    }
    Command::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(copy)
        .args(arguments)
        .arg("--socket")
        .arg(gateway.socket())
        .output()
        .unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The lines of the audit log.
pub fn audit(gateway: &Gateway) -> Vec<serde_json::Value> {
    let said = gateway.said();
    let lines = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|line| line["target"] == "audit").collect()
}

#[test]
fn a_second_user_is_refused_with_the_reason_and_every_attempt_is_in_the_audit_log() {
    if !can_be_nobody("a_second_user_is_refused_with_the_reason_and_every_attempt_is_in_the_audit_log") {
        return;
    }
    let closed = Gateway::start(ROUTE);
    let refused = cli_as_nobody(&closed, &["bans"]);
    assert_eq!(refused.status.code(), Some(77), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("this user may not use the admin socket"), "{}", stderr(&refused));

    let open = Gateway::start(&format!("[admin]\nviewers = [12345]\n\n{ROUTE}"));
    let answer = curl_as_nobody(&open, &["http://x/v1/bans"]);
    assert_eq!((answer.status, answer.header("content-type")), (403, "application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["detail"], "/v1/bans needs the role viewer, and uid 65534 has no role in [admin]");
    assert_eq!(problem["role_needed"], "viewer");
    let lines = audit(&open);
    let line = lines.first().unwrap_or_else(|| panic!("no audit line in {}", open.said()));
    assert_eq!(
        (&line["message"], &line["uid"], &line["role"]),
        (&"not permitted".into(), &65534.into(), &"none".into())
    );
    assert_eq!(line["command"], "/v1/bans");
}

#[test]
fn a_viewer_looks_an_operator_bans_and_the_exit_code_says_who_may_not() {
    if !can_be_nobody("a_viewer_looks_an_operator_bans_and_the_exit_code_says_who_may_not") {
        return;
    }
    let gateway = Gateway::start(&format!("[admin]\nviewers = [\"nobody\"]\n\n{ROUTE}"));
    assert_eq!(curl_as_nobody(&gateway, &["http://x/v1/bans"]).status, 200);
    let refused = cli_as_nobody(&gateway, &["ban", "203.0.113.9"]);
    assert_eq!(refused.status.code(), Some(77));
    let said = "ban needs the role operator, and uid 65534 has the role viewer";
    assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    assert_eq!(gateway.cli_json(&["bans"])["bans"].as_array().map(Vec::len), Some(0));

    // A group is enough, and a reload gives the role at once.
    gateway.write_configuration(&format!(
        "[listen.main]\naddress = \"0.0.0.0:{}\"\n\n[admin]\noperators = [\"group:nogroup\"]\n\n{ROUTE}",
        gateway.port
    ));
    assert!(gateway.cli(&["reload"]).status.success());
    let banned = cli_as_nobody(&gateway, &["ban", "203.0.113.9"]);
    assert!(banned.status.success(), "{}", stderr(&banned));
    assert_eq!(gateway.cli_json(&["bans"])["bans"][0]["by"], "operator 65534");
}

/// A gateway with an admin listener, and the authorities of its clients and of strangers.
struct Remote {
    gateway: Gateway,
    port: u16,
    authority: Authority,
    foreign: Authority,
}

fn admin_section(authority: &Authority, port: u16, crl: bool) -> String {
    let path = |file: &str| authority.path(file);
    let crl = if crl { format!(", crl = \"{}\"", path("crl.pem")) } else { String::new() };
    format!(
        "[admin]\nlisten = \"127.0.0.1:{port}\"\nadmins = \"uri:spiffe://test/deploy\"\noperators = \"dns:ops.test\"\n\
         viewers = \"cn:auditor\"\ntls = {{ certificate = \"{}\", key = \"{}\", client-ca = \"{}\"{crl} }}\n\n",
        path("server.pem"),
        path("server.key"),
        path("ca.pem"),
    )
}

impl Remote {
    fn start() -> Remote {
        let folder = folder();
        let (authority, foreign) = (Authority::new(&folder, "ours"), Authority::new(&folder, "theirs"));
        authority.issue("server", "/CN=gateway", "IP:127.0.0.1,DNS:localhost");
        for authority in [&authority, &foreign] {
            authority.issue("admin", "/CN=deploy", "URI:spiffe://test/deploy");
            authority.issue("operator", "/CN=someone", "DNS:ops.test");
            authority.issue("viewer", "/CN=auditor", "");
            authority.issue("nobody", "/CN=ops.test", "email:ops.test@ops.test");
        }
        authority.issue("gone", "/CN=gone", "DNS:ops.test");
        authority.revoke("gone");
        let (port, listener) = (free_port(), free_port());
        let text = format!(
            "[listen.main]\naddress = \"127.0.0.1:{listener}\"\n\n{}{ROUTE}",
            admin_section(&authority, port, true)
        );
        let gateway = Gateway::start_in(folder, listener, &text);
        Remote { gateway, port, authority, foreign }
    }

    fn curl(&self, client: Option<(&Authority, &str)>, arguments: &[&str]) -> Answer {
        let ca = self.authority.path("ca.pem");
        let mut all = vec!["--cacert", &ca];
        let files = client.map(|(authority, name)| {
            (authority.path(&format!("{name}.pem")), authority.path(&format!("{name}.key")))
        });
        if let Some((certificate, key)) = &files {
            all.extend(["--cert", certificate, "--key", key]);
        }
        all.extend(arguments);
        curl(&all)
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    fn cli(&self, client: &str, arguments: &[&str]) -> Output {
        let path = |file: &str| self.authority.path(file);
        let (certificate, key) = (path(&format!("{client}.pem")), path(&format!("{client}.key")));
        Command::new(binary())
            .args(arguments)
            .args(["--socket", &format!("https://localhost:{}", self.port)])
            .args(["--cert", &certificate, "--key", &key, "--ca", &path("ca.pem")])
            .output()
            .unwrap()
    }
}

#[test]
fn over_tls_the_name_in_the_certificate_is_the_role_and_every_other_client_stays_outside() {
    let remote = Remote::start();
    let ours = &remote.authority;
    let ban = ["-d", r#"{"address":"203.0.113.9","for":"10m"}"#];
    let look = remote.url("/v1/bans");
    let change = [&ban[..], &[&look]].concat();
    for (name, looks, changes) in
        [("admin", 200, 200), ("operator", 200, 200), ("viewer", 200, 403), ("nobody", 403, 403)]
    {
        assert_eq!(remote.curl(Some((ours, name)), &[&look]).status, looks, "{name}");
        assert_eq!(remote.curl(Some((ours, name)), &change).status, changes, "{name}");
    }
    // No certificate, another CA's with the same names, and a revoked one: no answer, only a TLS alert.
    for (client, what) in [
        (None, "none"),
        (Some((&remote.foreign, "admin")), "foreign"),
        (Some((&remote.foreign, "viewer")), "foreign"),
        (Some((ours, "gone")), "revoked"),
    ] {
        let answer = remote.curl(client, &[&look]);
        assert_eq!((answer.status, answer.body.as_str()), (0, ""), "{what}");
        assert!([35, 56, 58].contains(&answer.exit), "{what}: curl ends with {}", answer.exit);
    }
    let old = remote.curl(Some((ours, "admin")), &["--tls-max", "1.2", &look]);
    assert_eq!((old.status, old.exit), (0, 35), "TLS 1.2 is not spoken");
    let clear = curl(&[&format!("http://127.0.0.1:{}/v1/bans", remote.port)]);
    assert_eq!(clear.status, 0);

    let bans = remote.gateway.cli_json(&["bans"]);
    assert_eq!(bans["bans"][0]["by"], "operator dns:ops.test");
    let lines = audit(&remote.gateway);
    let line = |message: &str, certificate: &str| {
        let found =
            lines.iter().find(|line| line["message"] == message && line["certificate"] == certificate);
        found.unwrap_or_else(|| panic!("no {message:?} of {certificate} in {lines:?}"))
    };
    let banned = line("done", "dns:ops.test");
    assert_eq!((&banned["command"], &banned["role"]), (&"ban".into(), &"operator".into()));
    assert!(banned["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{banned}");
    assert!(banned["request"].as_str().unwrap().contains("203.0.113.9/32"), "{banned}");
    assert_eq!(line("not permitted", "cn:auditor")["command"], "ban");
    assert!(lines.iter().any(|line| line["message"] == "not admitted to the admin listener"), "{lines:?}");
}

#[test]
fn the_command_line_speaks_to_another_machine_and_says_why_not() {
    let remote = Remote::start();
    let status = remote.cli("viewer", &["status", "--json"]);
    assert!(status.status.success(), "{}", stderr(&status));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["pid"], remote.gateway.pid());
    assert_eq!(status["admin"], format!("127.0.0.1:{}", remote.port));
    let refused = remote.cli("viewer", &["ban", "203.0.113.9"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(stderr(&refused).contains("cn:auditor has the role viewer"), "{}", stderr(&refused));
    let revoked = remote.cli("gone", &["bans"]);
    assert_eq!(revoked.status.code(), Some(77), "{}", stderr(&revoked));
    assert!(stderr(&revoked).contains("does not admit this client's certificate"), "{}", stderr(&revoked));

    // The same by variables; without a certificate nothing is sent.
    let url = format!("https://localhost:{}", remote.port);
    let by_variables = Command::new(binary())
        .args(["ban", "203.0.113.9"])
        .env("PORTCULLIS_SOCKET", &url)
        .env("PORTCULLIS_CERT", remote.authority.path("operator.pem"))
        .env("PORTCULLIS_KEY", remote.authority.path("operator.key"))
        .env("PORTCULLIS_CA", remote.authority.path("ca.pem"))
        .output()
        .unwrap();
    assert!(by_variables.status.success(), "{}", stderr(&by_variables));
    let without = run(&["bans", "--socket", &url]);
    assert_eq!(without.status.code(), Some(64));
    assert!(stderr(&without).contains("--cert and --key"), "{}", stderr(&without));
    let nobody = run(&["bans", "--socket", "https://127.0.0.1:1", "--cert", "/nowhere", "--key", "/nowhere"]);
    assert_eq!(nobody.status.code(), Some(64));
    assert!(stderr(&nobody).contains("/nowhere"), "{}", stderr(&nobody));
}

#[test]
fn a_reload_moves_the_admin_listener_takes_in_new_revocations_and_closes_it() {
    let remote = Remote::start();
    let rewrite = |admin: &str| {
        let port = remote.gateway.port;
        remote
            .gateway
            .write_configuration(&format!("[listen.main]\naddress = \"127.0.0.1:{port}\"\n\n{admin}{ROUTE}"));
        let reloaded = remote.gateway.cli(&["reload"]);
        assert!(reloaded.status.success(), "{}", stderr(&reloaded));
    };
    let operator = Some((&remote.authority, "operator"));
    let look = remote.url("/v1/bans");
    assert_eq!(remote.curl(operator, &[&look]).status, 200);
    remote.authority.revoke("operator");
    assert_eq!(remote.curl(operator, &[&look]).status, 200, "not before the reload");
    rewrite(&admin_section(&remote.authority, remote.port, true));
    assert_eq!(remote.curl(operator, &[&look]).status, 0, "revoked");
    rewrite(&admin_section(&remote.authority, remote.port, false));
    assert_eq!(remote.curl(operator, &[&look]).status, 200, "no revocations");

    let moved = free_port();
    rewrite(&admin_section(&remote.authority, moved, true));
    // The socket goes with the last connection that was waiting on it.
    let closed = |url: &str| remote.curl(Some((&remote.authority, "viewer")), &[url]).exit == 7;
    assert!((0..50).any(|_| closed(&look) || pause()), "closed");
    let there = format!("https://127.0.0.1:{moved}/v1/bans");
    assert_eq!(remote.curl(Some((&remote.authority, "viewer")), &[&there]).status, 200);

    // A port that is taken leaves everything as it was.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let section = admin_section(&remote.authority, taken.local_addr().unwrap().port(), true);
    let port = remote.gateway.port;
    let text = format!("[listen.main]\naddress = \"127.0.0.1:{port}\"\n\n{section}{ROUTE}");
    remote.gateway.write_configuration(&text);
    assert_eq!(remote.gateway.cli(&["reload"]).status.code(), Some(78));
    assert_eq!(remote.curl(Some((&remote.authority, "viewer")), &[&there]).status, 200);

    rewrite("");
    assert!((0..50).any(|_| closed(&there) || pause()), "closed");
}

/// Waits a little for something to go on elsewhere.
fn pause() -> bool {
    std::thread::sleep(std::time::Duration::from_millis(50));
    false
}

#[test]
fn without_client_certificates_there_is_no_admin_listener_and_check_says_why() {
    let folder = folder();
    let path = folder.join("gateway.toml");
    std::fs::write(
        &path,
        "[listen.main]\naddress = \"127.0.0.1:1\"\n[admin]\nlisten = \"127.0.0.1:9443\"\n[route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\n",
    )
    .unwrap();
    let checked = run(&["check", path.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("C063") && said.contains("gateway.toml:4:1"), "{said}");
    assert!(said.contains("whoever reaches this address could change everything"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn slow_and_large_requests_end_and_take_no_place_from_others() {
    let remote = Remote::start();
    let operator = Some((&remote.authority, "operator"));
    let look = remote.url("/v1/bans");
    // More than there are places: none of them ever says a word.
    let started = Instant::now();
    let mut silent: Vec<_> =
        (0..40).map(|_| std::net::TcpStream::connect(("127.0.0.1", remote.port)).unwrap()).collect();
    assert_eq!(
        curl(&["--unix-socket", remote.gateway.socket().to_str().unwrap(), "http://x/v1/bans"]).status,
        200,
        "the socket has places of its own"
    );
    silent[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = silent[0].read(&mut [0; 1]);
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(15), "{waited:?}");
    drop(silent);
    assert_eq!(remote.curl(operator, &[&look]).status, 200);

    // Over the socket: a head that never ends, and a body that is too large.
    let socket = remote.gateway.socket();
    let large = remote.gateway.folder.join("large");
    std::fs::write(&large, vec![b'x'; (1 << 20) + 1]).unwrap();
    let data = format!("@{}", large.display());
    assert_eq!(remote.curl(operator, &["--data-binary", &data, &remote.url("/v1/ban")]).status, 413);
    assert_eq!(
        curl(&["--unix-socket", socket.to_str().unwrap(), "--data-binary", &data, "http://x/v1/ban"]).status,
        413
    );
    let mut slow = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    slow.write_all(b"POST /v1/ban HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn a_link_that_was_planted_at_the_sockets_place_is_not_followed() {
    let folder = folder();
    let victim = folder.join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, folder.join("admin.sock")).unwrap();
    let port = free_port();
    let f = folder.display();
    let path = folder.join("gateway.toml");
    std::fs::write(
        &path,
        format!(
            "[gateway]\nstate = \"{f}/state\"\n[admin]\nsocket = \"{f}/admin.sock\"\n[listen.main]\naddress = \"127.0.0.1:{port}\"\n{ROUTE}"
        ),
    )
    .unwrap();
    let output = run(&["run", "--config", path.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("is there and is not a socket"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    std::fs::remove_dir_all(folder).unwrap();
}
