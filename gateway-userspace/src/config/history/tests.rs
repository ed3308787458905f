//! The history, on a real disk.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::config::files::File as ConfigFile;

/// A folder that is deleted at the end of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("portcullis-history-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn open(&self) -> History {
        let (history, unreadable) = History::open(&self.0).unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        history
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(text: &str) -> Files {
    Files::new(vec![ConfigFile { path: "gateway.toml".into(), text: text.into() }])
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn author() -> Author {
    Author::new("uid 1000 (alice)", "apply")
}

#[test]
fn what_was_in_force_is_found_again_after_a_restart_with_who_when_and_what() {
    let folder = Folder::new("restart");
    let mut history = folder.open();
    assert_eq!(history.add(&files("one"), &Author::new("start", "start"), &[], at(1)).unwrap(), 1);
    let changes = ["~ limit l (rate 1/s → 2/s)".to_owned()];
    assert_eq!(history.add(&files("two"), &author(), &changes, at(2)).unwrap(), 2);
    assert_eq!(history.add(&files("two"), &author(), &[], at(3)).unwrap(), 2, "it is in force already");

    let history = folder.open();
    let newest = history.newest().unwrap();
    assert_eq!((newest.number, &*newest.who, newest.at), (2, "uid 1000 (alice)", at(2)));
    assert_eq!(newest.changes, changes);
    assert_eq!(history.files(1).unwrap(), files("one"));
    assert_eq!(history.before().unwrap().number, 1);
    assert!(matches!(history.files(3), Err(Error::Unknown(3))));
}

#[test]
fn what_was_only_written_is_put_by_once_and_is_never_the_one_to_go_back_to_by_itself() {
    let folder = Folder::new("edited");
    let mut history = folder.open();
    assert!(matches!(history.before(), Err(Error::NothingBefore)));
    history.add(&files("one"), &author(), &[], at(1)).unwrap();
    history.put_by(&files("one"), &author(), at(2)).unwrap();
    history.put_by(&files("typed"), &author(), at(3)).unwrap();
    history.put_by(&files("typed"), &author(), at(4)).unwrap();
    assert!(matches!(history.before(), Err(Error::NothingBefore)));
    history.add(&files("two"), &author(), &[], at(5)).unwrap();
    assert_eq!(history.entries().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(history.before().unwrap().number, 1);
    assert_eq!(history.files(2).unwrap(), files("typed"));
}

#[test]
fn the_way_back_leads_forth_again() {
    let folder = Folder::new("forth");
    let mut history = folder.open();
    for (second, text) in ["one", "two", "one"].into_iter().enumerate() {
        history.add(&files(text), &author(), &[], at(second as u64)).unwrap();
    }
    assert_eq!(history.before().unwrap().number, 2);
}

#[test]
fn the_oldest_go_first_by_count_and_by_bytes_and_numbers_are_never_used_twice() {
    let folder = Folder::new("bounds");
    let mut history = folder.open();
    for number in 1..=40 {
        history.add(&files(&format!("text {number}")), &author(), &[], at(number)).unwrap();
    }
    assert_eq!(history.entries().map(|entry| entry.number).collect::<Vec<_>>(), (9..=40).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(folder.0.join("history")).unwrap().count(), ENTRIES_MAX);
    let large = |letter: &str| files(&letter.repeat(15 << 20));
    for letter in ["a", "b", "c", "d", "e"] {
        history.add(&large(letter), &author(), &[], at(50)).unwrap();
    }
    assert_eq!(
        history.entries().map(|entry| entry.number).collect::<Vec<_>>(),
        (42..=45).collect::<Vec<_>>()
    );
    assert!(matches!(
        history.add(&files(&"f".repeat(17 << 20)), &author(), &[], at(51)),
        Err(Error::TooLarge(_))
    ));
    assert_eq!(folder.open().newest().unwrap().number, 45);
}

#[test]
fn nobody_else_can_read_it() {
    let folder = Folder::new("modes");
    folder.open().add(&files("password = \"x\""), &author(), &[], at(1)).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.0.join("history")), 0o700);
    assert_eq!(mode(folder.0.join("history/00000001.json")), 0o600);
}

#[test]
fn a_damaged_entry_is_named_and_costs_no_other() {
    let folder = Folder::new("damaged");
    let mut history = folder.open();
    for text in ["one", "two", "three", "four"] {
        history.add(&files(text), &author(), &[], at(1)).unwrap();
    }
    let path = |number: u64| folder.0.join(format!("history/{number:08}.json"));
    let whole = fs::read_to_string(path(2)).unwrap();
    fs::write(path(2), &whole[..whole.len() / 2]).unwrap();
    fs::write(path(3), fs::read_to_string(path(3)).unwrap().replace("three", "thr33")).unwrap();
    fs::write(path(9), whole.replace("\"version\":1", "\"version\":2")).unwrap();
    fs::write(folder.0.join("history/00000005.new"), "half").unwrap();

    let (mut history, unreadable) = History::open(&folder.0).unwrap();
    let texts: Vec<_> = unreadable.iter().map(ToString::to_string).collect();
    assert_eq!(unreadable.len(), 2, "{texts:?}");
    assert!(
        unreadable.iter().any(|error| matches!(error, Error::Damaged(at) if *at == path(2))),
        "{texts:?}"
    );
    assert!(unreadable.iter().any(|error| matches!(error, Error::TooNew(at) if *at == path(9))), "{texts:?}");
    assert!(!folder.0.join("history/00000005.new").exists());
    assert_eq!(history.files(1).unwrap(), files("one"));
    assert_eq!(history.files(4).unwrap(), files("four"));
    assert!(matches!(history.files(3), Err(Error::Damaged(at)) if at == path(3)));
    assert_eq!(history.add(&files("five"), &author(), &[], at(2)).unwrap(), 10, "9 is taken");
    assert!(path(2).exists() && path(9).exists(), "nothing is overwritten");
}
