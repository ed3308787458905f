//! What goes wrong in the admin API, as `application/problem+json` (RFC 9457).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::api::Role;
use super::peer::Caller;
use crate::abuse::keeper::{Refusal, Stopped};
use crate::diagnostic::{Report, render};

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:portcullis:admin:` and a word that stays the same over releases.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of problem it is, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time, and the way out.
    pub detail: String,
    /// Of a 403: who the caller is, and what would be enough.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Box<Refused>>,
    /// Of a 422: everything that is wrong.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Box<Invalid>>,
    /// For the `Allow` field of a 405.
    #[serde(skip)]
    allowed_methods: Option<&'static str>,
}

/// What a 422 says beside its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// As `portcullis check --format json` has them.
    pub problems: Vec<serde_json::Value>,
    /// As `portcullis check` prints them.
    pub report: String,
}

/// What a 403 says beside its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Who the gateway takes the caller for.
    pub caller: String,
    /// The role that the caller has; none for a stranger.
    pub role: Option<Role>,
    /// The role that is needed.
    pub role_needed: Role,
}

impl Problem {
    fn new(status: u16, word: &str, title: &str, detail: impl Into<String>) -> Problem {
        let kind = format!("urn:portcullis:admin:{word}");
        Problem {
            kind,
            title: title.into(),
            status,
            detail: detail.into(),
            refused: None,
            invalid: None,
            allowed_methods: None,
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(400, "bad-request", "Bad request", detail)
    }

    /// 403: the caller's role does not allow `what`.
    pub fn forbidden(what: &str, caller: &Caller, role: Option<Role>, role_needed: Role) -> Problem {
        let has = match role {
            Some(role) => format!("has the role {role}"),
            None => "has no role in [admin]".into(),
        };
        let detail = format!("{what} needs the role {role_needed}, and {caller} {has}");
        let refused = Refused { caller: caller.to_string(), role, role_needed };
        Problem {
            refused: Some(Box::new(refused)),
            ..Problem::new(403, "forbidden", "Not permitted", detail)
        }
    }

    /// 403: a page of another origin sent a browser.
    pub fn other_origin() -> Problem {
        let detail = "requests that a page of another origin makes in a browser are not served";
        Problem::new(403, "other-origin", "Not permitted", detail)
    }

    /// 404: no such command, or nothing of that name.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(404, "not-found", "Not found", detail)
    }

    /// 405: the resource has other methods, named with commas between them.
    pub fn method_not_allowed(allowed: &'static str) -> Problem {
        let detail = format!("this takes {allowed}");
        let problem = Problem::new(405, "method-not-allowed", "Method not allowed", detail);
        Problem { allowed_methods: Some(allowed), ..problem }
    }

    /// The methods that a 405 names.
    pub fn allowed_methods(&self) -> Option<&'static str> {
        self.allowed_methods
    }

    /// 408: the request did not come in time.
    pub fn timeout(detail: impl Into<String>) -> Problem {
        Problem::new(408, "timeout", "Request too slow", detail)
    }

    /// 409: it is understood, and refused as things stand.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(409, "conflict", "Refused", detail)
    }

    /// 413: the request is too large.
    pub fn too_large(detail: impl Into<String>) -> Problem {
        Problem::new(413, "too-large", "Request too large", detail)
    }

    /// 412: it is not what the caller takes it for.
    pub fn precondition_failed(detail: impl Into<String>) -> Problem {
        Problem::new(412, "precondition-failed", "Precondition failed", detail)
    }

    /// 422: the configuration would not be valid.
    pub fn invalid(report: &Report, file: &Path) -> Problem {
        let json: serde_json::Value = serde_json::from_str(&render::json(report, file)).unwrap_or_default();
        let problems = json["problems"].as_array().cloned().unwrap_or_default();
        let invalid = Invalid { problems, report: render::human(report, false) };
        let detail = render::summary(report, file);
        Problem {
            invalid: Some(Box::new(invalid)),
            ..Problem::new(422, "invalid", "Not a valid configuration", detail)
        }
    }

    /// 500: the gateway's own fault.
    pub fn internal(detail: impl Into<String>) -> Problem {
        Problem::new(500, "internal", "Internal error", detail)
    }

    /// 503: a part of the gateway is not there.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(503, "unavailable", "Not available", detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let detail = refusal.to_string();
        match refusal {
            Refusal::UnknownBan(_)
            | Refusal::UnknownTicket(_)
            | Refusal::NotBanned(_)
            | Refusal::AnotherReason { .. }
            | Refusal::UnknownSuppression(_)
            | Refusal::UnknownRule(_)
            | Refusal::NotAllowed(_) => Problem::not_found(detail),
            Refusal::NoTime | Refusal::Nothing | Refusal::NoTarget | Refusal::SuppressOne => {
                Problem::bad_request(detail)
            }
            Refusal::Covers { .. }
            | Refusal::Exempt { .. }
            | Refusal::TooWide { .. }
            | Refusal::Collateral(_)
            | Refusal::NotByRule(_)
            | Refusal::SuppressionsFull(_)
            | Refusal::Over(_)
            | Refusal::Held { .. }
            | Refusal::NotObserved(_)
            | Refusal::ShieldObserves
            | Refusal::Harm { .. }
            | Refusal::RuleEnforces(_)
            | Refusal::RuleHarm { .. }
            | Refusal::Wider { .. }
            | Refusal::Full(_)
            | Refusal::AllowedFull(_)
            | Refusal::ListsFull(_)
            | Refusal::NotByCommand { .. }
            | Refusal::Verifying => Problem::conflict(detail),
            Refusal::Kernel(_) | Refusal::Unread(_) => Problem::internal(detail),
            Refusal::Stopped(_) => Problem::unavailable(detail),
        }
    }
}

impl From<Stopped> for Problem {
    fn from(stopped: Stopped) -> Problem {
        Refusal::from(stopped).into()
    }
}
