//! Debian's fail2ban with a folder, a socket and a database of the test's own, and our action.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::{self, Gateway, folder};

/// How long its server may take to start: it is Python.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running fail2ban, stopped when dropped.
pub struct Fail2ban {
    folder: PathBuf,
    child: Child,
}

impl Fail2ban {
    /// One that bans in `gateway`, with these jails: a name and lines of settings. A jail watches the lines `failed ADDRESS`.
    pub fn start(gateway: &Gateway, jails: &[(&str, &str)]) -> Fail2ban {
        let folder = folder();
        for part in ["action.d", "filter.d"] {
            fs::create_dir(folder.join(part)).expect("a folder can be made");
        }
        let write =
            |name: &str, text: String| fs::write(folder.join(name), text).expect("a file can be written");
        let action =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/fail2ban/action.d/portcullis.conf");
        fs::copy(action, folder.join("action.d/portcullis.conf")).expect("the action is there");
        let root = folder.display();
        write(
            "fail2ban.conf",
            format!(
                "[Definition]\nloglevel = INFO\nlogtarget = {root}/said.log\nsyslogsocket = auto\n\
                 socket = {root}/f.sock\npidfile = {root}/f.pid\ndbfile = {root}/f.db\ndbmaxmatches = 10\n\
                 dbpurgeage = 1d\n[Thread]\nstacksize = 0\n"
            ),
        );
        write(
            "filter.d/failed.conf",
            "[Definition]\nfailregex = ^failed <ADDR>$\ndatepattern = {NONE}\n".into(),
        );
        let mut text = String::from("[DEFAULT]\nbackend = polling\nusedns = no\nlogencoding = utf-8\n");
        for (name, settings) in jails {
            write(&format!("{name}.txt"), String::new());
            text.push_str(&format!(
                "[{name}]\nenabled = true\nfilter = failed\nlogpath = {root}/{name}.txt\n{settings}\n\
                 action = portcullis[name={name}, portcullis={binary}, options=\"--socket {socket}\"]\n",
                binary = gateway::binary().display(),
                socket = gateway.socket().display(),
            ));
        }
        write("jail.conf", text);
        let child = Command::new("fail2ban-server")
            .args(["-f", "-x", "-c"])
            .arg(&folder)
            .args(["-s".as_ref(), folder.join("f.sock").as_os_str()])
            .args(["-p".as_ref(), folder.join("f.pid").as_os_str()])
            .arg("start")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("errors.log")).expect("its output can be kept"))
            .spawn()
            .expect("fail2ban runs; `cargo xtask test` installs it");
        let fail2ban = Fail2ban { folder, child };
        let started = Instant::now();
        while !jails.iter().all(|(name, _)| fail2ban.client(&["status", name]).is_some()) {
            assert!(started.elapsed() < PATIENCE, "fail2ban did not start: {}", fail2ban.said());
            std::thread::sleep(Duration::from_millis(100));
        }
        fail2ban
    }

    /// Lets a jail see that an address failed so many times.
    pub fn failed(&self, jail: &str, address: &str, times: usize) {
        let mut log = fs::File::options().append(true).open(self.folder.join(format!("{jail}.txt")));
        let lines = format!("failed {address}\n").repeat(times);
        log.as_mut().expect("the jail has a log").write_all(lines.as_bytes()).expect("lines can be appended");
    }

    /// What `fail2ban-client` answers, if it could do it.
    pub fn client(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("fail2ban-client")
            .args(["-c".as_ref(), self.folder.as_os_str()])
            .args(["-s".as_ref(), self.folder.join("f.sock").as_os_str()])
            .args(arguments)
            .output()
            .expect("fail2ban-client runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Its log, and what it wrote to standard error.
    pub fn said(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        read("said.log") + &read("errors.log")
    }
}

impl Drop for Fail2ban {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
