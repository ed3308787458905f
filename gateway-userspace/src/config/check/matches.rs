//! Matches of which neither is more specific than the other.

use crate::config::codes;
use crate::config::decode::Decoder;
use crate::diagnostic::Problem;
use crate::route::conflict::conflicts;

/// Reports every match that collides with an earlier one, in the router's own terms.
pub fn check(d: &mut Decoder<'_>) {
    let matches = &d.matches;
    for (first, second) in conflicts(matches.iter().map(|(_, pattern)| &*pattern.value)) {
        let ((other, first), (name, pattern)) = (&matches[first], &matches[second]);
        let message = match other == name {
            true => format!("route `{name}` has this match twice"),
            false => format!("routes `{other}` and `{name}` match the same requests"),
        };
        d.report.push(
            Problem::error(codes::EQUAL_MATCHES, message, pattern.place.clone())
                .label("neither of the two is more specific")
                .related(first.place.clone(), format!("the match of `{other}`"))
                .help("order decides nothing here: add a method, a host or a longer path to one of them"),
        );
    }
}
