//! Patterns between which nothing decides.

use std::collections::HashMap;

use super::literal;
use super::methods::Methods;
use super::pattern::{HostPattern, Kind, Pattern, Segment, Tail};
use super::tree::segments;

/// Pairs of patterns that match the same requests equally well: same host, same path whatever its parameters are
/// called, and a method that both name (or both take all). Each pattern is reported once, with the first one before
/// it that it collides with; the indices are those of `patterns`, lower first. Takes linear time unless many are equal.
pub fn conflicts<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Vec<(usize, usize)> {
    let mut groups: HashMap<(&HostPattern, Shape), Vec<(usize, Methods)>> = HashMap::new();
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

/// A path without the names of its parameters, in the spelling that the router compares.
#[derive(PartialEq, Eq, Hash)]
struct Shape {
    segments: Vec<ShapeSegment>,
    tail: TailKind,
}

#[derive(PartialEq, Eq, Hash)]
enum ShapeSegment {
    Literal(Vec<u8>),
    Parameter(Kind),
}

#[derive(PartialEq, Eq, Hash)]
enum TailKind {
    End,
    Prefix,
    Rest,
}

impl Shape {
    fn of(pattern: &Pattern) -> Shape {
        let segments = segments(&pattern.path).iter().map(|segment| match segment {
            Segment::Literal(text) => ShapeSegment::Literal(literal::fold(text).collect()),
            Segment::Parameter(_, kind) => ShapeSegment::Parameter(*kind),
        });
        let tail = match pattern.path.tail {
            Tail::End => TailKind::End,
            Tail::Prefix => TailKind::Prefix,
            Tail::Rest(_) => TailKind::Rest,
        };
        Shape { segments: segments.collect(), tail }
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
