//! Custom lines: literal text with `$context.NAME` variables, as Amazon's API Gateway names them.

/// A template that was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub(super) Vec<Piece>);

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it stands.
    Text(Box<str>),
    /// A value of the request.
    Variable(Variable),
}

/// A value of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    RequestId,
    Path,
    Route,
    Method,
    Status,
    LatencyMs,
    UpstreamLatencyMs,
    ResponseBytes,
    RequestBytes,
    Client,
    UserAgent,
    Time,
    TimeEpochMs,
    Protocol,
    Host,
    Scheme,
    User,
    Ja4,
    ShadowBan,
    Reason,
    Limit,
    TraceId,
    Upstream,
}

/// Every variable. `endpoint` is what the seeds of imported configurations call the path.
pub(super) const VARIABLES: [(&str, Variable); 27] = [
    ("requestId", Variable::RequestId),
    ("extendedRequestId", Variable::RequestId),
    ("endpoint", Variable::Path),
    ("path", Variable::Path),
    ("resourcePath", Variable::Route),
    ("routeKey", Variable::Route),
    ("httpMethod", Variable::Method),
    ("status", Variable::Status),
    ("responseLatency", Variable::LatencyMs),
    ("integrationLatency", Variable::UpstreamLatencyMs),
    ("responseLength", Variable::ResponseBytes),
    ("requestLength", Variable::RequestBytes),
    ("identity.sourceIp", Variable::Client),
    ("identity.userAgent", Variable::UserAgent),
    ("identity.user", Variable::User),
    ("authorizer.principalId", Variable::User),
    ("requestTime", Variable::Time),
    ("requestTimeEpoch", Variable::TimeEpochMs),
    ("protocol", Variable::Protocol),
    ("domainName", Variable::Host),
    ("scheme", Variable::Scheme),
    ("error.reason", Variable::Reason),
    ("limit", Variable::Limit),
    ("ja4", Variable::Ja4),
    ("shadow.ban", Variable::ShadowBan),
    ("traceId", Variable::TraceId),
    ("upstream", Variable::Upstream),
];

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A variable that does not exist.
    #[error("`$context.{name}` is not a variable of the access log")]
    Unknown {
        /// Its name, without `$context.`.
        name: Box<str>,
        /// Where it begins in the text, bytes.
        at: usize,
    },
    /// The text would make several lines of one request.
    #[error("a template is one line")]
    LineBreak,
}

/// The name of every variable, without `$context.`.
pub fn variables() -> impl Iterator<Item = &'static str> {
    VARIABLES.iter().map(|(name, _)| *name)
}

/// What begins a variable.
pub const PREFIX: &str = "$context.";

impl Template {
    /// Whether lines have the fingerprint of the TLS client.
    pub fn has_ja4(&self) -> bool {
        self.0.contains(&Piece::Variable(Variable::Ja4))
    }

    /// Parses a template. `$context.` begins a variable; any other `$` is text.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        if text.contains(['\n', '\r']) {
            return Err(TemplateError::LineBreak);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(PREFIX) {
            if start > 0 {
                pieces.push(Piece::Text(rest[..start].into()));
            }
            let behind = &rest[start + PREFIX.len()..];
            let name = variable_name(behind);
            let known = VARIABLES.iter().find(|(known, _)| *known == name);
            let Some((_, variable)) = known else {
                let at = text.len() - rest.len() + start;
                return Err(TemplateError::Unknown { name: name.into(), at });
            };
            pieces.push(Piece::Variable(*variable));
            rest = &behind[name.len()..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Template(pieces))
    }
}

/// Letters, with single dots between them: `identity.sourceIp`, but not the dot that ends a sentence.
fn variable_name(text: &str) -> &str {
    let end = text
        .find(|character: char| !character.is_ascii_alphanumeric() && character != '.')
        .unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_variables_are_told_apart() {
        let template =
            Template::parse("$context.requestId: ($context.identity.sourceIp). $5").expect("a template");
        let expected = [
            Piece::Variable(Variable::RequestId),
            Piece::Text(": (".into()),
            Piece::Variable(Variable::Client),
            Piece::Text("). $5".into()),
        ];
        assert_eq!(template.0, expected);
        let ended = Template::parse("from $context.path.").expect("a template");
        assert_eq!(ended.0.last(), Some(&Piece::Text(".".into())));
    }

    #[test]
    fn unknown_variables_are_named_with_their_place() {
        let error = TemplateError::Unknown { name: "stauts".into(), at: 16 };
        assert_eq!(Template::parse("$context.status $context.stauts x"), Err(error));
        assert_eq!(Template::parse("a\nb"), Err(TemplateError::LineBreak));
    }
}
