//! Where a client is, when proxies that we trust stand between it and us.
//!
//! The list in `X-Forwarded-For` is read from the right: each entry was added by the hop that comes after it, so an
//! entry is believed only while every hop after it is trusted. The first address that is not a trusted proxy is the
//! client, whatever stands further left, because that part is the client's own word. Entries that are not addresses
//! end the walk at the last good hop.
//!
//! `Forwarded` (RFC 7239) is read the same way, but only when there is no `X-Forwarded-For`: most proxies write the
//! latter and let a client's `Forwarded` pass untouched. A proxy that writes `Forwarded` must remove the other.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::header::{FORWARDED, Fields, Name, X_FORWARDED_FOR};
use crate::request::Peer;

/// Most hops that are followed; a list that is longer ends at that hop.
pub const HOPS_MAX: usize = 32;

/// The prefixes of proxies whose word is believed.
///
/// Looked through one by one: lists are short, and looked at once for each connection (twice with a forwarding header).
#[derive(Debug, Default)]
pub struct TrustedProxies(Box<[IpNet]>);

impl TrustedProxies {
    /// Trusts these prefixes.
    pub fn new(prefixes: &[IpNet]) -> TrustedProxies {
        TrustedProxies(prefixes.into())
    }

    /// Whether `address` is a trusted proxy's; IPv4-mapped addresses are looked up as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|prefix| prefix.contains(&address))
    }
}

/// The client's address: the connection's source, unless that is a trusted proxy that names another.
pub fn client_address(peer: &Peer, fields: &Fields, trusted: &TrustedProxies) -> IpAddr {
    let source = peer.source.ip().to_canonical();
    if !trusted.contains(source) {
        return source;
    }
    if fields.contains(&X_FORWARDED_FOR) {
        walk(source, fields, &X_FORWARDED_FOR, trusted, node)
    } else {
        walk(source, fields, &FORWARDED, trusted, forwarded_for)
    }
}

/// Follows the list in `name` from the right, beginning at `source`, which is trusted.
fn walk(
    source: IpAddr,
    fields: &Fields,
    name: &Name,
    trusted: &TrustedProxies,
    parse: fn(&str) -> Option<IpAddr>,
) -> IpAddr {
    // Several field lines are one list in the order of arrival. It is split as bytes: what a client put far left must
    // not make the entries unreadable that our proxies added to the right.
    let entries = fields.get_all(name).rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut nearest = source;
    for entry in entries.take(HOPS_MAX) {
        let text = std::str::from_utf8(entry).unwrap_or_default();
        let Some(address) = parse(text.trim_matches([' ', '\t'])) else { break };
        nearest = address;
        if !trusted.contains(address) {
            break;
        }
    }
    nearest
}

/// An address with an optional port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok().or_else(|| {
        let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        match literal {
            Some(literal) => literal.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => text.parse::<SocketAddr>().ok().map(|address| address.ip()),
        }
    })?;
    Some(address.to_canonical())
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 §4); `unknown` and obfuscated names are no address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let value = element.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })?;
    node(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests;
