//! nginx: routes as prefix locations, the limit by address.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::Setup;
use crate::request_bench::case::{Case, ROUTES};

pub(super) fn command(setup: &Setup<'_>) -> Result<Command> {
    let folder = setup.path("nginx", "d");
    fs::create_dir_all(&folder)?;
    let file = setup.path("nginx", "conf");
    fs::write(&file, config(setup))?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "stderr", "-g", "daemon off;"]);
    Ok(command)
}

fn config(setup: &Setup<'_>) -> String {
    let Setup { case, address, upstream, secrets } = setup;
    // Started by root, the worker would be another user, who may not write to the folder.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let folder = setup.path("nginx", "d");
    let folder = folder.display();
    let tls = match case {
        Case::Tls => format!(
            "ssl_certificate {};\nssl_certificate_key {};\nssl_protocols TLSv1.3;\n",
            secrets.certificate.display(),
            secrets.key.display()
        ),
        Case::Plain | Case::Policies => String::new(),
    };
    let ssl = if *case == Case::Tls { " ssl" } else { "" };
    let locations: String = match case {
        Case::Plain | Case::Tls => "location / { proxy_pass http://origin; }\n".into(),
        Case::Policies => (1..=ROUTES)
            .map(|route| {
                format!(
                    "location /v{route}/ {{ limit_req zone=address burst=100000 nodelay; proxy_pass http://origin; }}\n"
                )
            })
            .collect(),
    };
    format!(
        "{user}worker_processes 1;\npid {folder}/pid;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         access_log /dev/null combined;\n\
         client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\nfastcgi_temp_path {folder}/fastcgi;\n\
         uwsgi_temp_path {folder}/uwsgi;\nscgi_temp_path {folder}/scgi;\n\
         keepalive_requests 1000000000;\n\
         limit_req_zone $binary_remote_addr zone=address:10m rate=1000000r/s;\n\
         upstream origin {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{\nlisten {address}{ssl};\nserver_name bench.test;\n{tls}\
         proxy_http_version 1.1;\nproxy_set_header Connection \"\";\nproxy_set_header Host $host;\n\
         proxy_set_header X-Real-IP $remote_addr;\nproxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         proxy_set_header X-Forwarded-Proto $scheme;\n{locations}}}\n}}\n"
    )
}
