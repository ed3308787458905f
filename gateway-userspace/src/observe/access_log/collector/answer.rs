//! What an answer means for the lines of a batch. Elasticsearch and OTLP accept batches in part.

use std::time::{Duration, SystemTime};

use super::backlog::Batch;
use super::connection::Answer;
use super::otlp;
use super::retry::{self, Verdict};
use super::settings::{Framing, Protocol, Settings};

/// Most of an answer that is shown, in bytes.
const SHOWN_BYTES: usize = 200;

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was accepted but for some lines.
    Accepted { refused: u64 },
    /// Some lines are to be sent again, some were refused, the rest was accepted.
    Partly { refused: u64, again: Batch },
    /// It is to be sent again.
    NotNow { after: Option<Duration>, problem: String },
    /// It will not be accepted.
    Refused(String),
}

/// Reads an answer.
pub fn outcome(settings: &Settings, answer: Answer, batch: &Batch, now: SystemTime) -> Outcome {
    match retry::verdict(&settings.protocol, answer.status) {
        Verdict::Accepted => match settings.protocol {
            Protocol::Http(Framing::Bulk) => of_bulk(&answer.body, batch),
            Protocol::Otlp { .. } => {
                Outcome::Accepted { refused: otlp::refused(&answer.body).min(batch.lines) }
            }
            Protocol::Http(_) | Protocol::Splunk { .. } => Outcome::Accepted { refused: 0 },
        },
        Verdict::Later => {
            let after = answer.retry_after.as_deref().and_then(|text| retry::asked(text, now));
            Outcome::NotNow { after, problem: problem(settings, &answer) }
        }
        Verdict::Never => Outcome::Refused(problem(settings, &answer)),
    }
}

/// The status, and what the receiver says to it, unless that repeats what it must not.
fn problem(settings: &Settings, answer: &Answer) -> String {
    let said = String::from_utf8_lossy(&answer.body);
    let said = said[..said.floor_char_boundary(SHOWN_BYTES)].trim();
    let secret = settings.headers.iter().any(|(_, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        value.split(' ').any(|word| word.len() > 3 && answer_holds(&answer.body, word))
    });
    match said.is_empty() || secret {
        true => format!("status {}", answer.status),
        false => format!("status {}: {}", answer.status, said.escape_debug()),
    }
}

fn answer_holds(body: &[u8], word: &str) -> bool {
    body.windows(word.len()).any(|window| window == word.as_bytes())
}

/// `_bulk` answers 200 and tells of each line: `{"errors":true,"items":[{"create":{"status":429,…}},…]}`.
fn of_bulk(body: &[u8], batch: &Batch) -> Outcome {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Outcome::Accepted { refused: 0 };
    };
    if answer["errors"] != true {
        return Outcome::Accepted { refused: 0 };
    }
    let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    let statuses = items.iter().map(|item| item["create"]["status"].as_u64().unwrap_or(200));
    let lines = batch.bytes.split_inclusive(|byte| *byte == b'\n');
    let mut again = Batch { bytes: Vec::new(), lines: 0, since: batch.since };
    let mut refused = 0;
    for (status, line) in statuses.zip(lines) {
        match status {
            200..=299 => {}
            // Overloaded, or a part of the cluster is away.
            429 | 500..=599 => {
                again.bytes.extend_from_slice(line);
                again.lines += 1;
            }
            _ => refused += 1,
        }
    }
    match again.lines {
        0 => Outcome::Accepted { refused },
        _ => Outcome::Partly { refused, again },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::tests::settings;
    use super::*;
    use crate::header::{Name, Value};

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: None, body: body.to_owned().into() }
    }

    #[test]
    fn lines_that_elasticsearch_has_no_room_for_are_sent_again_and_no_others() {
        let settings =
            Settings { protocol: Protocol::Http(Framing::Bulk), ..settings("http://localhost/_bulk") };
        let since = Instant::now();
        let batch =
            Batch { bytes: b"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n".to_vec(), lines: 4, since };
        let outcome = |body: &str| outcome(&settings, answer(200, body), &batch, SystemTime::now());
        assert_eq!(outcome(r#"{"errors":false,"items":[]}"#), Outcome::Accepted { refused: 0 });
        let mixed = r#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":429}},
            {"create":{"status":400}},{"create":{"status":503}}]}"#;
        let again = Batch { bytes: b"{\"n\":2}\n{\"n\":4}\n".to_vec(), lines: 2, since };
        assert_eq!(outcome(mixed), Outcome::Partly { refused: 1, again });
        let refused = r#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":400}}]}"#;
        assert_eq!(outcome(refused), Outcome::Accepted { refused: 1 });
    }

    #[test]
    fn what_a_receiver_says_is_shown_unless_it_repeats_a_secret() {
        let mut settings = settings("http://localhost/");
        let token = Value::parse(b"Splunk 0815-4711").expect("a value");
        settings.headers = vec![(Name::from_static("authorization"), token)];
        let shown = |body: &str| match outcome(
            &settings,
            answer(400, body),
            &Batch { bytes: b"a\n".to_vec(), lines: 1, since: Instant::now() },
            SystemTime::now(),
        ) {
            Outcome::Refused(problem) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown("Incorrect\nindex"), "status 400: Incorrect\\nindex");
        assert_eq!(shown("your token 0815-4711 is bad"), "status 400");
        assert_eq!(shown(""), "status 400");
    }
}
