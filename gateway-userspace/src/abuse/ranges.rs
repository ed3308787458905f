//! Addresses as ranges in order: a million of them are eight megabytes, and one is found among them by a binary search.

use std::net::IpAddr;

use ipnet::IpNet;

/// Some addresses of both families. Ranges do not touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Ranges {
    /// Those of the prefixes, in any order.
    pub fn of(prefixes: &[IpNet]) -> Ranges {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => v4.push((u32::from(net.network()), u32::from(net.broadcast()))),
                IpNet::V6(net) => v6.push((u128::from(net.network()), u128::from(net.broadcast()))),
            }
        }
        Ranges {
            v4: merged(v4, |last, next| next > last.saturating_add(1)),
            v6: merged(v6, |last, next| next > last.saturating_add(1)),
        }
    }

    /// Whether the address, with IPv4-mapped IPv6 as IPv4, is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => range_of(&self.v4, u32::from(v4)).is_some(),
            IpAddr::V6(v6) => range_of(&self.v6, u128::from(v6)).is_some(),
        }
    }

    /// Whether they are all there.
    pub fn cover(&self, prefix: IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => {
                let range = range_of(&self.v4, u32::from(net.network()));
                range.is_some_and(|(_, last)| u32::from(net.broadcast()) <= last)
            }
            IpNet::V6(net) => {
                let range = range_of(&self.v6, u128::from(net.network()));
                range.is_some_and(|(_, last)| u128::from(net.broadcast()) <= last)
            }
        }
    }

    /// Whether any of the prefix's addresses is one of them.
    pub fn touch(&self, prefix: IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => touches(&self.v4, u32::from(net.network()), u32::from(net.broadcast())),
            IpNet::V6(net) => touches(&self.v6, u128::from(net.network()), u128::from(net.broadcast())),
        }
    }
}

/// In order, those that overlap or follow each other as one; `apart` says whether a range that begins there is neither.
fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>, apart: impl Fn(N, N) -> bool) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = !apart(last.1, next.0);
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    ranges.into()
}

fn range_of<N: Ord + Copy>(ranges: &[(N, N)], at: N) -> Option<(N, N)> {
    let before = ranges.partition_point(|(first, _)| *first <= at).checked_sub(1)?;
    ranges.get(before).copied().filter(|(_, last)| at <= *last)
}

fn touches<N: Ord + Copy>(ranges: &[(N, N)], first: N, last: N) -> bool {
    // The first range that ends at `first` or behind it.
    let candidate = ranges.partition_point(|(_, end)| *end < first);
    ranges.get(candidate).is_some_and(|(begin, _)| *begin <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn ranges(texts: &[&str]) -> Ranges {
        Ranges::of(&texts.iter().map(|text| net(text)).collect::<Vec<_>>())
    }

    #[test]
    fn neighbours_and_what_lies_in_another_become_one_range() {
        let all = ranges(&[
            "10.0.0.2/32",
            "10.0.0.0/31",
            "10.0.0.0/32",
            "10.0.0.4/32",
            "2001:db8::/64",
            "2001:db8::7/128",
        ]);
        assert_eq!((all.v4.len(), all.v6.len()), (2, 1));
        let widest = ranges(&["0.0.0.0/0", "255.255.255.255/32", "::/0", "::1/128"]);
        assert_eq!((widest.v4.len(), widest.v6.len()), (1, 1));
    }

    #[test]
    fn each_question_is_answered_as_a_look_at_every_prefix_would() {
        let texts = [
            "10.0.0.0/30",
            "10.0.0.8/32",
            "10.0.1.0/24",
            "203.0.113.9/32",
            "2001:db8::/64",
            "2001:db8:1::9/128",
        ];
        let (all, prefixes) = (ranges(&texts), texts.map(net));
        let mut asked = 0;
        for base in [0x0a00_0000_u32, 0x0a00_00fc, 0x0a00_01fc, 0xcb00_7108] {
            for (offset, length) in (0..16).flat_map(|offset| (22..=32).map(move |length| (offset, length))) {
                let address = std::net::Ipv4Addr::from(base + offset);
                let prefix = IpNet::new(address.into(), length).unwrap().trunc();
                assert_eq!(
                    all.contains(address.into()),
                    prefixes.iter().any(|net| net.contains(&IpAddr::from(address)))
                );
                let touched = prefixes.iter().any(|net| net.contains(&prefix) || prefix.contains(net));
                assert_eq!(all.touch(prefix), touched, "{prefix}");
                assert_eq!(all.cover(prefix), prefixes.iter().any(|net| net.contains(&prefix)), "{prefix}");
                asked += 1;
            }
        }
        assert_eq!(asked, 4 * 16 * 11);
        for (address, is) in [
            ("2001:db8::77", true),
            ("2001:db8:0:1::", false),
            ("2001:db8:1::9", true),
            ("::ffff:10.0.0.1", true),
        ] {
            assert_eq!(all.contains(address.parse().unwrap()), is, "{address}");
        }
        assert!(all.touch(net("2001:db8::/32")) && !all.cover(net("2001:db8::/32")));
        assert!(
            !Ranges::default().touch(net("0.0.0.0/0")) && !Ranges::default().contains(IpAddr::from([0; 4]))
        );
    }
}
