//! What is measured: the request, and what a proxy does with it.

use super::secrets::Secrets;

/// How many routes the policies case has; requests ask for the last one.
pub const ROUTES: usize = 20;

/// One case of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// HTTP/1.1 in, HTTP/1.1 out.
    Plain,
    /// TLS 1.3 in, HTTP/1.1 out.
    Tls,
    /// 20 routes, an RS256 token (always the same) and a limit that is never reached.
    Policies,
}

impl Case {
    /// All of them.
    pub const ALL: [Case; 3] = [Case::Plain, Case::Tls, Case::Policies];

    /// For tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Case::Plain => "plain",
            Case::Tls => "tls-1.3",
            Case::Policies => "20 routes + RS256 JWT + limit",
        }
    }

    /// For file names and the command line.
    pub fn slug(self) -> &'static str {
        match self {
            Case::Plain => "plain",
            Case::Tls => "tls",
            Case::Policies => "policies",
        }
    }

    /// The request, as a browser's or a service's would look.
    pub fn request(self, secrets: &Secrets) -> Vec<u8> {
        match self {
            Case::Policies => request(Some(&secrets.token)),
            Case::Plain | Case::Tls => request(None),
        }
    }

    /// The same with a signature that does not verify, if the case has one. Who takes it does not do the work.
    pub fn forged_request(self, secrets: &Secrets) -> Option<Vec<u8>> {
        let (signed, signature) = secrets.token.rsplit_once('.')?;
        let forged: String = signature.chars().rev().collect();
        (self == Case::Policies).then(|| request(Some(&format!("{signed}.{forged}"))))
    }
}

fn request(token: Option<&str>) -> Vec<u8> {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET /v{ROUTES}/users/42?fields=name HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench/1.0\r\n\
             Accept: application/json\r\nAccept-Encoding: gzip\r\n{token}\r\n"
    )
    .into_bytes()
}
