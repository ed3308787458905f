//! `portcullis bans`: the list, or one ban with its receipt.

use crate::abuse::crowd::Others;
use crate::abuse::harm::Harm;
use crate::abuse::receipt::RuleAtBan;
use crate::admin::api::{
    Ban, Bans, Compared, ListBans, ListShadows, Parole, Shadows, Verification, VerifyBans,
};
use crate::config::units::show_duration;

use super::table::{Table, clean};
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    show: Option<Show>,
    /// Show this ban, with the requests that led to it.
    id: Option<u32>,
    /// Also those that are over.
    #[arg(long)]
    ended: bool,
    /// Show what followed from the request whose answer said `X-Ban-Ticket: TICKET`.
    #[arg(long, value_name = "TICKET", conflicts_with_all = ["id", "ended"])]
    ticket: Option<String>,
    /// Show what bans that only count would have dropped in the last 24 hours.
    #[arg(long, conflicts_with_all = ["id", "ended", "ticket"])]
    shadow: bool,
    /// Compare the list with everything that the kernel and the state file hold; exit code 1 if they differ.
    #[arg(long, conflicts_with_all = ["id", "ended", "ticket", "shadow"])]
    verify: bool,
}

/// The same as the number alone.
#[derive(Debug, clap::Subcommand)]
enum Show {
    /// Show a ban, with the requests that led to it.
    Show {
        /// Its number.
        id: u32,
    },
}

/// Lists or shows.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    if arguments.verify {
        return match common.call(&VerifyBans {}) {
            Ok(found) => {
                output.answer(&found, || verification(&found));
                if found.differing.is_empty() { Exit::Done } else { Exit::Failed }
            }
            Err(error) => output.refused(&error),
        };
    }
    if arguments.shadow {
        return output.ask(common, &ListShadows {}, shadows);
    }
    let id = arguments.show.as_ref().map(|Show::Show { id }| *id).or(arguments.id);
    let ticket = arguments.ticket.clone();
    let one = id.is_some() || ticket.is_some();
    let command = ListBans { id, ticket, ended: arguments.ended || one };
    output.ask(common, &command, |bans| if one { receipts(bans) } else { list(&bans.bans) })
}

fn receipts(bans: &Bans) -> String {
    bans.bans.iter().map(receipt).collect::<Vec<_>>().join("\n")
}

/// One line for each.
pub fn list(bans: &[Ban]) -> String {
    if bans.is_empty() {
        return "nobody is banned\n".into();
    }
    let mut table = Table::new(&["id", "target", "state", "left", "by", "where", "dropped", "reason"]);
    for ban in bans {
        table.row([
            ban.id.to_string(),
            ban.target.clone(),
            ban.state.clone(),
            left(ban),
            by(ban),
            ban.enforced.clone(),
            ban.packets.to_string(),
            ban.reason.clone(),
        ]);
    }
    table.text()
}

fn shadows(report: &Shadows) -> String {
    let Shadows { shadows, rules, over, total } = report;
    if shadows.is_empty() && *total == Harm::default() {
        return "nothing is observed\n".into();
    }
    let head =
        ["id", "target", "since", "packets", "bytes", "requests", "good", "logins", "refused", "reason"];
    let mut table = Table::new(&head);
    let mut row = |id: String, target: &str, since: &str, harm: &Harm, reason: &str| {
        let Harm { packets, bytes, requests, good, logins, refused } = *harm;
        let counts = [packets, bytes, requests, good, logins, refused].map(|count| count.to_string());
        let who = [id, target.to_owned(), since.to_owned()];
        table.row(who.into_iter().chain(counts).chain([reason.to_owned()]));
    };
    for shadow in shadows {
        row(shadow.id.to_string(), &shadow.target, &shadow.since, &shadow.harm, &shadow.reason);
    }
    for rule in rules {
        row("-".into(), &format!("all by rule {}", rule.rule), "-", &rule.harm, "-");
    }
    row("-".into(), "over by now", "-", over, "-");
    row("-".into(), "all", "-", total, "-");
    let mut text = format!("in the last 24 hours shadow bans would have dropped:\n{}", table.text());
    if shadows.iter().any(|shadow| shadow.arm.is_some()) {
        text.push_str("arm one with: portcullis promote ID, a rule with: portcullis promote RULE\n");
    }
    text
}

