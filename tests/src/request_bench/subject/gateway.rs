//! The gateway itself: one worker, no kernel stage.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::Setup;
use crate::request_bench::case::{Case, ROUTES};

/// The binary, if there is one.
pub(super) fn program() -> Option<PathBuf> {
    std::env::var_os("PORTCULLIS_BIN").map(PathBuf::from).filter(|path| path.is_file())
}

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let program = program().context("PORTCULLIS_BIN names no binary")?;
    let state = setup.path("portcullis", "d");
    fs::create_dir_all(&state)?;
    let file = setup.path("portcullis", "toml");
    fs::write(&file, config(setup))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(&file);
    Ok(command)
}

fn config(setup: &Setup<'_>) -> String {
    let Setup { case, address, upstream, secrets } = setup;
    let state = setup.path("portcullis", "d");
    let tls = match case {
        Case::Tls => format!(
            "tls = {{ certificate = {:?}, key = {:?} }}\n",
            secrets.certificate.display().to_string(),
            secrets.key.display().to_string()
        ),
        Case::Plain | Case::Policies => String::new(),
    };
    let routes = match case {
        Case::Plain | Case::Tls => route("all", "/*", &upstream.to_string(), "auth = \"none\"\n"),
        Case::Policies => {
            let rules = "auth = \"users\"\nlimit = \"address\"\n";
            let routes: String = (1..=ROUTES)
                .map(|number| {
                    route(&format!("v{number}"), &format!("/v{number}/*"), &upstream.to_string(), rules)
                })
                .collect();
            format!(
                "[auth.users]\njwt = \"https://auth.bench.test/\"\naudience = \"api\"\nkeys = \"file:{}\"\n\
                 [limit.address]\nrate = \"1000000/s\"\nby = \"address\"\n{routes}",
                secrets.token_key.display()
            )
        }
    };
    format!(
        "[gateway]\nworkers = 1\nstate = {state:?}\n[admin]\nsocket = {:?}\n[log]\nto = \"stdout\"\n\
         [listen.bench]\naddress = \"{address}\"\n{tls}{routes}",
        state.join("admin.sock"),
    )
}

fn route(name: &str, matches: &str, upstream: &str, rules: &str) -> String {
    // As many as there are requests at a time, as for nginx; haproxy keeps all.
    format!(
        "[route.{name}]\nmatch = \"{matches}\"\nto = [\"http://{upstream}\"]\nidle-connections = 64\n{rules}"
    )
}
