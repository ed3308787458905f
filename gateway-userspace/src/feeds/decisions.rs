//! The decisions of CrowdSec's local API as they stand: all of them once, then what is new and what is gone since.
//!
//! A value may have several decisions, made by several scenarios. Each is known by its number, and the value stays until
//! the last of them is deleted or over. The API tells decisions one by one only if it is asked to (`dedup=false`);
//! otherwise it leaves those out behind which another one stands, and never says that they are gone. Neither does it of
//! decisions of the community's blocklist (`CAPI`) and of subscribed ones (`lists`): when it has fetched one anew, it makes
//! decisions of other numbers and deletes those of the same origin about the same values (`UpdateCommunityBlocklist`). So
//! one of these takes the place of those before it.
//!
//! Memory: 32 bytes for each decision, and as much again while they change; there are no more than a list may have
//! entries. Pure: times come from the caller.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::format::Format;
use super::parse::{self, Decided, Mark, NoStream, Origin, Outcome, TooMany};
use crate::dial::Url;

/// How the path ends at which the API gives its stream.
const PATH: &str = "/v1/decisions/stream";

/// Whether what a URL gives in a format is a stream.
pub fn follows(format: Format, url: &Url) -> bool {
    let is_path = || url.path.split('?').next().is_some_and(|path| path.ends_with(PATH));
    matches!(format, Format::Auto | Format::CrowdSec) && is_path()
}

/// The URL that asks for everything, or for what has changed since this key asked last. What else stands in the query is
/// passed on: `scopes`, `origins`, `scenarios_containing` and so on.
pub fn asking(url: &Url, everything: bool) -> Url {
    let (path, query) = url.path.split_once('?').unwrap_or((&url.path, ""));
    let is_ours = |part: &&str| !matches!(part.split('=').next(), Some("" | "startup" | "dedup"));
    let passed: String = query.split('&').filter(is_ours).flat_map(|part| [part, "&"]).collect();
    Url { path: format!("{path}?{passed}startup={everything}&dedup=false").into(), ..url.clone() }
}

/// What was answered is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Something else than decisions.
    #[error(transparent)]
    NoStream(#[from] NoStream),
    /// There are more than are taken.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// Everything, of which nothing can be taken and so many decisions cannot be read.
    #[error("nothing in it could be taken, and {0} of its decisions cannot be read")]
    Unreadable(u64),
}

/// Those that are in force.
#[derive(Debug)]
pub struct Decisions {
    /// In order, each once.
    rows: Vec<Row>,
    /// What the ends of rows are counted from.
    begun: Instant,
    /// Decisions for others: of other types and scopes.
    skipped: u64,
}

/// Ordered by prefix, origin and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    prefix: IpNet,
    number: i64,
    /// In seconds since the first was read, rounded up; [`NO_END`] for ever.
    ends_s: u32,
    origin: Origin,
}

const _: () = assert!(size_of::<Row>() == 32);

const NO_END: u32 = u32::MAX;

impl Row {
    fn new(prefix: IpNet, mark: Mark, lasts: Option<Duration>) -> Row {
        Row { prefix, number: mark.number, ends_s: ends_s(lasts), origin: mark.origin }
    }

    fn key(&self) -> (IpNet, Origin, i64) {
        (self.prefix, self.origin, self.number)
    }
}

impl Decisions {
    /// From an answer with everything, of at most `most` decisions, that came `now`; with what became of its decisions.
    pub fn begin(stream: &[u8], most: usize, now: Instant) -> Result<(Decisions, Outcome), Unusable> {
        let mut decisions = Decisions { rows: Vec::new(), begun: now, skipped: 0 };
        let decided = parse::decisions(stream, most, &mut |mark, item| {
            // Those that are gone are told for bouncers that were there before.
            if !item.gone {
                decisions.rows.push(Row::new(item.prefix, mark, item.lasts));
            }
        })?;
        let Decided { outcome, skipped_gone, unreadable, is_new_overfull, .. } = decided;
        if is_new_overfull {
            return Err(TooMany(most).into());
        }
        if decisions.rows.is_empty() && unreadable > 0 {
            return Err(Unusable::Unreadable(unreadable));
        }
        decisions.rows.sort_unstable_by_key(order);
        decisions.rows.dedup_by_key(|row| row.key());
        decisions.rows.shrink_to_fit();
        decisions.skipped = outcome.skipped.saturating_sub(skipped_gone);
        Ok((decisions, outcome))
    }