/// What was compared in one line each, then what differs.
fn verification(found: &Verification) -> String {
    let Compared { bans, entries, list_entries, allowed, filter_words, state_lines } = found.compared;
    let mut text = format!("{bans} bans in force were compared\n");
    text.push_str(&match &found.kernel_off {
        Some(because) => format!("  not with the kernel, whose stage is off: {}\n", clean(because)),
        None => format!(
            "  with the kernel: {entries} entries of bans, {list_entries} of lists, {allowed} allowed prefixes, \
             {filter_words} words of the filter\n"
        ),
    });
    text.push_str(&match found.state_file {
        true => format!("  with the state file: {state_lines} lines\n"),
        false => "  with no state file, for there is none\n".into(),
    });
    if found.differing.is_empty() {
        text.push_str("nothing differs\n");
        return text;
    }
    for (kind, count) in &found.differing {
        text.push_str(&format!("{count} × {}\n", clean(kind)));
    }
    let mut table = Table::new(&["  difference", "target", "ban"]);
    for difference in &found.differences {
        let ban = difference.ban.map_or_else(|| "-".into(), |ban| ban.to_string());
        table.row([
            format!("  {}", difference.kind),
            difference.target.clone().unwrap_or_else(|| "-".into()),
            ban,
        ]);
    }
    text.push_str(&table.text());
    text
}

/// `rule`, or the name of a rule of its own.
fn by(ban: &Ban) -> String {
    ban.rule.as_ref().map_or_else(|| ban.by.clone(), |rule| format!("rule {}", rule.name))
}

/// `scan: 20 denials in 10s on route login, met in 3.2s by 20 not-found`
fn rule(rule: &RuleAtBan) -> String {
    let route = rule.route.as_ref().map_or_else(String::new, |route| format!(" on route {route}"));
    let kinds: Vec<String> =
        rule.kinds.iter().map(|counted| format!("{} {}", counted.count, counted.kind.as_str())).collect();
    let seconds = rule.span_ms as f64 / 1e3;
    let kinds = kinds.join(", ");
    let cost = match rule.cost_us {
        0 => String::new(),
        cost_us => format!(", which cost {:.1}ms of CPU time", cost_us as f64 / 1e3),
    };
    format!("{}: {}{route}, met in {seconds:.1}s by {kinds}{cost}", rule.name, rule.when)
}

/// `3 good clients there in the hour before: users/alice, users/bob, users/carol`
fn others(others: &Others) -> String {
    let clients = if others.good == 1 { "client" } else { "clients" };
    let names = others.names.join(", ");
    let colon = if names.is_empty() { "" } else { ": " };
    let more = if others.names.len() < others.good as usize && !names.is_empty() { ", …" } else { "" };
    format!("{} good {clients} there in the hour before{colon}{names}{more}", others.good)
}

fn left(ban: &Ban) -> String {
    match (ban.left_s, ban.state.as_str()) {
        (Some(seconds), "active") => show_duration(std::time::Duration::from_secs(seconds)),
        (None, "active") => "for ever".into(),
        _ => "-".into(),
    }
}

