//! `[identity]`: the signed header that tells upstreams who the client is.

use std::sync::Arc;

use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::secret::{self, Content};
use crate::config::tree::Node;
use crate::config::value::{self, Type};
use crate::diagnostic::Problem;
use crate::policy::signed_identity::{Config, SECRET_BYTES_MIN, Secret};

const SECRET: Type<Secret> =
    Type { describe: "`file:/path`, `cred:name`, or the text itself, at least 32 bytes", decode: secret };

/// The keys of `[identity]`.
pub static SPEC: Spec = Spec {
    title: "[identity]",
    doc: "A signed header for upstreams that must tell the gateway from somebody who only reaches their port: who the \
          client is, as a JWT (HS256) for one upstream and one request. The client's own copy is always removed.",
    keys: &[
        Key::new(
            "secret",
            Takes::Value(SECRET.describe),
            Presence::Required,
            "What it is signed with. Upstreams have it too.",
        ),
        Key::new(
            "header",
            Takes::Value(value::EDITABLE_HEADER.describe),
            Presence::Default("\"X-Gateway-Identity\""),
            "The header field.",
        ),
        Key::new(
            "life",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"60s\""),
            "How long the token is good, in whole seconds.",
        ),
    ],
};

/// Decodes `[identity]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Config> {
    let f = d.fields(&SPEC, "[identity]".into(), node)?;
    let secret = f.get(d, "secret", &SECRET);
    let header = f.get(d, "header", &value::EDITABLE_HEADER);
    let life = f.get(d, "life", &value::DURATION);
    Some(Config { header: header?, secret: secret?, life: life? })
}

fn secret(d: &mut Decoder<'_>, node: &Node) -> Option<Secret> {
    let text = d.text(node, "a secret")?;
    let secret = match secret::reference(d, text) {
        None => {
            d.conceal(node);
            text.to_owned()
        }
        Some(path) => match secret::read(d, path, node.place.clone())? {
            // A line end at the end of a file belongs to the editor.
            Content::Text(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
            Content::Unread => "?".repeat(SECRET_BYTES_MIN),
        },
    };
    if secret.len() < SECRET_BYTES_MIN {
        let message =
            format!("this secret has {} bytes, at least {SECRET_BYTES_MIN} are needed", secret.len());
        let problem = Problem::error(codes::OUT_OF_RANGE, message, node.place.clone());
        d.report.push(problem.help("`openssl rand -base64 32` makes one"));
        return None;
    }
    Some(Secret(Arc::from(secret.as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Environment, load_text};
    use crate::diagnostic::render;

    #[test]
    fn a_secret_that_is_too_short_is_not_printed() {
        let text = "[listen.a]\naddress = \"[::]:80\"\n[identity]\nsecret = \"hush\"\n";
        let report = load_text(Path::new("a.toml"), text, &Environment::by_name(&|_| None)).unwrap_err();
        let said = render::human(&report, false);
        assert!(said.contains("has 4 bytes") && !said.contains("hush"), "{said}");
    }
}
