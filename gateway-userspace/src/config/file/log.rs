//! `[log]`: the access log.

use std::path::PathBuf;

use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Spec, Takes};
use crate::config::model::{Log, LogFormat, LogSink};
use crate::config::tree::Node;
use crate::config::value::Type;
use crate::diagnostic::Problem;

use super::not_one_of;

const FORMAT: Type<LogFormat> =
    Type { describe: "`json`, `seed`, `combined`, or a text with `$context.…` variables", decode: format };
const SINK: Type<LogSink> = Type { describe: "`stdout`, `stderr`, `off` or `file:/path`", decode: sink };

/// The keys of `[log]`.
pub static SPEC: Spec = Spec {
    title: "[log]",
    doc: "The access log.",
    keys: &[
        Key::new(
            "format",
            Takes::Value(FORMAT.describe),
            Presence::Default("\"json\""),
            "What a line looks like. `json` has OpenTelemetry's names, `seed` is JSON with `timestamp`, `method`, \
             `url`, `status`, `duration`, `size`, `ip`, `userAgent`, `requestId`, `combined` is that of Apache and \
             NGINX; any text with `$context.requestId`-style variables is a format of its own.",
        ),
        Key::new(
            "to",
            Takes::Value(SINK.describe),
            Presence::Default("\"stdout\""),
            "Where lines go. A file is reopened on SIGUSR1.",
        ),
    ],
};

/// Decodes `[log]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Log> {
    let f = d.fields(&SPEC, "[log]".into(), node)?;
    let format = f.get(d, "format", &FORMAT);
    let to = f.get(d, "to", &SINK);
    Some(Log { format: format?, to: to? })
}

fn format(d: &mut Decoder<'_>, node: &Node) -> Option<LogFormat> {
    let text = d.text(node, "a string")?;
    match text {
        "json" => Some(LogFormat::Json),
        "seed" => Some(LogFormat::Seed),
        "combined" => Some(LogFormat::Combined),
        _ if text.contains('$') => Some(LogFormat::Custom(text.into())),
        _ => {
            let problem =
                Problem::error(codes::NOT_A_CHOICE, format!("`{text}` is not a format"), node.place.clone());
            d.report.push(
                problem.label("expected `json`, `seed`, `combined`, or a text with variables").help(
                    match not_one_of(text, &["json", "seed", "combined"]) {
                        near if near.starts_with("did") => near,
                        _ => {
                            "a format of your own has variables: `$context.requestId $context.status`".into()
                        }
                    },
                ),
            );
            None
        }
    }
}

fn sink(d: &mut Decoder<'_>, node: &Node) -> Option<LogSink> {
    let text = d.text(node, "a string")?;
    match (text, text.strip_prefix("file:")) {
        ("stdout" | "/dev/stdout", _) => Some(LogSink::Stdout),
        ("stderr" | "/dev/stderr", _) => Some(LogSink::Stderr),
        ("off", _) => Some(LogSink::Off),
        (_, Some(path)) if path.starts_with('/') => Some(LogSink::File(PathBuf::from(path))),
        _ => {
            let help = match text.starts_with('/') {
                true => format!("write `file:{text}`"),
                false => not_one_of(text, &["stdout", "stderr", "off", "file:/path"]),
            };
            let message = format!("the access log cannot go to `{text}`");
            d.report.push(Problem::error(codes::NOT_A_CHOICE, message, node.place.clone()).help(help));
            None
        }
    }
}
