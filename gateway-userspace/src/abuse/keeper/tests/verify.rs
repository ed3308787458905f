//! Whether the ledger, the kernel and the state file agree.

use std::io::Write;

use super::*;
use crate::abuse::keeper::verify::{Next, PIECE, Run};

impl Bench {
    /// Compares everything; `meanwhile` happens before each step, whose number it is told.
    fn compare(&mut self, mut meanwhile: impl FnMut(&mut Bench, usize)) -> api::Verification {
        let mut run = Run::default();
        for step in 0..10_000 {
            meanwhile(self, step);
            match run.step(self.owner()).expect("all can be read") {
                Next::Step => {}
                Next::Read => run.read().expect("the file can be read"),
                Next::Done => return run.end(),
            }
        }
        panic!("it does not end");
    }

    /// `KIND TARGET BAN` of each difference.
    pub(super) fn differences(&mut self) -> Vec<String> {
        let found = self.compare(|_, _| ());
        assert_eq!(found.differing.values().sum::<u64>(), found.differences.len() as u64);
        let text = |difference: &api::Difference| {
            let target = difference.target.clone().unwrap_or_default();
            format!("{} {target} {}", difference.kind, difference.ban.unwrap_or_default())
        };
        let mut all: Vec<String> = found.differences.iter().map(text).collect();
        all.sort_unstable();
        all
    }
}

/// A bench with a ban for ten minutes, one for ever, a shadow ban, one that is over, and an allowed prefix.
fn bench(name: &str) -> Bench {
    let mut bench = Bench::new(name);
    bench.ban(ABUSER).unwrap();
    bench.ban_with("198.51.100.0/24", None, false, false).unwrap();
    bench.observe("203.0.113.10").unwrap();
    bench.ban("203.0.113.11").unwrap();
    bench.unban(None, Some(4)).unwrap();
    bench.allow("203.0.113.200", false).unwrap();
    bench
}

#[test]
fn what_agrees_has_no_differences_also_after_a_restart_and_a_reboot() {
    let mut bench = bench("verify-agrees");
    let found = bench.compare(|_, _| ());
    assert_eq!(found.differing, BTreeMap::new());
    assert_eq!((found.compared.bans, found.compared.entries, found.state_file), (3, 3, true));
    assert!(found.compared.state_lines >= 6 && found.kernel_off.is_none(), "{found:?}");
    bench.pass(MINUTE);
    assert_eq!(bench.differences(), [""; 0]);
    bench.restart();
    assert_eq!(bench.differences(), [""; 0]);
    bench.reboot();
    assert_eq!(bench.differences(), [""; 0]);
    bench.pass(10 * MINUTE);
    assert_eq!(bench.differences(), [""; 0], "what is over is no difference");
}

#[test]
fn each_side_that_was_changed_behind_the_ledgers_back_is_found_and_left_as_it_is() {
    let mut bench = bench("verify-kernel");
    let maps = bench.maps.0.clone();
    let original = {
        let mut maps = maps.lock().unwrap();
        let original = maps.deny.clone();
        maps.deny.remove(&net(ABUSER));
        maps.deny.insert(net("192.0.2.77/32"), (Some(99), None, false));
        maps.deny.get_mut(&net("203.0.113.10")).unwrap().2 = false;
        maps.deny.get_mut(&net("198.51.100.0/24")).unwrap().1 = Some(MINUTE);
        original
    };
    let expected = [
        "ban-without-entry 203.0.113.9 1",
        "entry-differs-from-ban 198.51.100.0/24 2",
        "entry-differs-from-ban 203.0.113.10 3",
        "entry-without-ban 192.0.2.77 99",
    ];
    assert_eq!(bench.differences(), expected);
    assert_eq!(bench.differences(), expected, "nothing was repaired");
    maps.lock().unwrap().deny = original;
    assert_eq!(bench.differences(), [""; 0]);
}

#[test]
fn a_state_file_that_says_something_else_is_found() {
    let mut bench = bench("verify-file");
    let path = bench.folder.join("bans.log");
    let original = std::fs::read_to_string(&path).unwrap();
    let without = |needle: &str| {
        let lines = original.lines().filter(|line| !line.contains(needle));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let mut change = |text: &str| {
        // In place: the journal goes on in the same file.
        std::fs::write(&path, text).unwrap();
        bench.differences()
    };
    assert_eq!(change(&without("\"198.51.100.0/24\"")), ["ban-not-in-file 198.51.100.0/24 2"]);
    assert_eq!(change(&without("\"end\"")), ["ban-only-in-file 203.0.113.11 4"]);
    assert_eq!(change(&without("\"allow\"")), ["allow-not-in-file 203.0.113.200 0"]);
    let observed = original.replace("\"observed\":true", "\"observed\":false");
    assert_eq!(change(&observed), ["ban-differs-in-file 203.0.113.10 3"]);
    assert_eq!(change(&format!("{original}{{\"ban\"")), ["file-damaged  0"]);
    assert_eq!(change(&original), [""; 0]);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"allow\":{\"prefix\":\"192.0.2.1/32\"}}\n").unwrap();
    assert_eq!(bench.differences(), ["allow-only-in-file 192.0.2.1 0"]);
}

