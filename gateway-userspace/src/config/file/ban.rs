//! `[ban.NAME]`: which refusals lead to a ban.

use std::time::Duration;

use super::{TableName, not_one_of};
use crate::abuse::score::RULES_MAX;
use crate::abuse::signal::{Kind, Kinds};
use crate::config::codes;
use crate::config::decode::{Decoder, Fields, Key, Presence, Reference, Spec, Takes, User};
use crate::config::model::{Ban, Config};
use crate::config::tree::Node;
use crate::config::value::{self, Type};
use crate::diagnostic::Problem;

/// The name of the rule that stands in `[shield]`.
pub const OF_SHIELD: &str = "shield";

const KINDS: Type<Kinds> = Type {
    describe: "`malformed`, `unauthenticated`, `forbidden`, `rate-limited`, `greedy`, `broken-connection` or \
               `not-found`, or an array of these",
    decode: |d, node| {
        let kinds: Kinds = value::one_or_many(d, node, kind)?.into_iter().collect();
        if kinds.iter().next().is_none() {
            let message = "a rule that counts nothing is never met";
            d.report.push(Problem::error(codes::EMPTY, message, node.place.clone()));
            return None;
        }
        Some(kinds)
    },
};

/// The keys of `[ban.NAME]`.
pub static SPEC: Spec = Spec {
    title: "[ban.NAME]",
    doc: "A rule that leads to bans, beside the one in `[shield]`, of which there may be 8 in all. Each counts by itself; \
          whoever meets one is banned for its time.",
    keys: &[
        Key::new(
            "when",
            Takes::Value(value::BAN_RULE.describe),
            Presence::Required,
            "How many refused requests of one source in which time, or how much CPU time of the gateway they may cost.",
        ),
        Key::new(
            "kinds",
            Takes::Value(KINDS.describe),
            Presence::Optional,
            "Which refusals count; if not given, all but `not-found`, which is the gateway's own 404 for what no route \
             has.",
        ),
        Key::new(
            "route",
            Takes::Value(value::NAME.describe),
            Presence::Optional,
            "Only what was refused on this `[route.NAME]` counts.",
        ),
        Key::new(
            "mode",
            Takes::Word(&["enforce", "observe"]),
            Presence::Default("\"enforce\""),
            "`observe` counts what its bans would drop, and drops nothing; `[shield] mode` does that to all bans.",
        ),
        Key::new(
            "for",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"10m\""),
            "How long a first ban lasts; it doubles on each return.",
        ),
        Key::new(
            "up-to",
            Takes::Value(value::DURATION.describe),
            Presence::Default("\"24h\""),
            "How long a ban can get.",
        ),
    ],
};

/// Decodes `[ban.NAME]`.
pub fn decode(d: &mut Decoder<'_>, name: TableName, node: &Node) -> Option<Ban> {
    let f = d.fields(&SPEC, format!("[ban.{}]", name.value), node)?;
    let when = f.get(d, "when", &value::BAN_RULE);
    let kinds = f.get(d, "kinds", &KINDS);
    let has_kinds = f.node("kinds").is_none() || kinds.is_some();
    let route = f.located(d, "route", &value::NAME);
    let observe = f.word(d, "mode", &[("enforce", false), ("observe", true)]);
    let terms = terms(d, &f);
    if let Some(route) = &route {
        let user = User::Ban(name.value.clone());
        d.references.push(Reference { user, kind: "route", name: route.clone() });
    }
    let kinds = kinds.unwrap_or(Kinds::USUAL);
    let off_route = [Kind::NotFound, Kind::BrokenConnection];
    if route.is_some() && kinds.iter().all(|kind| off_route.contains(&kind)) {
        let message = "what is refused before there is a route cannot be counted on one";
        d.report.push(Problem::error(codes::EXCLUSIVE, message, f.key_place("route")));
        return None;
    }
    let ((first, up_to), when, observe) = (terms?, when?, observe?);
    has_kinds.then_some(Ban { name: name.value, when, kinds, route, observe, first, up_to })
}

/// `for` and `up-to`, which is as long at least.
pub fn terms(d: &mut Decoder<'_>, f: &Fields<'_>) -> Option<(Duration, Duration)> {
    let first = f.located(d, "for", &value::DURATION);
    let up_to = f.located(d, "up-to", &value::DURATION);
    let (first, up_to) = (first?, up_to?);
    if first.value > up_to.value && f.node("up-to").is_some() {
        let message = "a first ban (`for`) would last longer than bans may last (`up-to`)";
        let problem = Problem::error(codes::OUT_OF_RANGE, message, up_to.place);
        d.report.push(problem.related(first.place, "`for` stands here"));
        return None;
    }
    Some((first.value, up_to.value.max(first.value)))
}

/// More rules than the abuse loop counts by are a mistake to be told.
pub fn check_count(d: &mut Decoder<'_>, config: &Config, root: &Node) {
    if config.ban_rules().count() > RULES_MAX {
        let place = root.get("ban").map_or_else(|| root.place.clone(), |node| node.place.clone());
        let message = format!("more than {RULES_MAX} rules lead to bans, that of [shield] included");
        d.report.push(Problem::error(codes::TOO_MANY, message, place));
    }
}

fn kind(d: &mut Decoder<'_>, node: &Node) -> Option<Kind> {
    let text = d.text(node, "a string")?;
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text);
    if found.is_none() {
        let help = not_one_of(text, &Kind::ALL.map(Kind::as_str));
        let message = format!("`{text}` is no kind of refusal");
        d.report.push(Problem::error(codes::NOT_A_CHOICE, message, node.place.clone()).help(help));
    }
    found
}
