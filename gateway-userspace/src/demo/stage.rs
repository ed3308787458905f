//! Everything that the demo puts up and takes down: hosts, services, issuer, certificate, configuration, gateway.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::issuer::{self, Issuer};
use super::network::{self, Host};
use super::services::Service;
use crate::admin::api::GetStatus;
use crate::admin::client::{Address, call};

/// The name under which the demo's services are reached.
pub const SERVER_NAME: &str = "api.demo.test";
/// Where the demo's maps are pinned, apart from those of a real gateway.
const PINS: &str = "/sys/fs/bpf/portcullis-demo";
/// How the demo's folder is called, before the process id.
const FOLDER: &str = "portcullis-demo-";
/// How long the gateway may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Why the demo could not be put up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespaces could not be made.
    #[error("the demo's network could not be made")]
    Network(#[from] network::Error),
    /// The issuer's key could not be made.
    #[error("the demo's issuer could not be made")]
    Issuer(#[from] issuer::Error),
    /// The certificate could not be made.
    #[error("the demo's certificate could not be made")]
    Certificate(#[from] rcgen::Error),
    /// The certificate could not be trusted.
    #[error("the demo's client could not be set up")]
    Tls(#[from] rustls::Error),
    /// A file or socket failed.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Without the kernel stage there is nothing to show.
    #[error("the gateway runs without its kernel stage: {because}")]
    NoKernel {
        /// Why.
        because: String,
    },
    /// Its admin socket does not answer.
    #[error("the gateway's admin socket did not answer")]
    Admin(#[from] crate::admin::client::Error),
    /// The gateway ended or did not become ready.
    #[error("the gateway did not become ready within {READY_WITHIN:?}; it said:\n{log}")]
    NotReady {
        /// The end of its log.
        log: String,
    },
}

/// The stage. Dropping it stops the gateway and removes all that was made.
pub struct Stage {
    /// The well-behaved client's host.
    pub polite: Host,
    /// The abuser's host.
    pub abuser: Host,
    /// Issues both clients' tokens.
    pub issuer: Arc<Issuer>,
    /// Port of the gateway's listener.
    pub port: u16,
    /// The operations listener.
    pub operations: SocketAddr,
    /// Folder with the configuration, the certificate and the logs.
    pub folder: PathBuf,
    tls: Arc<rustls::ClientConfig>,
    gateway: Child,
    _services: Vec<Service>,
}

impl Stage {
    /// Puts everything up; `said` is told of each step.
    pub fn new(mut said: impl FnMut(&str)) -> Result<Stage, Error> {
        let polite = Host::new("pcl-polite", 77)?;
        let abuser = Host::new("pcl-abuser", 78)?;
        said(&format!(
            "two client hosts in network namespaces: polite {}, abuser {}",
            polite.address, abuser.address
        ));

        let folder = fresh_folder()?;
        let (services, issuer) = services()?;
        said("three services (users, orders, products) and a token issuer with a JWKS on loopback");

        let certificate = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
        write(&folder.join("certificate.pem"), &certificate.cert.pem())?;
        write_private(&folder.join("key.pem"), &certificate.signing_key.serialize_pem())?;
        let tls = trusting(certificate.cert.der().clone())?;

        let port = free_port(8443)?;
        let operations = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(9180)?));
        let interfaces = [polite.interface.clone(), abuser.interface.clone()];
        let config = configuration(&folder, port, operations, &interfaces, &services);
        write(&folder.join("gateway.toml"), &config)?;

        remove_pins();
        let gateway = start_gateway(&folder)?;
        let mut stage =
            Stage { polite, abuser, issuer, port, operations, folder, tls, gateway, _services: services };
        stage.wait_until_ready()?;
        stage.check_kernel()?;
        said(&format!(
            "the gateway listens with TLS on port {port}, its kernel stage on {}",
            interfaces.join(" and ")
        ));
        Ok(stage)
    }

    /// A client that speaks from `host`.
    pub fn client(&self, host: &Host) -> Client {
        Client {
            address: SocketAddr::from((host.gateway, self.port)),
            server_name: SERVER_NAME.to_owned(),
            tls: self.tls.clone(),
            timeout: Duration::from_millis(700),
        }
    }

    /// The admin socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    fn check_kernel(&self) -> Result<(), Error> {
        let status = call(&Address::Socket(self.socket()), &GetStatus {})?;
        match status.kernel.on {
            true => Ok(()),
            false => Err(Error::NoKernel { because: status.kernel.off_because.unwrap_or_default() }),
        }
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        while started.elapsed() < READY_WITHIN {
            if !matches!(self.gateway.try_wait(), Ok(None)) {
                break;
            }
            if ready(self.operations) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.folder.join("gateway.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        Err(Error::NotReady { log: tail.into_iter().rev().collect::<Vec<_>>().join("\n") })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        stop(&mut self.gateway);
        remove_pins();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn services() -> Result<(Vec<Service>, Arc<Issuer>), Error> {
    let start = |answer| {
        Service::start(answer).map_err(|source| failed("cannot start a service of the demo", source))
    };
    // The issuer's URL holds the port of the service that answers for it, so the service comes first.
    let issuer_cell: Arc<std::sync::OnceLock<Arc<Issuer>>> = Arc::default();
    let cell = issuer_cell.clone();
    let issuer_service = start(Arc::new(move |path| match (cell.get(), path) {
        (Some(issuer), "/.well-known/openid-configuration") => (200, "application/json", issuer.discovery()),
        (Some(issuer), "/jwks.json") => (200, "application/json", issuer.jwks()),
        _ => (404, "text/plain", String::from("not here\n")),
    }))?;
    let issuer = Arc::new(Issuer::new(&format!("http://{}", issuer_service.address), "demo-1")?);
    let _ = issuer_cell.set(issuer.clone());

    let mut services = Vec::new();
    for name in ["users", "orders", "products"] {
        services.push(start(Arc::new(move |path| {
            (200, "application/json", format!("{}\n", serde_json::json!({ "service": name, "path": path })))
        }))?);
    }
    services.push(issuer_service);
    Ok((services, issuer))
}

fn configuration(
    folder: &Path,
    port: u16,
    operations: SocketAddr,
    interfaces: &[String],
    services: &[Service],
) -> String {
    let folder = folder.display();
    let interfaces = interfaces.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let [users, orders, products, issuer] = [0, 1, 2, 3].map(|index| services[index].address);
    format!(
        r#"# The demo's configuration, complete. A real one looks the same.
[gateway]
state = "{folder}/state"

[listen.https]
address = "0.0.0.0:{port}"
tls     = {{ certificate = "{folder}/certificate.pem", key = "{folder}/key.pem" }}

[operations]
address = "{operations}"

[admin]
socket = "{folder}/admin.sock"

[log]
to = "file:{folder}/access.log"

[auth.users]
jwt      = "http://{issuer}"
audience = "api"
headers  = {{ X-User-Id = "sub" }}

[limit.per-user]
rate  = "60/min"
burst = 9
by    = "user"

[shield]
interfaces = [{interfaces}]
packets    = "50k/s"
ban        = "20 denials in 10s"
for        = "10m"
pins       = "{PINS}"

[route.users]
match = "GET,POST {SERVER_NAME}/v1/users/*"
to    = "http://{users}"
auth  = "users"
limit = "per-user"

[route.orders]
match = "{SERVER_NAME}/v1/orders/*"
to    = "http://{orders}"
auth  = "users"
limit = "per-user"

[route.products]
match = "GET {SERVER_NAME}/v1/products/*"
to    = "http://{products}"
auth  = "none"
"#
    )
}

fn start_gateway(folder: &Path) -> Result<Child, Error> {
    let binary =
        std::env::current_exe().map_err(|source| failed("cannot find the running binary", source))?;
    let log = fs::File::create(folder.join("gateway.log"))
        .map_err(|source| failed("cannot create the gateway's log", source))?;
    let log_too = log.try_clone().map_err(|source| failed("cannot share the gateway's log", source))?;
    let mut command = Command::new(binary);
    command
        .arg("run")
        .arg("--config")
        .arg(folder.join("gateway.toml"))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        // Ctrl-C on the terminal must reach the demo only, which then stops the gateway in order.
        .process_group(0);
    // SAFETY: only an async-signal-safe system call (prctl) is made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
                .map_err(io::Error::from)
        });
    }
    command.spawn().map_err(|source| failed("cannot start the gateway", source))
}

/// SIGTERM, then after five seconds SIGKILL.
fn stop(child: &mut Child) {
    let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) else { return };
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_secs(5) {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn ready(operations: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect_timeout(&operations, Duration::from_millis(200)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let mut head = [0; 12];
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
        && stream.read_exact(&mut head).is_ok()
        && &head[9..12] == b"200"
}

/// `preferred` if nobody listens there, else any free port.
fn free_port(preferred: u16) -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, preferred))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| failed("cannot find a free port", source))
}

