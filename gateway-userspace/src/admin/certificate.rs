//! The names in a client's certificate, which stand for a person or a program.
//!
//! Subject alternative names (RFC 5280 §4.2.1.6) and common names, each with its kind: a DNS name `admin` and a common
//! name `admin` are not the same. Whether the certificate is to be believed was decided before, in the handshake.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// What kind of name it is.
    pub kind: Kind,
    /// The name; DNS names in lower case.
    pub text: Box<str>,
}

/// The kinds of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `dns:host.example.com`
    Dns,
    /// `email:somebody@example.com`
    Email,
    /// `uri:spiffe://example.com/deploy`
    Uri,
    /// `cn:somebody`
    CommonName,
}

impl Kind {
    /// What stands before the colon.
    pub const WORDS: &[(&str, Kind)] =
        &[("dns", Kind::Dns), ("email", Kind::Email), ("uri", Kind::Uri), ("cn", Kind::CommonName)];
}

impl Name {
    /// `dns:host.example.com`; none if it does not begin with a kind, or names nothing.
    pub fn parse(text: &str) -> Option<Name> {
        let (word, text) = text.split_once(':')?;
        let (_, kind) = Kind::WORDS.iter().find(|(known, _)| *known == word)?;
        (!text.is_empty()).then(|| Name::new(*kind, text))
    }

    fn new(kind: Kind, text: &str) -> Name {
        // Names of hosts are compared without regard to case (RFC 4343), all others as they are written.
        let text = if kind == Kind::Dns { text.to_ascii_lowercase() } else { text.to_owned() };
        Name { kind, text: text.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, _) =
            Kind::WORDS.iter().find(|(_, kind)| *kind == self.kind).expect("every kind has a word");
        // A CA may sign any text, and logs have lines.
        write!(f, "{word}:{}", self.text.escape_debug())
    }
}

/// The names of a certificate, common names last; none of one that cannot be read.
pub fn names(certificate: &CertificateDer<'_>) -> Box<[Name]> {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return Box::default() };
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|extension| &extension.value.general_names);
    let alternatives = alternatives.filter_map(|name| match name {
        GeneralName::DNSName(text) => Some(Name::new(Kind::Dns, text)),
        GeneralName::RFC822Name(text) => Some(Name::new(Kind::Email, text)),
        GeneralName::URI(text) => Some(Name::new(Kind::Uri, text)),
        _ => None,
    });
    let common = parsed.subject().iter_common_name();
    let common = common.filter_map(|name| Some(Name::new(Kind::CommonName, name.as_str().ok()?)));
    alternatives.chain(common).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn every_kind_of_name_is_found_and_reads_as_it_is_written_in_the_configuration() {
        let mut parameters = CertificateParams::new(vec!["Deploy.example.com".into()]).unwrap();
        parameters.subject_alt_names.extend([
            SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example.com/deploy".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
        ]);
        parameters.distinguished_name.push(DnType::CommonName, "Ops Team");
        let certificate = parameters.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found: Vec<String> = names(certificate.der()).iter().map(Name::to_string).collect();
        let expected = [
            "dns:deploy.example.com",
            "email:ops@example.com",
            "uri:spiffe://example.com/deploy",
            "cn:Ops Team",
        ];
        assert_eq!(found[..3], expected[..3]);
        assert!(found.contains(&expected[3].to_owned()), "{found:?}");
        for text in expected {
            assert_eq!(Name::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_or_no_certificate_gives_none() {
        for text in ["deploy", "dns:", "DNS:a", "ip:192.0.2.1", ""] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
        assert_eq!(names(&CertificateDer::from(&b"\x30\x03\x02\x01\x01"[..])).len(), 0);
    }

    #[test]
    fn a_name_cannot_begin_a_new_line_in_a_log() {
        assert_eq!(Name::new(Kind::CommonName, "a\nb").to_string(), "cn:a\\nb");
    }
}
