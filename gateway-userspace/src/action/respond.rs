//! Static answers.

use bytes::Bytes;

use super::Body;
use crate::header::{self, Value};
use crate::upstream::body::ClientBody;
use crate::{request, response};

/// One answer, the same for every request.
#[derive(Debug)]
pub struct Respond {
    status: u16,
    content_type: Option<Value>,
    body: Bytes,
}

impl Respond {
    /// `None` when the content type cannot stand in a field. Statuses that carry no content (RFC 9110 §6.4.1 and
    /// §15.3.6: 204, 205, 304) get neither body nor `Content-Type`, whatever is written here.
    pub fn new(status: u16, content_type: &str, body: &str) -> Option<Respond> {
        if matches!(status, 204 | 205 | 304) {
            return Some(Respond { status, content_type: None, body: Bytes::new() });
        }
        let content_type = Value::parse(content_type.as_bytes())?;
        Some(Respond {
            status,
            content_type: Some(content_type),
            body: Bytes::copy_from_slice(body.as_bytes()),
        })
    }

    /// The answer to one request. `HEAD` gets the length of the body in place of the body (RFC 9110 §9.3.2).
    pub fn respond<B: ClientBody>(&self, request: &request::Head) -> (response::Head, Body<B>) {
        let mut head = response::Head::new(self.status);
        if let Some(content_type) = &self.content_type {
            head.fields.set(header::CONTENT_TYPE, content_type.clone());
        }
        if request.method() == "HEAD" {
            if self.content_type.is_some() {
                head.fields.set(header::CONTENT_LENGTH, Value::from(self.body.len() as u64));
            }
            return (head, Body::Empty);
        }
        (head, Body::from(self.body.clone()))
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::Respond;
    use crate::action::Body;
    use crate::header;
    use crate::upstream::tests::{TestBody, head};

    /// Status, values of `Content-Type`, `Content-Length` and the length of the body.
    fn answer(respond: &Respond, method: &str) -> (u16, usize, Option<String>, Option<u64>) {
        let (head, body): (_, Body<TestBody>) = respond.respond(&head(method, "/health"));
        let length =
            head.fields.get(&header::CONTENT_LENGTH).and_then(|value| value.to_str()).map(str::to_owned);
        let types = head.fields.get_all(&header::CONTENT_TYPE).count();
        (head.status, types, length, body.size_hint().exact())
    }

    #[test]
    fn an_answer_has_one_content_type_and_head_has_its_length_without_its_body() {
        let respond = Respond::new(200, "text/plain", "healthy\n").expect("a content type");
        assert_eq!(answer(&respond, "GET"), (200, 1, None, Some(8)));
        assert_eq!(answer(&respond, "HEAD"), (200, 1, Some("8".to_owned()), Some(0)));
    }

    #[test]
    fn statuses_without_content_have_neither_body_nor_content_type() {
        for status in [204, 205, 304] {
            let respond = Respond::new(status, "text/plain", "ignored").expect("no content type");
            for method in ["GET", "HEAD"] {
                assert_eq!(answer(&respond, method), (status, 0, None, Some(0)));
            }
        }
        assert!(Respond::new(200, "text/plain\r\nx: y", "").is_none());
    }
}
