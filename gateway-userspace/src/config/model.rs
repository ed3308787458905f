//! What the configuration file says, with every default filled in and every reference still by name.
//!
//! [`super::file`] decodes the text into this; [`super::compile`] turns it into a snapshot. Values that a later check
//! may complain about keep their place.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::abuse::score::When;
use crate::abuse::signal::{Kind, Kinds};
use crate::admin::access::Subject;
use crate::admin::api::Role;
use crate::diagnostic::{Located, Place};
use crate::feeds;
use crate::header::{Name, Value as HeaderValue};
use crate::observe::access_log::syslog::Receiver;
use crate::observe::access_log::{Template, collector};
use crate::policy;
use crate::route::pattern::Pattern;
use crate::upstream;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[listen.NAME]`, at least one.
    pub listen: Vec<Listen>,
    /// `[operations]`: `/healthz`, `/readyz`, `/metrics`.
    pub operations: Option<Operations>,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[sink.NAME]`
    pub sink: Vec<Sink>,
    /// `[headers]`: fields on every answer.
    pub headers: policy::response_headers::config::Config,
    /// `[errors]`: bodies of the gateway's own answers.
    pub errors: crate::http::error_body::Config,
    /// `[auth.NAME]`
    pub auth: Vec<Auth>,
    /// `[identity]`: the signed header for upstreams.
    pub identity: Option<policy::signed_identity::Config>,
    /// `[limit.NAME]`
    pub limit: Vec<Located<policy::rate_limit::config::Config>>,
    /// `[upstream.NAME]`
    pub upstream: Vec<Located<upstream::config::Config>>,
    /// `[route.NAME]`
    pub route: Vec<Route>,
    /// `[shield]`
    pub shield: Option<Shield>,
    /// `[ban.NAME]`
    pub ban: Vec<Ban>,
    /// `[list.NAME]`
    pub list: Vec<List>,
}

impl Config {
    /// The rules that lead to bans: `[ban.NAME]` in the order of the file, then that of `[shield]`.
    pub fn ban_rules(&self) -> impl Iterator<Item = &Ban> {
        self.ban.iter().chain(self.shield.iter().filter_map(|shield| shield.ban.as_ref()))
    }

    /// Whether any of them counts a refusal of this kind on this route.
    pub fn counts(&self, kind: Kind, route: Option<&str>) -> bool {
        self.ban_rules().any(|rule| rule.counts(kind, route))
    }

    /// Whether TLS clients are told apart by their fingerprint: a limit of some route counts by it, or the log shows it.
    pub fn fingerprints_clients(&self) -> bool {
        let by_fingerprint = self.limit.iter().map(|limit| &limit.value);
        let by_fingerprint: HashSet<&Arc<str>> = by_fingerprint
            .filter(|limit| limit.by.contains(&policy::rate_limit::config::Key::Ja4))
            .map(|limit| &limit.name)
            .collect();
        let counted = |name: &Located<Arc<str>>| by_fingerprint.contains(&name.value);
        self.log.ja4
            || self.log.format.has_ja4()
            || self.sink.iter().filter_map(|sink| sink.format.as_ref()).any(LogFormat::has_ja4)
            || self.route.iter().flat_map(|route| &route.limits).any(counted)
    }
}

/// `[gateway]`: the process.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Worker threads; default: one for each core that the process may use.
    pub workers: usize,
    /// How long requests in flight have after SIGTERM, default 30 s.
    pub drain: Duration,
    /// Proxies whose forwarding headers and PROXY protocol are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether upstreams also get `Forwarded`, default false.
    pub forwarded: bool,
    /// Where state is kept over a restart, default `/var/lib/portcullis`.
    pub state: PathBuf,
}

/// `[listen.NAME]`
#[derive(Debug, Clone)]
pub struct Listen {
    /// The name.
    pub name: Arc<str>,
    /// Where its table begins.
    pub place: Place,
    /// Where to listen; `[::]` takes IPv4 too.
    pub address: Located<SocketAddr>,
    /// Certificates; empty is cleartext.
    pub tls: Vec<Certificate>,
    /// Whether HTTP/2 is offered (ALPN over TLS, prior knowledge in cleartext), default true.
    pub http2: bool,
    /// Whether connections from trusted proxies begin with a PROXY protocol header (v1 or v2).
    pub proxy_protocol: bool,
    /// Whether a host other than the TLS server name's certificate is answered with 421, default true.
    pub check_server_name: bool,
    /// Which client addresses are admitted, whatever the route.
    pub access: policy::ip_access::config::Config,
    /// Deadlines and sizes.
    pub limits: ListenLimits,
}

