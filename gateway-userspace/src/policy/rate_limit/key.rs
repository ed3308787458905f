//! What a limit counts by, as one number.
//!
//! The number is a SipHash-1-3 of 128 bits under a secret of the process, so two clients share a count with negligible
//! probability and nobody can choose to. Every part is hashed with its kind and length: a subject that looks like an
//! address is not that address, and no two tuples run together.

use std::fmt::Write;
use std::hash::Hasher;
use std::net::IpAddr;

use serde_json::{Map, Value};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::config::Key;
use crate::request::identity::Credential;
use crate::request::{Context, Head};

/// The secret under which keys are hashed.
#[derive(Clone, Copy)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A secret of its own for this process. Panics when the system has no random numbers, at startup.
    pub fn random() -> Secret {
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret).expect("the system gives random numbers");
        Secret(secret)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The key of a request. Where a part is missing (no identity, no such claim, header, cookie or parameter, no TLS), the
/// client address takes its place, so that nobody shares a count with all who lack it.
pub fn of(by: &[Key], secret: Secret, cx: &Context, head: &Head) -> u128 {
    let mut hash = Parts(SipHasher13::new_with_key(&secret.0));
    for part in by {
        let known = match part {
            Key::User => hash.user(cx),
            Key::ApiKey => hash.api_key(cx),
            Key::Consumer => hash.consumer(cx),
            Key::Address => None,
            Key::Host => {
                hash.part(Kind::Host, head.host().as_bytes());
                Some(())
            }
            Key::Route => {
                hash.part(Kind::Route, cx.route.as_deref().unwrap_or("").as_bytes());
                Some(())
            }
            Key::Claim(path) => hash.claim(cx, path),
            Key::Header(name) => {
                let mut values = head.fields.get_all(name).peekable();
                values.peek().is_some().then(|| {
                    values.for_each(|value| hash.part(Kind::Header, value.as_bytes()));
                    hash.part(Kind::End, b"");
                })
            }
            Key::Ja4 => cx.peer.ja4().map(|ja4| hash.part(Kind::Ja4, ja4.as_str().as_bytes())),
            Key::Parameter(name) => {
                cx.parameter(name).map(|parameter| hash.part(Kind::Parameter, parameter.canonical.as_bytes()))
            }
            Key::Cookie(name) => head.cookie(name).map(|value| hash.part(Kind::Cookie, value.as_bytes())),
        };
        if known.is_none() {
            hash.address(cx.client);
        }
    }
    hash.0.finish128().as_u128()
}

#[derive(Clone, Copy)]
enum Kind {
    V4,
    V6,
    Subject,
    Consumer,
    KeyId,
    Host,
    Route,
    Claim,
    Header,
    Cookie,
    Ja4,
    Parameter,
    End,
}

struct Parts(SipHasher13);

impl Parts {
    fn part(&mut self, kind: Kind, bytes: &[u8]) {
        self.0.write_u8(kind as u8);
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
    }

    /// IPv6 by /64: that much belongs to one subscriber, who may use any address of it.
    fn address(&mut self, client: IpAddr) {
        match client.to_canonical() {
            IpAddr::V4(address) => self.part(Kind::V4, &address.octets()),
            IpAddr::V6(address) => self.part(Kind::V6, &address.octets()[..8]),
        }
    }

    /// Subjects are told apart by who vouches for them; a consumer is the same person with each of its keys.
    fn user(&mut self, cx: &Context) -> Option<()> {
        let identity = cx.identity.as_ref()?;
        match identity.credential {
            Credential::Token => {
                self.part(Kind::Subject, identity.auth.as_bytes());
                self.part(Kind::Subject, identity.principal.as_bytes());
            }
            Credential::Key { .. } => self.part(Kind::Consumer, identity.principal.as_bytes()),
        }
        Some(())
    }

    fn consumer(&mut self, cx: &Context) -> Option<()> {
        let identity = cx.identity.as_ref()?;
        let Credential::Key { .. } = &identity.credential else { return None };
        self.part(Kind::Consumer, identity.principal.as_bytes());
        Some(())
    }

    fn api_key(&mut self, cx: &Context) -> Option<()> {
        let identity = cx.identity.as_ref()?;
        let Credential::Key { id } = &identity.credential else { return None };
        self.part(Kind::KeyId, identity.auth.as_bytes());
        self.part(Kind::KeyId, id.as_bytes());
        Some(())
    }

    fn claim(&mut self, cx: &Context, path: &str) -> Option<()> {
        match find(&cx.identity.as_ref()?.claims, path)? {
            Value::Null => return None,
            Value::String(text) => self.part(Kind::Claim, text.as_bytes()),
            other => {
                self.0.write_u8(Kind::Claim as u8);
                // Writing into a hash never fails.
                let _ = write!(self, "{other}");
                self.part(Kind::End, b"");
            }
        }
        Some(())
    }
}

impl Write for Parts {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// A claim by its name, or by the names of the objects around it with dots between.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, name| value.get(name))
    })
}
