//! `[gateway]`: the process.

use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::model::Gateway;
use crate::config::tree::Node;
use crate::config::value;

/// Most worker threads.
const WORKERS_MAX: u64 = 1024;

/// The keys of `[gateway]`.
pub static SPEC: Spec = Spec {
    title: "[gateway]",
    doc: "The process.",
    keys: &[
        Key::new(
            "workers",
            Takes::Number(1, WORKERS_MAX),
            Presence::Optional,
            "Worker threads; if not given, one for each core that the process may use.",
        ),
        Key::new(
            "drain",
            Takes::Value(value::DURATION_OR_ZERO.describe),
            Presence::Default("\"30s\""),
            "How long requests in flight have after SIGTERM.",
        ),
        Key::new(
            "trusted-proxies",
            Takes::Value(value::PREFIXES.describe),
            Presence::Default("[]"),
            "Proxies whose `X-Forwarded-For` and PROXY protocol are believed, and which are never banned.",
        ),
        Key::new(
            "forwarded",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("false"),
            "Whether upstreams get `Forwarded` (RFC 7239) beside `X-Forwarded-*`. A list that a trusted proxy began is \
             continued anyway, one of anybody else is replaced or removed.",
        ),
        Key::new(
            "state",
            Takes::Value(value::PATH.describe),
            Presence::Default("\"/var/lib/portcullis\""),
            "Folder in which state is kept over a restart.",
        ),
    ],
};

/// Decodes `[gateway]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Gateway> {
    let f = d.fields(&SPEC, "[gateway]".into(), node)?;
    let workers = f.number(d, "workers");
    let drain = f.get(d, "drain", &value::DURATION_OR_ZERO);
    let trusted_proxies = f.get(d, "trusted-proxies", &value::PREFIXES);
    let forwarded = f.get(d, "forwarded", &value::BOOLEAN);
    let state = f.get(d, "state", &value::PATH);
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Some(Gateway {
        workers: workers.unwrap_or_else(cores),
        drain: drain?,
        trusted_proxies: trusted_proxies?,
        forwarded: forwarded?,
        state: state?,
    })
}
