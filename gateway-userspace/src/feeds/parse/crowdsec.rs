//! Decisions as CrowdSec's local API gives them to bouncers: `/v1/decisions/stream`, an object of those that are `new`
//! and those that are `deleted`, in either order and `null` if there are none; and `/v1/decisions`, an array of those in
//! force.
//!
//! An entry is a decision. Taken are bans of an address or a range; those of another kind (`captcha`), of another scope
//! (a country, a user), and new ones whose time is over are skipped. A document that is no JSON to its end gives nothing.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::address::Span;
use super::duration::{self, Left};
use super::{Mark, Origin, Sink, json};

/// A stream. `Some` of a field that is there, if only as `null`.
#[derive(Deserialize)]
pub(super) struct Halves<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    new: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    deleted: Option<&'a RawValue>,
}

fn present<'de: 'a, 'a, D: Deserializer<'de>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// What counts of a decision.
#[derive(Deserialize)]
struct Decision<'a> {
    /// Of a row in the database.
    id: Option<i64>,
    /// `ban`, `captcha` or one that somebody made up.
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    /// `Ip`, `Range`, `Country`, `AS`, …; by API clients in any case.
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
    /// `crowdsec`, `cscli`, `CAPI`, `lists`, …
    #[serde(borrow)]
    origin: Option<Cow<'a, str>>,
    /// As Go writes it, of a deleted one mostly negative.
    #[serde(borrow)]
    duration: Option<Cow<'a, str>>,
}

pub(super) fn parse(list: &[u8], sink: &mut Sink<'_>) {
    let is_stream = list.trim_ascii_start().starts_with(b"{");
    let read = if is_stream { stream(list, sink) } else { array(list, sink) };
    if let Err(error) = read {
        sink.skip_entry(error.as_bytes());
    }
}

/// Those that are gone first, wherever they stand.
fn stream(list: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
    let halves = Halves::of(list)?;
    halves.take_gone(sink)?;
    halves.take_new(sink)
}

