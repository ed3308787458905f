//! Whether the ledger, the kernel and the state file agree.

use super::*;
use std::io::Write;

impl Bench {
    /// `KIND TARGET BAN` of each difference.
    fn differences(&mut self) -> Vec<String> {
        let found = self.owner().verify().expect("all can be read");
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
    let found = bench.owner().verify().unwrap();
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
    let mut owner = Owner::open_with(options, off, Box::new(Now::system), Vec::new).unwrap();
    let found = owner.verify().unwrap();
    assert_eq!((found.kernel_off.as_deref(), found.state_file), (Some("it is a test"), false));
    assert_eq!(found.differing, BTreeMap::new());
}
