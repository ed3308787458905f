//! Fields that belong to one connection and never cross the gateway (RFC 9110 §7.6.1).

use crate::header::{self, Fields, Name};

/// Fields that say something about the connection an answer came on, whether `Connection` names them or not. `Trailer`
/// is not among them: it announces trailers, which are forwarded.
const OF_THE_CONNECTION: [Name; 6] = [
    header::KEEP_ALIVE,
    header::PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Takes the hop-by-hop fields out of an answer: those above, `Connection`, and every field that it names.
pub fn strip_response(fields: &mut Fields) {
    if fields.contains(&header::CONNECTION) {
        let named: Vec<Name> = fields
            .get_all(&header::CONNECTION)
            .filter_map(|value| value.to_str())
            .flat_map(|options| options.split(','))
            .filter_map(|option| Name::parse(option.trim()))
            .collect();
        for name in named {
            fields.remove(&name);
        }
        fields.remove(&header::CONNECTION);
    }
    for name in &OF_THE_CONNECTION {
        fields.remove(name);
    }
}

/// Whether a field may stand in a trailer section: none that frames, routes or authenticates (RFC 9110 §6.5.1).
pub fn may_be_trailer(name: &Name) -> bool {
    let name = name.as_str();
    !name.starts_with("content-")
        && !name.starts_with("x-forwarded-")
        && ![
            "authorization",
            "cache-control",
            "connection",
            "cookie",
            "expect",
            "forwarded",
            "host",
            "keep-alive",
            "location",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "set-cookie",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "vary",
            "www-authenticate",
        ]
        .contains(&name)
}