impl<'a> Halves<'a> {
    pub(super) fn of(list: &'a [u8]) -> Result<Halves<'a>, String> {
        let halves: Halves = serde_json::from_str(text(list)?).map_err(told)?;
        let is_none = halves.new.is_none() && halves.deleted.is_none();
        if is_none { Err("neither `new` nor `deleted`".into()) } else { Ok(halves) }
    }

    pub(super) fn take_gone(&self, sink: &mut Sink<'_>) -> Result<(), String> {
        half(self.deleted, sink, true)
    }

    pub(super) fn take_new(&self, sink: &mut Sink<'_>) -> Result<(), String> {
        half(self.new, sink, false)
    }
}

fn half(decisions: Option<&RawValue>, sink: &mut Sink<'_>, gone: bool) -> Result<(), String> {
    let Some(decisions) = decisions else { return Ok(()) };
    json::each(decisions.get(), &mut |text| decision(text, sink, gone)).map_err(told)
}

fn array(list: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
    let text = text(list)?;
    // Whole or not at all, as above.
    serde_json::from_str::<&RawValue>(text).map_err(told)?;
    json::each(text, &mut |text| decision(text, sink, false)).map_err(told)
}

fn text(list: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(list).map_err(|error| error.to_string())
}

fn told(error: serde_json::Error) -> String {
    error.to_string()
}

/// Nothing more once there are too many.
fn decision(text: &str, sink: &mut Sink<'_>, gone: bool) {
    if sink.is_overfull {
        return;
    }
    let read = read(text, gone);
    match read {
        Some(Some((mark, span, lasts))) => sink.take_marked(mark, span, lasts, gone),
        Some(None) | None => {
            sink.skipped_gone += u64::from(gone);
            sink.unreadable += u64::from(read.is_none() && !gone);
            sink.skip_entry(text.as_bytes());
        }
    }
}

/// `Some(None)`: it is for others, or over; `None`: it cannot be read.
fn read(text: &str, gone: bool) -> Option<Option<(Mark, Span, Option<Duration>)>> {
    let decision: Decision = serde_json::from_str(text).ok()?;
    let of_addresses = ["ip", "range"].iter().any(|scope| decision.scope.eq_ignore_ascii_case(scope));
    if !of_addresses || !decision.kind.eq_ignore_ascii_case("ban") {
        return Some(None);
    }
    let origin = match decision.origin.as_deref() {
        Some("CAPI") => Origin::Community,
        Some("lists") => Origin::Lists,
        _ => Origin::Own,
    };
    let mark = Mark { number: decision.id.unwrap_or_default(), origin };
    let span = Span::read(decision.value.trim_ascii().as_bytes())?;
    match decision.duration.filter(|_| !gone) {
        None => Some(Some((mark, span, None))),
        Some(duration) => match duration::read(duration.as_bytes())? {
            Left::Over => Some(None),
            Left::For(left) => Some(Some((mark, span, Some(left)))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::super::tests::{read, said};
    use crate::feeds::Format;

    /// A decision as CrowdSec 1.4 to 1.6 writes it.
    fn decision(scope: &str, value: &str, kind: &str, duration: &str) -> String {
        format!(
            r#"{{"duration":"{duration}","id":4,"origin":"cscli","scenario":"manual 'ban' from 'x'","scope":"{scope}","type":"{kind}","value":"{value}"}}"#
        )
    }

    #[test]
    fn bans_of_addresses_and_ranges_are_taken_and_the_rest_is_counted() {
        let new = [
            decision("Ip", "203.0.113.9", "ban", "3h59m12.5s"),
            decision("Range", "203.0.113.77/24", "ban", "167h59m59.999999999s"),
            decision("ip", "2001:db8::9", "ban", "87ms"),
            decision("Ip", "203.0.113.10", "captcha", "4h"),
            decision("Country", "DE", "ban", "4h"),
            decision("Ip", "203.0.113.11", "ban", "-2s"),
            decision("Ip", "nobody", "ban", "4h"),
            "7".into(),
        ];
        let deleted = decision("Ip", "203.0.113.12", "ban", "-12.159171034s");
        let expected = [
            "203.0.113.12/32 gone",
            "203.0.113.9/32 for 14352.5s",
            "203.0.113.0/24 for 604799.999999999s",
            "2001:db8::9/128 for 0.087s",
        ];
        let (first, last) = (new.join(","), &deleted);
        // As Go sorts it, and as it is written in chunks.
        for list in [
            format!(r#"{{"deleted":[{last}],"new":[{first}]}}"#),
            format!(r#"{{"new": [{first}], "deleted": [{last}]}}"#),
        ] {
            let (items, outcome) = read(&list, Format::Auto);
            assert_eq!((outcome.format, &items[..]), (Format::CrowdSec, &expected.map(String::from)[..]));
            assert_eq!((outcome.taken, outcome.skipped), (4, 5));
            let places: Vec<_> = outcome.first_bad.iter().map(|bad| bad.place).collect();
            assert_eq!(places, [5, 6, 7, 8, 9].map(Place::Entry));
            assert!(outcome.first_bad[0].text.starts_with(r#"{"duration":"4h","id":4"#), "{outcome:?}");
        }
    }

    #[test]
    fn no_decisions_are_null_and_an_array_is_of_those_in_force() {
        for empty in [
            r#"{"deleted":null,"new":null}"#,
            r#"{"new": [], "deleted": []}"#,
            r#"{"new":null}"#,
            "null",
            "[]",
        ] {
            let (items, outcome) = read(empty, Format::Auto);
            assert_eq!((items.len(), outcome.taken, outcome.skipped), (0, 0, 0), "{empty}");
        }
        let list = format!("[{}]", decision("Ip", "\\u0031.2.3.4", "Ban", "1m"));
        assert_eq!(read(&list, Format::Auto).0, ["1.2.3.4/32 for 60s"]);
    }

    #[test]
    fn a_document_that_breaks_off_gives_nothing_but_its_fault() {
        let whole = format!(r#"{{"new":[{}],"deleted":null}}"#, decision("Ip", "203.0.113.9", "ban", "4h"));
        for list in [
            &whole[..whole.len() - 1],
            &whole[..whole.len() - 20],
            r#"{"message":"access forbidden"}"#,
            r#"{"new":7}"#,
            &format!("[{}", decision("Ip", "203.0.113.9", "ban", "4h")),
        ] {
            let (items, outcome) = read(list, Format::CrowdSec);
            assert_eq!((items.len(), outcome.taken, outcome.skipped), (0, 0, 1), "{list}");
        }
        assert_eq!(said(&read(r#"{"message":"x"}"#, Format::CrowdSec).1), ["neither `new` nor `deleted`"]);
    }
}