    /// Takes in what has changed, with whether any decision came or went. Should that be too much, nothing changes.
    pub fn follow(&mut self, stream: &[u8], most: usize, now: Instant) -> Result<(bool, Outcome), Unusable> {
        let passed = now.saturating_duration_since(self.begun);
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        let decided = parse::decisions(stream, most, &mut |mark, item| match item.gone {
            true => gone.push((item.prefix, mark.number)),
            false => new.push(Row::new(item.prefix, mark, item.lasts.map(|lasts| lasts + passed))),
        })?;
        let Decided { outcome, skipped_gone, is_gone_overfull, is_new_overfull, .. } = decided;
        let too_many = Err(TooMany(most).into());
        if is_gone_overfull || is_new_overfull {
            return too_many;
        }
        gone.sort_unstable();
        new.sort_unstable_by_key(order);
        new.dedup_by_key(|row| row.key());
        let passed_s = passed.as_secs();
        let stays = |row: &Row| {
            let is_gone = || gone.binary_search(&(row.prefix, row.number)).is_ok();
            !row.is_over(passed_s) && !is_gone() && !row.is_replaced(&new)
        };
        let is_room_for = |rows: usize| rows + new.len() <= most;
        if !is_room_for(self.rows.len()) && !is_room_for(self.rows.iter().filter(|row| stays(row)).count()) {
            return too_many;
        }
        let before = (self.rows.len(), self.skipped);
        self.rows.retain(stays);
        self.skipped = (self.skipped + outcome.skipped - skipped_gone).saturating_sub(skipped_gone);
        let has_changed = !new.is_empty() || (self.rows.len(), self.skipped) != before;
        self.rows.extend(new);
        // Two sequences that are in order each: merged in linear time.
        self.rows.sort_by_key(order);
        Ok((has_changed, outcome))
    }

    /// Takes those out whose time is over; whether there were any.
    pub fn end(&mut self, now: Instant) -> bool {
        let (before, passed_s) = (self.rows.len(), now.saturating_duration_since(self.begun).as_secs());
        self.rows.retain(|row| !row.is_over(passed_s));
        self.rows.len() != before
    }

    /// When the first of them is over; none: none ever is.
    pub fn next_end(&self) -> Option<Instant> {
        let first = self.rows.iter().map(|row| row.ends_s).filter(|ends_s| *ends_s != NO_END).min()?;
        self.begun.checked_add(Duration::from_secs(first.into()))
    }

    /// What they are about, in order and each once.
    pub fn prefixes(&self) -> Vec<IpNet> {
        let mut prefixes: Vec<IpNet> = self.rows.iter().map(|row| row.prefix).collect();
        prefixes.dedup();
        prefixes
    }

    /// How many decisions are for others, as far as they were told.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl Row {
    fn is_over(&self, passed_s: u64) -> bool {
        self.ends_s != NO_END && u64::from(self.ends_s) <= passed_s
    }

    /// Whether one of those that are new, in order, takes its place.
    fn is_replaced(&self, new: &[Row]) -> bool {
        let found = match self.origin {
            Origin::Own => new.binary_search_by_key(&self.key(), Row::key),
            Origin::Community | Origin::Lists => {
                new.binary_search_by_key(&(self.prefix, self.origin), |row| (row.prefix, row.origin))
            }
        };
        found.is_ok()
    }
}

/// The one that ends last before others of the same number.
fn order(row: &Row) -> (IpNet, Origin, i64, Reverse<u32>) {
    (row.prefix, row.origin, row.number, Reverse(row.ends_s))
}

