//! haproxy: routes as path rules, the token by `jwt_verify`, the limit by a stick table.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::Setup;
use crate::request_bench::case::{Case, ROUTES};

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let file = setup.path("haproxy", "cfg");
    fs::write(&file, config(setup))?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f"]).arg(&file);
    Ok(command)
}

fn config(setup: &Setup<'_>) -> String {
    let Setup { case, address, upstream, secrets } = setup;
    let tls = match case {
        Case::Tls => {
            format!(" ssl crt {} ssl-min-ver TLSv1.3 alpn http/1.1", secrets.certificate_and_key.display())
        }
        Case::Plain | Case::Policies => String::new(),
    };
    let rules = match case {
        Case::Plain | Case::Tls => "default_backend origin\n".into(),
        Case::Policies => policies(&secrets.token_key.display().to_string()),
    };
    let backends: String = (1..=ROUTES)
        .map(|route| format!("backend origin{route}\nserver origin {upstream}\n"))
        .filter(|_| *case == Case::Policies)
        .collect();
    format!(
        "global\nnbthread 1\nmaxconn 4096\nlog stdout format raw local0 info\n\
         defaults\nmode http\nlog global\noption httplog\noption forwardfor\nhttp-reuse always\n\
         timeout connect 5s\ntimeout client 60s\ntimeout server 60s\n\
         frontend bench\nbind {address}{tls}\nhttp-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n\
         {rules}backend origin\nserver origin {upstream}\n{backends}\
         backend addresses\nstick-table type ip size 100k expire 60s store http_req_rate(1s)\n"
    )
}

fn policies(key: &str) -> String {
    let routes: String = (1..=ROUTES)
        .map(|route| format!("use_backend origin{route} if {{ path_beg /v{route}/ }}\n"))
        .collect();
    format!(
        "http-request track-sc0 src table addresses\n\
         http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 10000000 }}\n\
         http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')\n\
         http-request set-var(txn.exp) http_auth_bearer,jwt_payload_query('$.exp','int')\n\
         http-request set-var(txn.now) date()\n\
         http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}\n\
         http-request deny deny_status 401 unless {{ http_auth_bearer,jwt_verify(txn.alg,\"{key}\") 1 }}\n\
         http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}\n{routes}"
    )
}
