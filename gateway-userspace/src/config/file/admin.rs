//! `[admin]`: where the gateway is administered, and who may do what.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use crate::admin::access::Subject;
use crate::admin::api::Role;
use crate::admin::certificate::Name;
use crate::config::codes;
use crate::config::decode::{Decoder, Fields, Key, Presence, Spec, Takes, number};
use crate::config::model::{Admin, AdminListen, AdminTls, Certificate};
use crate::config::tree::{Node, Value};
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};

const SUBJECTS: Type<Vec<Subject>> = Type {
    describe: "an array of user ids or names, `group:NAME`, `dns:NAME`, `email:NAME`, `uri:NAME`, `cn:NAME`",
    decode: |d, node| {
        value::one_or_many(d, node, subject).map(|subjects| subjects.into_iter().flatten().collect())
    },
};

/// The keys of `[admin]`.
pub static SPEC: Spec = Spec {
    title: "[admin]",
    doc: "The admin API: on a Unix socket, and over TLS if `listen` is set. Root and the gateway's own user may always do \
          everything, over the socket. Others are users of this machine, groups, or names in client certificates.",
    keys: &[
        Key::new(
            "socket",
            Takes::Value(value::PATH.describe),
            Presence::Default("\"/run/portcullis/admin.sock\""),
            "Path of the socket.",
        ),
        Key::new(
            "admins",
            Takes::Value(SUBJECTS.describe),
            Presence::Default("[]"),
            "Who may also change the configuration.",
        ),
        Key::new(
            "operators",
            Takes::Value(SUBJECTS.describe),
            Presence::Default("[]"),
            "Who may also ban, lift, allow and reload.",
        ),
        Key::new(
            "viewers",
            Takes::Value(SUBJECTS.describe),
            Presence::Default("[]"),
            "Who may look. Whoever is named several times has the highest of the roles.",
        ),
        Key::new(
            "listen",
            Takes::Value(value::ADDRESS.describe),
            Presence::Optional,
            "Where the admin API also listens, for other machines; needs `tls`.",
        ),
        Key::new("tls", Takes::Table(&TLS), Presence::Optional, "Certificates of that listener."),
        Key::new(
            "managed",
            Takes::Value(value::PATH.describe),
            Presence::Default("\"conf.d/managed.toml\""),
            "The one file that the API changes tables in, relative to the main file: a drop-in, or a file that `include` \
             names.",
        ),
    ],
};

/// The keys of `tls` in `[admin]`.
pub static TLS: Spec = Spec {
    title: "tls",
    doc: "TLS 1.3 with client certificates. There is no listener without: whoever could reach it would be its admin.",
    keys: &[
        Key::new(
            "certificate",
            Takes::Value(value::PATH.describe),
            Presence::Required,
            "PEM file with the chain, the listener's own certificate first.",
        ),
        Key::new(
            "key",
            Takes::Value(value::PATH.describe),
            Presence::Required,
            "PEM file with the private key.",
        ),
        Key::new(
            "client-ca",
            Takes::Value(value::PATH.describe),
            Presence::Required,
            "PEM file with the CA by which clients' certificates must be signed. A CA of its own is best: every name that \
             it signs is believed.",
        ),
        Key::new(
            "crl",
            Takes::Value(value::PATH.describe),
            Presence::Optional,
            "PEM file with revocation lists, one for each CA. A list past its next update admits nobody. Read again at \
             each reload.",
        ),
    ],
};

/// Decodes `[admin]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Admin> {
    let f = d.fields(&SPEC, "[admin]".into(), node)?;
    let socket = f.get(d, "socket", &value::PATH);
    let mut grants = Some(Vec::new());
    for (key, role) in [("admins", Role::Admin), ("operators", Role::Operator), ("viewers", Role::Viewer)] {
        let subjects = f.get(d, key, &SUBJECTS);
        grants = grants.zip(subjects).map(|(mut grants, subjects)| {
            grants.extend(subjects.into_iter().map(|subject| (role, subject)));
            grants
        });
    }
    let address = f.located(d, "listen", &value::ADDRESS);
    let certificates = f.with(d, "tls", tls);
    let main = d.report.sources.get(0).map(|(main, _)| main.to_owned());
    let managed = f.get(d, "managed", &value::PATH).map(|path| relative(&path, main.as_deref()));
    let listen = listen(d, &f, address, certificates);
    Some(Admin { socket: socket?, grants: grants?, listen, managed: managed? })
}

/// A path as the files of a configuration are called: relative to the main file's folder if it lies under it.
fn relative(path: &Path, main: Option<&Path>) -> PathBuf {
    let folder = main.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let absolute = std::path::absolute(folder).ok();
    let below = path.strip_prefix(folder).ok().or_else(|| path.strip_prefix(absolute?).ok());
    let parts = below.unwrap_or(path).components();
    parts.filter(|part| *part != Component::CurDir).collect()
}

/// Address and certificates together, or neither.
fn listen(
    d: &mut Decoder<'_>,
    f: &Fields<'_>,
    address: Option<Located<SocketAddr>>,
    tls: Option<AdminTls>,
) -> Option<AdminListen> {
    let written = |name| f.node(name).is_some();
    if written("listen") && !written("tls") {
        let message = "the admin listener has no `tls`";
        let problem = Problem::error(codes::ADMIN_WITHOUT_CERTIFICATES, message, f.key_place("listen"));
        d.report.push(problem.label("whoever reaches this address could change everything").help(
            "write `tls = { certificate = \"…\", key = \"…\", client-ca = \"…\" }`; without client certificates there is \
             only the socket",
        ));
    } else if written("tls") && !written("listen") {
        let message = "`tls` of [admin] is for `listen`, which is not there";
        let problem = Problem::error(codes::ADMIN_WITHOUT_CERTIFICATES, message, f.key_place("tls"));
        d.report.push(problem.help("write `listen = \"127.0.0.1:9443\"`, or leave `tls` out"));
    }
    Some(AdminListen { address: address?, tls: tls? })
}