fn fresh_folder() -> Result<PathBuf, Error> {
    use std::os::unix::fs::DirBuilderExt;
    let temporary = std::env::temp_dir();
    remove_folders_of_the_dead(&temporary);
    let folder = temporary.join(format!("{FOLDER}{}", std::process::id()));
    // Not `create_dir_all`: a folder that somebody else made under this name must not be taken over.
    fs::DirBuilder::new()
        .mode(0o755)
        .create(&folder)
        .map_err(|source| failed(&format!("cannot create {}", folder.display()), source))?;
    Ok(folder)
}

/// Removes the folders of demos that were killed: ours, and named after a process that is no more.
fn remove_folders_of_the_dead(temporary: &Path) {
    use std::os::unix::fs::MetadataExt;
    for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(FOLDER)).and_then(|pid| pid.parse::<u32>().ok());
        let dead = pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        let ours = entry
            .metadata()
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw());
        if dead && ours {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn trusting(
    certificate: rustls::pki_types::CertificateDer<'static>,
) -> Result<Arc<rustls::ClientConfig>, Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn remove_pins() {
    let _ = fs::remove_dir_all(PINS);
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| failed(&format!("cannot write {}", path.display()), source))
}

fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| failed(&format!("cannot write {}", path.display()), source))
}

fn failed(what: &str, source: io::Error) -> Error {
    Error::Io { what: what.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_demo_left_is_removed_and_nothing_else() {
        let temporary = std::env::temp_dir().join(format!("portcullis-stage-{}", std::process::id()));
        let dead = u32::MAX - 1;
        let names =
            [format!("{FOLDER}{dead}"), format!("{FOLDER}{}", std::process::id()), format!("{FOLDER}x")];
        for name in &names {
            fs::create_dir_all(temporary.join(name)).unwrap();
        }
        remove_folders_of_the_dead(&temporary);
        assert_eq!(names.each_ref().map(|name| temporary.join(name).exists()), [false, true, true]);
        fs::remove_dir_all(&temporary).unwrap();
    }
}
