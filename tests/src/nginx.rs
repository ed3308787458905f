//! Debian's nginx as an upstream: a real peer with a configuration of the test's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateway::{folder, free_port};

/// A running nginx, stopped when dropped.
pub struct Nginx {
    /// Port of its server.
    pub port: u16,
    folder: PathBuf,
    child: Child,
}

impl Nginx {
    /// A server with these `location` blocks; its access log holds one line for each request: `request|connection|status`.
    pub fn start(locations: &str) -> Nginx {
        let port = free_port();
        Nginx::start_on(port, locations)
    }

    /// The same on a given port.
    pub fn start_on(port: u16, locations: &str) -> Nginx {
        Nginx::start_as(port, "", locations)
    }

    /// With directives for the `http` block.
    pub fn start_with_http(http: &str, locations: &str) -> Nginx {
        Nginx::start_as(free_port(), http, locations)
    }

    fn start_as(port: u16, http: &str, locations: &str) -> Nginx {
        let folder = folder();
        let root = folder.display();
        let configuration = format!(
            "daemon off; master_process off; pid {root}/nginx.pid; error_log {root}/error.log; user root;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n\
               log_format line '$request|$connection|$status';\n\
               access_log {root}/access.log line;\n\
               client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n\
               uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
               client_max_body_size 0; keepalive_requests 100000; {http}\n\
               server {{ listen 127.0.0.1:{port}; {locations} }}\n\
             }}\n"
        );
        let path = folder.join("nginx.conf");
        fs::write(&path, configuration).expect("nginx's configuration can be written");
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .arg("-p")
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx runs; `cargo xtask test` installs it");
        let nginx = Nginx { port, folder, child };
        nginx.wait_until_ready();
        nginx
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines of its access log.
    pub fn requests(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("access.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_until_ready(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "nginx did not start: {}",
                fs::read_to_string(self.folder.join("error.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
