//! What requests to a receiver are made of: the URL, header fields, and secrets among them.

use crate::config::codes;
use crate::config::decode::Decoder;
use crate::config::secrecy;
use crate::config::secret::{self, Content};
use crate::config::tree::{Node, Value};
use crate::config::value::Type;
use crate::diagnostic::{Place, Problem};
use crate::dial::Url;
use crate::header::{Name, Value as HeaderValue};

/// Header fields that a request has anyway, or that say something else than what is sent.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Stands for a secret that is not read now, and so not used either.
pub const UNREAD: &str = "unread";

/// Where a receiver is.
pub const URL: Type<Url> = Type { describe: "an http or https URL", decode: url };
/// A text that nobody else should know, as the value of a header field.
pub const SECRET: Type<HeaderValue> =
    Type { describe: "a secret: `${VARIABLE}`, `file:/path` or `cred:name`", decode: secret_text };
/// Fields of each request.
pub const HEADERS: Type<Vec<(Name, HeaderValue)>> = Type {
    describe: "a table from header field to `${VARIABLE}`, `file:/path`, `cred:name` or text",
    decode: headers,
};

fn url(d: &mut Decoder<'_>, node: &Node) -> Option<Url> {
    let text = d.text(node, "a URL")?;
    let parsed = Url::parse(text);
    if text.contains('@') {
        d.conceal(node);
    }
    if parsed.is_none() {
        // What stands before an `@` may be a password.
        let shown = if text.contains('@') { "this".to_owned() } else { format!("`{text}`") };
        let message = format!("{shown} is not an absolute http or https URL");
        let problem = Problem::error(codes::BAD_URL, message, node.place.clone());
        d.report.push(match text.contains('@') {
            true => problem.help("a user and password go into `headers`: `Authorization = \"${…}\"`"),
            false => problem.help("for example `https://logs.example.com:8443/in`"),
        });
    }
    parsed
}

fn headers(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<(Name, HeaderValue)>> {
    let Value::Table(entries) = &node.value else {
        d.wrong_type(node, "a table from header field to value");
        return None;
    };
    let mut fields = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.node.is_blank()) {
        let text = &entry.key.value;
        let name = Name::parse(text).filter(|name| !OWN_HEADERS.contains(&name.as_str()));
        if name.is_none() {
            let message = format!("`{text}` cannot be set here");
            d.report.push(Problem::error(codes::NOT_A_HEADER, message, entry.key.place.clone()));
        }
        let secret = name.as_ref().is_some_and(|name| secrecy::field_tells(name.as_str()));
        let value = field_value(d, &entry.node, secret);
        fields.push(name.zip(value));
    }
    fields.into_iter().collect()
}

fn secret_text(d: &mut Decoder<'_>, node: &Node) -> Option<HeaderValue> {
    field_value(d, node, true)
}

/// A text or what a reference leads to, as the value of a header field; a secret that stands in the file is a warning.
fn field_value(d: &mut Decoder<'_>, node: &Node, is_secret: bool) -> Option<HeaderValue> {
    let text = d.text(node, "a string")?;
    let place: Place = node.place.clone();
    let text = match secret::reference(d, text) {
        Some(path) => match secret::read(d, path, place.clone())? {
            Content::Text(text) => text,
            Content::Unread => String::from(UNREAD),
        },
        None => {
            d.conceal(node);
            if is_secret && matches!(node.value, Value::Text { substituted: false, .. }) {
                let problem =
                    Problem::warning(codes::LITERAL_SECRET, "a secret stands in the file", place.clone());
                d.report.push(problem.help("write `\"${NAME}\"`, `\"file:/path\"` or `\"cred:name\"`"));
            }
            text.to_owned()
        }
    };
    let text = text.trim();
    if text.is_empty() {
        d.report.push(Problem::error(codes::EMPTY, "this is empty", place));
        return None;
    }
    let value = HeaderValue::parse(text.as_bytes());
    if value.is_none() {
        let message = "a header field cannot hold line breaks or control characters";
        d.report.push(Problem::error(codes::NOT_A_HEADER, message, place));
    }
    value.map(HeaderValue::kept_secret)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Environment, load_text};
    use crate::diagnostic::render;

    #[test]
    fn a_problem_with_what_is_sent_does_not_print_it() {
        for sink in [
            "splunk = \"https://h:8088\"\ntoken = \"hush\\nhush\"\n",
            "http = \"https://h/\"\nheaders = { X-Scope = \"hush\\nhush\" }\n",
            "http = \"https://u:hush@\"\n",
        ] {
            let text = format!("[listen.a]\naddress = \"[::]:80\"\n[sink.a]\n{sink}");
            let environment = Environment::by_name(&|_| None);
            let report = load_text(Path::new("a.toml"), &text, &environment).unwrap_err();
            let said = render::human(&report, false);
            assert!(said.contains("****") && !said.contains("hush"), "{said}");
        }
    }
}
