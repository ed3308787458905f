//! Header fields that every answer carries, the gateway's own refusals included.

pub mod config;
pub mod expose;
pub mod limit;

use crate::header::{Name, Value};
use crate::response::Head;

/// The gateway's fields and a route's, merged.
#[derive(Debug, Default)]
pub struct ResponseHeaders {
    remove: Box<[Name]>,
    /// Whether the first value of its name, which replaces what is there.
    set: Box<[(Name, Value, bool)]>,
}

impl ResponseHeaders {
    /// Merges the gateway's fields with a route's. None is lost because a route has its own; where both speak of one
    /// name, the route's word counts, be it to set or to remove.
    pub fn new(gateway: &config::Config, route: &config::Config) -> ResponseHeaders {
        let routes_own =
            |name: &Name| route.remove.contains(name) || route.set.iter().any(|(other, _)| other == name);
        let gateways = gateway.set.iter().filter(|(name, _)| !routes_own(name));
        let mut set: Vec<(Name, Value, bool)> = Vec::new();
        for (name, value) in gateways.chain(&route.set) {
            let first = set.iter().all(|(known, ..)| known != name);
            set.push((name.clone(), value.clone(), first));
        }
        let remove = gateway.remove.iter().chain(&route.remove);
        let remove: Vec<Name> =
            remove.filter(|name| set.iter().all(|(known, ..)| known != *name)).cloned().collect();
        ResponseHeaders { remove: remove.into(), set: set.into() }
    }

    /// Edits an answer.
    pub fn apply(&self, head: &mut Head) {
        for name in &self.remove {
            head.fields.remove(name);
        }
        for (name, value, first) in &self.set {
            if *first {
                head.fields.set(name.clone(), value.clone());
            } else {
                head.fields.add(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ResponseHeaders, config::Config};
    use crate::header::{Name, Value};
    use crate::response::Head;

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a field name")
    }

    fn value(text: &str) -> Value {
        Value::parse(text.as_bytes()).expect("a field value")
    }

    fn config(set: &[(&str, &str)], remove: &[&str]) -> Config {
        Config {
            set: set.iter().map(|(field, text)| (name(field), value(text))).collect(),
            remove: remove.iter().map(|field| name(field)).collect(),
        }
    }

    fn applied(gateway: &Config, route: &Config) -> Vec<String> {
        let mut head = Head::new(200);
        head.fields.add(name("x-powered-by"), value("express"));
        head.fields.add(name("x-frame-options"), value("ALLOWALL"));
        ResponseHeaders::new(gateway, route).apply(&mut head);
        let mut lines: Vec<String> = head
            .fields
            .iter()
            .map(|(name, value)| format!("{}: {}", name.as_str(), value.to_str().unwrap_or("?")))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_route_with_its_own_fields_keeps_the_gateways() {
        let gateway = config(&[("x-frame-options", "SAMEORIGIN")], &["x-powered-by"]);
        let route = config(&[("x-route", "a")], &[]);
        assert_eq!(applied(&gateway, &route), ["x-frame-options: SAMEORIGIN", "x-route: a"]);
    }

    #[test]
    fn the_routes_word_counts_where_both_speak() {
        let gateway = config(&[("x-frame-options", "SAMEORIGIN"), ("x-gone", "1")], &["x-powered-by"]);
        let route = config(&[("x-frame-options", "DENY"), ("x-powered-by", "us")], &["x-gone"]);
        assert_eq!(applied(&gateway, &route), ["x-frame-options: DENY", "x-powered-by: us"]);
    }

    #[test]
    fn a_name_set_twice_has_both_values_and_not_the_upstreams() {
        let route = config(&[("x-powered-by", "a"), ("x-powered-by", "b")], &["x-frame-options"]);
        assert_eq!(applied(&Config::default(), &route), ["x-powered-by: a", "x-powered-by: b"]);
    }
}
