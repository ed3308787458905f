//! `portcullis demo`: the whole story on one machine, with real namespaces, a real gateway and real drops.
//!
//! The gateway that it starts is this binary with `run`. What is shown has happened: each act is checked, and the exit
//! code says so. All that was made is removed again, after Ctrl-C and after an error too; what a killed run left is
//! removed by the next.

pub mod acts;
pub mod client;
pub mod issuer;
pub mod network;
pub mod screen;
pub mod services;
pub mod stage;

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use screen::Screen;
use stage::Stage;

/// What the command line asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// End after the last act instead of staying up.
    pub once: bool,
    /// Whether to use colours.
    pub colour: bool,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces and XDP need root.
    #[error("the demo needs root (CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_BPF): run it with sudo")]
    NotRoot,
    /// It could not be put up.
    #[error(transparent)]
    Stage(#[from] stage::Error),
    /// An act went otherwise.
    #[error(transparent)]
    Acts(#[from] acts::Error),
}

/// Plays the demo; without `once` stays up afterwards until Ctrl-C.
pub fn run(options: Options) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    let interrupted = watch_signals();
    let mut screen = Screen::new(std::io::stdout().is_terminal(), options.colour);
    screen.line("Portcullis demo: a polite client, an abuser, and the kernel between them.\n");
    let stage = Stage::new(|step| screen.step(step))?;
    match acts::Play::new(&stage, &mut screen, &interrupted).run() {
        Err(acts::Error::Interrupted) => return Ok(()),
        result => result?,
    }
    if !options.once {
        invite(&stage, &mut screen)?;
        while !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    screen.line("\nCleaning up: gateway, namespaces, pinned maps, files.");
    Ok(())
}

/// Lines to paste.
fn invite(stage: &Stage, screen: &mut Screen) -> Result<(), Error> {
    let token = stage.issuer.token("you", Duration::from_secs(24 * 3600)).map_err(acts::Error::from)?;
    let folder = stage.folder.display();
    let port = stage.port;
    let name = stage::SERVER_NAME;
    let socket = stage.socket();
    let socket = socket.display();
    let abuser = &stage.abuser.name;
    let from_abuser = stage.abuser.gateway;
    screen.line(&format!(
        "\nThe gateway stays up until Ctrl-C. In another terminal:\n
  TOKEN={token}
  curl --cacert {folder}/certificate.pem --resolve {name}:{port}:127.0.0.1 -H \"Authorization: Bearer $TOKEN\" https://{name}:{port}/v1/users/42

  # be the abuser: 20 denials, then silence
  for i in $(seq 25); do ip netns exec {abuser} curl -m1 -s -o /dev/null -w '%{{http_code}}\\n' --cacert {folder}/certificate.pem --resolve {name}:{port}:{from_abuser} https://{name}:{port}/v1/users/42; done

  {binary} bans --socket {socket}
  {binary} unban {address} --socket {socket}
  {binary} top --socket {socket}
  curl http://{operations}/metrics
  cat {folder}/gateway.toml",
        binary = std::env::current_exe().map_or_else(|_| String::from("portcullis"), |path| path.display().to_string()),
        address = stage.abuser.address,
        operations = stage.operations,
    ));
    Ok(())
}

/// A flag that SIGINT, SIGTERM and SIGHUP set.
fn watch_signals() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let watcher = std::thread::Builder::new().name("demo-signals".into()).spawn(move || {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
                signal(SignalKind::hangup()),
            ) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                flag.store(true, Ordering::Relaxed);
            }
        });
    });
    drop(watcher);
    interrupted
}
