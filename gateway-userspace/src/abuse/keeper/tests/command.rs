//! Bans, lifts and exemptions by command.

use super::*;
use crate::abuse::ban::By;

#[test]
fn an_operator_bans_and_the_printed_command_undoes_it() {
    let mut bench = Bench::new("operator");
    let changed = bench.ban("198.51.100.0/24").unwrap();
    assert_eq!(changed.changes, ["banned 198.51.100.0/24 for 10m (ban 1)"]);
    assert_eq!(changed.undo.as_deref(), Some("portcullis unban 1"));
    let ban = bench.bans(false).remove(0);
    assert_eq!((ban.by.as_str(), ban.reason.as_str(), ban.offence), ("operator 1000", "scanner", 1));
    bench.pass(MINUTE);
    let changed = bench.unban(None, Some(1)).unwrap();
    assert_eq!(changed.changes, ["lifted ban 1 of 198.51.100.0/24"]);
    assert_eq!(changed.undo.as_deref(), Some("portcullis ban 198.51.100.0/24 --for 9m"));
    assert!(bench.maps.denied().is_empty() && !bench.refused_at_layer_7("198.51.100.7"));
    assert_eq!(bench.unban(None, Some(1)).unwrap_err(), Refusal::Over(1));
    assert_eq!(bench.unban(None, Some(2)).unwrap_err(), Refusal::UnknownBan(2));
}

#[test]
fn a_ban_without_an_end_is_undone_by_a_command_that_gives_it_none() {
    let mut bench = Bench::new("for-ever");
    bench.ban_with("198.51.100.7/32", None, false, false).unwrap();
    let changed = bench.unban(None, Some(1)).unwrap();
    assert_eq!(changed.undo.as_deref(), Some("portcullis ban 198.51.100.7 --for ever"));
}

#[test]
fn what_is_too_wide_or_exempt_is_refused_and_what_can_be_forced_says_what_still_passes() {
    let mut bench = Bench::new("refused");
    for (prefix, forced) in [
        ("0.0.0.0/0", true),
        ("200.0.0.0/7", true),
        ("2001::/18", true),
        ("192.0.2.0/24", true),
        ("192.0.2.10", false),
        ("10.9.9.9", false),
        ("127.0.0.1", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
    ] {
        assert!(bench.ban(prefix).is_err(), "{prefix}");
        assert_eq!(bench.ban_with(prefix, None, true, true).is_ok(), forced, "{prefix} with force");
    }
    assert!(bench.maps.denied().is_empty(), "refusals and dry runs change nothing");
    assert!(bench.ban("200.0.0.0/8").is_ok() && bench.ban("2001::/19").is_ok());
    let changed = bench.ban_with("192.0.2.0/24", None, true, false).unwrap();
    assert_eq!(
        changed.changes,
        ["banned 192.0.2.0/24 until it is lifted (ban 3)", "192.0.2.10 still passes (upstream)"]
    );
    assert!(bench.refused_at_layer_7("192.0.2.11") && !bench.refused_at_layer_7("192.0.2.10"));
    let text = bench.ban("192.0.2.0/25").unwrap_err().to_string();
    assert_eq!(
        text,
        "192.0.2.0/25 covers 192.0.2.10, which is never banned (upstream); with --force the rest of it is banned"
    );
    assert_eq!(bench.ban_with(ABUSER, Some(0), false, false).unwrap_err(), Refusal::NoTime);
}

#[test]
fn a_ban_that_never_ends_and_one_of_absurd_length_are_both_kept() {
    let mut bench = Bench::new("long");
    bench.ban_with("203.0.113.1", None, false, false).unwrap();
    bench.ban_with("203.0.113.2", Some(u64::MAX), false, false).unwrap();
    bench.restart();
    let bans = bench.bans(false);
    assert_eq!(bans.len(), 2);
    assert_eq!((bans[1].until.as_deref(), bans[1].left_s), (None, None));
    assert!(bans[0].left_s.unwrap() > 99 * 365 * 86_400);
}

#[test]
fn a_second_ban_of_the_same_prefix_replaces_the_first_and_forgives_nothing() {
    let mut bench = Bench::new("replace");
    bench.deny(ABUSER, 20);
    let changed = bench.ban(ABUSER).unwrap();
    assert_eq!(changed.changes[1], "replaces ban 1 of the same prefix");
    assert_eq!(bench.maps.entry(ABUSER).unwrap().0, Some(2));
    assert!(bench.refused_at_layer_7(ABUSER));
    bench.restart();
    bench.pass(10 * MINUTE);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false)[0].offence, 2);
}

