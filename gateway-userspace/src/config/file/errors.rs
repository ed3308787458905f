//! `[errors]`: what stands in the gateway's own answers.

use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Spec, Takes, list};
use crate::config::near::nearest;
use crate::config::tree::{Node, Value as TreeValue};
use crate::config::value::{self, Type};
use crate::diagnostic::Problem;
use crate::header::Value;
use crate::http::error_body::{Config, PLACEHOLDERS, Style, Template};

/// Longest text, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

const TEXTS: Type<Vec<(u16, Template)>> = Type { describe: "a table from status to text", decode: texts };

/// The keys of `[errors]`.
pub static SPEC: Spec = Spec {
    title: "[errors]",
    doc: "Bodies of the answers by which the gateway itself ends a request. Status, `X-Gateway-Reason` and the other \
          fields are the same in every style.",
    keys: &[
        Key::new(
            "style",
            Takes::Word(&["problem", "express"]),
            Presence::Default("\"problem\""),
            "`problem` is `application/problem+json` (RFC 9457), which also has the members of `express`; `express` is \
             `{\"error\":…}` alone, with `details` and `retryAfter` where there are any, as Express middleware writes it.",
        ),
        Key::new(
            "body",
            Takes::Value(TEXTS.describe),
            Presence::Default("{}"),
            "Texts of your own by status: `body.429 = '{\"error\": \"Slow down\", \"retry_after\": {retry-after}}'`. \
             `{status}`, `{reason}`, `{title}`, `{retry-after}` (seconds, or `null`) and `{request-id}` are filled in.",
        ),
        Key::new(
            "content-type",
            Takes::Value(value::NAME.describe),
            Presence::Default("\"application/json\""),
            "The `Content-Type` of the texts in `body`.",
        ),
    ],
};

/// Decodes `[errors]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Config> {
    let f = d.fields(&SPEC, "[errors]".into(), node)?;
    let style = f.word(d, "style", &[("problem", Style::Problem), ("express", Style::Express)]);
    let texts = f.get(d, "body", &TEXTS);
    let content_type = f.located(d, "content-type", &value::NAME)?;
    let parsed = Value::parse(content_type.value.as_bytes());
    if parsed.is_none() {
        let message = "this cannot be a `Content-Type`";
        d.report.push(Problem::error(codes::NOT_A_HEADER, message, content_type.place));
    }
    Some(Config { style: style?, texts: texts?, content_type: Some(parsed?) })
}

fn texts(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<(u16, Template)>> {
    let TreeValue::Table(entries) = &node.value else {
        d.wrong_type(node, "a table from status to text: `body.429 = \"…\"`");
        return None;
    };
    let mut decoded = Vec::with_capacity(entries.len());
    for entry in entries {
        let status = entry.key.value.parse().ok().filter(|status| (400..=599).contains(status));
        if status.is_none() {
            let message = format!("`{}` is not the status of an error", entry.key.value);
            let problem = Problem::error(codes::OUT_OF_RANGE, message, entry.key.place.clone());
            d.report.push(problem.label("expected 400 to 599"));
        }
        decoded.push(status.zip(text(d, &entry.node)));
    }
    decoded.into_iter().collect()
}

fn text(d: &mut Decoder<'_>, node: &Node) -> Option<Template> {
    let text = d.text(node, "a text")?;
    if text.len() > TEXT_BYTES_MAX {
        d.report.push(Problem::error(
            codes::OUT_OF_RANGE,
            "this text is larger than 64 KiB",
            node.place.clone(),
        ));
        return None;
    }
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(unknown) => {
            let place = d.within(node, unknown.at..unknown.at + unknown.name.len() + 2);
            let help = match nearest(&unknown.name, PLACEHOLDERS) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => format!("in braces can stand {}", list(&PLACEHOLDERS)),
            };
            d.report.push(Problem::error(codes::BAD_TEMPLATE, unknown.to_string(), place).help(help));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::load_ok;
    use crate::http::error_body::{Config, Style};

    #[test]
    fn what_is_not_written_is_problem_json() {
        let config = load_ok("[listen.a]\naddress = \"[::]:80\"\n");
        assert_eq!(config.errors.style, Config::default().style);
        assert!(config.errors.texts.is_empty());
    }

    #[test]
    fn a_style_and_texts_by_status_are_read() {
        let config = load_ok(
            "[listen.a]\naddress = \"[::]:80\"\n[errors]\nstyle = \"express\"\nbody.429 = \"wait {retry-after}\"\n\
             content-type = \"text/plain\"\n",
        );
        assert_eq!(config.errors.style, Style::Express);
        assert_eq!(config.errors.texts[0].0, 429);
        assert_eq!(config.errors.texts[0].1.text(), "wait {retry-after}");
    }
}
