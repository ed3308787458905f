//! A certificate authority made by openssl: a real peer whose certificates and revocations are not ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What `openssl ca` wants to be told; paths are relative to the folder in which it runs.
const SETTINGS: &str = "[ca]\ndefault_ca = a\n[a]\ndatabase = index\nserial = serial\nnew_certs_dir = .\n\
    certificate = ca.pem\nprivate_key = ca.key\ndefault_md = sha256\ndefault_days = 2\ndefault_crl_days = 2\n\
    crlnumber = crlnumber\ncrl_extensions = x\npolicy = p\nx509_extensions = u\ncopy_extensions = copy\nunique_subject = no\n[p]\ncommonName = supplied\n\
    [x]\nauthorityKeyIdentifier = keyid\n[u]\nbasicConstraints = CA:false\n";

/// An authority with files in a folder of its own: `ca.pem`, `ca.key`, `crl.pem`, and `NAME.pem`, `NAME.key`.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one, and its empty revocation list.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join("settings"), SETTINGS).expect("a file can be written");
        fs::write(folder.join("index"), "").expect("a file can be written");
        for number in ["serial", "crlnumber"] {
            fs::write(folder.join(number), "1000\n").expect("a file can be written");
        }
        let authority = Authority { folder };
        authority.key("ca");
        let subject = format!("/CN={name}");
        let made =
            ["req", "-new", "-x509", "-key", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", &subject];
        authority.openssl(&made);
        authority.write_revocations();
        authority
    }

    /// `NAME.pem` and `NAME.key` for a subject such as `/CN=alice` and alternative names such as `DNS:a.test`.
    pub fn issue(&self, name: &str, subject: &str, alternatives: &str) {
        self.key(name);
        let (key, request, out) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let extension = format!("subjectAltName={alternatives}");
        let mut arguments = vec!["req", "-new", "-key", &key, "-out", &request, "-subj", subject];
        if !alternatives.is_empty() {
            arguments.extend(["-addext", &extension]);
        }
        self.openssl(&arguments);
        self.openssl(&["ca", "-batch", "-notext", "-config", "settings", "-in", &request, "-out", &out]);
    }

    /// Revokes `NAME.pem`; `crl.pem` says so at once.
    pub fn revoke(&self, name: &str) {
        self.openssl(&["ca", "-config", "settings", "-revoke", &format!("{name}.pem")]);
        self.write_revocations();
    }

    /// The path of one of its files.
    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    fn key(&self, name: &str) {
        let out = format!("{name}.key");
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &out]);
    }

    fn write_revocations(&self) {
        self.openssl(&["ca", "-config", "settings", "-gencrl", "-out", "crl.pem"]);
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs; `cargo xtask test` installs it");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
