//! `respond` of a route: an answer that is given at once.

use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::model::Action;
use crate::config::tree::Node;
use crate::config::value;
use crate::diagnostic::Problem;
use crate::header::Value;

/// Largest body written in a configuration.
const BODY_MAX: usize = 1 << 20;

/// The keys of `respond`.
pub static SPEC: Spec = Spec {
    title: "respond",
    doc: "An answer that is given at once.",
    keys: &[
        Key::new("status", Takes::Number(200, 599), Presence::Default("200"), "The status."),
        Key::new("body", Takes::Value(value::TEXT.describe), Presence::Default("\"\""), "The body."),
        Key::new(
            "content-type",
            Takes::Value(value::NAME.describe),
            Presence::Default("\"text/plain; charset=utf-8\""),
            "The `Content-Type`.",
        ),
    ],
};

/// Decodes `respond`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Action> {
    let f = d.fields(&SPEC, "respond".into(), node)?;
    let status: Option<u16> = f.number(d, "status");
    let body = f.located(d, "body", &value::TEXT);
    let content_type = f.located(d, "content-type", &value::NAME);
    let (status, body, content_type) = (status?, body?, content_type?);
    let problem = if matches!(status, 204 | 205 | 304) && !body.value.is_empty() {
        Problem::error(codes::EXCLUSIVE, format!("an answer with {status} has no body"), body.place)
    } else if body.value.len() > BODY_MAX {
        Problem::error(codes::OUT_OF_RANGE, "this body is larger than 1 MiB", body.place)
    } else if Value::parse(content_type.value.as_bytes()).is_none() {
        Problem::error(codes::NOT_A_HEADER, "this cannot be a `Content-Type`", content_type.place)
    } else {
        let content_type = content_type.value.as_ref().into();
        return Some(Action::Respond { status, body: body.value.into(), content_type });
    };
    d.report.push(problem);
    None
}
