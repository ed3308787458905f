//! The paths of one host, as a tree of segments.
//!
//! Routers with a compressed tree of bytes (matchit, say) refuse patterns such as `/{a}/x` beside `/{b}/y` or know no
//! prefix that also matches its own parent; here patterns combine freely and two spellings of a literal are one.

use std::collections::HashMap;

use rapidhash::fast::RandomState;

use super::literal;
use super::methods::{Fit, Methods};
use super::pattern::{Kind, PathPattern, Segment, Tail};

/// A node: the patterns that agree on the segments up to here.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Next segments that are literal, folded.
    literals: HashMap<Box<[u8]>, Box<Node>, RandomState>,
    /// The next segment where it is a parameter, narrower kinds first.
    parameters: Vec<(Kind, Box<Node>)>,
    end: Vec<Leaf>,
    rest: Vec<Leaf>,
    prefix: Vec<Leaf>,
}

/// A pattern that ends at a node.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Index of the pattern in the table.
    pub(super) pattern: usize,
    pub(super) methods: Methods,
}

impl Node {
    /// Adds a pattern.
    pub(super) fn insert(&mut self, path: &PathPattern, leaf: Leaf) {
        let mut node = self;
        for segment in segments(path) {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(literal::folded(text).into()).or_default(),
                Segment::Parameter(_, kind) => node.parameter(*kind),
            };
        }
        match path.tail {
            Tail::End => node.end.push(leaf),
            Tail::Rest(_) => node.rest.push(leaf),
            Tail::Prefix => node.prefix.push(leaf),
        }
    }

    /// The most specific pattern that takes path and method.
    ///
    /// `accept` sees the patterns that match the path, most specific first, until it returns something. Each node is
    /// visited at most once, so a lookup is bounded by the number of patterns whatever the path is.
    pub(super) fn find<'t, T>(
        &'t self,
        path: &str,
        accept: &mut impl FnMut(&'t [Leaf]) -> Option<T>,
    ) -> Option<T> {
        let rest = path.strip_prefix('/')?;
        if rest.is_empty() {
            // The root has no segments; `/` is its end, and what follows is its empty last segment.
            return offer(&self.end, accept).or_else(|| offer(&self.prefix, accept));
        }
        self.descend(Some(rest), accept)
    }

    /// `rest` is what follows the slash after this node's segment, if there was a slash.
    fn descend<'t, T>(
        &'t self,
        rest: Option<&str>,
        accept: &mut impl FnMut(&'t [Leaf]) -> Option<T>,
    ) -> Option<T> {
        let Some(rest) = rest else {
            return offer(&self.end, accept).or_else(|| offer(&self.prefix, accept));
        };
        let (segment, after) = match rest.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (rest, None),
        };
        if !self.literals.is_empty() {
            for child in self.literals_for(segment).into_iter().flatten() {
                let found = child.descend(after, accept);
                if found.is_some() {
                    return found;
                }
            }
        }
        for (_, child) in self.parameters.iter().filter(|(kind, _)| takes(*kind, segment)) {
            let found = child.descend(after, accept);
            if found.is_some() {
                return found;
            }
        }
        if !rest.is_empty() {
            let found = offer(&self.rest, accept);
            if found.is_some() {
                return found;
            }
        }
        offer(&self.prefix, accept)
    }

    /// The child for parameters of this kind, made if there is none.
    fn parameter(&mut self, kind: Kind) -> &mut Node {
        let index = match self.parameters.binary_search_by_key(&kind, |(known, _)| *known) {
            Ok(index) => index,
            Err(index) => {
                self.parameters.insert(index, (kind, Box::default()));
                index
            }
        };
        &mut self.parameters[index].1
    }

    /// The children whose literal the segment spells: as it stands, then without its path parameters.
    fn literals_for(&self, segment: &str) -> [Option<&Node>; 2] {
        if !literal::has_spellings(segment) {
            return [self.literal(segment.as_bytes()), None];
        }
        let name = literal::without_parameters(segment);
        let whole = literal::with_folded(segment, |folded| self.literal(folded));
        let cut = (name.len() < segment.len())
            .then(|| literal::with_folded(name, |folded| self.literal(folded)))
            .flatten();
        [whole, cut]
    }

    fn literal(&self, folded: &[u8]) -> Option<&Node> {
        self.literals.get(folded).map(|node| &**node)
    }
}

/// The segments of a pattern; `/` has none, however it was parsed.
pub(super) fn segments(path: &PathPattern) -> &[Segment] {
    match &*path.segments {
        [Segment::Literal(only)] if only.is_empty() && path.tail == Tail::End => &[],
        segments => segments,
    }
}

/// Whether a segment is of a kind. Upstreams may cut path parameters off, so `7;x=1` is the number that `7` is.
fn takes(kind: Kind, segment: &str) -> bool {
    match kind {
        Kind::Any => !segment.is_empty(),
        kind => kind.takes(literal::without_parameters(segment)),
    }
}

/// Shows the leaves of one place to `accept`, if there are any.
fn offer<'t, T>(leaves: &'t [Leaf], accept: &mut impl FnMut(&'t [Leaf]) -> Option<T>) -> Option<T> {
    if leaves.is_empty() { None } else { accept(leaves) }
}

/// Of patterns with the same path, the one that fits the method best; the first where several do.
pub(super) fn best_fit<'t>(leaves: &'t [Leaf], method: &str) -> Option<&'t Leaf> {
    let mut best: Option<(Fit, &Leaf)> = None;
    for leaf in leaves {
        let Some(fit) = leaf.methods.fit(method) else { continue };
        if best.is_none_or(|(known, _)| fit > known) {
            best = Some((fit, leaf));
        }
    }
    best.map(|(_, leaf)| leaf)
}
