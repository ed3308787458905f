//! Writing and its interruptions, on a real disk.

use std::os::unix::fs::symlink;

use super::*;

/// A folder with a main file and a drop-in, deleted at the end of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("portcullis-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("conf.d")).unwrap();
        let folder = Folder(path);
        folder.write("gateway.toml", "include = \"extra.toml\"\n");
        folder.write("extra.toml", "# extra\n");
        folder.write("conf.d/a.toml", "# a\n");
        folder
    }

    fn main(&self) -> PathBuf {
        self.0.join("gateway.toml")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.join(name)).ok()
    }

    /// Every file below, hidden ones too, with its content.
    fn all(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for folder in [self.0.clone(), self.0.join("conf.d")] {
            for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file()) {
                let name = entry.path().strip_prefix(&self.0).unwrap().display().to_string();
                all.push((name, fs::read_to_string(entry.path()).unwrap()));
            }
        }
        all.sort();
        all
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn edit(path: &str, text: Option<&str>) -> Edit {
    Edit { path: path.into(), expected: Expected::Any, text: text.map(str::to_owned) }
}

fn known(main: &Path) -> Files {
    Files::read(main, &Overlay::default())
}

fn put(main: &Path, edits: &[Edit]) -> Result<Put, Error> {
    super::put(main, &known(main), edits)
}

fn overlay(main: &Path, edits: &[Edit]) -> Result<Overlay, Error> {
    super::overlay(main, &known(main), edits)
}

fn some_edits() -> Vec<Edit> {
    vec![
        edit("gateway.toml", Some("include = \"extra.toml\"\n# new\n")),
        edit("conf.d/a.toml", None),
        edit("conf.d/b.toml", Some("# b\n")),
        edit("extra.toml", Some("# extra\n")),
    ]
}

#[test]
fn a_change_is_kept_or_taken_back_as_a_whole_and_leaves_nothing_behind() {
    let folder = Folder::new("whole");
    let before = folder.all();
    let written = put(&folder.main(), &some_edits()).unwrap();
    assert!(written.wrote());
    assert_eq!(folder.read("conf.d/a.toml"), None);
    assert_eq!(folder.read("conf.d/b.toml").as_deref(), Some("# b\n"));
    written.take_back().unwrap();
    assert_eq!(folder.all(), before);

    put(&folder.main(), &some_edits()).unwrap().keep().unwrap();
    let names: Vec<String> = folder.all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["conf.d/b.toml", "extra.toml", "gateway.toml"]);
    let again = put(&folder.main(), &[edit("conf.d/b.toml", Some("# b\n"))]).unwrap();
    assert!(!again.wrote(), "it is so already");
    again.keep().unwrap();
}

#[test]
fn owner_mode_and_links_stay() {
    let folder = Folder::new("modes");
    let target = folder.0.join("elsewhere.toml");
    fs::rename(folder.main(), &target).unwrap();
    symlink(&target, folder.main()).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o604)).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::os::unix::fs::chown(&target, Some(12), Some(34)).unwrap();
    }
    let edits = [edit("gateway.toml", Some("# new\n")), edit("conf.d/b.toml", Some("# b\n"))];
    put(&folder.main(), &edits).unwrap().keep().unwrap();
    assert!(fs::symlink_metadata(folder.main()).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "# new\n");
    for path in [target, folder.0.join("conf.d/b.toml")] {
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o604, "a new file is as the main file is");
        if is_root {
            assert_eq!((metadata.uid(), metadata.gid()), (12, 34));
        }
    }
}

#[test]
fn a_file_that_is_not_what_the_caller_saw_is_refused_and_nothing_is_written() {
    let folder = Folder::new("lock");
    let before = folder.all();
    let seen = Expected::Is(Fingerprint::of(b"# a\n"));
    let edits = |expected: Expected| {
        [
            edit("gateway.toml", Some("# new\n")),
            Edit { path: "conf.d/a.toml".into(), expected, text: Some("# mine\n".into()) },
        ]
    };
    for (expected, good) in [
        (seen.clone(), true),
        (Expected::Is(Fingerprint::of(b"# other\n")), false),
        (Expected::Absent, false),
    ] {
        let looked = overlay(&folder.main(), &edits(expected.clone()));
        assert_eq!(looked.is_ok(), good, "{expected:?}");
        match put(&folder.main(), &edits(expected)) {
            Ok(written) => written.take_back().unwrap(),
            Err(error) => assert!(!good && error.is_conflict(), "{error}"),
        }
        assert_eq!(folder.all(), before);
    }
    folder.write("conf.d/a.toml", "# theirs\n");
    assert!(matches!(put(&folder.main(), &edits(seen)), Err(Error::Changed(_))));
    assert_eq!(folder.read("conf.d/a.toml").as_deref(), Some("# theirs\n"));
}

