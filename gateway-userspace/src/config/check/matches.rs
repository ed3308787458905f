//! Matches of which neither is more specific than the other.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::codes;
use crate::config::model::Config;
use crate::diagnostic::{Located, Problem, Report};
use crate::route::pattern::Pattern;

/// Reports every match that collides with an earlier one. Patterns are compared only within a bucket of equal host and
/// equal shape of path, so that many routes take linear time.
pub fn check(config: &Config, report: &mut Report) {
    let mut buckets: HashMap<_, Vec<(&Arc<str>, &Located<Pattern>)>> = HashMap::new();
    for route in &config.route {
        for pattern in &route.matches {
            let others = buckets.entry((&pattern.value.host, pattern.value.path.shape())).or_default();
            let collision = others.iter().find(|(_, other)| other.value.collides_with(&pattern.value));
            if let Some((other, first)) = collision {
                let message = match **other == route.name {
                    true => format!("route `{}` has this match twice", route.name),
                    false => format!("routes `{other}` and `{}` match the same requests", route.name),
                };
                report.push(
                    Problem::error(codes::EQUAL_MATCHES, message, pattern.place.clone())
                        .label("neither of the two is more specific")
                        .related(first.place.clone(), format!("the match of `{other}`"))
                        .help("order decides nothing here: add a method, a host or a longer path to one of them"),
                );
            }
            others.push((&route.name, pattern));
        }
    }
}