#[test]
fn without_a_kernel_stage_or_a_room_in_it_the_rest_is_compared() {
    let mut bench = bench("verify-room");
    bench.maps.0.lock().unwrap().room = Some(3);
    bench.ban("203.0.113.12").unwrap();
    assert_eq!(bench.differences(), [""; 0], "a ban that the kernel had no room for");
    let settings = bench.settings.clone();
    let options = Options { settings, state: None };
    let off = Box::new(NoKernel { because: "it is a test".into() });
    bench.owner = Some(Owner::open_with(options, off, Box::new(Now::system), Vec::new).unwrap());
    let found = bench.compare(|_, _| ());
    assert_eq!((found.kernel_off.as_deref(), found.state_file), (Some("it is a test"), false));
    assert_eq!(found.differing, BTreeMap::new());
}

#[test]
fn bans_that_are_made_renewed_and_lifted_between_two_pieces_are_no_difference() {
    let mut bench = bench("verify-churn");
    let settings = Settings { rules: vec![rule("shield", 1)], ..bench.settings.clone() };
    bench.owner().configure(settings);
    for n in 0..PIECE {
        bench.deny(&format!("100.{}.{}.7", 64 + n / 256, n % 256), 1);
    }
    let mut made = 0;
    let found = bench.compare(|bench, step| {
        // The kernel's list alone takes a thousand steps.
        if step % 16 == 0 || step > PIECE {
            made += 1;
            bench.ban(&format!("198.18.{}.{}", made / 256, made % 256)).unwrap();
            bench.allow(&format!("198.19.{}.{}", made / 256, made % 256), false).unwrap();
            bench.unban(None, Some(made + 10)).unwrap();
            bench.pass(Duration::from_millis(500));
        }
    });
    assert_eq!(found.differing, BTreeMap::new());
    assert!(made as usize > PIECE / 16 + 4 && found.compared.entries > 900, "{made} {found:?}");
}

#[test]
fn a_state_file_that_is_written_anew_meanwhile_is_read_anew_and_not_for_ever() {
    let mut bench = bench("verify-compact");
    let mut left = 3;
    let found = bench.compare(|bench, step| {
        if step > 6 && left > 0 {
            left -= 1;
            bench.owner().compact();
        }
    });
    assert_eq!((found.differing, left), (BTreeMap::new(), 0));
    let mut run = Run::default();
    let refused = (0..1_000).find_map(|_| {
        bench.owner().compact();
        run.step(bench.owner()).err()
    });
    assert!(matches!(refused, Some(Refusal::Unread(_))), "{refused:?}");
}

#[test]
fn a_long_state_file_is_not_read_by_the_keeper() {
    let mut bench = bench("verify-long");
    let (mut run, mut reads) = (Run::default(), 0);
    let path = bench.folder.join("bans.log");
    let line = "{\"unsuppress\":{\"number\":4000000000}}\n";
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(line.repeat(10_000).as_bytes()).unwrap();
    loop {
        match run.step(bench.owner()).unwrap() {
            Next::Step => {}
            Next::Read => {
                reads += 1;
                run.read().unwrap();
            }
            Next::Done => break,
        }
    }
    let found = run.end();
    assert_eq!((found.differing, reads), (BTreeMap::new(), 1));
    assert!(found.compared.state_lines > 10_000);
}

#[test]
fn of_two_that_ask_at_once_one_is_refused_and_a_ban_is_made_meanwhile() {
    let bench = bench("verify-thread");
    let settings = Settings { capacity: 100_000, ..bench.settings.clone() };
    let maps = bench.maps.clone();
    drop(bench);
    let keeper = Keeper::spawn(Options { settings, state: None }, Box::new(maps)).unwrap();
    let handle = keeper.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // The first waits behind this question, so it runs when the second asks.
    let (go, wait) = mpsc::channel::<()>();
    let (first, second) = runtime.block_on(async {
        let held = handle.ask(move |_| wait.recv_timeout(MINUTE).is_ok());
        let both = async {
            tokio::join!(handle.verify(), async {
                let second = handle.verify().await;
                go.send(()).unwrap();
                second
            })
        };
        let (held, both) = tokio::join!(held, both);
        assert_eq!(held, Ok(true));
        both
    });
    assert_eq!(first.unwrap().differing, BTreeMap::new());
    assert_eq!(second.unwrap_err(), Refusal::Verifying);
    assert!(runtime.block_on(handle.verify()).is_ok(), "its turn is given back");
    keeper.stop();
}