fn receipt(ban: &Ban) -> String {
    let mut text = format!("ban {} of {}, {}\n", ban.id, clean(&ban.target), ban.state);
    let until = ban.until.as_deref().unwrap_or("for ever");
    for (name, value) in [
        ("reason", ban.reason.clone()),
        ("rule", ban.rule.as_ref().map_or_else(String::new, rule)),
        ("others", ban.others.as_ref().map_or_else(String::new, others)),
        ("replaces", ban.derived_from.iter().map(|id| format!("ban {id}")).collect::<Vec<_>>().join(", ")),
        ("by", ban.by.clone()),
        ("since", ban.since.clone()),
        ("until", format!("{until} ({} left)", left(ban))),
        ("offence", ban.offence.to_string()),
        ("enforced", ban.enforced.clone()),
        ("dropped", format!("{} packets, {} bytes, {} SYNs", ban.packets, ban.bytes, ban.syns)),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<9} {}\n", clean(&value)));
        }
    }
    if let Some(Parole { from, every_s }) = &ban.parole {
        let every = show_duration(std::time::Duration::from_secs(*every_s));
        let sentence = format!("from {from} on, one connection each {every} is let through and judged");
        text.push_str(&format!("  {:<9} {}\n", "parole", clean(&sentence)));
    }
    if let Some(renewed) = &ban.renewed {
        let sentence = format!("{renewed}: let through on parole, and refused again");
        text.push_str(&format!("  {:<9} {}\n", "renewed", clean(&sentence)));
    }
    if ban.state == "paroled" {
        text.push_str(&format!("  {:<9} let through on parole, and behaved\n", "ended"));
    }
    if let Some(latency) = ban.latency_us {
        text.push_str(&format!("  {:<9} {latency} µs from the last denial to the kernel\n", "latency"));
    }
    if !ban.evidence.is_empty() {
        let mut table = Table::new(&["  time", "status", "reason", "request", "route", "request id", "ja4"]);
        for evidence in &ban.evidence {
            table.row([
                format!("  {}", crate::observe::timestamp::format(evidence.time)),
                evidence.status.to_string(),
                evidence.reason.clone(),
                format!("{} {}{}", evidence.method, evidence.host, evidence.path),
                evidence.route.as_deref().unwrap_or("-").to_owned(),
                evidence.request_id.clone(),
                evidence.ja4.as_deref().unwrap_or("-").to_owned(),
            ]);
        }
        text.push_str(&format!("the requests that led to it:\n{}", table.text()));
    }
    if ban.state == "active" && ban.observed {
        text.push_str(&format!("it only counts; have it drop with: portcullis promote {}\n", ban.id));
    }
    if ban.state == "active" {
        text.push_str(&format!("undo with: {}\n", clean(&ban.undo)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abuse::receipt::Counted;
    use crate::abuse::signal::{Evidence, Kind};
    use crate::admin::api::{Difference, Shadow, ShadowRule};

    fn ban() -> Ban {
        Ban {
            id: 7,
            target: "203.0.113.9".into(),
            prefix: Some("203.0.113.9/32".parse().unwrap()),
            state: "active".into(),
            enforced: "kernel".into(),
            observed: false,
            reason: "20 denials in 10s".into(),
            rule: Some(RuleAtBan {
                name: "login".into(),
                when: "20 denials in 10s".into(),
                route: Some("sessions".into()),
                kinds: vec![Counted { kind: Kind::RateLimited, count: 20 }],
                span_ms: 3_210,
                cost_us: 12_345,
            }),
            others: Some(Others { good: 3, names: vec!["users/alice".into(), "users/bob".into()] }),
            derived_from: vec![3, 5],
            by: "rule".into(),
            since: "2026-11-22T05:20:00.000Z".into(),
            until: Some("2026-11-22T05:30:00.000Z".into()),
            left_s: Some(540),
            offence: 1,
            packets: 1234,
            bytes: 99,
            syns: 12,
            evidence: vec![Evidence {
                time: std::time::UNIX_EPOCH,
                request_id: "r-1".into(),
                method: "GET".into(),
                host: "api.example.com".into(),
                path: "/v1/\u{1b}[31m".into(),
                status: 429,
                reason: "rate-limited".into(),
                route: Some("users".into()),
                auth: None,
                principal: None,
                ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1".into()),
            }],
            latency_us: Some(230),
            parole: None,
            renewed: None,
            undo: "portcullis unban 203.0.113.9".into(),
        }
    }

    #[test]
    fn the_list_has_one_line_for_each_ban() {
        let text = list(&[ban()]);
        assert_eq!(
            text,
            "id  target       state   left  by          where   dropped  reason\n \
             7  203.0.113.9  active  9m    rule login  kernel     1234  20 denials in 10s\n"
        );
        assert_eq!(list(&[]), "nobody is banned\n");
    }

    #[test]
    fn the_receipt_says_when_parole_begins_and_how_it_went() {
        let parole = Some(Parole { from: "2026-11-22T05:26:40.000Z".into(), every_s: 30 });
        let renewed = Some("2026-11-22T05:20:00.000Z".into());
        let text = receipt(&Ban { parole, renewed, ..ban() });
        let lines = [
            "  parole    from 2026-11-22T05:26:40.000Z on, one connection each 30s is let through and judged\n",
            "  renewed   2026-11-22T05:20:00.000Z: let through on parole, and refused again\n",
        ];
        assert!(lines.iter().all(|line| text.contains(line)), "{text}");
        let text = receipt(&Ban { state: "paroled".into(), ..ban() });
        assert!(text.contains("  ended     let through on parole, and behaved\n"), "{text}");
    }

    #[test]
    fn the_report_has_a_line_for_each_shadow_ban_and_the_sums() {
        let harm = Harm { packets: 412, bytes: 51_093, requests: 14, good: 3, logins: 1, refused: 9 };
        let shadow = Shadow {
            id: 7,
            target: "203.0.113.9".into(),
            by: "rule".into(),
            reason: "20 denials in 10s".into(),
            since: "2026-11-22T05:20:00.000Z".into(),
            left_s: Some(540),
            harm,
            arm: Some("portcullis promote 7".into()),
        };
        let rules = vec![ShadowRule { rule: "login".into(), harm }];
        let text = shadows(&Shadows { shadows: vec![shadow], rules, over: Harm::default(), total: harm });
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let mut next = || lines.next().expect("a line");
        assert_eq!(next(), "in the last 24 hours shadow bans would have dropped:");
        assert_eq!(next(), "id target since packets bytes requests good logins refused reason");
        assert_eq!(next(), "7 203.0.113.9 2026-11-22T05:20:00.000Z 412 51093 14 3 1 9 20 denials in 10s");
        assert_eq!(next(), "- all by rule login - 412 51093 14 3 1 9 -");
        assert_eq!(next(), "- over by now - 0 0 0 0 0 0 -");
        assert_eq!(next(), "- all - 412 51093 14 3 1 9 -");
        assert_eq!(next(), "arm one with: portcullis promote ID, a rule with: portcullis promote RULE");
        let nothing =
            Shadows { shadows: vec![], rules: vec![], over: Harm::default(), total: Harm::default() };
        assert_eq!(shadows(&nothing), "nothing is observed\n");
    }

    #[test]
    fn a_comparison_says_what_was_compared_and_what_differs() {
        let mut found = Verification {
            kernel_off: None,
            state_file: true,
            compared: Compared {
                bans: 3,
                entries: 2,
                list_entries: 7,
                allowed: 4,
                filter_words: 2_560,
                state_lines: 9,
            },
            differing: [].into(),
            differences: vec![],
        };
        assert_eq!(
            verification(&found),
            "3 bans in force were compared\n  with the kernel: 2 entries of bans, 7 of lists, 4 allowed prefixes, \
             2560 words of the filter\n  with the state file: 9 lines\nnothing differs\n"
        );
        found.kernel_off = Some("no BPF here".into());
        found.state_file = false;
        found.differing = [("ban-without-entry".into(), 1)].into();
        found.differences = vec![Difference {
            kind: "ban-without-entry".into(),
            target: Some("203.0.113.9".into()),
            ban: Some(7),
        }];
        assert_eq!(
            verification(&found),
            "3 bans in force were compared\n  not with the kernel, whose stage is off: no BPF here\n  with no state \
             file, for there is none\n1 × ban-without-entry\n  difference         target       ban\n  \
             ban-without-entry  203.0.113.9    7\n"
        );
    }

    #[test]
    fn the_receipt_shows_the_requests_and_the_undo() {
        let text = receipt(&ban());
        let rule = "  rule      login: 20 denials in 10s on route sessions, met in 3.2s by 20 rate-limited, \
                    which cost 12.3ms of CPU time\n";
        assert!(text.contains(rule), "{text}");
        let others = "  others    3 good clients there in the hour before: users/alice, users/bob, …\n";
        assert!(text.contains(others) && text.contains("  replaces  ban 3, ban 5\n"), "{text}");
        assert!(text.contains("GET api.example.com/v1/\\u{1b}[31m"), "{text}");
        assert!(text.contains("429") && text.contains("t13d1516h2_8daaf6152771_e5627efa2ab1"), "{text}");
        assert!(text.ends_with("undo with: portcullis unban 203.0.113.9\n"), "{text}");
    }
}
