//! A route that was found, and what its pattern says about the path.

use std::borrow::Cow;

use super::literal;
use super::pattern::{Kind, PathPattern, Segment, Tail};
use super::tree::segments;

/// The outcome of a lookup. It borrows the table only, so that the head may be edited while it lives; parameters are
/// read off the path when somebody asks for them.
#[derive(Debug, Clone, Copy)]
pub struct Found<'t> {
    /// The index that the pattern was put into the table with.
    pub route: usize,
    /// The path of the pattern that matched.
    pub pattern: &'t PathPattern,
    /// Its leading literals, in the pattern's own spelling: `/v1` of `/v1/{id}/x`, nothing of `/*`.
    pub prefix: &'t str,
}

impl<'t> Found<'t> {
    /// Names and values of the pattern's parameters in `path`, which must be the path that was looked up. Values are
    /// as they stand in the normal form, so percent-encodings are kept. A `{name+}` yields the rest with its slashes.
    pub fn parameters<'p>(&self, path: &'p str) -> impl Iterator<Item = (&'t str, &'p str)> {
        let mut rest = Some(path.strip_prefix('/').unwrap_or(path));
        let segments = segments(self.pattern).iter().map(Some).chain(std::iter::once(None));
        let tail = &self.pattern.tail;
        segments.filter_map(move |segment| match segment {
            Some(segment) => {
                let (value, after) = split_segment(rest?);
                rest = after;
                match segment {
                    Segment::Literal(_) => None,
                    Segment::Parameter(name, Kind::Any) => Some((&**name, value)),
                    // Path parameters are no part of a number or a UUID.
                    Segment::Parameter(name, _) => Some((&**name, literal::without_parameters(value))),
                }
            }
            None => match tail {
                Tail::Rest(name) => Some((&**name, rest?)),
                Tail::End | Tail::Prefix => None,
            },
        })
    }

    /// One form for all spellings of a parameter's value that upstreams read alike: without path parameters (`;x`), what
    /// may stand raw decoded, a UUID in small letters, a number without leading zeros.
    pub fn canonical(&self, name: &str, value: &str) -> String {
        let kind = segments(self.pattern).iter().find_map(|segment| match segment {
            Segment::Parameter(known, kind) if **known == *name => Some(*kind),
            _ => None,
        });
        match kind.unwrap_or(Kind::Any) {
            Kind::Uuid => value.to_ascii_lowercase(),
            Kind::Int => value.trim_start_matches('0').to_owned(),
            Kind::Any => {
                let folded = value.split('/').map(|segment| {
                    let bytes: Vec<u8> = literal::fold(literal::without_parameters(segment)).collect();
                    String::from_utf8_lossy(&bytes).into_owned()
                });
                folded.collect::<Vec<_>>().join("/")
            }
        }
    }

    /// The value of one parameter.
    pub fn parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.parameters(path).find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Length of the beginning of `path` that the pattern's leading literals matched: `/v1` of `/v1/users` for
    /// `/v1/*`, `/v1` of `/v1/7/x` for `/v1/{id}/x`, nothing for `/*`. The slash after it is not part of it.
    pub fn literal_prefix_length(&self, path: &str) -> usize {
        let literals =
            segments(self.pattern).iter().take_while(|segment| matches!(segment, Segment::Literal(_)));
        literals.fold(0, |length, _| {
            let begin = (length + 1).min(path.len());
            path[begin..].find('/').map_or(path.len(), |slash| begin + slash)
        })
    }

    /// The path with the pattern's literal beginning replaced: with `"/"`, `/v1/*` sends `/v1/users` as `/users` and
    /// `/v1` as `/`, as `location /v1/ { proxy_pass http://x/; }` does in NGINX. A slash at the end of the replacement
    /// makes no difference, except that it is kept when nothing follows. Allocates only for replacements other than
    /// the root.
    pub fn replace_prefix<'p>(&self, path: &'p str, replacement: &str) -> Cow<'p, str> {
        let rest = &path[self.literal_prefix_length(path)..];
        let base = replacement.trim_end_matches('/');
        match (base, rest) {
            ("", "") => Cow::Borrowed("/"),
            ("", rest) => Cow::Borrowed(rest),
            (_, "") => Cow::Owned(replacement.to_owned()),
            (base, rest) => Cow::Owned([base, rest].concat()),
        }
    }
}

fn split_segment(rest: &str) -> (&str, Option<&str>) {
    match rest.split_once('/') {
        Some((segment, after)) => (segment, Some(after)),
        None => (rest, None),
    }
}
