//! `[log]`: the access log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::codes;
use crate::config::decode::{Decoder, Key, Presence, Reference, Spec, Takes, User, list};
use crate::config::model::{Log, LogFormat, LogSink};
use crate::config::near::nearest;
use crate::config::tree::{Node, Value};
use crate::config::value::{self, Type};
use crate::diagnostic::{Located, Problem};
use crate::observe::access_log::syslog::Receiver;
use crate::observe::access_log::template::{self, Template, TemplateError};

use super::{is_table_name, not_one_of};

/// What a line looks like.
pub const FORMAT: Type<LogFormat> =
    Type { describe: "`json`, `seed`, `combined`, or a text with `$context.…` variables", decode: format };
const SINKS: Type<Vec<LogSink>> = Type {
    describe: "`stdout`, `stderr`, `file:/path`, `syslog`, `syslog:/path`, `syslog:udp://HOST[:PORT]`, \
               `syslog:tcp://HOST[:PORT]` or the name of a `[sink.NAME]`, or an array of these; or `off`",
    decode: sinks,
};
/// What stands for a sink and is not the name of a table.
pub const WORDS: [&str; 4] = ["stdout", "stderr", "syslog", "off"];
/// Most sinks at once.
const SINKS_MAX: usize = 16;

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
            "ja4",
            Takes::Value(value::BOOLEAN.describe),
            Presence::Default("false"),
            "Whether `json` lines have `ja4`, the fingerprint of TLS clients. They have it anyway while a limit counts by it.",
        ),
        Key::new(
            "to",
            Takes::Value(SINKS.describe),
            Presence::Default("\"stdout\""),
            "Where lines go, to several at once if need be. A file is reopened on SIGUSR1. `syslog` is `/dev/log`; a host gets RFC 5424 messages, on \
             port 514 if no other is given.",
        ),
    ],
};

/// Decodes `[log]`.
pub fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Log> {
    let f = d.fields(&SPEC, "[log]".into(), node)?;
    let format = f.get(d, "format", &FORMAT);
    let ja4 = f.get(d, "ja4", &value::BOOLEAN);
    let to = f.get(d, "to", &SINKS);
    let (format, ja4) = (format?, ja4?);
    if ja4 && format != LogFormat::Json {
        let message = "only lines of the format `json` have the member `ja4`";
        let problem = Problem::error(codes::EXCLUSIVE, message, f.key_place("ja4"));
        d.report.push(problem.help("a format of your own shows it by `$context.ja4`"));
        return None;
    }
    Some(Log { format, ja4, to: to? })
}

fn format(d: &mut Decoder<'_>, node: &Node) -> Option<LogFormat> {
    let text = d.text(node, "a string")?;
    match text {
        "json" => Some(LogFormat::Json),
        "seed" => Some(LogFormat::Seed),
        "combined" => Some(LogFormat::Combined),
        _ if text.contains('$') => custom(d, node, text),
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

/// A template. A variable that does not exist is pointed at.
fn custom(d: &mut Decoder<'_>, node: &Node, text: &str) -> Option<LogFormat> {
    let error = match Template::parse(text) {
        Ok(_) => return Some(LogFormat::Custom(text.into())),
        Err(error) => error,
    };
    let message = error.to_string();
    let problem = match &error {
        TemplateError::Unknown { name, at } => {
            let variable = *at..at + template::PREFIX.len() + name.len();
            let problem = Problem::error(codes::NOT_A_CHOICE, message, d.within(node, variable));
            problem.help(match nearest(name, template::variables()) {
                Some(near) => format!("did you mean `{}{near}`?", template::PREFIX),
                None => format!("it knows {}", list(&template::variables().collect::<Vec<_>>())),
            })
        }
        TemplateError::LineBreak => Problem::error(codes::NOT_A_CHOICE, message, node.place.clone()),
    };
    d.report.push(problem);
    None
}

fn sinks(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<LogSink>> {
    if matches!(&node.value, Value::Text { text, .. } if text == "off") {
        return Some(Vec::new());
    }
    let sinks =
        value::one_or_many(d, node, |d, node| Some(Located::new(sink(d, node)?, node.place.clone())))?;
    if sinks.is_empty() || sinks.len() > SINKS_MAX {
        let message = format!("the access log goes to {} sinks, expected 1 to {SINKS_MAX}", sinks.len());
        let code = if sinks.is_empty() { codes::EMPTY } else { codes::TOO_MANY };
        d.report
            .push(Problem::error(code, message, node.place.clone()).help("write `off` for no access log"));
        return None;
    }
    for (index, sink) in sinks.iter().enumerate() {
        if let Some(first) = sinks[..index].iter().find(|first| first.value == sink.value) {
            let message = format!("the access log goes to `{}` twice", sink.value);
            let problem = Problem::error(codes::EXCLUSIVE, message, sink.place.clone());
            d.report.push(problem.related(first.place.clone(), "it stands here first"));
            return None;
        }
    }
    Some(sinks.into_iter().map(|sink| sink.value).collect())
}

fn sink(d: &mut Decoder<'_>, node: &Node) -> Option<LogSink> {
    let text = d.text(node, "a string")?;
    match (text, text.strip_prefix("file:")) {
        ("stdout" | "/dev/stdout", _) => Some(LogSink::Stdout),
        ("stderr" | "/dev/stderr", _) => Some(LogSink::Stderr),
        (_, Some(path)) if path.starts_with('/') => Some(LogSink::File(PathBuf::from(path))),
        _ => {
            if let Some(receiver) = Receiver::parse(text) {
                return Some(LogSink::Syslog(receiver));
            }
            if text != "off" && is_table_name(text) {
                let name: Arc<str> = text.into();
                let used = Located::new(name.clone(), node.place.clone());
                d.references.push(Reference { user: User::Log, kind: "sink", name: used });
                return Some(LogSink::Named(name));
            }
            let help = match text {
                "/dev/log" => "write `syslog`".to_owned(),
                "off" => "`off` stands alone, and not among others".to_owned(),
                _ if text.starts_with('/') => format!("write `file:{text}`"),
                _ if text.starts_with("http://") || text.starts_with("https://") => {
                    "make a table `[sink.NAME]` with `http`, `splunk` or `otlp`, and write its name".into()
                }
                _ if text.starts_with("syslog:") => {
                    "write `syslog`, `syslog:/path`, `syslog:udp://HOST:514` or `syslog:tcp://HOST:514`"
                        .into()
                }
                _ => not_one_of(text, &["stdout", "stderr", "off", "file:/path", "syslog"]),
            };
            let message = format!("the access log cannot go to `{text}`");
            d.report.push(Problem::error(codes::NOT_A_CHOICE, message, node.place.clone()).help(help));
            None
        }
    }
}
