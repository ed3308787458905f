//! Headers that tell the upstream who the client is, safe from the client's own.
//!
//! Whatever identity header is configured anywhere is removed from every request, authenticated or not, in any case,
//! repeated, and also with `_` for `-`: CGI and WSGI upstreams read both as one variable. Then those of the identity
//! are set. This must run after hop-by-hop fields are gone, so that `Connection: x-user-id` removes the client's copy
//! and never ours; the message layer drops the same names, and all with `_`, from trailers.

use crate::header::{Fields, Name};
use crate::request::Identity;

/// The names of all identity headers.
#[derive(Debug, Default)]
pub struct IdentityHeaders {
    /// In lower case, with `-` for `_`.
    names: Box<[Box<[u8]>]>,
    /// Bit `length % 64` of each name, so that most fields are passed over at once.
    lengths: u64,
}

impl IdentityHeaders {
    /// Takes the names that any authentication of the configuration may set.
    pub fn new(names: impl IntoIterator<Item = Name>) -> IdentityHeaders {
        let mut names: Vec<Box<[u8]>> =
            names.into_iter().map(|name| name.as_str().bytes().map(dashed).collect()).collect();
        names.sort();
        names.dedup();
        let lengths = names.iter().fold(0, |bits, name| bits | length_bit(name.len()));
        IdentityHeaders { names: names.into(), lengths }
    }

    /// Whether a client must not send this field.
    pub fn is_reserved(&self, name: &Name) -> bool {
        let name = name.as_str().as_bytes();
        self.lengths & length_bit(name.len()) != 0
            && self.names.iter().any(|reserved| {
                reserved.len() == name.len() && name.iter().zip(reserved).all(|(a, b)| dashed(*a) == *b)
            })
    }

    /// Removes the client's copies and sets the identity's. Allocates only when the client sent some.
    pub fn apply(&self, fields: &mut Fields, identity: Option<&Identity>) {
        let forged: Vec<Name> =
            fields.iter().map(|(name, _)| name).filter(|name| self.is_reserved(name)).cloned().collect();
        for name in &forged {
            fields.remove(name);
        }
        for (name, value) in identity.into_iter().flat_map(|identity| &identity.headers) {
            fields.set(name.clone(), value.clone());
        }
    }
}

fn dashed(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

fn length_bit(length: usize) -> u64 {
    1 << (length % 64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::IdentityHeaders;
    use crate::header::{Fields, Name, Value};
    use crate::request::Identity;
    use crate::request::identity::Credential;

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a field name")
    }

    fn value(text: &str) -> Value {
        Value::parse(text.as_bytes()).expect("a field value")
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (field, text) in pairs {
            fields.add(name(field), value(text));
        }
        fields
    }

    fn identity(headers: &[(&str, &str)]) -> Identity {
        Identity {
            auth: Arc::from("users"),
            principal: Arc::from("alice"),
            credential: Credential::Token,
            claims: serde_json::Map::new(),
            headers: headers.iter().map(|(field, text)| (name(field), value(text))).collect(),
        }
    }

    #[test]
    fn the_clients_copies_are_removed_in_every_spelling() {
        let headers = IdentityHeaders::new([name("X-User-Id"), name("X_Tenant")]);
        let mut fields = fields(&[
            ("x-user-id", "root"),
            ("X-USER-ID", "root"),
            ("x_user_id", "root"),
            ("X-User_Id", "root"),
            ("x-tenant", "other"),
            ("x_tenant", "other"),
            ("x-user-idx", "kept"),
            ("y-user-id", "kept"),
            ("accept", "kept"),
        ]);
        headers.apply(&mut fields, None);
        let mut left: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "x-user-idx", "y-user-id"]);
    }

    #[test]
    fn the_identitys_headers_take_their_place_once() {
        let headers = IdentityHeaders::new([name("x-user-id"), name("x-user-email")]);
        let mut fields = fields(&[("x-user-id", "a"), ("x-user-id", "b"), ("x-user-email", "forged@x")]);
        headers.apply(&mut fields, Some(&identity(&[("x-user-id", "alice")])));
        assert_eq!(fields.single(&name("x-user-id")), Ok(&value("alice")));
        assert!(!fields.contains(&name("x-user-email")), "a claim that the token lacks leaves nothing");
    }
}
