//! `access` of a listener or a route: `["allow 10.0.0.0/8", "deny all"]`.

use ipnet::IpNet;

/// Ordered rules; when none matches, the address is admitted, as in NGINX.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The rules in the order in which they are tried.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whether a match admits.
    pub allow: bool,
    /// What it matches; `None` is `all`.
    pub prefix: Option<IpNet>,
}
