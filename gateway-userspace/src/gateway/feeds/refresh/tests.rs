//! Lists in files, told to a keeper whose kernel refuses what the test lets it refuse.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ipnet::IpNet;

use super::*;
use crate::abuse::enforcer::{Drops, Enforcer, Entry, Held, Lease, ListLease, Listed};
use crate::abuse::keeper::{Keeper, Options, Settings};
use crate::admin::api::KernelStatus;
use crate::diagnostic::Place;
use crate::feeds::Format;

const HOUR: Duration = Duration::from_secs(3600);

/// What the kernel was told.
#[derive(Default)]
struct Kernel {
    refuses: bool,
    /// Each lease with which a list was begun.
    leases: Vec<(Option<Duration>, bool)>,
    /// Each prefix that it took.
    added: Vec<String>,
}

struct Shared(Arc<Mutex<Kernel>>);

impl Enforcer for Shared {
    fn in_kernel(&self) -> bool {
        true
    }
    fn list_begin(&mut self, lease: &ListLease) -> Result<(), String> {
        self.0.lock().unwrap().leases.push((lease.left, lease.observe));
        Ok(())
    }
    fn list_add(&mut self, _: u32, prefixes: &[IpNet]) -> Result<(), String> {
        let mut kernel = self.0.lock().unwrap();
        if kernel.refuses {
            return Err("not now".into());
        }
        kernel.added.extend(prefixes.iter().map(IpNet::to_string));
        Ok(())
    }
    fn list_commit(&mut self, _: u32) -> Result<Option<Listed>, String> {
        Ok(Some(Listed { entries: 1, ..Listed::default() }))
    }
    fn install(&mut self, _: &Lease) -> Result<(), String> {
        Ok(())
    }
    fn lift(&mut self, _: IpNet) -> Result<bool, String> {
        Ok(false)
    }
    fn allow(&mut self, _: IpNet) -> Result<(), String> {
        Ok(())
    }
    fn disallow(&mut self, _: IpNet) -> Result<(), String> {
        Ok(())
    }
    fn allowed(&mut self) -> Vec<IpNet> {
        Vec::new()
    }
    fn drops(&mut self, _: u32) -> Drops {
        Drops::default()
    }
    fn entries(&mut self) -> Vec<Entry> {
        Vec::new()
    }
    fn verify_begin(&mut self) -> bool {
        false
    }
    fn verify_next(&mut self) -> Result<Option<Held>, String> {
        Ok(None)
    }
    fn holds(&mut self, _: &[IpNet]) -> Result<Vec<bool>, String> {
        Ok(Vec::new())
    }
    fn tick(&mut self) {}
    fn status(&mut self) -> KernelStatus {
        KernelStatus::default()
    }
}

/// A folder with a list in `drop.txt`, and a keeper.
struct Bench {
    folder: PathBuf,
    kernel: Arc<Mutex<Kernel>>,
    teller: Rc<Teller>,
}

