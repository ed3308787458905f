//! Patterns between which nothing decides.

use std::collections::HashMap;

use rapidhash::quality::RandomState;

use super::literal;
use super::methods::Methods;
use super::pattern::{HostPattern, Pattern, Segment, Tail};
use super::tree::segments;

/// Pairs of patterns that match the same requests equally well: same host, same path whatever its parameters are
/// called, and a method that both name (or both take all). Each pattern is reported once, with the first one before
/// it that it collides with; the indices are those of `patterns`, lower first. Takes linear time unless many are equal.
pub fn conflicts<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Vec<(usize, usize)> {
    let mut groups: HashMap<(&HostPattern, Shape), Vec<(usize, Methods)>, RandomState> = HashMap::default();
    let mut pairs = Vec::new();
    for (index, pattern) in patterns.into_iter().enumerate() {
        let methods = Methods::new(&pattern.methods);
        let group = groups.entry((&pattern.host, Shape::of(pattern))).or_default();
        if let Some((first, _)) = group.iter().find(|(_, known)| known.overlaps(&methods)) {
            pairs.push((*first, index));
        }
        group.push((index, methods));
    }
    pairs
}

/// A path without the names of its parameters, in the spelling that the router compares. What no literal can hold, NUL
/// and a slash, tells the parts apart.
#[derive(PartialEq, Eq, Hash)]
struct Shape(Vec<u8>);

impl Shape {
    fn of(pattern: &Pattern) -> Shape {
        let mut shape = Vec::with_capacity(pattern.path.text.len());
        for segment in segments(&pattern.path) {
            shape.push(b'/');
            match segment {
                Segment::Literal(text) => shape.extend_from_slice(&literal::folded(text)),
                Segment::Parameter(_, kind) => shape.extend([0, *kind as u8]),
            }
        }
        shape.extend_from_slice(match pattern.path.tail {
            Tail::End => b"",
            Tail::Prefix => b"/\0*",
            Tail::Rest(_) => b"/\0+",
        });
        Shape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::conflicts;
    use crate::route::table::tests::pattern;

    fn pairs(matches: &[&str]) -> Vec<(usize, usize)> {
        conflicts(&matches.iter().map(|text| pattern(text)).collect::<Vec<_>>())
    }

    #[test]
    fn equal_patterns_collide_whatever_their_parameters_are_called() {
        assert_eq!(pairs(&["/users/{id}", "/users/{name}"]), [(0, 1)]);
        assert_eq!(pairs(&["GET,POST a.com/x", "/y", "POST a.com/x"]), [(0, 2)]);
        assert_eq!(pairs(&["/files/{a+}", "/files/{b+}"]), [(0, 1)]);
        assert_eq!(pairs(&["/a:b", "/a%3Ab", "/a:b"]), [(0, 1), (0, 2)]);
    }

    #[test]
    fn patterns_that_differ_in_host_shape_or_methods_do_not_collide() {
        let different = [
            "/users/{id}",
            "/users/{id:int}",
            "/users/{id:uuid}",
            "/users/me",
            "/users/*",
            "/users/{id+}",
            "/users",
            "/users/",
            "a.com/users/{id}",
            "*.a.com/users/{id}",
            "GET /users/{id}",
            "POST /users/{id}",
            "HEAD /users/{id}",
        ];
        assert_eq!(pairs(&different), []);
    }
}
