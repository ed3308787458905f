//! What a crash, a reboot and a damaged file leave behind.

use super::*;

#[test]
fn a_restart_keeps_bans_ids_receipts_and_offences() {
    let mut bench = Bench::new("restart");
    bench.deny(ABUSER, 20);
    bench.deny("203.0.113.8", 20);
    bench.unban(Some("203.0.113.8"), None).unwrap();
    bench.pass(MINUTE);
    bench.restart();
    let bans = bench.bans(true);
    assert_eq!(
        bans.iter().map(|ban| (ban.id, ban.state.as_str(), ban.evidence.len())).collect::<Vec<_>>(),
        [(2, "lifted", 20), (1, "active", 20)]
    );
    assert!(bench.refused_at_layer_7(ABUSER));
    bench.deny("203.0.113.7", 20);
    assert_eq!(bench.bans(false)[0].id, 3);
    bench.pass(11 * MINUTE);
    bench.restart();
    bench.deny(ABUSER, 20);
    assert_eq!(bench.bans(false)[0].offence, 2);
}

#[test]
fn after_a_reboot_bans_come_back_with_the_time_left_by_the_wall_clock() {
    let mut bench = Bench::new("reboot");
    bench.deny(ABUSER, 20);
    bench.pass(4 * MINUTE);
    bench.reboot();
    let (id, left, observe) = bench.maps.entry(ABUSER).unwrap();
    let left = left.unwrap();
    assert!(left > 6 * MINUTE - Duration::from_millis(2) && left <= 6 * MINUTE, "{left:?}");
    assert_eq!((id, observe), (Some(1), false));
    bench.pass(6 * MINUTE);
    bench.reboot();
    assert!(bench.maps.denied().is_empty());
    assert_eq!(bench.bans(true)[0].state, "expired");
}

#[test]
fn a_clock_that_went_back_makes_no_ban_longer_than_it_was_meant() {
    let mut bench = Bench::new("backwards");
    bench.deny(ABUSER, 20);
    bench.start.wall = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    bench.reboot();
    assert_eq!(bench.maps.entry(ABUSER), Some((Some(1), Some(10 * MINUTE), false)));
}

#[test]
fn the_kernels_lease_counts_where_the_wall_clock_was_changed() {
    let mut bench = Bench::new("clock");
    bench.deny(ABUSER, 20);
    bench.maps.0.lock().unwrap().deny.insert(net(ABUSER), (Some(1), Some(5 * MINUTE), false));
    bench.restart();
    assert_eq!(bench.bans(false)[0].left_s, Some(300));
    bench.pass(5 * MINUTE);
    bench.owner().expire();
    assert!(bench.maps.denied().is_empty());
}

#[test]
fn entries_that_only_the_kernel_knows_are_adopted_and_can_be_lifted() {
    let mut bench = Bench::new("adopt");
    {
        let mut maps = bench.maps.0.lock().unwrap();
        maps.deny.insert(net("203.0.113.1"), (Some(77), Some(5 * MINUTE), false));
        maps.deny.insert(net("203.0.113.2"), (None, None, false));
        maps.deny.insert(net("192.0.2.10"), (Some(78), None, false));
        maps.deny.insert(net("203.0.113.3"), (Some(79), Some(Duration::ZERO), false));
    }
    bench.restart();
    assert_eq!(
        bench.maps.denied(),
        ["203.0.113.1/32", "203.0.113.2/32"],
        "not the upstream, not what is over"
    );
    let bans = bench.bans(false);
    assert!(bans.iter().any(|ban| ban.id == 77 && ban.by == "kernel" && ban.left_s == Some(300)));
    assert!(bench.refused_at_layer_7("203.0.113.2"));
    bench.unban(Some("203.0.113.0/24"), None).unwrap();
    assert!(bench.maps.denied().is_empty());
    bench.deny(ABUSER, 20);
    assert!(bench.bans(false)[0].id > 78);
}

#[test]
fn an_entry_whose_ban_was_lifted_before_a_crash_does_not_come_back() {
    let mut bench = Bench::new("crash");
    bench.deny(ABUSER, 20);
    let entry = bench.maps.entry(ABUSER).unwrap();
    bench.unban(None, Some(1)).unwrap();
    bench.maps.0.lock().unwrap().deny.insert(net(ABUSER), entry);
    bench.restart();
    assert!(bench.maps.denied().is_empty());
}

#[test]
fn a_restart_that_observes_disarms_what_the_kernel_holds() {
    let mut bench = Bench::new("disarm");
    bench.deny(ABUSER, 20);
    bench.settings.enforce = false;
    bench.restart();
    assert_eq!(bench.maps.entry(ABUSER).map(|entry| entry.2), Some(true));
    assert!(!bench.refused_at_layer_7(ABUSER));
}

#[test]
fn a_state_file_cut_at_any_byte_starts_and_loses_no_ban_that_the_kernel_holds() {
    let mut bench = Bench::new("torn");
    bench.deny(ABUSER, 20);
    bench.ban("198.51.100.0/24").unwrap();
    bench.allow("192.0.2.99", false).unwrap();
    bench.unban(None, Some(2)).unwrap();
    bench.owner = None;
    let log = bench.folder.join("bans.log");
    let whole = std::fs::read(&log).unwrap();
    let held = bench.maps.entry(ABUSER).unwrap();
    for cut in (0..whole.len()).filter(|cut| cut % 97 == 0 || *cut > whole.len() - 400) {
        std::fs::write(&log, &whole[..cut]).unwrap();
        bench.maps.0.lock().unwrap().deny = BTreeMap::from([(net(ABUSER), held)]);
        bench.restart();
        assert!(bench.bans(false).iter().any(|ban| ban.id == 1), "cut at {cut}");
        assert!(bench.refused_at_layer_7(ABUSER), "cut at {cut}");
        bench.owner = None;
    }
    assert!(Path::new(&log).with_extension("log.damaged").exists());
}

#[test]
fn a_long_history_is_compacted_and_reads_the_same() {
    let mut bench = Bench::new("compact");
    bench.deny(ABUSER, 20);
    for _ in 0..3_000 {
        bench.ban("198.51.100.0/24").unwrap();
        bench.unban(Some("198.51.100.0/24"), None).unwrap();
        bench.owner().tick();
    }
    let size = std::fs::metadata(bench.folder.join("bans.log")).unwrap().len();
    assert!(size < 2 << 20, "{size} bytes");
    let before: Vec<u32> = bench.bans(true).iter().map(|ban| ban.id).collect();
    bench.restart();
    let after: Vec<u32> = bench.bans(true).iter().map(|ban| ban.id).collect();
    assert_eq!(before, after);
    assert_eq!(before.len(), 1 + crate::abuse::ban::ENDED_MAX);
}
