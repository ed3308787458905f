//! `[operations]`: health, readiness and metrics.

use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::model::Operations;
use crate::config::tree::Node;
use crate::config::value;

/// The keys of `[operations]`.
pub static SPEC: Spec = Spec {
    title: "[operations]",
    doc: "A listener of its own for `/healthz`, `/readyz` and `/metrics`; there is none if the table is not written.",
    keys: &[Key::new(
        "address",
        Takes::Value(value::ADDRESS.describe),
        Presence::Default("\"127.0.0.1:9180\""),
        "Where to listen.",
    )],
};

/// Decodes `[operations]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Operations> {
    let f = d.fields(&SPEC, "[operations]".into(), node)?;
    let address = f.located(d, "address", &value::ADDRESS);
    Some(Operations { address: address? })
}
