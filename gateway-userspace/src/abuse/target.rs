//! What a ban holds for: addresses, which the kernel can drop, or one client among those behind them, whom only layer 7
//! can tell apart.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::source;

/// A client as authentication knows it: an API key's consumer, or a token's subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Subject {
    /// The `[auth.NAME]` that knew it. The same name under another one is somebody else.
    pub auth: Arc<str>,
    /// Its name there.
    pub principal: Arc<str>,
}

/// Whom a ban keeps out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Target {
    /// Everybody with an address in it, before TCP where there is a kernel stage.
    Prefix(IpNet),
    /// One client, at layer 7: from these addresses, or from everywhere.
    Subject { who: Subject, at: Option<IpNet> },
}

impl Target {
    /// The addresses that the kernel drops; none for a client that is known at layer 7 only.
    pub fn prefix(&self) -> Option<IpNet> {
        match self {
            Target::Prefix(prefix) => Some(*prefix),
            Target::Subject { .. } => None,
        }
    }

    /// As `portcullis ban` takes it, on the command line of a shell.
    pub fn argument(&self) -> String {
        match self {
            Target::Prefix(prefix) => source::display(*prefix),
            Target::Subject { who, at: None } => format!("--client {}", quoted(&who.to_string())),
            Target::Subject { who, at: Some(at) } => {
                format!("{} --client {}", source::display(*at), quoted(&who.to_string()))
            }
        }
    }

    /// The same without host bits and mapped addresses.
    pub fn canonical(self) -> Target {
        match self {
            Target::Prefix(prefix) => Target::Prefix(source::canonical(prefix)),
            Target::Subject { who, at } => Target::Subject { who, at: at.map(source::canonical) },
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.auth, self.principal)
    }
}

/// `AUTH/NAME`. No table's name has a `/` in it, and a client's may.
impl FromStr for Subject {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Subject, &'static str> {
        match text.split_once('/') {
            Some((auth, principal)) if !auth.is_empty() && !principal.is_empty() => {
                Ok(Subject { auth: auth.into(), principal: principal.into() })
            }
            _ => Err(
                "a client is AUTH/NAME, as users/alice: the `[auth.AUTH]` that knows it, and its name there",
            ),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Subject, &'static str> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(who: Subject) -> String {
        who.to_string()
    }
}

/// A word for a shell. A client may have chosen its own name, and operators paste what is printed.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,:/@%+=".contains(&byte);
    match word.bytes().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")).into(),
    }
}

/// `203.0.113.9`, `client users/alice`, `client users/alice at 203.0.113.9`
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Prefix(prefix) => f.write_str(&source::display(*prefix)),
            Target::Subject { who, at: None } => write!(f, "client {who}"),
            Target::Subject { who, at: Some(at) } => write!(f, "client {who} at {}", source::display(*at)),
        }
    }
}

/// As the state file has it, beside the other fields of a line. The first version knew prefixes only.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(alias = "source", default, skip_serializing_if = "Option::is_none")]
    prefix: Option<IpNet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<Arc<str>>,
}

impl From<Target> for Written {
    fn from(target: Target) -> Written {
        match target {
            Target::Prefix(prefix) => Written { prefix: Some(prefix), auth: None, principal: None },
            Target::Subject { who, at } => {
                Written { prefix: at, auth: Some(who.auth), principal: Some(who.principal) }
            }
        }
    }
}

impl TryFrom<Written> for Target {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Target, &'static str> {
        match written {
            Written { prefix: Some(prefix), auth: None, principal: None } => Ok(Target::Prefix(prefix)),
            Written { prefix, auth: Some(auth), principal: Some(principal) } => {
                Ok(Target::Subject { who: Subject { auth, principal }, at: prefix })
            }
            _ => Err("a target is a prefix, or `auth` and `principal`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice(at: Option<&str>) -> Target {
        let who = Subject { auth: "users".into(), principal: "alice".into() };
        Target::Subject { who, at: at.map(|at| at.parse().unwrap()) }
    }

    #[test]
    fn targets_are_shown_as_people_name_them() {
        assert_eq!(Target::Prefix("203.0.113.9/32".parse().unwrap()).to_string(), "203.0.113.9");
        assert_eq!(alice(None).to_string(), "client users/alice");
        assert_eq!(alice(Some("2001:db8::/64")).to_string(), "client users/alice at 2001:db8::/64");
    }

    #[test]
    fn a_client_is_named_by_both_names_and_its_own_choice_of_one_runs_no_command() {
        let who: Subject = "users/a/b".parse().unwrap();
        assert_eq!((&*who.auth, &*who.principal), ("users", "a/b"));
        for text in ["alice", "/alice", "users/", ""] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
        assert_eq!(alice(Some("203.0.113.9/32")).argument(), "203.0.113.9 --client users/alice");
        let odd = Subject { auth: "users".into(), principal: "$(reboot) 'x'".into() };
        let argument = Target::Subject { who: odd, at: None }.argument();
        assert_eq!(argument, r"--client 'users/$(reboot) '\''x'\'''");
    }

    #[test]
    fn what_is_written_is_read_and_half_a_client_is_nobody() {
        for target in
            [Target::Prefix("10.0.0.0/8".parse().unwrap()), alice(None), alice(Some("203.0.113.9/32"))]
        {
            let text = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<Target>(&text).unwrap(), target, "{text}");
        }
        let first_version = serde_json::from_str::<Target>(r#"{"source":"10.0.0.0/8"}"#).unwrap();
        assert_eq!(first_version, Target::Prefix("10.0.0.0/8".parse().unwrap()));
        for text in ["{}", r#"{"auth":"users"}"#, r#"{"prefix":"10.0.0.0/8","principal":"alice"}"#] {
            assert!(serde_json::from_str::<Target>(text).is_err(), "{text}");
        }
    }
}
