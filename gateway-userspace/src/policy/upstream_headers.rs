//! Header fields of a route's own for its upstream, with what the path's parameters stand for.
//!
//! A value is text with `{name}` in it. What is filled in is the parameter as it stands in the normal form of the path:
//! percent-encodings stay, so that nobody can bring a line break or a comma into a field by way of a path.

use crate::header::{Fields, Name, Value};
use crate::request::Context;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its value.
    pub value: Template,
}

/// A text with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Box<[Part]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Parameter(Box<str>),
}

impl Template {
    /// Parses a text; braces around a name (letters, digits, `-` and `_`) are a parameter, others are text.
    pub fn parse(text: &str) -> Template {
        let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
        while let Some(open) = text[at..].find('{').map(|open| at + open) {
            at = open + 1;
            let Some((name, _)) = text[at..].split_once('}') else { break };
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || !name.bytes().all(is_name) {
                continue;
            }
            parts.extend([Part::Text(text[begin..open].into()), Part::Parameter(name.into())]);
            at += name.len() + 1;
            begin = at;
        }
        parts.push(Part::Text(text[begin..].into()));
        Template(parts.into())
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Parameter(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    /// Whether there is nothing but parameters in it.
    pub fn is_parameters_only(&self) -> bool {
        self.0.iter().all(|part| match part {
            Part::Text(text) => text.is_empty(),
            Part::Parameter(_) => true,
        })
    }

    /// The text as it was parsed.
    pub fn text(&self) -> String {
        let written = self.0.iter().map(|part| match part {
            Part::Text(text) => text.to_string(),
            Part::Parameter(name) => format!("{{{name}}}"),
        });
        written.collect()
    }

    /// `None` when a parameter is missing.
    fn fill(&self, context: &Context) -> Option<Value> {
        let mut out = String::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Parameter(name) => escape(&context.parameter(name)?.value, &mut out),
            }
        }
        Value::parse(out.as_bytes())
    }
}

/// Adds a parameter's value, with what separates the members of a field encoded: a client must not bring in another.
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            ',' => out.push_str("%2C"),
            ';' => out.push_str("%3B"),
            c => out.push(c),
        }
    }
}

/// The fields of a route.
#[derive(Debug, Default)]
pub struct UpstreamHeaders(Box<[Field]>);

impl UpstreamHeaders {
    /// For these fields.
    pub fn new(fields: &[Field]) -> UpstreamHeaders {
        UpstreamHeaders(fields.into())
    }

    /// Sets the fields in place of the client's. One that cannot be filled is removed: an upstream that relies on it
    /// must not take the client's.
    pub fn apply(&self, fields: &mut Fields, context: &Context) {
        for Field { name, value } in &self.0 {
            match value.fill(context) {
                Some(value) => fields.set(name.clone(), value),
                None => {
                    fields.remove(name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, escape};

    #[test]
    fn a_value_cannot_bring_in_another_member_of_a_list() {
        let mut out = String::new();
        escape("user,admin;q=1", &mut out);
        assert_eq!(out, "user%2Cadmin%3Bq=1");
    }

    #[test]
    fn only_a_name_in_braces_is_a_parameter() {
        let template = Template::parse("users/{id}/{order-id}/{ }{}{x");
        assert_eq!(template.parameters().collect::<Vec<_>>(), ["id", "order-id"]);
        assert_eq!(template.text(), "users/{id}/{order-id}/{ }{}{x");
        assert_eq!(Template::parse("plain").parameters().count(), 0);
    }
}