/// Deadlines and sizes of a listener; every one is on by default.
#[derive(Debug, Clone)]
pub struct ListenLimits {
    /// From accept to the end of the TLS handshake, PROXY header and protocol detection included, default 5 s.
    pub handshake_timeout: Duration,
    /// From accept, or the first byte of a later request, to the end of its header section, default 10 s; then 408.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests, default 60 s.
    pub idle_timeout: Duration,
    /// Longest pause of a client that reads a response, default 60 s.
    pub write_timeout: Duration,
    /// Largest header section, default 60 KiB; then 431.
    pub header_bytes_max: usize,
    /// Most header fields, default 100; then 431.
    pub header_count_max: usize,
    /// Longest target, default 8 KiB; then 414.
    pub uri_bytes_max: usize,
    /// Who reads and writes HTTP/1, default [`Http1::Native`].
    pub http1: Http1,
    /// Most concurrent HTTP/2 streams of a connection, default 100.
    pub streams_max: u32,
    /// Most connections in all, default 10 000.
    pub connections_max: usize,
    /// Most connections of one address (IPv6 /64), default 256; trusted proxies are not counted.
    pub connections_per_address_max: usize,
}

/// Who reads and writes HTTP/1 towards clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http1 {
    /// The gateway's own code.
    #[default]
    Native,
    /// The library hyper.
    Hyper,
}

impl Default for ListenLimits {
    fn default() -> ListenLimits {
        ListenLimits {
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            header_bytes_max: 60 << 10,
            header_count_max: 100,
            uri_bytes_max: 8 << 10,
            http1: Http1::Native,
            streams_max: 100,
            connections_max: 10_000,
            connections_per_address_max: 256,
        }
    }
}

/// A certificate chain and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// PEM file with the chain, leaf first.
    pub certificate: Located<PathBuf>,
    /// PEM file with the key.
    pub key: Located<PathBuf>,
}

/// `[operations]`
#[derive(Debug, Clone)]
pub struct Operations {
    /// Where to listen, default `127.0.0.1:9180`.
    pub address: Located<SocketAddr>,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// The Unix socket, default `/run/portcullis/admin.sock`.
    pub socket: PathBuf,
    /// Who has which role beside root and the gateway's own user.
    pub grants: Vec<(Role, Subject)>,
    /// Where the admin API listens for other machines; none: on the socket only.
    pub listen: Option<AdminListen>,
    /// The file that the admin API writes, relative to the main file's folder, default `conf.d/managed.toml`.
    pub managed: PathBuf,
}

/// `listen` and `tls` of `[admin]`.
#[derive(Debug, Clone)]
pub struct AdminListen {
    /// Where to listen.
    pub address: Located<SocketAddr>,
    /// How.
    pub tls: AdminTls,
}

/// `tls` of `[admin]`
#[derive(Debug, Clone)]
pub struct AdminTls {
    /// The listener's certificate.
    pub server: Certificate,
    /// PEM file with the CA of clients' certificates.
    pub client_ca: Located<PathBuf>,
    /// PEM file with revocation lists.
    pub crl: Option<Located<PathBuf>>,
}

/// `[log]`: the access log.
#[derive(Debug, Clone)]
pub struct Log {
    /// What a line looks like.
    pub format: LogFormat,
    /// Whether JSON lines have the fingerprints of TLS clients.
    pub ja4: bool,
    /// Where lines go; nowhere if empty.
    pub to: Vec<LogSink>,
}

impl LogFormat {
    /// Whether a text of one's own has the variable of the fingerprint.
    fn has_ja4(&self) -> bool {
        let LogFormat::Custom(text) = self else { return false };
        Template::parse(text).is_ok_and(|template| template.has_ja4())
    }
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// JSON with OpenTelemetry's attribute names (the default).
    Json,
    /// JSON with `timestamp, method, url, status, duration, size, ip, userAgent, requestId`.
    Seed,
    /// Apache and NGINX `combined`.
    Combined,
    /// Text with `$context.requestId`-style variables.
    Custom(Box<str>),
}

