//! Debian's fail2ban with a configuration of its own: one jail on nginx's log, its own nftables action.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::service::Service;
use crate::stack::first_line;

/// `None` if it is not installed.
pub fn version() -> Option<String> {
    first_line(Command::new("fail2ban-client").arg("--version"))
}

/// Starts the server, and waits until the jail is there.
pub fn start(folder: &Path, log: &Path, port: u16) -> Result<Vec<Service>> {
    let home = folder.join("fail2ban");
    fs::create_dir_all(home.join("filter.d"))?;
    // Its actions, as Debian ships them.
    std::os::unix::fs::symlink("/etc/fail2ban/action.d", home.join("action.d"))?;
    let place = home.display();
    fs::write(
        home.join("fail2ban.conf"),
        format!(
            "[Definition]\nloglevel = INFO\nlogtarget = {place}/log\nsyslogsocket = auto\nsocket = {place}/socket\n\
             pidfile = {place}/pid\ndbfile = None\ndbpurgeage = 1d\ndbmaxmatches = 10\n"
        ),
    )?;
    // `auto` takes inotify where Python has it, else it polls the file. To ignore itself it would ask a name server, of
    // which the namespace has none.
    fs::write(
        home.join("jail.conf"),
        format!(
            "[refused]\nenabled = true\nfilter = refused\nbackend = auto\nusedns = no\nignoreself = false\nlogpath = {}\n\
             maxretry = 20\nfindtime = 10\nbantime = 600\n\
             action = nftables[name=refused, port=\"{port}\", protocol=tcp]\n",
            log.display()
        ),
    )?;
    fs::write(
        home.join("filter.d/refused.conf"),
        "[Definition]\nfailregex = ^<HOST> - \\S+ \\[[^\\]]*\\] \"[^\"]*\" 403 \nignoreregex =\n",
    )?;
    let mut command = Command::new("fail2ban-server");
    command.arg("-c").arg(&home).args(["-f", "-x", "start"]);
    let mut service = Service::start("fail2ban", command, folder)?;
    service.wait_until(|| {
        let mut ask = Command::new("fail2ban-client");
        ask.arg("-c").arg(&home).args(["status", "refused"]);
        ask.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    })?;
    Ok(vec![service])
}