impl Bench {
    fn new(test: &str) -> Bench {
        let folder = std::env::temp_dir().join(format!("portcullis-refresh-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("drop.txt"), "203.0.113.9\n").unwrap();
        let settings = Settings {
            rules: Vec::new(),
            enforce: true,
            parole: None,
            capacity: 1024,
            collateral: 0,
            exempt: Vec::new(),
        };
        let kernel = Arc::<Mutex<Kernel>>::default();
        let options = Options { settings, state: Some(folder.join("state")) };
        fs::create_dir(folder.join("state")).unwrap();
        let keeper = Keeper::spawn(options, Box::new(Shared(kernel.clone()))).unwrap();
        let teller = Rc::new(Teller::new(keeper.handle(), Some(folder.join("state"))));
        Bench { folder, kernel, teller }
    }

    fn list(&self, lease: Duration, observe: bool) -> List {
        List {
            name: "drop".into(),
            place: Place { file: 0, span: 0..0 },
            source: ListSource::File(self.folder.join("drop.txt")),
            format: Format::Auto,
            refresh: HOUR,
            jitter: 0.0,
            lease,
            observe,
            entries_max: 10,
        }
    }

    async fn task(&self, lease: Duration, observe: bool) -> Task {
        Task::begin(self.list(lease, observe), self.teller.clone()).await.unwrap()
    }

    fn kernel(&self) -> std::sync::MutexGuard<'_, Kernel> {
        self.kernel.lock().unwrap()
    }

    async fn known(&self) -> Known {
        self.teller.keeper.ask(|owner| owner.lists_known()).await.unwrap().remove(0)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn what_the_kernel_has_refused_is_told_again_although_the_source_is_as_it_was() {
    let bench = Bench::new("refused");
    let mut task = bench.task(HOUR, false).await;
    bench.kernel().refuses = true;
    for attempt in ["first", "second"] {
        let refused = task.refresh().await;
        assert!(
            matches!(&refused, Err(Failure::Outside(why)) if &**why == "not now"),
            "{attempt}: {refused:?}"
        );
    }
    bench.kernel().refuses = false;
    task.refresh().await.unwrap();
    assert_eq!(bench.kernel().added, ["203.0.113.9/32"]);
    task.refresh().await.unwrap();
    assert_eq!(bench.kernel().added.len(), 1, "then it is as it was");
}

#[tokio::test]
async fn what_the_kernel_has_refused_of_a_renewal_is_told_again() {
    let bench = Bench::new("renewal");
    let mut task = bench.task(HOUR, false).await;
    task.refresh().await.unwrap();
    // The second half of it has begun.
    task.list.lease = 3 * HOUR;
    bench.kernel().refuses = true;
    assert!(matches!(task.refresh().await, Err(Failure::Outside(_))));
    bench.kernel().refuses = false;
    task.refresh().await.unwrap();
    assert_eq!(bench.kernel().added, ["203.0.113.9/32"; 2]);
}

#[tokio::test]
async fn the_terms_of_a_reload_hold_although_the_source_is_down() {
    let bench = Bench::new("terms");
    bench.task(24 * HOUR, false).await.refresh().await.unwrap();
    fs::remove_file(bench.folder.join("drop.txt")).unwrap();
    let mut task = bench.task(HOUR, true).await;
    let (lease, observe) = *bench.kernel().leases.last().unwrap();
    assert!(observe && lease.is_some_and(|lease| lease <= HOUR), "{lease:?}");
    let known = bench.known().await;
    assert!(known.terms.observe && known.terms.lease.is_some_and(|left| left <= HOUR), "{known:?}");
    assert!(task.until.is_some_and(|until| until <= Instant::now() + HOUR));
    assert!(matches!(task.refresh().await, Err(Failure::File(..))));
    assert_eq!(bench.kernel().added, ["203.0.113.9/32"; 2]);
    // A longer lease is for what is read from now on.
    bench.task(24 * HOUR, true).await;
    assert!(bench.known().await.terms.lease.is_some_and(|left| left <= HOUR));
}

#[tokio::test]
async fn a_list_that_cannot_be_kept_leaves_nothing_of_what_it_was() {
    let bench = Bench::new("kept");
    let mut task = bench.task(HOUR, false).await;
    task.refresh().await.unwrap();
    assert_eq!(bench.teller.kept.read("drop").unwrap().len(), 1);
    // Nothing can be written in its place.
    fs::create_dir(bench.folder.join("state/lists/drop.new")).unwrap();
    let told = task.take(b"203.0.113.10\n".to_vec()).await.unwrap();
    assert!(!told.is_kept);
    let gone = bench.teller.kept.read("drop").unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound, "what it was must not come back");
}

#[test]
fn a_file_is_read_when_another_takes_its_place_or_when_it_is_quiet_again() {
    let folder = std::env::temp_dir().join(format!("portcullis-look-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("list");
    let mut look = Look::default();
    assert!(!look.wants_reading(&path), "there is nothing to read");
    assert!(look.read(&path).is_err() && !look.is_as_read(&path));
    fs::write(&path, "1.2.3.4\n").unwrap();
    assert!(look.wants_reading(&path));
    assert_eq!(look.read(&path).unwrap(), b"1.2.3.4\n");
    assert!(!look.is_as_read(&path), "it was no list, as far as anybody knows");
    look.is_taken = true;
    assert!(look.is_as_read(&path) && !look.wants_reading(&path));
    fs::write(&path, "1.2.3.4\n1.2.3").unwrap();
    assert!(!look.wants_reading(&path), "somebody may be writing to it");
    fs::write(&path, "1.2.3.4\n1.2.3.5\n").unwrap();
    assert!(!look.wants_reading(&path), "and still is");
    assert!(look.wants_reading(&path));
    assert_eq!(look.read(&path).unwrap().len(), 16);
    fs::write(folder.join("new"), "1.2.3.6\n").unwrap();
    fs::rename(folder.join("new"), &path).unwrap();
    assert!(look.wants_reading(&path), "another file is whole");
    look.read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(!look.wants_reading(&path) && !look.is_as_read(&path));
    assert!(look.read(&folder).unwrap_err().to_string().contains("not a file"));
    fs::remove_dir_all(&folder).unwrap();
}