/// One of the places where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSink {
    /// Standard output (the default).
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, reopened on SIGUSR1.
    File(PathBuf),
    /// Syslog.
    Syslog(Receiver),
    /// `[sink.NAME]`
    Named(Arc<str>),
}

/// As it is written.
impl std::fmt::Display for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogSink::Stdout => f.write_str("stdout"),
            LogSink::Stderr => f.write_str("stderr"),
            LogSink::File(path) => write!(f, "file:{}", path.display()),
            LogSink::Syslog(receiver) => receiver.fmt(f),
            LogSink::Named(name) => f.write_str(name),
        }
    }
}

/// `[sink.NAME]`: a receiver of the access log in the network.
#[derive(Debug, Clone)]
pub struct Sink {
    /// The name.
    pub name: Arc<str>,
    /// Where its table begins.
    pub place: Place,
    /// What its lines look like, if not as `[log]` says.
    pub format: Option<LogFormat>,
    /// The receiver. Whether lines are JSON is not known here.
    pub settings: collector::Settings,
}

/// `[auth.NAME]`
#[derive(Debug, Clone)]
pub struct Auth {
    /// The name.
    pub name: Arc<str>,
    /// Where its table begins.
    pub place: Place,
    /// Which kind.
    pub kind: AuthKind,
}

/// The kinds of authentication.
#[derive(Debug, Clone)]
pub enum AuthKind {
    /// Bearer tokens.
    Jwt(policy::jwt::config::Config),
    /// API keys.
    ApiKey(policy::api_key::config::Config),
}

/// `[route.NAME]`
#[derive(Debug, Clone)]
pub struct Route {
    /// The name.
    pub name: Arc<str>,
    /// Where its table begins.
    pub place: Place,
    /// What it matches, at least one.
    pub matches: Vec<Located<Arc<Pattern>>>,
    /// What it does.
    pub action: Action,
    /// Ways to authenticate, any of which is enough; empty with `public` says `auth = "none"` was written.
    pub auth: Vec<Located<Arc<str>>>,
    /// Whether `auth = "none"` was written.
    pub public: bool,
    /// Limits, all of which apply.
    pub limits: Vec<Located<Arc<str>>>,
    /// Which addresses are admitted.
    pub access: policy::ip_access::config::Config,
    /// Sizes of requests.
    pub requests: policy::request_limits::config::Config,
    /// Fields of its answers, beside the gateway's.
    pub headers: policy::response_headers::config::Config,
    /// Fields that its upstream gets.
    pub upstream_headers: Vec<policy::upstream_headers::Field>,
    /// Whether clients log in here, default false.
    pub login: bool,
    /// Whether its requests are in the access log, default true.
    pub log: bool,
}

/// What a route does with a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Sends it to an upstream.
    Forward {
        /// `[upstream.NAME]`, or targets in place.
        upstream: UpstreamRef,
        /// What takes the place of the pattern's literal beginning: with `"/"`, `/v1/*` sends `/v1/users` as `/users`.
        replace_prefix: Option<Box<str>>,
    },
    /// Answers it at once.
    Respond {
        /// Status, 200 to 599.
        status: u16,
        /// Body; never sent with 204 and 304.
        body: Arc<str>,
        /// `Content-Type`.
        content_type: Box<str>,
    },
}

/// Where a route's upstream is described.
#[derive(Debug, Clone)]
pub enum UpstreamRef {
    /// In `[upstream.NAME]`.
    Named(Located<Arc<str>>),
    /// In the route.
    Inline(upstream::config::Config),
}

