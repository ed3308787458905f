//! The state file on a real disk, whole and damaged.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::abuse::receipt::Counted;
use crate::abuse::signal::Kind;

/// A folder of its own for each test, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("portcullis-state-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("bans.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn samples() -> Vec<Record> {
    let ban = BanRecord {
        id: 7,
        target: Target::Prefix(net("203.0.113.9/32")),
        reason: "20 denials in 10s; quote \" and newline \n".into(),
        by: By::Rule,
        enforced: Enforced::Kernel,
        observed: false,
        since_ms: 1_795_324_800_000,
        until_ms: Some(1_795_325_400_000),
        offence: 1,
        latency_us: Some(120),
        parole: None,
        renewed_ms: None,
        rule: Some(RuleAtBan {
            name: "login".into(),
            when: "20 denials in 10s".into(),
            route: None,
            kinds: vec![Counted { kind: Kind::RateLimited, count: 20 }],
            span_ms: 3_200,
            cost_us: 1_234,
        }),
        others: Some(Others { good: 3, names: vec!["users/alice".into()] }),
        derived_from: [3, 5].into(),
        evidence: Vec::new(),
    };
    vec![
        Record::Begin { version: VERSION, next_id: 7, suppressions: 3 },
        Record::Ban(Box::new(ban)),
        Record::Allow { prefix: net("198.51.100.0/24") },
        Record::End {
            id: 7,
            state: State::Lifted,
            at_ms: 1_795_324_900_000,
            packets: 3,
            bytes: 180,
            syns: 2,
        },
        Record::Offender {
            target: Target::Prefix(net("2001:db8::/64")),
            count: 2,
            until_ms: 1_795_324_900_000,
        },
        Record::Disallow { prefix: net("198.51.100.0/24") },
        Record::Suppress {
            number: 3,
            rule: "login".into(),
            target: Target::Prefix(net("203.0.113.9/32")),
            until_ms: 1_795_324_900_000,
        },
        Record::Unsuppress { number: 3 },
    ]
}

fn text(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| serde_json::to_string(record).unwrap()).collect()
}

fn write_samples(folder: &Folder) {
    let (mut journal, records, damage) = Journal::open(&folder.0).unwrap();
    assert!(records.is_empty() && !damage.any());
    for record in samples() {
        journal.append(&record).unwrap();
    }
    journal.sync().unwrap();
}

#[test]
fn what_is_appended_is_read_again() {
    let folder = Folder::new();
    write_samples(&folder);
    let (_, records, damage) = Journal::open(&folder.0).unwrap();
    assert_eq!(text(&records), text(&samples()));
    assert!(!damage.any());
}

