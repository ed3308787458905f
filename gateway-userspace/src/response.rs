//! The head of a response as policies see and edit it.

use crate::header::Fields;

/// Status and header fields of a response on its way to the client.
#[derive(Debug)]
pub struct Head {
    /// Status code, 100 to 599 in practice.
    pub status: u16,
    /// Header fields; framing fields (`Content-Length`, `Transfer-Encoding`) belong to the message layer.
    pub fields: Fields,
}

impl Head {
    /// A head with a status and no fields.
    pub fn new(status: u16) -> Head {
        Head { status, fields: Fields::default() }
    }
}