/// The longest time that an entry has, and as much as a process may run, is less than that is for ever.
fn ends_s(after: Option<Duration>) -> u32 {
    let seconds = |after: Duration| after.as_secs() + u64::from(after.subsec_nanos() > 0);
    after.map_or(NO_END, |after| u32::try_from(seconds(after)).unwrap_or(NO_END).min(NO_END - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn decision(number: i64, value: &str, duration: &str) -> String {
        let scope = if value.contains('/') { "Range" } else { "Ip" };
        format!(
            r#"{{"id":{number},"duration":"{duration}","scope":"{scope}","type":"ban","value":"{value}","origin":"cscli"}}"#
        )
    }

    fn stream(new: &[(i64, &str, &str)], deleted: &[(i64, &str)]) -> Vec<u8> {
        let new: Vec<_> =
            new.iter().map(|(number, value, duration)| decision(*number, value, duration)).collect();
        let deleted: Vec<_> = deleted.iter().map(|(number, value)| decision(*number, value, "-1s")).collect();
        format!(r#"{{"new": [{}], "deleted": [{}]}}"#, new.join(","), deleted.join(",")).into_bytes()
    }

    fn said(decisions: &Decisions) -> Vec<String> {
        decisions.prefixes().iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn a_value_stays_until_the_last_of_its_decisions_is_deleted_or_over() {
        let now = Instant::now();
        let all = stream(
            &[
                (3, "203.0.113.9", "1h"),
                (1, "203.0.113.9", "10s"),
                (2, "198.51.100.0/24", "10s"),
                (7, "203.0.113.7", "1h"),
            ],
            &[(0, "192.0.2.1")],
        );
        let (mut decisions, outcome) = Decisions::begin(&all, 4, now).unwrap();
        assert_eq!(outcome.taken, 5);
        assert_eq!(said(&decisions), ["198.51.100.0/24", "203.0.113.7/32", "203.0.113.9/32"]);
        assert_eq!(decisions.next_end(), Some(now + 10 * SECOND));
        let follow = |decisions: &mut Decisions, new: &[_], deleted: &[_], passed| {
            decisions.follow(&stream(new, deleted), 4, now + passed).unwrap().0
        };
        assert!(!follow(&mut decisions, &[], &[], SECOND));
        assert!(!follow(&mut decisions, &[], &[(9, "203.0.113.9"), (3, "203.0.113.7")], SECOND), "unknown");
        // Of the two the longer one goes, and the shorter one stays until it is over.
        assert!(follow(&mut decisions, &[(8, "192.0.2.8", "1h")], &[(3, "203.0.113.9")], 9 * SECOND));
        let expected = ["192.0.2.8/32", "198.51.100.0/24", "203.0.113.7/32", "203.0.113.9/32"];
        assert_eq!(said(&decisions), expected);
        assert!(!decisions.end(now + 9 * SECOND) && decisions.end(now + 10 * SECOND));
        assert_eq!(said(&decisions), ["192.0.2.8/32", "203.0.113.7/32"]);
        // Told again it lasts as long as it was told last, from then on.
        assert!(follow(&mut decisions, &[(7, "203.0.113.7", "5s")], &[(8, "192.0.2.8")], 20 * SECOND));
        assert_eq!(
            (said(&decisions), decisions.next_end()),
            (vec!["203.0.113.7/32".into()], Some(now + 25 * SECOND))
        );
        assert!(follow(&mut decisions, &[], &[], 25 * SECOND), "it is over");
        assert_eq!((said(&decisions), decisions.next_end()), (vec![], None));
    }

    #[test]
    fn decisions_for_others_are_counted_as_they_come_and_go() {
        let now = Instant::now();
        let other = |kind: &str, scope: &str| {
            format!(r#"{{"id":5,"duration":"4h","scope":"{scope}","type":"{kind}","value":"192.0.2.5"}}"#)
        };
        let (captcha, country) = (other("captcha", "Ip"), other("ban", "Country"));
        let all = format!(r#"{{"new":[{captcha},{country}],"deleted":[{captcha},{captcha},{captcha}]}}"#);
        let (mut decisions, outcome) = Decisions::begin(all.as_bytes(), 9, now).unwrap();
        assert_eq!((decisions.skipped(), outcome.skipped, outcome.taken), (2, 5, 0));
        let more = format!(r#"{{"new":[{captcha}],"deleted":null}}"#);
        assert!(decisions.follow(more.as_bytes(), 9, now).unwrap().0);
        assert_eq!(decisions.skipped(), 3);
        let less = format!(r#"{{"deleted":[{captcha},{captcha},{country},{country}]}}"#);
        assert!(decisions.follow(less.as_bytes(), 9, now).unwrap().0);
        assert_eq!((decisions.skipped(), said(&decisions)), (0, vec![]));
    }

    #[test]
    fn there_are_never_more_than_a_list_may_have() {
        let now = Instant::now();
        let numbered: Vec<(i64, &str, &str)> = (1..=4).map(|number| (number, "192.0.2.1", "1h")).collect();
        let too_many = Unusable::TooMany(TooMany(3));
        assert_eq!(Decisions::begin(&stream(&numbered, &[]), 3, now).unwrap_err(), too_many);
        let (mut decisions, _) = Decisions::begin(&stream(&numbered[..3], &[]), 3, now).unwrap();
        let more = stream(&[(9, "192.0.2.9", "1h")], &[(1, "192.0.2.1")]);
        assert!(decisions.follow(&more, 3, now).unwrap().0, "one went, one came");
        assert_eq!(decisions.follow(&stream(&numbered[..1], &[]), 3, now).unwrap_err(), too_many);
        let gone: Vec<(i64, &str)> = (10..=14).map(|number| (number, "192.0.2.1")).collect();
        assert_eq!(decisions.follow(&stream(&[], &gone), 3, now).unwrap_err(), too_many);
        assert_eq!(said(&decisions), ["192.0.2.1/32", "192.0.2.9/32"]);
        // One that is told again stays, and so does one that goes, when there is no room for another one.
        let again = [(9, "192.0.2.9", "1h"), (11, "192.0.2.11", "1h"), (12, "192.0.2.12", "1h")];
        assert_eq!(decisions.follow(&stream(&again, &[(2, "192.0.2.1")]), 3, now).unwrap_err(), too_many);
        assert_eq!(said(&decisions), ["192.0.2.1/32", "192.0.2.9/32"]);
        assert!(decisions.follow(&stream(&again, &[(2, "192.0.2.1"), (3, "192.0.2.1")]), 3, now).unwrap().0);
        assert_eq!(said(&decisions), ["192.0.2.9/32", "192.0.2.11/32", "192.0.2.12/32"]);
        // How many are gone is nothing to who begins.
        let (decisions, outcome) = Decisions::begin(&stream(&again, &gone), 3, now).unwrap();
        assert_eq!((decisions.rows.len(), decisions.skipped()), (3, 0));
        assert_eq!(outcome.taken, 7, "the fourth is too many, and it is not looked at the fifth");
    }

    #[test]
    fn a_decision_of_a_blocklist_takes_the_place_of_those_before_it() {
        let now = Instant::now();
        let new = |decisions: &[(i64, &str, &str)]| {
            let decisions = decisions.iter().map(|(number, value, origin)| {
                decision(*number, value, "24h").replace("\"cscli\"", &format!("\"{origin}\""))
            });
            format!(r#"{{"new": [{}], "deleted": null}}"#, decisions.collect::<Vec<_>>().join(","))
                .into_bytes()
        };
        for (origin, other) in [("CAPI", "lists"), ("lists", "CAPI")] {
            let all = new(&[(1, "192.0.2.1", origin), (2, "192.0.2.2", origin), (3, "192.0.2.3", "cscli")]);
            let (mut decisions, _) = Decisions::begin(&all, 9, now).unwrap();
            let numbers =
                |decisions: &Decisions| -> Vec<i64> { decisions.rows.iter().map(|row| row.number).collect() };
            let more = [(4, "192.0.2.1", other), (5, "192.0.2.1", "crowdsec"), (6, "192.0.2.3", origin)];
            decisions.follow(&new(&more), 9, now).unwrap();
            let mut all = numbers(&decisions);
            all.sort_unstable();
            assert_eq!(all, [1, 2, 3, 4, 5, 6], "those of others leave each other alone");
            // Fetched anew: one takes the place of another, and is deleted.
            decisions.follow(&new(&[(7, "192.0.2.2", origin)]), 9, now).unwrap();
            assert_eq!(numbers(&decisions).iter().filter(|number| [2, 7].contains(number)).count(), 1);
            assert!(said(&decisions).contains(&"192.0.2.2/32".into()));
            decisions.follow(&stream(&[], &[(7, "192.0.2.2")]), 9, now).unwrap();
            assert_eq!(said(&decisions), ["192.0.2.1/32", "192.0.2.3/32"], "{origin}");
            // There is room for as many as before.
            decisions.follow(&new(&[(8, "192.0.2.1", origin), (9, "192.0.2.3", origin)]), 5, now).unwrap();
            assert_eq!(said(&decisions), ["192.0.2.1/32", "192.0.2.3/32"]);
        }
    }

    #[test]
    fn everything_that_cannot_be_read_is_not_nothing() {
        let now = Instant::now();
        let begin = |new: &[&str]| {
            let all = format!(r#"{{"new":[{}],"deleted":[7]}}"#, new.join(","));
            Decisions::begin(all.as_bytes(), 9, now).map(|(decisions, _)| decisions.skipped())
        };
        let captcha = r#"{"id":5,"duration":"4h","scope":"Ip","type":"captcha","value":"192.0.2.5"}"#;
        let (nobody, over) = (decision(1, "nobody", "4h"), decision(2, "192.0.2.1", "-1s"));
        let endless = decision(3, "192.0.2.3", "long");
        assert_eq!(begin(&["7", &nobody, &endless]).unwrap_err(), Unusable::Unreadable(3));
        assert_eq!(begin(&[captcha, &nobody]).unwrap_err(), Unusable::Unreadable(1));
        assert_eq!(begin(&[]).unwrap(), 0);
        assert_eq!(begin(&[captcha, &over]).unwrap(), 2, "nobody is banned");
        assert_eq!(begin(&["7", &decision(4, "192.0.2.4", "4h")]).unwrap(), 1);
    }

    #[test]
    fn what_is_no_stream_changes_nothing() {
        let now = Instant::now();
        let (mut decisions, _) = Decisions::begin(&stream(&[(1, "192.0.2.1", "1h")], &[]), 9, now).unwrap();
        let whole = stream(&[], &[(1, "192.0.2.1")]);
        for bad in [&b""[..], b"[]", b"null", b"<html>", br#"{"message":"x"}"#, &whole[..whole.len() - 1]] {
            assert!(matches!(decisions.follow(bad, 9, now), Err(Unusable::NoStream(_))), "{bad:?}");
            assert!(matches!(Decisions::begin(bad, 9, now), Err(Unusable::NoStream(_))), "{bad:?}");
        }
        assert!(matches!(decisions.follow(br#"{"deleted":7}"#, 9, now), Err(Unusable::NoStream(_))));
        assert_eq!(said(&decisions), ["192.0.2.1/32"]);
    }

    #[test]
    fn a_time_of_any_length_can_be_counted_from_any_start() {
        let now = Instant::now();
        let all = stream(&[(1, "192.0.2.1", "9999999h"), (2, "192.0.2.2", "1500ms")], &[]);
        let (mut decisions, _) = Decisions::begin(&all, 9, now).unwrap();
        assert_eq!(decisions.next_end(), Some(now + 2 * SECOND), "rounded up");
        assert!(decisions.end(now + 2 * SECOND));
        let later = now + Duration::from_secs(30 * 365 * 86_400);
        assert!(decisions.follow(&stream(&[(3, "192.0.2.3", "9999999h")], &[]), 9, later).unwrap().0);
        let forever = br#"{"new":[{"scope":"Ip","type":"ban","value":"192.0.2.4"}]}"#;
        assert!(decisions.follow(forever, 9, later).unwrap().0);
        assert!(decisions.end(later + 100 * 365 * 86_400 * SECOND), "a hundred years, no more");
        assert_eq!((said(&decisions), decisions.next_end()), (vec!["192.0.2.4/32".into()], None));
    }

    #[test]
    fn what_else_is_asked_for_is_passed_on() {
        for (url, path) in [
            ("http://x/v1/decisions/stream", "/v1/decisions/stream?startup=true&dedup=false"),
            (
                "https://x/lapi/v1/decisions/stream?startup=false&scopes=ip,range&dedup=true&origins=crowdsec%2Ccscli",
                "/lapi/v1/decisions/stream?scopes=ip,range&origins=crowdsec%2Ccscli&startup=true&dedup=false",
            ),
            (
                "http://x/v1/decisions/stream?&startup&scenarios_containing=ssh",
                "/v1/decisions/stream?scenarios_containing=ssh&startup=true&dedup=false",
            ),
        ] {
            let url = Url::parse(url).unwrap();
            assert!(follows(Format::Auto, &url) && !follows(Format::Text, &url));
            assert_eq!(&*asking(&url, true).path, path);
            let changes = path.replace("startup=true", "startup=false");
            assert_eq!(&*asking(&url, false).path, changes);
        }
        for url in ["http://x/v1/decisions", "http://x/drop?a=/v1/decisions/stream"] {
            assert!(!follows(Format::CrowdSec, &Url::parse(url).unwrap()), "{url}");
        }
    }
}
