//! The certificate, the key pair and the token that all subjects get, in files of a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// See the module. The folder is removed when this is dropped.
pub struct Secrets {
    /// Where everything of this run is.
    pub folder: PathBuf,
    /// Chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Both in one file, as haproxy wants them.
    pub certificate_and_key: PathBuf,
    /// The public key that tokens are verified with, PEM.
    pub token_key: PathBuf,
    /// An RS256 token of the usual size, good for a day.
    pub token: String,
    /// Believes the certificate, and speaks nothing but TLS 1.3.
    pub client: Arc<ClientConfig>,
}

impl Secrets {
    /// Makes everything anew.
    pub fn make() -> Result<Secrets> {
        let folder = std::env::temp_dir().join(format!("portcullis-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec!["bench.test".to_owned()])?.self_signed(&key)?;
        let (token, token_key) = token()?;
        Ok(Secrets {
            certificate: write(&folder, "certificate.pem", &certificate.pem())?,
            key: write(&folder, "key.pem", &key.serialize_pem())?,
            certificate_and_key: write(&folder, "both.pem", &(certificate.pem() + &key.serialize_pem()))?,
            token_key: write(&folder, "token.pem", &token_key)?,
            token,
            client: client(certificate.der().clone())?,
            folder,
        })
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        // It is a folder of /tmp; what cannot be removed is only untidy.
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path)
}

fn client(certificate: CertificateDer<'static>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(client))
}

/// A token, and the PEM of the key that verifies it.
fn token() -> Result<(String, String)> {
    let pair =
        KeyPair::generate(KeySize::Rsa2048).map_err(|_unspecified| anyhow!("cannot make an RSA key"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let header = serde_json::json!({ "alg": "RS256", "typ": "JWT" });
    let claims = serde_json::json!({
        "iss": "https://auth.bench.test/", "aud": "api", "sub": "user-42", "iat": now, "exp": now + 86_400,
        "email": "user-42@bench.test", "roles": ["reader", "writer"], "tenant": "bench",
    });
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_unspecified| anyhow!("cannot sign"))?;
    let public = pair.public_key().as_der().map_err(|_unspecified| anyhow!("cannot encode a key"))?;
    Ok((format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)), pem(public.as_ref())))
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
