//! The PEM blocks (RFC 7468) that hold verification keys: SubjectPublicKeyInfo, PKCS#1 and certificates.

use base64::Engine as _;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::key::{Key, KeyError, Material};

const BEGIN: &str = "-----BEGIN ";

/// Whether the text looks like PEM rather than JSON.
pub fn is_pem(text: &str) -> bool {
    text.contains(BEGIN)
}

/// Every key of a PEM text, in order, each parsed or with the reason why not. The keys have no id.
pub fn keys(text: &str) -> Vec<Result<Key, KeyError>> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        rest = &rest[start + BEGIN.len()..];
        let Some((label, body)) = rest.split_once("-----") else {
            keys.push(Err(KeyError::Malformed));
            break;
        };
        let Some(end) = body.find("-----END ") else {
            keys.push(Err(KeyError::Malformed));
            break;
        };
        keys.push(key(label, &body[..end]));
        rest = &body[end..];
    }
    keys
}

fn key(label: &str, body: &str) -> Result<Key, KeyError> {
    if label.ends_with("PRIVATE KEY") {
        return Err(KeyError::Private);
    }
    let compact: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(compact).map_err(|_| KeyError::Malformed)?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Key::new(None, None, &Material::Der(&der)),
        "CERTIFICATE" => {
            let certificate = CertificateDer::from(der);
            let parsed = ParsedCertificate::try_from(&certificate).map_err(|_| KeyError::Malformed)?;
            Key::new(None, None, &Material::Der(parsed.subject_public_key_info().as_ref()))
        }
        _ => Err(KeyError::UnsupportedType),
    }
}
