//! What `nft -j list` prints and `nft -j -f` reads (libnftables-json(5)). A document that is no JSON to its end gives
//! nothing.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::address::Span;
use super::super::{Sink, json};
use super::LEAST;

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    nftables: &'a RawValue,
}

/// An object of the list: something that is there, or a command about it.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    set: Option<Set<'a>>,
    #[serde(borrow)]
    map: Option<Set<'a>>,
    #[serde(borrow)]
    add: Option<Object<'a>>,
    #[serde(borrow)]
    create: Option<Object<'a>>,
    #[serde(borrow)]
    delete: Option<Object<'a>>,
    #[serde(borrow)]
    destroy: Option<Object<'a>>,
}

/// What a command is about.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    set: Option<Set<'a>>,
    #[serde(borrow)]
    map: Option<Set<'a>>,
    #[serde(borrow)]
    element: Option<Set<'a>>,
}

/// A set, a map, or elements of one.
#[derive(Deserialize)]
struct Set<'a> {
    /// In seconds; those of elements are told with them.
    timeout: Option<u64>,
    #[serde(borrow)]
    elem: Option<&'a RawValue>,
}

/// An element that is more than an address.
#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow)]
    elem: Option<Timed<'a>>,
    #[serde(borrow)]
    prefix: Option<Prefix<'a>>,
    #[serde(borrow)]
    range: Option<[Cow<'a, str>; 2]>,
}

#[derive(Deserialize)]
struct Timed<'a> {
    #[serde(borrow)]
    val: &'a RawValue,
    /// In seconds, and whole ones.
    timeout: Option<u64>,
    expires: Option<u64>,
}

#[derive(Deserialize)]
struct Prefix<'a> {
    #[serde(borrow)]
    addr: Cow<'a, str>,
    len: u8,
}

pub(super) fn parse(list: &[u8], sink: &mut Sink<'_>) {
    let read = std::str::from_utf8(list).map_err(|error| error.to_string()).and_then(|text| {
        let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        json::each(document.nftables.get(), &mut |text| entry(text, sink)).map_err(|error| error.to_string())
    });
    if let Err(error) = read {
        sink.skip_entry(error.as_bytes());
    }
}

fn entry(text: &str, sink: &mut Sink<'_>) {
    let Ok(entry) = serde_json::from_str::<Entry>(text) else {
        return sink.skip_entry(text.as_bytes());
    };
    let here = Object { set: entry.set, map: entry.map, element: None };
    let added = [Some(here), entry.add, entry.create].map(|object| (object, false));
    let deleted = [entry.delete, entry.destroy].map(|object| (object, true));
    for (object, gone) in added.into_iter().chain(deleted) {
        let Some(object) = object else { continue };
        for set in [object.set, object.map, object.element].into_iter().flatten() {
            elements(&set, sink, gone);
        }
    }
}

fn elements(set: &Set<'_>, sink: &mut Sink<'_>, gone: bool) {
    let Some(elements) = set.elem else { return };
    let default = set.timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let mut one = |text: &str| match element(text, default) {
        Some((span, lasts)) => sink.take(span, lasts.filter(|_| !gone), gone),
        None => sink.skip_entry(text.as_bytes()),
    };
    // A single one needs no array.
    if !elements.get().starts_with('[') || json::each(elements.get(), &mut one).is_err() {
        one(elements.get());
    }
}

fn element(text: &str, default: Option<Duration>) -> Option<(Span, Option<Duration>)> {
    if !text.starts_with('{') {
        return Some((address(text)?, default));
    }
    let element: Element = serde_json::from_str(text).ok()?;
    let Some(timed) = element.elem else { return Some((addresses(&element)?, default)) };
    let lasts = match (timed.expires, timed.timeout) {
        (Some(0), _) => Some(LEAST),
        (Some(seconds), _) => Some(Duration::from_secs(seconds)),
        (None, Some(0)) => None,
        (None, Some(seconds)) => Some(Duration::from_secs(seconds)),
        (None, None) => default,
    };
    let value = timed.val.get();
    let span = match value.starts_with('{') {
        true => addresses(&serde_json::from_str(value).ok()?)?,
        false => address(value)?,
    };
    Some((span, lasts))
}

/// A text alone: an address. Numbers are ports and the like.
fn address(text: &str) -> Option<Span> {
    Span::read(serde_json::from_str::<Cow<'_, str>>(text).ok()?.as_bytes())
}

fn addresses(element: &Element<'_>) -> Option<Span> {
    match (&element.prefix, &element.range) {
        (Some(prefix), None) => Span::read(prefix.addr.as_bytes())?.widened(prefix.len),
        (None, Some([first, last])) => Span::range(first.as_bytes(), last.as_bytes()),
        _ => None,
    }
}
