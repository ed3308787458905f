//! Lists that take from each other.

use crate::config::codes;
use crate::config::file::sink::request::UNREAD;
use crate::config::model::{Config, List, ListSource};
use crate::diagnostic::{Problem, Report};
use crate::feeds::decisions;
use crate::header::Value;

/// Reports lists that ask CrowdSec's API with the same key: it tells what has changed once to each key.
pub fn check(config: &Config, report: &mut Report) {
    for (index, list) in config.list.iter().enumerate() {
        let Some(asks) = asks(list) else { continue };
        let mut before = config.list[..index].iter().filter(|other| self::asks(other) == Some(asks));
        if let Some(other) = before.next() {
            let message = format!("list `{}` asks with the same key as list `{}`", list.name, other.name);
            let problem = Problem::warning(codes::SHARED_BOUNCER_KEY, message, list.place.clone());
            report.push(problem.help("give each a key of its own, so that neither misses what has changed"));
        }
    }
}

/// Which API a list asks with which key, if it is told by what has changed.
fn asks(list: &List) -> Option<(&str, u16, &Value)> {
    let ListSource::Url { url, headers, .. } = &list.source else { return None };
    let (_, key) = headers.iter().find(|(name, _)| name.as_str() == "x-api-key")?;
    let is_known = key.as_bytes() != UNREAD.as_bytes();
    (is_known && decisions::follows(list.format, url)).then_some((&url.host, url.port, key))
}