#[test]
fn unban_finds_what_lies_in_the_prefix_and_names_what_is_wider() {
    let mut bench = Bench::new("unban");
    bench.ban("203.0.112.0/23").unwrap();
    bench.deny("2001:db8::7", 20);
    bench.deny("198.51.100.7", 20);
    let refusal = bench.unban(Some(ABUSER), None).unwrap_err();
    assert_eq!(refusal, Refusal::Wider { prefix: net(ABUSER), wider: "203.0.112.0/23".into(), id: 1 });
    assert_eq!(bench.unban(Some("192.0.2.1"), None).unwrap_err(), Refusal::NotBanned(net("192.0.2.1")));
    assert_eq!(bench.unban(None, None).unwrap_err(), Refusal::Nothing);
    let changed = bench.unban(Some("2001:db8::1"), None).unwrap();
    assert_eq!(changed.changes, ["lifted ban 2 of 2001:db8::/64"], "an address stands for its /64");
    assert_eq!(bench.unban(Some("198.51.0.0/16"), None).unwrap().changes, ["lifted ban 3 of 198.51.100.7"]);
    let all = api::Unban { prefix: None, id: None, all: true, reason: None, suppress_s: None, dry_run: true };
    assert_eq!(bench.owner().unban(&all).unwrap().changes, ["would lift ban 1 of 203.0.112.0/23"]);
    assert_eq!(bench.maps.denied().len(), 1, "a dry run changes nothing");
    assert_eq!(bench.owner().unban(&api::Unban { dry_run: false, ..all }).unwrap().changes.len(), 1);
    assert!(bench.maps.denied().is_empty());
}

#[test]
fn lifting_a_narrow_ban_says_that_a_wider_one_still_holds() {
    let mut bench = Bench::new("still");
    bench.deny(ABUSER, 20);
    bench.ban("203.0.113.0/24").unwrap();
    let changed = bench.unban(None, Some(1)).unwrap();
    assert_eq!(changed.changes[1], "203.0.113.9 is still banned as part of 203.0.113.0/24 (ban 2)");
    assert!(bench.refused_at_layer_7(ABUSER));
}

#[test]
fn allowing_lifts_the_bans_in_it_and_lasts_over_a_restart() {
    let mut bench = Bench::new("allow");
    bench.deny(ABUSER, 20);
    let changed = bench.allow("203.0.113.0/24", false).unwrap();
    assert_eq!(changed.changes[1], "ban 1 of 203.0.113.9 lifted");
    assert_eq!(changed.undo.as_deref(), Some("portcullis allow --remove 203.0.113.0/24"));
    assert!(bench.maps.denied().is_empty());
    bench.restart();
    bench.deny(ABUSER, 40);
    assert!(bench.maps.denied().is_empty());
    assert!(bench.maps.0.lock().unwrap().allow.contains(&net("203.0.113.0/24")));

    bench.allow("203.0.113.0/24", true).unwrap();
    assert!(!bench.maps.0.lock().unwrap().allow.contains(&net("203.0.113.0/24")));
    assert_eq!(bench.allow("203.0.113.0/24", true).unwrap_err(), Refusal::NotAllowed(net("203.0.113.0/24")));
    let configured = Refusal::NotByCommand { prefix: net("192.0.2.10"), because: Because::Upstream };
    assert_eq!(bench.allow("192.0.2.10", true).unwrap_err(), configured);
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.denied().len(), 1);
}