/// `[shield]`: the kernel stage and the abuse loop.
#[derive(Debug, Clone)]
pub struct Shield {
    /// Interfaces to attach to; empty: no kernel stage, bans at layer 7 only.
    pub interfaces: Vec<Located<Box<str>>>,
    /// How to attach.
    pub attach: Attach,
    /// Whether verdicts drop (default), or are only counted.
    pub enforce: bool,
    /// Packet budget for each source (IPv6: /64), packets per second and burst; none: no budget.
    pub packets: Option<Budget>,
    /// The same for TCP SYNs.
    pub syns: Option<Budget>,
    /// When the budget for SYNs is armed.
    pub syns_armed: SynsArmed,
    /// Packets per second above which the machine is under pressure, default 100 000.
    pub pressure: u64,
    /// Bits per second of the fastest client, which the budgets must let through; none: that is not checked.
    pub client_bandwidth: Option<Located<u64>>,
    /// The rule named `shield`, of `ban`, `for` and `up-to`.
    pub ban: Option<Ban>,
    /// How often somebody is let through in the last third of a ban by rule, default 30 s; none: never.
    pub parole: Option<Duration>,
    /// How many other good clients a ban by rule may cut, default none.
    pub collateral: u32,
    /// Prefixes that are never banned and never dropped.
    pub never: Vec<IpNet>,
    /// Whether ranges of large CDNs are among them (default).
    pub cdn: bool,
    /// TCP ports that the kernel stage never drops, default 22.
    pub management_ports: Vec<u16>,
    /// Where maps are pinned, default `/sys/fs/bpf/portcullis`.
    pub pins: PathBuf,
    /// Most IPv4 addresses in the kernel's denylist, default 262 144.
    pub capacity: u32,
    /// Most IPv6 /64s in it, default as many but at most 1 048 576.
    pub capacity6: u32,
}

/// When the SYN budget is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynsArmed {
    /// While something presses (default).
    Pressure,
    /// Always.
    Always,
}

/// How the kernel program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// In the driver, else generic, and said so.
    Auto,
    /// In the driver or not at all.
    Native,
    /// After the driver.
    Generic,
}

/// A rate with a burst.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Packets per second.
    pub per_second: Located<u64>,
    /// Packets at once, default one second's worth, which then has the rate's place.
    pub burst: Located<u64>,
}

/// `[ban.NAME]`: a rule that leads to bans.
#[derive(Debug, Clone)]
pub struct Ban {
    /// Its name.
    pub name: Arc<str>,
    /// When it is met.
    pub when: BanRule,
    /// Which refusals count.
    pub kinds: Kinds,
    /// Only those on this route; none: all.
    pub route: Option<Located<Arc<str>>>,
    /// Whether its bans are only counted.
    pub observe: bool,
    /// How long a first ban lasts, default 10 min; doubles on each return.
    pub first: Duration,
    /// How long a ban can get, default 24 h.
    pub up_to: Duration,
}

impl Ban {
    /// Whether it counts a refusal of this kind on this route.
    pub fn counts(&self, kind: Kind, route: Option<&str>) -> bool {
        let on_route = self.route.as_ref().is_none_or(|only| Some(&*only.value) == route);
        on_route && self.kinds.contains(kind)
    }
}

/// `[list.NAME]`: addresses that somebody else keeps.
#[derive(Debug, Clone)]
pub struct List {
    /// Its name.
    pub name: Arc<str>,
    /// Where its table begins.
    pub place: Place,
    /// Where it comes from.
    pub source: ListSource,
    /// What it is written in, default whatever it looks like.
    pub format: feeds::Format,
    /// How often it is read again, default 1 h.
    pub refresh: Duration,
    /// By up to which part of that sooner (0 to 1), default 0.1.
    pub jitter: f64,
    /// How long it holds if it cannot be read again, default 25 h.
    pub lease: Duration,
    /// Whether it only counts.
    pub observe: bool,
    /// Most networks, default a million.
    pub entries_max: usize,
}

/// Where a list comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListSource {
    /// A file of this machine.
    File(PathBuf),
    /// A server.
    Url {
        /// Where.
        url: crate::dial::Url,
        /// Fields of each request; their values are secrets.
        headers: Vec<(Name, HeaderValue)>,
        /// CA certificates beside the system's.
        ca: Option<PathBuf>,
    },
}

/// `"20 denials in 10s"`, `"500ms cpu in 10s"`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanRule {
    /// So many denials, or so much CPU time …
    pub asks: When,
    /// … within this time.
    pub within: Duration,
}
