//! `upstream-headers` of a route.

use std::sync::Arc;

use crate::config::codes;
use crate::config::decode::{Decoder, Fields, list};
use crate::config::near::nearest;
use crate::config::secrecy;
use crate::config::tree::{Node, Value as TreeValue};
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};
use crate::header::Value;
use crate::policy::upstream_headers::{Field, Template};
use crate::route::pattern::Pattern;

/// Most fields of one route.
const FIELDS_MAX: usize = 64;

/// The type of `upstream-headers`.
pub const UPSTREAM_HEADERS: Type<Vec<Field>> =
    Type { describe: "a table from header field to text", decode: fields };

fn fields(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Field>> {
    let TreeValue::Table(entries) = &node.value else {
        d.wrong_type(node, "a table from header field to text");
        return None;
    };
    if entries.len() > FIELDS_MAX {
        let message = format!("more than {FIELDS_MAX} fields");
        d.report.push(Problem::error(codes::TOO_MANY, message, node.place.clone()));
        return None;
    }
    let mut decoded = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = Node {
            place: entry.key.place.clone(),
            value: TreeValue::Text { text: entry.key.value.clone(), substituted: false },
        };
        let name = (value::EDITABLE_HEADER.decode)(d, &key).filter(|name| {
            // `host` of the upstream decides that one.
            let is_host = name.as_str() == "host";
            if is_host {
                let message = "`Host` is what `host` says";
                let problem = Problem::error(codes::NOT_A_HEADER, message, entry.key.place.clone());
                d.report.push(problem.help("write `host = \"api.internal\"`"));
            }
            !is_host
        });
        if secrecy::field_tells(&entry.key.value) {
            d.conceal(&entry.node);
        }
        let text = d.text(&entry.node, "a string").filter(|text| Value::parse(text.as_bytes()).is_some());
        if text.is_none() {
            let message = "a header field cannot hold line breaks or control characters";
            d.report.push(Problem::error(codes::NOT_A_HEADER, message, entry.node.place.clone()));
        }
        decoded.push(name.zip(text).map(|(name, text)| Field { name, value: Template::parse(text) }));
    }
    decoded.into_iter().collect()
}

/// Reports parameters that some match of the route does not have.
pub fn check(d: &mut Decoder<'_>, f: &Fields<'_>, fields: &[Field], matches: &[Located<Arc<Pattern>>]) {
    for field in fields {
        for name in field.value.parameters() {
            let lacks = |pattern: &&Located<Arc<Pattern>>| {
                !pattern.value.path.parameters().any(|known| known == name)
            };
            let Some(pattern) = matches.iter().find(lacks) else { continue };
            let message = format!("`{}` asks for a parameter `{{{name}}}`", field.name.as_str());
            let known: Vec<&str> = pattern.value.path.parameters().collect();
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None if known.is_empty() => {
                    format!("write it in the match, for one segment: `/users/{{{name}}}`")
                }
                None => format!("the match has {}", list(&known)),
            };
            let problem = Problem::error(codes::UNKNOWN_PARAMETER, message, f.key_place("upstream-headers"));
            d.report
                .push(problem.related(pattern.place.clone(), "this match has none of that name").help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Environment, load_text};
    use crate::diagnostic::render;

    #[test]
    fn a_problem_with_a_secret_field_does_not_print_it() {
        let text = "[listen.a]\naddress = \"[::]:80\"\n[route.a]\nmatch = \"/\"\nto = \"http://h:1\"\n\
                    upstream-headers = { X-Api-Key = \"hush\\nhush\" }\n";
        let report = load_text(Path::new("a.toml"), text, &Environment::by_name(&|_| None)).unwrap_err();
        let said = render::human(&report, false);
        assert!(said.contains("cannot hold line breaks") && !said.contains("hush"), "{said}");
    }
}
