//! Configurations of several files, and files that a configuration names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::files::Files;
use crate::config::overlay::Overlay;
use crate::config::{Environment, load_from, load_over};
use crate::diagnostic::{Report, render};

/// A folder that is deleted at the end of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("portcullis-config-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// One line for each problem, paths relative to the folder.
    fn problems(&self, report: &Report) -> Vec<String> {
        let text = render::lines(report).replace(&format!("{}/", self.0.display()), "");
        text.lines().map(str::to_owned).collect()
    }

    fn load(&self, main: &str) -> Vec<String> {
        match load_from(&self.0.join(main), &Environment::by_name(&|_| None), true) {
            Ok((_, report)) | Err(report) => self.problems(&report),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LISTEN: &str = "[listen.a]\naddress = \"[::]:80\"\n";
const ROUTE: &str = "match = \"/\"\nto = \"http://b\"\n";

#[test]
fn drop_ins_and_includes_are_merged_by_name() {
    let folder = Folder::new("merged");
    let main = folder.write("gateway.toml", &format!("include = [\"more/*.toml\", \"one.toml\"]\n{LISTEN}"));
    folder.write(
        "conf.d/10-users.toml",
        "[route.users]\nmatch = \"/users/*\"\nto = \"http://b\"\nlimit = \"l\"\n",
    );
    folder.write("conf.d/.hidden.toml", "not toml");
    folder.write("conf.d/readme.md", "not toml");
    folder.write(
        "more/limits.toml",
        "include = \"../one.toml\"\n[limit.l]\nrate = \"1/s\"\nby = \"address\"\n",
    );
    folder.write("one.toml", "[route.one]\nmatch = \"/one\"\nto = \"http://b\"\n");
    let (config, report) = load_from(&main, &Environment::by_name(&|_| None), true).unwrap();
    let names: Vec<&str> = config.route.iter().map(|route| &*route.name).collect();
    assert_eq!((names, config.limit.len()), (vec!["users", "one"], 1));
    assert!(report.problems.is_empty());
}

#[test]
fn files_that_are_read_for_their_texts_are_those_that_are_loaded() {
    let folder = Folder::new("texts");
    folder.write("more/one.toml", "include = \"../two.toml\"\n");
    folder.write("two.toml", &format!("[route.two]\n{ROUTE}"));
    folder.write("conf.d/three.toml", "# nothing\n");
    let including = "more/one.toml, more/../two.toml";
    for (head, included) in [
        ("", ""),
        ("# include = \"more/*.toml\"\n", ""),
        ("include = \"more/*.toml\"\n", including),
        ("\"incl\\u0075de\" = [\"more/*.toml\"]\n", including),
    ] {
        let main = folder.write("gateway.toml", &format!("{head}{LISTEN}"));
        let overlay = Overlay::default();
        let Ok(loaded) = load_over(&main, &overlay, &Environment::by_name(&|_| None), true) else {
            panic!("{:?}", folder.load("gateway.toml"));
        };
        let files = Files::read(&main, &overlay);
        assert_eq!(files, loaded.files, "{head}");
        let paths: Vec<String> = files.iter().skip(2).map(|file| file.path.display().to_string()).collect();
        assert_eq!(paths.join(", "), included, "{head}");
    }
}

#[test]
fn the_same_table_in_two_files_shows_both_places() {
    let folder = Folder::new("twice");
    folder.write("gateway.toml", &format!("{LISTEN}[route.r]\n{ROUTE}[log]\n"));
    folder.write("conf.d/more.toml", &format!("[log]\n[route.r]\n{ROUTE}"));
    assert_eq!(
        folder.load("gateway.toml"),
        [
            "conf.d/more.toml:1:2: error[C006]: [log] is defined twice",
            "conf.d/more.toml:2:8: error[C006]: [route.r] is defined twice",
        ]
    );
    let report =
        load_from(&folder.0.join("gateway.toml"), &Environment::by_name(&|_| None), true).unwrap_err();
    let text = render::human(&report, false);
    assert!(text.contains("gateway.toml:3:8") && text.contains("it is defined here"), "{text}");
}

#[test]
fn files_that_cannot_be_read_are_said_once_each() {
    let folder = Folder::new("unreadable");
    let missing = folder.load("gateway.toml");
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].contains("C005") && missing[0].contains("No such file"), "{missing:?}");
    folder
        .write("gateway.toml", &format!("include = [\"no*.toml\", \"no.toml\", \"a*/b.toml\", 5]\n{LISTEN}"));
    fs::write(folder.0.join("latin.toml"), b"# \xe9").unwrap();
    let lines: Vec<String> = folder.load("gateway.toml").iter().map(|line| line[..30].to_owned()).collect();
    assert_eq!(
        lines,
        [
            "gateway.toml:1:12: error[C060]",
            "gateway.toml:1:24: error[C005]",
            "gateway.toml:1:35: error[C060]",
            "gateway.toml:1:48: error[C002]",
        ]
    );
    assert!(folder.load("latin.toml")[0].contains("it is not UTF-8 (byte 2)"));
    assert!(folder.load("")[0].contains("it is a folder"));
}