fn tls(d: &mut Decoder<'_>, node: &Node) -> Option<AdminTls> {
    let f = d.fields(&TLS, "tls of [admin]".into(), node)?;
    let certificate = f.located(d, "certificate", &value::PATH);
    let key = f.located(d, "key", &value::PATH);
    let client_ca = f.located(d, "client-ca", &value::PATH);
    let crl = f.located(d, "crl", &value::PATH);
    let server = Certificate { certificate: certificate?, key: key? };
    Some(AdminTls { server, client_ca: client_ca?, crl })
}

/// One subject; `Some(None)` for a name where files are not read.
fn subject(d: &mut Decoder<'_>, node: &Node) -> Option<Option<Subject>> {
    let text = match &node.value {
        Value::Text { text, .. } => text,
        _ => {
            let id = number(d, node, 0..=u64::from(u32::MAX - 1))?;
            return Some(u32::try_from(id).ok().map(Subject::User));
        }
    };
    if let Some(name) = Name::parse(text) {
        return Some(Some(Subject::Certificate(name)));
    }
    let (what, file, name, of): (_, _, _, fn(u32) -> Subject) = match text.split_once(':') {
        None => ("user", "/etc/passwd", text.as_str(), Subject::User),
        Some(("group", name)) => ("group", "/etc/group", name, Subject::Group),
        Some(_) => {
            let message = format!("`{text}` is nobody who could have a role");
            let problem = Problem::error(codes::UNKNOWN_USER, message, node.place.clone());
            let help =
                "a user, `group:NAME`, or a name in a certificate: `dns:…`, `email:…`, `uri:…`, `cn:…`";
            d.report.push(problem.help(help));
            return None;
        }
    };
    if let Ok(id) = name.parse() {
        return Some(Some(of(id)));
    }
    if !d.read_files {
        return Some(None);
    }
    let id = id_in(file, name);
    if id.is_none() {
        let message = format!("there is no {what} `{name}`");
        let problem = Problem::error(codes::UNKNOWN_USER, message, node.place.clone());
        d.report.push(problem.help(format!("write the {what}'s number if it is not in {file}")));
    }
    id.map(|id| Some(of(id)))
}

/// The id of a local user or group, which is the third field in both files. Those of directories (LDAP and the like)
/// are not looked up: they have numbers too.
fn id_in(file: &str, name: &str) -> Option<u32> {
    let lines = std::fs::read_to_string(file).ok()?;
    lines.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::relative;
    use crate::config::tests::{load_ok, problems};

    const LISTEN: &str = "[listen.a]\naddress = \"[::]:80\"\n[admin]\n";

    fn grants(text: &str) -> Vec<String> {
        let config = load_ok(&format!("{LISTEN}{text}"));
        config.admin.grants.iter().map(|(role, subject)| format!("{role} {subject}")).collect()
    }

    #[test]
    fn whoever_is_named_has_the_role_of_the_key_and_numbers_may_be_texts() {
        let text = "admins = \"dns:Deploy.example.com\"\noperators = [1000, \"1001\", \"group:27\"]\n\
                    viewers = [\"cn:Audit Team\", \"email:a@b.c\", \"uri:spiffe://x/y\"]\n";
        assert_eq!(
            grants(text),
            [
                "admin dns:deploy.example.com",
                "operator 1000",
                "operator 1001",
                "operator group:27",
                "viewer cn:Audit Team",
                "viewer email:a@b.c",
                "viewer uri:spiffe://x/y",
            ]
        );
    }

    #[test]
    fn the_file_of_the_api_is_called_as_the_configuration_calls_it() {
        let main = Some(Path::new("/etc/p/gateway.toml"));
        for written in
            ["conf.d/x.toml", "./conf.d/x.toml", "/etc/p/conf.d/x.toml", "/etc/p/./conf.d/./x.toml"]
        {
            assert_eq!(relative(Path::new(written), main), Path::new("conf.d/x.toml"), "{written}");
        }
        assert_eq!(relative(Path::new("/srv/x.toml"), main), Path::new("/srv/x.toml"));
        let here = std::env::current_dir().unwrap().join("conf.d/x.toml");
        assert_eq!(relative(&here, Some(Path::new("gateway.toml"))), Path::new("conf.d/x.toml"));
    }

    #[test]
    fn what_names_nobody_is_an_error_and_so_is_a_listener_without_client_certificates() {
        for (text, code, message) in [
            ("viewers = \"dsn:a\"\n", "C055", "`dsn:a` is nobody who could have a role"),
            ("viewers = \"dns:\"\n", "C055", "`dns:` is nobody"),
            ("listen = \"127.0.0.1:9443\"\n", "C063", "the admin listener has no `tls`"),
            (
                "tls = { certificate = \"/a\", key = \"/b\", client-ca = \"/c\" }\n",
                "C063",
                "`tls` of [admin] is for",
            ),
            (
                "listen = \"127.0.0.1:9443\"\ntls = { certificate = \"/a\", key = \"/b\" }\n",
                "C003",
                "tls of [admin] needs `client-ca`",
            ),
        ] {
            let found = problems(&format!("{LISTEN}{text}"), &[]);
            assert!(found.contains(&format!("error[{code}]: {message}")), "{text}: {found}");
        }
    }
}
