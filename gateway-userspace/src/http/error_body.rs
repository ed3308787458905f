//! The body of an answer by which the gateway itself ends a request.
//!
//! The style is one for the whole gateway: `application/problem+json` (RFC 9457) with the members that older clients of
//! such gateways read (`error`, `requestId`, `retryAfter`) beside the standard ones, or those members alone, as Express
//! middleware writes them. A status may have a text of the configuration's own instead.
//!
//! Whatever the style, nothing that is said comes from the request but its id, and that is escaped.

use bytes::Bytes;
use serde::Serialize;

use crate::header::Value;

/// `[errors]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// For every status without a text of its own.
    pub style: Style,
    /// `Content-Type` of the texts; `None` is JSON.
    pub content_type: Option<Value>,
    /// Texts by status.
    pub texts: Vec<(u16, Template)>,
}

/// What bodies look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// `application/problem+json`.
    #[default]
    Problem,
    /// `{"error":…}` with `details` and `retryAfter` where there are any, as `res.json` of Express writes it.
    Express,
}

/// What is to be said.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Status.
    pub status: u16,
    /// Short and stable: `rate-limited`.
    pub reason: &'static str,
    /// For people: `Too many requests`.
    pub title: &'static str,
    /// More, from a fixed list.
    pub details: Option<&'static str>,
    /// Seconds.
    pub retry_after_s: Option<u64>,
    /// The request's id.
    pub request_id: Option<&'a str>,
}

impl Config {
    /// `Content-Type` and body.
    pub fn render(&self, facts: &Facts<'_>) -> (Value, Bytes) {
        if let Some((_, template)) = self.texts.iter().find(|(status, _)| *status == facts.status) {
            let content_type = self.content_type.clone().unwrap_or(JSON);
            return (content_type, template.fill(facts).into());
        }
        let Facts { status, reason, title, details, retry_after_s, request_id } = *facts;
        let written = match self.style {
            Style::Problem => serde_json::to_vec(&Problem {
                r#type: Urn(reason),
                title,
                status,
                error: title,
                details,
                retry_after: retry_after_s,
                request_id,
            }),
            Style::Express => {
                serde_json::to_vec(&Express { error: title, details, retry_after: retry_after_s })
            }
        };
        let content_type = match self.style {
            Style::Problem => PROBLEM_JSON,
            Style::Express => EXPRESS_JSON,
        };
        // Texts and numbers always have a form in JSON.
        (content_type, written.map(Bytes::from).unwrap_or_default())
    }
}

const PROBLEM_JSON: Value = Value::from_static("application/problem+json");
const JSON: Value = Value::from_static("application/json");
const EXPRESS_JSON: Value = Value::from_static("application/json; charset=utf-8");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem<'a> {
    r#type: Urn,
    title: &'a str,
    status: u16,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Express<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// `urn:portcullis:REASON`
struct Urn(&'static str);

impl Serialize for Urn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("urn:portcullis:{}", self.0))
    }
}

/// A text with `{status}`, `{reason}`, `{title}`, `{retry-after}` and `{request-id}` in it. Other braces are as they
/// are, so that JSON needs no escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Box<[Part]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Status,
    Reason,
    Title,
    RetryAfter,
    RequestId,
}

/// Every placeholder, as written between braces.
pub const PLACEHOLDERS: [&str; 5] = ["status", "reason", "title", "retry-after", "request-id"];

/// Something in braces that looks like a placeholder and is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{name}}}` is not known here")]
pub struct UnknownPlaceholder {
    /// What stands between the braces.
    pub name: String,
    /// Where the braces begin, in bytes.
    pub at: usize,
}