#[test]
fn the_admin_socket_of_a_broken_configuration_is_still_found() {
    let folder = Folder::new("socket");
    let main = folder.write("gateway.toml", "[admin]\nsocket = \"/run/a.sock\"\n[limit.l]\nrate = 5/\n[[\n");
    let socket = |variables: &dyn Fn(&str) -> Option<String>| {
        crate::config::admin_socket(&main, &Environment::by_name(variables)).display().to_string()
    };
    assert_eq!(socket(&|_| None), "/run/a.sock");
    assert_eq!(socket(&|name| (name == "PORTCULLIS__ADMIN__SOCKET").then(|| "/b".into())), "/b");
    let missing = crate::config::admin_socket(&folder.0.join("no.toml"), &Environment::by_name(&|_| None));
    assert_eq!(missing.display().to_string(), "/run/portcullis/admin.sock");
}

#[test]
fn certificates_are_opened_and_must_fit_their_keys() {
    let folder = Folder::new("certificates");
    let make = || {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((chain, key), (_, other_key)) = (make(), make());
    folder.write("chain.pem", &chain);
    folder.write("key.pem", &key);
    folder.write("other.pem", &other_key);
    folder.write("empty.pem", "");
    let load = |certificate: &str, key: &str| {
        let path = |name: &str| folder.0.join(name).display().to_string();
        let tls = format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", path(certificate), path(key));
        folder.write("gateway.toml", &format!("{LISTEN}{tls}"));
        let problems = folder.load("gateway.toml");
        problems.iter().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(load("chain.pem", "key.pem"), [""; 0]);
    assert_eq!(load("chain.pem", "other.pem"), ["error[C051]: this key does not belong to the certificate"]);
    assert_eq!(
        load("key.pem", "chain.pem"),
        [
            "error[C050]: this file holds no certificate in PEM",
            "error[C050]: this file holds a certificate, not a private key",
        ]
    );
    assert_eq!(load("empty.pem", "key.pem"), ["error[C050]: this file holds no certificate in PEM"]);
    assert!(load("missing.pem", "key.pem")[0].starts_with("error[C005]: `missing.pem` cannot be read"));
    // Elsewhere the files may be missing.
    assert!(
        load_from(Path::new(&folder.0.join("gateway.toml")), &Environment::by_name(&|_| None), false).is_ok()
    );
}

#[test]
fn keys_are_read_from_files_and_from_credentials_of_systemd() {
    let folder = Folder::new("keys");
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().public_key_pem();
    let path = folder.write("jwt.pem", &pem);
    let lookup = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| folder.0.display().to_string());
    for keys in [format!("file:{}", path.display()), "cred:jwt.pem".into()] {
        let auth = format!("[auth.a]\nkeys = \"{keys}\"\nalgorithms = \"EdDSA\"\n");
        let main = folder.write("gateway.toml", &format!("{LISTEN}{auth}"));
        let (config, _) = load_from(&main, &Environment::by_name(&lookup), true).unwrap();
        let crate::config::model::AuthKind::Jwt(jwt) = &config.auth[0].kind else { panic!("a is JWT") };
        assert_eq!(jwt.keys, crate::policy::jwt::config::KeySource::Inline(pem.trim().into()));
    }
    folder.write("gateway.toml", &format!("{LISTEN}[auth.a]\nkeys = \"cred:../x\"\n"));
    assert!(folder.load("gateway.toml").iter().any(|line| line.contains("without slashes")));
}