#[test]
fn a_reload_that_exempts_somebody_lifts_his_ban() {
    let mut bench = Bench::new("reload");
    bench.deny(ABUSER, 20);
    let mut settings = bench.settings.clone();
    settings.exempt.push((net("203.0.113.0/24"), Because::Never));
    bench.owner().configure(settings);
    assert!(bench.maps.denied().is_empty());
    assert_eq!(bench.bans(true)[0].state, "lifted");
}

#[test]
fn a_reason_cannot_forge_a_line_of_the_log() {
    let mut bench = Bench::new("reason");
    let reason = format!("bad\nguy\x1b[31m{}", "é".repeat(600));
    let request = api::BanPrefix {
        prefix: Some(net(ABUSER)),
        client: None,
        for_s: None,
        reason,
        force: false,
        observe: false,
        dry_run: false,
    };
    bench.owner().ban(&request, By::Operator(0)).unwrap();
    let reason = bench.bans(false).remove(0).reason;
    assert!(reason.starts_with("badguy[31mé") && reason.len() <= 512, "{reason}");
}

#[test]
fn an_address_is_explained_by_its_exemption_or_by_its_ban() {
    let mut bench = Bench::new("explain");
    bench.deny(ABUSER, 20);
    for (address, sentence) in [
        (ABUSER, "banned as 203.0.113.9 (ban 1): 20 denials in 10s: 20 rate-limited"),
        ("::ffff:203.0.113.9", "banned as 203.0.113.9 (ban 1): 20 denials in 10s: 20 rate-limited"),
        ("10.1.2.3", "never banned: 10.0.0.0/8 is on the list as trusted proxy"),
        ("127.0.0.1", "never banned: 127.0.0.0/8 is on the list as loopback"),
        ("203.0.113.8", "not banned"),
    ] {
        assert_eq!(bench.owner().explain(address.parse().unwrap()), sentence, "{address}");
    }
}

#[test]
fn the_busiest_sources_are_bans_by_their_drops_and_then_scores() {
    let mut bench = Bench::new("top");
    bench.deny("203.0.113.1", 20);
    bench.deny("203.0.113.2", 20);
    bench.deny("203.0.113.3", 7);
    bench.deny("203.0.113.4", 9);
    let top = bench.owner().sources(10);
    let rows: Vec<_> =
        top.iter().map(|top| (top.source.to_string(), top.score, top.dropped, top.ban)).collect();
    assert_eq!(
        rows,
        [
            ("203.0.113.2/32".to_owned(), 0.0, 20, Some(2)),
            ("203.0.113.1/32".to_owned(), 0.0, 10, Some(1)),
            ("203.0.113.4/32".to_owned(), 9.0, 0, None),
            ("203.0.113.3/32".to_owned(), 7.0, 0, None),
        ]
    );
    assert_eq!(bench.owner().sources(1).len(), 2, "one of each");
}

#[test]
fn a_ban_is_lifted_for_the_reason_that_it_was_made_for_and_for_no_other() {
    let mut bench = Bench::new("reason");
    let by = |reason: &str| api::Unban {
        prefix: Some(net(ABUSER)),
        id: None,
        all: false,
        reason: Some(reason.into()),
        suppress_s: None,
        dry_run: false,
    };
    // Each ban is made for "scanner" by the bench.
    bench.ban(ABUSER).unwrap();
    let other = Refusal::AnotherReason { id: 1, reason: "scanner".into() };
    assert_eq!(bench.owner().unban(&by("fail2ban sshd")).unwrap_err(), other);
    assert_eq!(bench.bans(false).len(), 1);
    assert_eq!(bench.owner().unban(&by("scanner")).unwrap().changes, ["lifted ban 1 of 203.0.113.9"]);
    assert_eq!(bench.owner().unban(&by("scanner")).unwrap_err(), Refusal::NotBanned(net(ABUSER)));
    bench.deny(ABUSER, 20);
    assert!(matches!(bench.owner().unban(&by("scanner")), Err(Refusal::AnotherReason { id: 2, .. })));
    assert_eq!(bench.maps.denied().len(), 1);
}
