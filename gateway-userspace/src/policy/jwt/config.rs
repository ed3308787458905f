//! `[auth.NAME]` with `jwt`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::header::Name;

/// Settings of one token authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The `[auth.NAME]`.
    pub name: Arc<str>,
    /// The issuer that `iss` must equal to the byte. `None` when only `keys` is given and `iss` is not checked.
    pub issuer: Option<Arc<str>>,
    /// Where the keys come from.
    pub keys: KeySource,
    /// Audiences of which the token must name one; empty: `aud` is not checked.
    pub audiences: Vec<Arc<str>>,
    /// Algorithms that are accepted, never empty, never symmetric together with public keys.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Tolerated difference of clocks, default 30 s.
    pub leeway: Duration,
    /// Claims to send upstream, each in a header. The client's own copies are always removed.
    pub headers: Vec<ClaimHeader>,
    /// Realm in `WWW-Authenticate`.
    pub realm: Arc<str>,
    /// How old fetched keys may get before they are fetched again, default 10 min.
    pub refresh: Duration,
    /// How long keys are used while the issuer is down, default 24 h.
    pub max_stale: Duration,
    /// CA certificates for the issuer's TLS, beside the system's.
    pub ca: Option<PathBuf>,
    /// Whether the token stays in the request that goes upstream, default true (as with other gateways).
    pub forward: bool,
}

/// Where verification keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// OIDC discovery at the issuer: `ISSUER/.well-known/openid-configuration` names the JWKS.
    Discovery(Arc<str>),
    /// A JWKS document at this `http(s)` URL.
    Url(Arc<str>),
    /// A JWKS, one JWK, or a PEM public key; the text, already read from its file or variable.
    Inline(Arc<str>),
}

/// One claim to one header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimHeader {
    /// The header that the upstream gets.
    pub header: Name,
    /// The claim, by a dotted path into nested objects.
    pub claim: Box<str>,
    /// Whether a token without the claim is refused with 401 (else the header is left out).
    pub required: bool,
}
