//! Static answers.

use bytes::Bytes;

use super::Body;
use crate::header::{self, Value};
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
    pub fn respond<B>(&self, request: &request::Head) -> (response::Head, Body<B>) {
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
