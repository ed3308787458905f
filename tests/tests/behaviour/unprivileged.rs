//! Running it with few lines, few rights and few places to write to.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::curl::curl;
use tests::echo::Echo;
use tests::gateway::{Gateway, binary};

#[test]
fn without_root_it_runs_as_a_plain_gateway_and_says_once_that_the_kernel_stage_is_off() {
    if !rustix::process::geteuid().is_root() {
        // Then every other test of this file has shown it already.
        return;
    }
    let folder = tests::gateway::folder();
    let port = tests::gateway::free_port();
    let f = folder.display();
    std::fs::write(
        folder.join("gateway.toml"),
        format!(
            "[gateway]\nstate = \"{f}/state\"\n[admin]\nsocket = \"{f}/admin.sock\"\n[listen.main]\naddress = \"127.0.0.1:{port}\"\n\
             [shield]\ninterfaces = [\"lo\"]\nban = \"20 denials in 10s\"\n[route.all]\nmatch = \"/*\"\nrespond = {{ status = 200, body = \"plain\" }}\n"
        ),
    )
    .unwrap();
    // The binary may stand where a stranger cannot read.
    let copy = folder.join("portcullis");
    std::fs::copy(binary(), &copy).unwrap();
    Command::new("chown").args(["-R", "nobody", folder.to_str().unwrap()]).status().unwrap();
    let mut child = Command::new("setpriv")
        .args(["--reuid=nobody", "--clear-groups", "--bounding-set=-all"])
        .arg(&copy)
        .args(["run", "--config", folder.join("gateway.toml").to_str().unwrap()])
        .stderr(std::fs::File::create(folder.join("said")).unwrap())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let mut body = String::new();
    while body.is_empty() && started.elapsed() < Duration::from_secs(10) {
        body = curl(&[&format!("http://127.0.0.1:{port}/")]).body;
    }
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::TERM);
    let _ = child.wait();
    let said = std::fs::read_to_string(folder.join("said")).unwrap();
    assert_eq!(body, "plain", "{said}");
    assert_eq!(said.matches("kernel stage is off").count(), 1, "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_state_folder_that_cannot_be_written_is_said_once_and_stops_nothing() {
    // Nobody makes a folder there, not even root.
    let gateway = Gateway::start(
        "[gateway]\nworkers = 1\nstate = \"/sys/portcullis-test\"\n\
         [route.all]\nmatch = \"/*\"\nrespond = { status = 200 }\n",
    );
    assert_eq!(curl(&[&gateway.url("/")]).status, 200);
    let said = gateway.said();
    assert_eq!(said.matches("bans are not kept over a restart").count(), 1, "{said}");
    assert!(gateway.cli(&["ban", "198.51.100.7"]).status.success());
}

#[test]
fn six_lines_are_a_reverse_proxy_for_whoever_starts_it() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: another user can only be taken on by root");
        return;
    }
    let echo = Echo::start();
    let (folder, port) = (tests::gateway::folder(), tests::gateway::free_port());
    let text = format!(
        "[listen.http]\naddress = \"127.0.0.1:{port}\"\n\n[route.api]\nmatch = \"/*\"\nto    = \"{}\"\n",
        echo.url()
    );
    assert_eq!(text.lines().count(), 6);
    std::fs::write(folder.join("gateway.toml"), text).unwrap();
    let (copy, runtime) = (folder.join("binary"), folder.join("runtime"));
    std::fs::copy(binary(), &copy).unwrap();
    std::fs::create_dir(&runtime).unwrap();
    Command::new("chown").args(["-R", "nobody", folder.to_str().unwrap()]).status().unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--clear-groups", "--bounding-set=-all"]).arg(&copy).args(arguments);
        command.current_dir(&folder).env("XDG_RUNTIME_DIR", &runtime);
        command
    };
    let mut child = as_nobody(&["run", "--config", "gateway.toml"])
        .stderr(std::fs::File::create(folder.join("said")).unwrap())
        .stdout(std::fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let url = format!("http://127.0.0.1:{port}/a?b=c");
    let mut answer = curl(&[&url]);
    while answer.status != 200 && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
        answer = curl(&[&url]);
    }
    let status = as_nobody(&["status", "--config", "gateway.toml"]).output().unwrap();
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::TERM);
    let ended = child.wait().unwrap();
    let said = std::fs::read_to_string(folder.join("said")).unwrap();
    assert_eq!(answer.status, 200, "{said}");
    assert_eq!(answer.json()["line"], "GET /a?b=c HTTP/1.1");
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(
        status.status.success(),
        "the command line of that user finds it: {}",
        String::from_utf8_lossy(&status.stderr)
    );
    assert_eq!(said.matches("the admin socket is").count(), 1, "{said}");
    assert!(
        std::fs::read_to_string(folder.join("log")).unwrap().contains("\"url.path\":\"/a\""),
        "requests are logged"
    );
    std::fs::remove_dir_all(folder).unwrap();
}