#[test]
fn a_file_cut_at_any_byte_yields_the_whole_lines_before_and_takes_new_ones() {
    let folder = Folder::new();
    write_samples(&folder);
    let whole = std::fs::read(folder.log()).unwrap();
    let all = text(&samples());
    for cut in 0..=whole.len() {
        std::fs::write(folder.log(), &whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        let torn = whole[..cut].iter().rev().take_while(|byte| **byte != b'\n').count() as u64;

        let (mut journal, records, damage) = Journal::open(&folder.0).unwrap();
        assert_eq!(text(&records), all[..lines], "cut at {cut}");
        assert_eq!(damage, Damage { cut_bytes: torn, lines_skipped: 0 }, "cut at {cut}");
        journal.append(&samples()[0]).unwrap();
        drop(journal);

        let (_, records, damage) = Journal::open(&folder.0).unwrap();
        assert_eq!(records.len(), lines + 1, "cut at {cut}");
        assert!(!damage.any(), "cut at {cut}");
    }
}

#[test]
fn a_damaged_line_in_the_middle_is_skipped_reported_and_kept_beside() {
    let folder = Folder::new();
    write_samples(&folder);
    let mut bytes = std::fs::read(folder.log()).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[second..second + 5].fill(0xff);
    std::fs::write(folder.log(), &bytes).unwrap();
    let (_, records, damage) = Journal::open(&folder.0).unwrap();
    assert_eq!(damage, Damage { cut_bytes: 0, lines_skipped: 1 });
    assert_eq!(records.len(), samples().len() - 1);
    assert_eq!(std::fs::read(folder.0.join("bans.log.damaged")).unwrap(), bytes);
}

#[test]
fn an_endless_line_does_not_fill_the_memory_nor_hide_the_next() {
    let folder = Folder::new();
    let mut bytes = vec![b'x'; 3 * LINE_BYTES_MAX];
    bytes.push(b'\n');
    bytes.extend(line(&samples()[0]));
    std::fs::write(folder.log(), &bytes).unwrap();
    let (_, records, damage) = Journal::open(&folder.0).unwrap();
    assert_eq!((records.len(), damage), (1, Damage { cut_bytes: 0, lines_skipped: 1 }));
}

#[test]
fn compaction_replaces_the_file_and_later_lines_go_to_the_new_one() {
    let folder = Folder::new();
    let (mut journal, ..) = Journal::open(&folder.0).unwrap();
    while !journal.wants_compaction() {
        journal.append(&samples()[1]).unwrap();
    }
    journal.compact(samples().into_iter().take(2)).unwrap();
    assert!(!journal.wants_compaction());
    journal.append(&samples()[2]).unwrap();
    assert!(matches!(Journal::open(&folder.0), Err(Error::InUse { .. })), "the new file is locked too");
    drop(journal);
    let (_, records, damage) = Journal::open(&folder.0).unwrap();
    assert_eq!(text(&records), text(&samples()[..3]));
    assert!(!damage.any());
}

#[test]
fn a_compaction_that_was_interrupted_leaves_the_old_file_in_use() {
    let folder = Folder::new();
    write_samples(&folder);
    std::fs::write(folder.0.join("bans.log.new"), b"{\"half").unwrap();
    let (mut journal, records, _) = Journal::open(&folder.0).unwrap();
    assert_eq!(records.len(), samples().len());
    journal.compact(samples().into_iter()).unwrap();
    drop(journal);
    assert_eq!(Journal::open(&folder.0).unwrap().1.len(), samples().len());
}

#[test]
fn a_second_gateway_a_later_version_and_a_planted_link_are_refused() {
    let folder = Folder::new();
    let (journal, ..) = Journal::open(&folder.0).unwrap();
    let error = Journal::open(&folder.0).unwrap_err();
    assert!(error.to_string().ends_with("is in use by another gateway"), "{error}");
    drop(journal);

    std::fs::write(folder.log(), line(&Record::Begin { version: VERSION + 1, next_id: 1, suppressions: 0 }))
        .unwrap();
    assert!(matches!(Journal::open(&folder.0), Err(Error::TooNew { found: 3, .. })));

    let victim = folder.0.join("victim");
    std::fs::write(&victim, b"precious").unwrap();
    std::fs::remove_file(folder.log()).unwrap();
    symlink(&victim, folder.log()).unwrap();
    assert!(matches!(Journal::open(&folder.0), Err(Error::File { what: "open", .. })));
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn times_survive_the_round_trip_to_the_millisecond() {
    let time = from_ms(1_795_324_800_007);
    assert_eq!(to_ms(time), 1_795_324_800_007);
    assert_eq!(crate::observe::timestamp::format(from_ms(u64::MAX)), "9999-01-01T00:00:00.000Z");
}

#[test]
fn a_file_of_the_first_version_is_read_and_half_a_target_is_damage() {
    let folder = Folder::new();
    let lines = [
        r#"{"begin":{"version":1,"next_id":8}}"#,
        r#"{"ban":{"id":7,"prefix":"203.0.113.9/32","reason":"r","by":"rule","enforced":"kernel","since_ms":1,"until_ms":2,"offence":1,"latency_us":null}}"#,
        r#"{"offender":{"source":"2001:db8::/64","count":2,"until_ms":3}}"#,
        r#"{"offender":{"principal":"alice","count":2,"until_ms":3}}"#,
    ];
    std::fs::write(folder.log(), lines.join("\n") + "\n").unwrap();
    let (_, records, damage) = Journal::open(&folder.0).unwrap();
    assert_eq!(damage, Damage { cut_bytes: 0, lines_skipped: 1 });
    let [Record::Begin { .. }, Record::Ban(ban), Record::Offender { target, .. }] = &records[..] else {
        panic!("{records:?}")
    };
    assert_eq!(ban.target, Target::Prefix(net("203.0.113.9/32")));
    assert_eq!(*target, Target::Prefix(net("2001:db8::/64")));
}