#[test]
fn only_files_of_the_configuration_are_written() {
    let folder = Folder::new("permit");
    let outside = folder.0.join("conf.d/link.toml");
    symlink("/etc", folder.0.join("etc")).unwrap();
    for (path, good) in [
        ("gateway.toml", true),
        ("conf.d/a.toml", true),
        ("conf.d/new.toml", true),
        ("extra.toml", true),
        ("./conf.d/../extra.toml", true),
        ("other.toml", false),
        ("conf.d/a.txt", false),
        ("conf.d/.a.toml", false),
        ("conf.d/more/a.toml", false),
        ("conf.d/../other.toml", false),
        ("../gateway.toml", false),
        ("etc/new.toml", false),
        ("/etc/new.toml", false),
        ("", false),
    ] {
        let result = overlay(&folder.main(), &[edit(path, Some("# x\n"))]);
        assert_eq!(result.is_ok(), good, "{path}: {result:?}");
        assert!(good || matches!(result, Err(Error::NotPart(_))), "{path}: {result:?}");
    }
    assert!(!outside.exists());
}

/// Every point at which a process may die, as what it leaves on the disk.
fn interrupted_after(folder: &Folder, steps: usize) -> Put {
    let main = folder.main();
    let mut note = Note { version: 1, moves: Vec::new() };
    for edit in some_edits().iter().take(3) {
        let path = folder.0.join(&edit.path);
        let now = current(&path).unwrap();
        let after = edit.text.as_ref().map(|text| Fingerprint::of(text.as_bytes()));
        let step = Move { path: real(&path), before: now.fingerprint().cloned(), after };
        step.stage(edit.text.as_deref(), &now, &current(&main).unwrap()).unwrap();
        note.moves.push(step);
    }
    let put = declare(&main, note).unwrap();
    put.note.moves.iter().take(steps).for_each(|step| step.go().unwrap());
    put
}

#[test]
fn a_change_that_a_crash_interrupted_is_put_back_at_the_next_start() {
    for steps in 0..=3 {
        let folder = Folder::new(&format!("crash-{steps}"));
        let before = folder.all();
        let put = interrupted_after(&folder, steps);
        assert!(matches!(recover(&folder.main()), Err(Error::Busy(_))), "a living process holds it");
        drop(put);
        let recovered = recover(&folder.main()).unwrap();
        match steps {
            0 => assert_eq!(recovered, Recovered::Untouched),
            _ => assert!(matches!(recovered, Recovered::PutBack(paths) if paths.len() == steps)),
        }
        assert_eq!(folder.all(), before, "after {steps} steps");
        assert_eq!(recover(&folder.main()).unwrap(), Recovered::Nothing);
    }
}

#[test]
fn a_crash_while_putting_back_is_put_back_too() {
    let folder = Folder::new("twice");
    let before = folder.all();
    let put = interrupted_after(&folder, 3);
    put.note.moves[1].go_back().unwrap();
    drop(put);
    assert!(matches!(recover(&folder.main()).unwrap(), Recovered::PutBack(paths) if paths.len() == 2));
    assert_eq!(folder.all(), before);
}

#[test]
fn a_note_that_is_not_whole_was_not_followed() {
    let folder = Folder::new("torn");
    let before = folder.all();
    drop(interrupted_after(&folder, 0));
    let path = folder.0.join(".gateway.toml.change");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(recover(&folder.main()).unwrap(), Recovered::Untouched);
    let visible = |all: Vec<(String, String)>| -> Vec<(String, String)> {
        all.into_iter().filter(|(name, _)| !name.rsplit('/').next().unwrap().starts_with('.')).collect()
    };
    assert_eq!(visible(folder.all()), before);
    // What was made ready is in nobody's way.
    put(&folder.main(), &some_edits()).unwrap().keep().unwrap();
}

#[test]
fn what_somebody_wrote_after_the_crash_is_left_alone() {
    let folder = Folder::new("foreign");
    drop(interrupted_after(&folder, 2));
    folder.write("gateway.toml", "# by hand\n");
    let recovered = recover(&folder.main()).unwrap();
    assert_eq!(recovered, Recovered::LeftAlone(vec![real(&folder.main())]));
    assert_eq!(folder.read("gateway.toml").as_deref(), Some("# by hand\n"));
    assert_eq!(folder.read(".gateway.toml.old").as_deref(), Some("include = \"extra.toml\"\n"));
    assert_eq!(recover(&folder.main()).unwrap(), Recovered::Nothing, "it is said once");
}
