//! Configuration as code: apply, roll back, history, the formatter; and what a crash in the middle of it leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::curl::curl;
use tests::gateway::{Gateway, binary};

/// `/one` and `/two` answer with the same word; `[listen]` and `/one` stand in the main file.
fn start() -> Gateway {
    Gateway::start_with(|folder, port| {
        fs::create_dir_all(folder.join("conf.d")).unwrap();
        fs::write(folder.join("conf.d/two.toml"), two("first")).unwrap();
        format!("[listen.main]\naddress = \"0.0.0.0:{port}\"\n\n{}", route("one", "first"))
    })
}

fn route(name: &str, word: &str) -> String {
    format!("[route.{name}]\nmatch = \"/{name}\"\nrespond = {{ status = 200, body = \"{word}\" }}\n")
}

fn two(word: &str) -> String {
    route("two", word)
}

fn main_file(gateway: &Gateway) -> PathBuf {
    gateway.folder.join("gateway.toml")
}

/// A copy of the configuration beside which another word stands, main file and drop-in.
fn copy_with(gateway: &Gateway, word: &str) -> PathBuf {
    let folder = gateway.folder.join(format!("new-{word}"));
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    let text = fs::read_to_string(main_file(gateway)).unwrap();
    let before = text.split("body = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    fs::write(folder.join("gateway.toml"), text.replace(&before, word)).unwrap();
    fs::write(folder.join("conf.d/two.toml"), two(word)).unwrap();
    folder.join("gateway.toml")
}

fn words(gateway: &Gateway) -> [String; 2] {
    ["/one", "/two"].map(|path| curl(&[&gateway.url(path)]).body)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn text(path: &Path) -> String {
    path.to_str().expect("the test's paths are UTF-8").to_owned()
}

#[test]
fn an_apply_is_in_force_and_in_the_files_and_both_it_and_its_undo_can_be_undone() {
    let gateway = start();
    let new = copy_with(&gateway, "second");
    fs::set_permissions(main_file(&gateway), fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::read_to_string(main_file(&gateway)).unwrap();

    let looked = gateway.cli(&["apply", &text(&new), "--dry-run", "--exit-code"]);
    assert_eq!(looked.status.code(), Some(2), "{}", said(&looked));
    assert!(said(&looked).contains("~ route one"), "{}", said(&looked));
    assert_eq!(words(&gateway), ["first", "first"]);

    let applied = gateway.cli(&["apply", &text(&new), "--why", "a better word"]);
    assert!(applied.status.success(), "{}", said(&applied));
    for expected in ["~ route one", "~ route two", "2 change(s)", "undo with: portcullis rollback 1\n"] {
        assert!(said(&applied).contains(expected), "{expected} in {}", said(&applied));
    }
    assert_eq!(words(&gateway), ["second", "second"]);
    assert_eq!(fs::read_to_string(main_file(&gateway)).unwrap(), fs::read_to_string(&new).unwrap());
    assert_eq!(fs::metadata(main_file(&gateway)).unwrap().permissions().mode() & 0o777, 0o640);

    let back = gateway.cli(&["rollback", "1"]);
    assert!(back.status.success(), "{}", said(&back));
    assert!(said(&back).contains("undo with: portcullis rollback 2\n"), "{}", said(&back));
    assert_eq!(words(&gateway), ["first", "first"]);
    assert_eq!(fs::read_to_string(main_file(&gateway)).unwrap(), before);
    // Without a number: what was before the last change.
    assert!(gateway.cli(&["rollback", "--why", "again"]).status.success());
    assert_eq!(words(&gateway), ["second", "second"]);

    let history = gateway.cli_json(&["history"]);
    let entries = history["entries"].as_array().unwrap();
    let verbs: Vec<_> = entries.iter().map(|entry| entry["verb"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["rollback", "rollback", "apply", "start"]);
    assert_eq!(entries[0]["in_force"], true);
    assert_eq!(entries[2]["why"], "a better word");
    assert!(entries[2]["who"].as_str().unwrap().starts_with("uid "), "{entries:?}");
    assert_eq!(entries[2]["changes"].as_array().unwrap().len(), 2);
    let shown = said(&gateway.cli(&["history", "show", "1"]));
    assert!(shown.contains("# --- conf.d/two.toml ---") && shown.contains("body = \"first\""), "{shown}");
    let unknown = gateway.cli(&["rollback", "77"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", said(&unknown));

    // The audit log says who and what.
    let log = gateway.said();
    let audit = log.lines().find(|line| line.contains("a better word") && line.contains("dry_run\\\":false"));
    let audit = audit.unwrap_or_default();
    assert!(audit.contains("audit") && audit.contains("apply") && audit.contains("~ route one"), "{log}");

    // All of it outlives the process.
    let mut gateway = gateway;
    gateway.restart();
    assert_eq!(words(&gateway), ["second", "second"]);
    assert_eq!(gateway.cli_json(&["history"])["entries"].as_array().unwrap().len(), 4);
}

#[test]
fn a_change_that_cannot_be_put_in_force_changes_no_file() {
    let gateway = start();
    let files = || {
        (fs::read(main_file(&gateway)).unwrap(), fs::read(gateway.folder.join("conf.d/two.toml")).unwrap())
    };
    let before = files();
    let new = copy_with(&gateway, "second");
    let good = fs::read_to_string(&new).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (bad, expected) in [
        (good.replace("respond", "repsond"), "repsond"),
        (good.clone() + &two("twice"), "defined twice"),
        (good.clone() + "[", "gateway.toml:"),
        // This is found out only when it is put in force.
        (good + &format!("\n[listen.more]\naddress = \"{}\"\n", taken.local_addr().unwrap()), "C062"),
    ] {
        fs::write(&new, bad).unwrap();
        let refused = gateway.cli(&["apply", &text(&new)]);
        assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
        assert!(said(&refused).contains(expected), "{expected} in {}", said(&refused));
        assert_eq!(files(), before);
        assert_eq!(words(&gateway), ["first", "first"]);
    }
    let hidden = fs::read_dir(&gateway.folder).unwrap().flatten();
    let hidden: Vec<_> =
        hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    assert_eq!(gateway.cli_json(&["history"])["entries"].as_array().unwrap().len(), 1);
}

#[test]
fn two_who_change_the_same_thing_at_once_do_not_overwrite_each_other() {
    let gateway = start();
    let socket = text(&gateway.socket());
    let post = |command: &str, body: &serde_json::Value| {
        let url = format!("http://x/v1/{command}");
        curl(&["--unix-socket", &socket, "--json", &body.to_string(), &url])
    };
    let main = fs::read_to_string(main_file(&gateway)).unwrap();
    let mut change = serde_json::json!({ "text": main.replace("first", "mine"), "dry_run": true });
    let seen = post("apply", &change).json()["found"].as_str().unwrap().to_owned();
    assert!(gateway.cli(&["apply", &text(&copy_with(&gateway, "theirs"))]).status.success());
    change["dry_run"] = false.into();
    change["expected"] = seen.into();
    let late = post("apply", &change);
    assert_eq!(late.status, 409, "{}", late.body);
    assert_eq!(words(&gateway), ["theirs", "theirs"]);
    let outside = serde_json::json!({ "drop_ins": [{ "name": "../evil.toml", "text": "" }] });
    assert_eq!(post("apply", &outside).status, 400);
}

#[test]
fn reloads_by_hand_are_in_the_history_and_what_was_only_typed_is_not_lost() {
    let gateway = start();
    let main = main_file(&gateway);
    let original = fs::read_to_string(&main).unwrap();
    fs::write(&main, original.replace("first", "typed")).unwrap();
    let reloaded = gateway.cli(&["reload"]);
    assert!(said(&reloaded).contains("undo with: portcullis rollback 1\n"), "{}", said(&reloaded));
    fs::write(&main, original.replace("first", "signalled")).unwrap();
    gateway.signal(Signal::HUP);
    let started = Instant::now();
    while words(&gateway)[0] != "signalled" {
        assert!(started.elapsed() < Duration::from_secs(5), "SIGHUP reloads");
    }
    fs::write(&main, original.replace("first", "unfinished") + "[").unwrap();
    assert_eq!(gateway.cli(&["reload"]).status.code(), Some(78));

    assert!(gateway.cli(&["rollback"]).status.success());
    assert_eq!(words(&gateway)[0], "typed");
    assert!(gateway.cli(&["rollback", "1"]).status.success());
    assert_eq!(fs::read_to_string(&main).unwrap(), original);
    let history = gateway.cli_json(&["history"]);
    let entries = history["entries"].as_array().unwrap();
    let who: Vec<_> = entries
        .iter()
        .map(|entry| (entry["verb"].as_str().unwrap(), entry["who"].as_str().unwrap()))
        .collect();
    let verbs: Vec<_> = who.iter().map(|(verb, _)| *verb).collect();
    assert_eq!(verbs, ["rollback", "rollback", "edited", "reload", "reload", "start"]);
    assert_eq!(who[3].1, "SIGHUP");
    // The text of the unfinished edit is there, on the disk.
    let kept = fs::read_to_string(gateway.folder.join("state/history/00000004.json")).unwrap();
    assert!(kept.contains("unfinished"), "{kept}");
}

#[test]
fn going_back_brings_files_back_and_takes_files_away() {
    let gateway = start();
    let drop_in = |name: &str| gateway.folder.join("conf.d").join(name);
    let new = copy_with(&gateway, "first");
    fs::remove_file(new.with_file_name("conf.d").join("two.toml")).unwrap();
    fs::write(new.with_file_name("conf.d").join("three.toml"), route("three", "third")).unwrap();
    assert!(gateway.cli(&["apply", &text(&new)]).status.success());
    assert!(drop_in("two.toml").exists() && drop_in("three.toml").exists(), "drop-ins stay");
    let pruned = gateway.cli(&["apply", &text(&new), "--prune"]);
    assert!(said(&pruned).contains("- route two"), "{}", said(&pruned));
    assert!(!drop_in("two.toml").exists());
    assert!(gateway.cli(&["rollback", "1"]).status.success());
    assert!(drop_in("two.toml").exists() && !drop_in("three.toml").exists());
    assert_eq!(curl(&[&gateway.url("/two")]).body, "first");
    assert_eq!(curl(&[&gateway.url("/three")]).status, 404);
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_the_old_or_the_new_and_never_a_mixture() {
    let mut gateway = start();
    let new = [copy_with(&gateway, "first"), copy_with(&gateway, "second")];
    let (mut finished, mut interrupted) = (0, 0);
    for round in 0..16 {
        let apply = Command::new(binary())
            .args(["apply", &text(&new[(round + 1) % 2]), "--socket", &text(&gateway.socket())])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // Somewhere on the way: the moments are spread over what an apply takes here.
        std::thread::sleep(Duration::from_millis(8 + 3 * round as u64));
        gateway.kill();
        match apply.unwrap().wait().unwrap().success() {
            true => finished += 1,
            false => interrupted += 1,
        }
        gateway.restart();
        let [one, two] = words(&gateway);
        assert!(one == two && (one == "first" || one == "second"), "round {round}: {one} and {two}");
        let hidden = fs::read_dir(&gateway.folder).unwrap().flatten();
        let note = hidden.into_iter().find(|entry| entry.file_name().to_string_lossy().ends_with(".change"));
        assert!(note.is_none(), "{note:?}");
    }
    assert!(interrupted > 0, "{finished} finished");
}

#[test]
fn secrets_are_in_no_output() {
    let gateway = start();
    let new = copy_with(&gateway, "second");
    let secret = "aHVzaC1odXNoLWh1c2gtaHVzaC1odXNoLWh1c2gtaHVzaA";
    let auth = format!(
        "[auth.a]\njwt = \"me\"\nalgorithms = \"HS256\"\nkeys = '{{\"kty\":\"oct\",\"k\":\"{secret}\"}}'\n"
    );
    let good = fs::read_to_string(&new).unwrap() + &auth;
    fs::write(&new, &good).unwrap();
    let file = text(&new);
    let mut outputs = vec![
        gateway.cli(&["apply", &file, "--dry-run"]),
        gateway.cli(&["apply", &file]),
        gateway.cli(&["history", "show", "2"]),
        gateway.cli(&["history", "show", "2", "--json"]),
        gateway.cli(&["history", "--json"]),
        gateway.cli(&["diff"]),
        tests::gateway::run(&["check", &file]),
        tests::gateway::run(&["check", &file, "--format", "json"]),
    ];
    fs::write(&new, good.replace("\"kty\"", "\"kyt\"")).unwrap();
    outputs.push(gateway.cli(&["apply", &file]));
    outputs.push(gateway.cli(&["rollback", "1"]));
    for output in &outputs {
        assert!(!said(output).contains(secret), "{}", said(output));
    }
    assert!(said(&outputs[1]).contains("+ auth a"), "{}", said(&outputs[1]));
    assert!(said(&outputs[2]).contains("keys = '"), "{}", said(&outputs[2]));
    assert!(!gateway.said().contains(secret), "{}", gateway.said());
    let mode = |name: &str| fs::metadata(gateway.folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state/history"), mode("state/history/00000002.json")), (0o700, 0o600));
}

#[test]
fn the_formatter_writes_checks_and_reads_from_a_pipe() {
    let folder = tests::gateway::folder();
    let path = folder.join("gateway.toml");
    let main = text(&path);
    fs::create_dir_all(folder.join("conf.d")).unwrap();
    let drop_in = text(&folder.join("conf.d/a.toml"));
    fs::write(&path, "[listen.a]\naddress='[::]:80'\nhttp2 = true # yes\n").unwrap();
    fs::write(&drop_in, "[log]\nto = \"off\"\n").unwrap();
    let run = |arguments: &[&str]| tests::gateway::run(&[&["fmt", "--config", &main], arguments].concat());
    let checked = run(&["--check"]);
    assert_eq!((checked.status.code(), said(&checked)), (Some(1), format!("{main}\n")));
    let shown = run(&["--diff"]);
    assert_eq!(shown.status.code(), Some(0));
    assert!(
        said(&shown).contains("-address='[::]:80'\n") && said(&shown).contains("+address = \"[::]:80\"\n")
    );
    let written = run(&[]);
    assert_eq!((written.status.code(), said(&written)), (Some(0), format!("formatted {main}\n")));
    let formatted = "[listen.a]\naddress = \"[::]:80\"\nhttp2   = true  # yes\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), formatted);
    assert_eq!((run(&["--check"]).status.code(), said(&run(&[]))), (Some(0), String::new()));

    let mut piped = Command::new(binary())
        .args(["fmt", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut piped.stdin.take().unwrap(), b"a=1").unwrap();
    assert_eq!(piped.wait_with_output().unwrap().stdout, b"a = 1\n");
    fs::write(&path, "a = \n").unwrap();
    let broken = run(&[&main]);
    assert_eq!(broken.status.code(), Some(78));
    assert!(said(&broken).contains("gateway.toml:1:"), "{}", said(&broken));
    assert_eq!(run(&["/nonexistent.toml"]).status.code(), Some(1));
    fs::remove_dir_all(folder).unwrap();
}
