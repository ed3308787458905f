//! Prefixes as the maps know them.

use gateway_common::{
    denylist::prefix_data4,
    filter::{Marks, marks4, marks6},
    source::{HOST_BITS6, network64},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The one spelling of a prefix: host bits cleared, IPv4-mapped IPv6 as IPv4.
pub fn canonical(prefix: IpNet) -> IpNet {
    if let IpNet::V6(v6) = prefix
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - 96)
    {
        return IpNet::V4(v4.trunc());
    }
    prefix.trunc()
}

/// Which map an entry belongs to, with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// DENY4
    Source4([u8; 4]),
    /// DENY6
    Source6([u8; 8]),
    /// DENY_PREFIX4
    Prefix4(u32, [u8; 8]),
    /// DENY_PREFIX6
    Prefix6(u32, [u8; 16]),
}

impl Key {
    /// Of a canonical prefix.
    pub fn of(prefix: IpNet) -> Self {
        match prefix {
            IpNet::V4(v4) if v4.prefix_len() == 32 => Self::Source4(v4.addr().octets()),
            IpNet::V6(v6) if v6.prefix_len() == HOST_BITS6 => {
                Self::Source6(network64(v6.addr().octets()).to_be_bytes())
            }
            prefix => Self::of_trie(prefix),
        }
    }

    /// Of a canonical prefix in a trie, whatever its length.
    pub fn of_trie(prefix: IpNet) -> Self {
        match prefix {
            IpNet::V4(v4) => Self::Prefix4(v4.prefix_len().into(), prefix_data4(v4.addr().octets())),
            IpNet::V6(v6) => Self::Prefix6(v6.prefix_len().into(), v6.addr().octets()),
        }
    }

    /// From the bytes of a key of DENY_PREFIX4.
    pub fn of_trie4(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, data @ ..] = bytes;
        Self::Prefix4(u32::from_ne_bytes([a, b, c, d]), data)
    }

    /// From the bytes of a key of DENY_PREFIX6.
    pub fn of_trie6(bytes: [u8; 20]) -> Self {
        let [a, b, c, d, data @ ..] = bytes;
        Self::Prefix6(u32::from_ne_bytes([a, b, c, d]), data)
    }

    /// The bytes of a key of an IPv4 trie; zeros for another key.
    pub fn trie4(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        if let Self::Prefix4(bits, data) = self {
            bytes[..4].copy_from_slice(&bits.to_ne_bytes());
            bytes[4..].copy_from_slice(&data);
        }
        bytes
    }

    /// The bytes of a key of an IPv6 trie; zeros for another key.
    pub fn trie6(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        if let Self::Prefix6(bits, data) = self {
            bytes[..4].copy_from_slice(&bits.to_ne_bytes());
            bytes[4..].copy_from_slice(&data);
        }
        bytes
    }

    /// Index of its map in [`DENYLISTS`](super::walk::DENYLISTS).
    pub fn list(self) -> usize {
        match self {
            Self::Source4(_) => 0,
            Self::Source6(_) => 1,
            Self::Prefix4(..) => 2,
            Self::Prefix6(..) => 3,
        }
    }

    /// Whether it is the key of a source, in a hash map.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Source4(_) | Self::Source6(_))
    }

    /// The prefix of a key, or `None` for a key that this program did not write.
    pub fn prefix(self) -> Option<IpNet> {
        match self {
            Self::Source4(address) => Ipv4Net::new(address.into(), 32).ok().map(IpNet::V4),
            Self::Source6(network) => {
                let address = u128::from(u64::from_be_bytes(network)) << 64;
                Ipv6Net::new(address.into(), HOST_BITS6).ok().map(IpNet::V6)
            }
            Self::Prefix4(bits, [a, b, c, d, ..]) => {
                Ipv4Net::new([a, b, c, d].into(), u8::try_from(bits).ok()?).ok().map(IpNet::V4)
            }
            Self::Prefix6(bits, address) => {
                Ipv6Net::new(address.into(), u8::try_from(bits).ok()?).ok().map(IpNet::V6)
            }
        }
    }
}

/// What has to be set in the filter for a canonical prefix.
pub fn marks(prefix: IpNet) -> Marks {
    match prefix {
        IpNet::V4(v4) => marks4(v4.addr().into(), v4.prefix_len()),
        IpNet::V6(v6) => marks6(network64(v6.addr().octets()), v6.prefix_len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_has_one_spelling() {
        assert_eq!(canonical(net("192.0.2.77/24")), net("192.0.2.0/24"));
        assert_eq!(canonical(net("::ffff:192.0.2.77/128")), net("192.0.2.77/32"));
        assert_eq!(canonical(net("::ffff:192.0.2.77/120")), net("192.0.2.0/24"));
        assert_eq!(canonical(net("2001:db8::1/64")), net("2001:db8::/64"));
        assert_eq!(canonical(net("::/0")), net("::/0"));
    }

    #[test]
    fn every_prefix_length_survives_the_way_to_its_key_and_back() {
        for bits in 0..=32 {
            let prefix = canonical(IpNet::V4(Ipv4Net::new([198, 51, 100, 255].into(), bits).unwrap()));
            assert_eq!(Key::of(prefix).prefix(), Some(prefix));
        }
        for bits in 0..=128 {
            let address = "2001:db8:ffff:ffff:ffff::1".parse().unwrap();
            let prefix = canonical(IpNet::V6(Ipv6Net::new(address, bits).unwrap()));
            assert_eq!(Key::of(prefix).prefix(), Some(prefix));
        }
    }

    #[test]
    fn only_hosts_are_exact() {
        assert!(matches!(Key::of(net("192.0.2.1/32")), Key::Source4(_)));
        assert!(matches!(Key::of(net("2001:db8::/64")), Key::Source6(_)));
        assert!(matches!(Key::of(net("192.0.2.0/31")), Key::Prefix4(31, _)));
        assert!(matches!(Key::of(net("2001:db8::1/128")), Key::Prefix6(128, _)));
    }

    #[test]
    fn a_key_with_an_impossible_length_is_no_prefix() {
        assert_eq!(Key::Prefix4(33, [0; 8]).prefix(), None);
        assert_eq!(Key::Prefix6(1 << 20, [0; 16]).prefix(), None);
    }
}
