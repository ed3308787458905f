//! The router: from host, path and method to the route that serves them.
//!
//! A route matches when its host, its path and its methods match. Among those that match, the most specific wins,
//! whatever their order in the configuration:
//!
//! 1. host: exact, then the wildcard with the longest suffix, then any;
//! 2. path, segment by segment from the left: a literal, then `{name:uuid}`, `{name:int}`, `{name}`, then the end of the path, `{name+}`, `/*`;
//! 3. method: named, then the `HEAD` that a `GET` implies, then any.
//!
//! This is the Gateway API's precedence. It means that a path under `/v1/*` whose more specific route takes other
//! methods falls back to the less specific one; only when no route takes the method is the answer 405, with every
//! method that some matching route takes. Likewise a route without host serves the paths that no route of the exact
//! host has. A lookup does not allocate; a refusal for the method does, to list the methods.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rapidhash::quality::RandomState;

use super::Found;
use super::methods::Methods;
use super::pattern::{HostPattern, PathPattern, Pattern, Segment};
use super::tree::{Leaf, Node, best_fit, segments};
use crate::http::rejection::Rejection;
use crate::request::Head;

/// A compiled set of patterns.
#[derive(Debug)]
pub struct Table {
    entries: Box<[Entry]>,
    exact: HashMap<Box<str>, Node, RandomState>,
    /// By suffix, without `*.`.
    wildcard: HashMap<Box<str>, Node, RandomState>,
    any: Node,
    /// Lengths of the longest names in `exact` and `wildcard`, in bytes: longer ones need no lookup.
    exact_length_max: usize,
    wildcard_length_max: usize,
}

#[derive(Debug)]
struct Entry {
    route: usize,
    pattern: Arc<Pattern>,
    prefix: Box<str>,
}

impl Table {
    /// Compiles patterns, each with the index of its route. Of two equal ones (see [`super::conflict`]) the first
    /// wins.
    pub fn new<P: Into<Arc<Pattern>>>(patterns: impl IntoIterator<Item = (P, usize)>) -> Table {
        let mut table = Table {
            entries: Box::default(),
            exact: HashMap::default(),
            wildcard: HashMap::default(),
            any: Node::default(),
            exact_length_max: 0,
            wildcard_length_max: 0,
        };
        let mut entries = Vec::new();
        for (pattern, route) in patterns {
            let pattern = pattern.into();
            let leaf = Leaf { pattern: entries.len(), methods: Methods::new(&pattern.methods) };
            table.tree_of(&pattern.host).insert(&pattern.path, leaf);
            let prefix = literal_prefix(&pattern.path);
            entries.push(Entry { route, pattern, prefix });
        }
        table.entries = entries.into_boxed_slice();
        table
    }

    /// The route for a request.
    pub fn find(&self, head: &Head) -> Result<Found<'_>, Rejection> {
        self.lookup(head.host(), head.path(), head.method())
    }

    /// The route for a host (lower case, without port; one dot at its end is ignored), a path in normal form and a
    /// method.
    pub fn lookup(&self, host: &str, path: &str, method: &str) -> Result<Found<'_>, Rejection> {
        let mut path_matched = false;
        for tree in self.trees(host) {
            let leaf = tree.find(path, &mut |leaves| {
                path_matched = true;
                best_fit(leaves, method)
            });
            if let Some(leaf) = leaf {
                let Entry { route, pattern, prefix } = &self.entries[leaf.pattern];
                return Ok(Found { route: *route, pattern: &pattern.path, prefix });
            }
        }
        Err(if path_matched {
            Rejection::MethodNotAllowed { allow: self.allowed(host, path) }
        } else {
            Rejection::NoRoute
        })
    }

    /// The path trees of a host, most specific first.
    fn trees<'t>(&'t self, host: &str) -> impl Iterator<Item = &'t Node> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let exact = if host.len() <= self.exact_length_max { self.exact.get(host) } else { None };
        let suffixes =
            host.match_indices('.').filter(|(dot, _)| *dot > 0).map(move |(dot, _)| &host[dot + 1..]);
        let wildcards = suffixes
            .filter(|suffix| suffix.len() <= self.wildcard_length_max)
            .filter_map(|suffix| self.wildcard.get(suffix));
        exact.into_iter().chain(wildcards).chain(std::iter::once(&self.any))
    }

    /// Every method that some route takes for host and path, as an `Allow` field lists them.
    fn allowed(&self, host: &str, path: &str) -> Arc<str> {
        let mut names = BTreeSet::new();
        for tree in self.trees(host) {
            let _: Option<()> = tree.find(path, &mut |leaves| {
                names.extend(leaves.iter().flat_map(|leaf| leaf.methods.names()));
                None
            });
        }
        let names: Vec<&str> = names.into_iter().collect();
        names.join(", ").into()
    }

    fn tree_of(&mut self, host: &HostPattern) -> &mut Node {
        match host {
            HostPattern::Exact(name) => {
                self.exact_length_max = self.exact_length_max.max(name.len());
                self.exact.entry(name.clone()).or_default()
            }
            HostPattern::Wildcard(suffix) => {
                self.wildcard_length_max = self.wildcard_length_max.max(suffix.len());
                self.wildcard.entry(suffix.clone()).or_default()
            }
            HostPattern::Any => &mut self.any,
        }
    }
}

/// The leading literals of a pattern, each with its slash.
fn literal_prefix(path: &PathPattern) -> Box<str> {
    let mut prefix = String::with_capacity(path.text.len());
    for segment in segments(path) {
        let Segment::Literal(text) = segment else { break };
        prefix.push('/');
        prefix.push_str(text);
    }
    prefix.into()
}

#[cfg(test)]
pub(crate) mod tests;