impl Template {
    /// Parses a text. A name in braces (letters and `-` only) must be a placeholder.
    pub fn parse(text: &str) -> Result<Template, UnknownPlaceholder> {
        let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
        while let Some(open) = text[at..].find('{').map(|open| at + open) {
            at = open + 1;
            let Some(name) = text[at..].split_once('}').map(|(name, _)| name) else { break };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
                continue;
            }
            let part = match name {
                "status" => Part::Status,
                "reason" => Part::Reason,
                "title" => Part::Title,
                "retry-after" => Part::RetryAfter,
                "request-id" => Part::RequestId,
                _ => return Err(UnknownPlaceholder { name: name.to_owned(), at: open }),
            };
            parts.extend([Part::Text(text[begin..open].into()), part]);
            at += name.len() + 1;
            begin = at;
        }
        parts.push(Part::Text(text[begin..].into()));
        Ok(Template(parts.into()))
    }

    /// The text as it was parsed.
    pub fn text(&self) -> String {
        let written = self.0.iter().map(|part| match part {
            Part::Text(text) => text.to_string(),
            Part::Status => "{status}".into(),
            Part::Reason => "{reason}".into(),
            Part::Title => "{title}".into(),
            Part::RetryAfter => "{retry-after}".into(),
            Part::RequestId => "{request-id}".into(),
        });
        written.collect()
    }

    fn fill(&self, facts: &Facts<'_>) -> String {
        let mut out = String::with_capacity(128);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Status => out.push_str(&facts.status.to_string()),
                Part::Reason => out.push_str(facts.reason),
                Part::Title => out.push_str(facts.title),
                // `null` is what JSON has for a number that there is not.
                Part::RetryAfter => match facts.retry_after_s {
                    Some(seconds) => out.push_str(&seconds.to_string()),
                    None => out.push_str("null"),
                },
                // A trusted proxy chose it; quotes and backslashes must not end a JSON string.
                Part::RequestId => out.extend(
                    facts
                        .request_id
                        .unwrap_or("")
                        .chars()
                        .filter(|c| !matches!(c, '"' | '\'' | '`' | '\\' | '<' | '>' | '&')),
                ),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: Facts<'_> = Facts {
        status: 429,
        reason: "rate-limited",
        title: "Too many requests",
        details: None,
        retry_after_s: Some(18),
        request_id: Some("0193-abc"),
    };

    fn rendered(config: &Config, facts: &Facts<'_>) -> (String, String) {
        let (content_type, body) = config.render(facts);
        (content_type.to_str().expect("text").to_owned(), String::from_utf8(body.to_vec()).expect("text"))
    }

    #[test]
    fn expresss_style_is_its_members_alone_in_its_order() {
        let express = Config { style: Style::Express, ..Config::default() };
        let (content_type, body) = rendered(&express, &LIMITED);
        assert_eq!(content_type, "application/json; charset=utf-8");
        assert_eq!(body, r#"{"error":"Too many requests","retryAfter":18}"#);
        let facts =
            Facts { title: "Invalid token", details: Some("expired"), retry_after_s: None, ..LIMITED };
        assert_eq!(rendered(&express, &facts).1, r#"{"error":"Invalid token","details":"expired"}"#);
    }

    #[test]
    fn a_status_with_a_text_of_its_own_is_answered_with_that() {
        let text = r#"{"error": "Rate limit exceeded", "retry_after": {retry-after}, "id": "{request-id}"}"#;
        let template = Template::parse(text).unwrap();
        assert_eq!(template.text(), text);
        let own = Config { texts: vec![(429, template)], ..Config::default() };
        let (content_type, body) = rendered(&own, &LIMITED);
        assert_eq!(content_type, "application/json");
        assert_eq!(body, r#"{"error": "Rate limit exceeded", "retry_after": 18, "id": "0193-abc"}"#);
        let (content_type, _) = rendered(&own, &Facts { status: 403, ..LIMITED });
        assert_eq!(content_type, "application/problem+json");
    }

    #[test]
    fn braces_that_hold_no_name_are_text_and_a_wrong_name_is_found_where_it_stands() {
        for text in ["{}", "{\"a\": {\"b\": 1}}", "{", "}", "{ status }", ""] {
            assert_eq!(Template::parse(text).unwrap().fill(&LIMITED), text);
        }
        let error = Template::parse("{title}: {retryafter}").unwrap_err();
        assert_eq!(error, UnknownPlaceholder { name: "retryafter".into(), at: 9 });
        assert_eq!(
            Template::parse("{status} {reason} {title}").unwrap().fill(&LIMITED),
            "429 rate-limited Too many requests"
        );
    }

    #[test]
    fn an_id_that_a_proxy_chose_cannot_break_out_of_the_text() {
        let template = Template::parse(r#"{"id":"{request-id}"}"#).unwrap();
        let facts = Facts { request_id: Some(r#"a","admin":"\<b>"#), ..LIMITED };
        assert_eq!(template.fill(&facts), r#"{"id":"a,admin:b"}"#);
    }
}
