//! Tables of configurations with what their heaviest client may send, and with what is said about their budgets.

use gateway_common::budget::charge;

use super::heaviest::{Heaviest, with_room};
use crate::config::tests::{load_ok, problems};

/// Packets per second, packets at once beside that, connections per second.
type Permitted = (u64, u64, Option<u64>);

const LISTEN: &str = "[listen.a]\naddress = \"[::]:80\"\n";
/// 60 KiB of header and 64 KiB of body are 105 segments of 1220 bytes, and 4 packets come beside them.
const SMALL: &str = "max-body = \"64KiB\"\n";

fn forward(name: &str, more: &str) -> String {
    format!("[route.{name}]\nmatch = \"/{name}\"\nto = \"http://b\"\n{more}")
}

/// Answers at once, with an answer of one packet, whose acknowledgement counts.
fn respond(name: &str, more: &str) -> String {
    format!("[route.{name}]\nmatch = \"/{name}\"\nrespond = {{ body = \"ok\" }}\n{more}")
}

fn limit(name: &str, rate: &str, by: &str) -> String {
    format!("[limit.{name}]\nrate = \"{rate}\"\nby = {by}\n")
}

#[test]
fn the_heaviest_client_follows_from_bandwidth_limits_and_sizes() {
    let slow = limit("slow", "10/s", "\"address\"");
    let small = format!("{SMALL}limit = \"slow\"\n");
    // 60 KiB of header alone are 51 segments.
    let bare = "max-body = \"0B\"\nlimit = \"slow\"\n";
    let key = "[auth.k]\napi-key = \"X-Key\"\n\
               keys.a = \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n";
    let table: &[(&str, String, Permitted)] = &[
        ("no route", String::new(), (0, 0, Some(0))),
        ("no limit: all of the bandwidth", forward("r", ""), (81_274, 0, None)),
        (
            "a limit by address, and a packet for two of an answer of any size",
            slow.clone() + &forward("r", &small),
            (1_090 + 40_637, 1_090, Some(10)),
        ),
        (
            "a limit by address, and an answer of one packet",
            slow.clone() + &respond("r", &small),
            (1_100, 1_100, Some(10)),
        ),
        ("a burst of its own", slow.clone() + "burst = 0\n" + &respond("r", &small), (1_100, 110, Some(10))),
        (
            "rounded up per second, never down",
            limit("slow", "100/min", "\"address\"") + &respond("r", &small),
            (184, 11_000, Some(2)),
        ),
        (
            "routes that share buckets: the heavier counts",
            slow.clone() + &respond("r", bare) + &respond("s", &small),
            (1_100, 1_100, Some(10)),
        ),
        (
            "buckets for each route: the sum counts",
            limit("slow", "10/s", "[\"address\", \"route\"]") + &respond("r", bare) + &respond("s", &small),
            (1_100 + 560, 1_100 + 560, Some(20)),
        ),
        (
            "one bucket for all clients bounds each of them",
            limit("slow", "10/s", "\"route\"") + &respond("r", &small),
            (1_100, 1_100, Some(10)),
        ),
        (
            "two limits: the tighter counts",
            slow.clone()
                + &limit("fast", "1k/s", "\"address\"")
                + &respond("r", &format!("{SMALL}limit = [\"fast\", \"slow\"]\n")),
            (1_100, 1_100, Some(10)),
        ),
        (
            "a limit by user where nobody says who they are is one by address",
            limit("slow", "10/s", "\"user\"") + &respond("r", &small),
            (1_100, 1_100, Some(10)),
        ),
        (
            "a limit by user bounds no address, behind which there may be many",
            format!(
                "{key}{}{}",
                limit("slow", "10/s", "\"user\""),
                respond("r", &format!("{small}auth = \"k\"\n"))
            ),
            (81_274, 0, None),
        ),
        (
            "a limit by what a client may choose bounds none",
            limit("slow", "10/s", "[\"address\", \"header:X-Tenant\"]") + &respond("r", &small),
            (81_274, 0, None),
        ),
        (
            "a limit above the bandwidth",
            limit("slow", "1k/s", "\"address\"") + &respond("r", &small),
            (81_274, 0, Some(1_000)),
        ),
        (
            "one route without a limit is enough",
            slow.clone() + &respond("r", &small) + &respond("s", ""),
            (81_274, 0, None),
        ),
    ];
    for (description, text, expected) in table {
        let config = load_ok(&format!("{LISTEN}{text}"));
        let heaviest = Heaviest::of(&config, 1_000_000_000);
        let found = (heaviest.sustained, heaviest.burst, heaviest.connects);
        assert_eq!(found, *expected, "{description}: {:#?}", heaviest.derivation());
        assert_eq!((heaviest.peak, heaviest.connects_at_once), (81_274, 256), "{description}");
    }
}

#[test]
fn connections_of_all_listeners_add_up_and_a_slow_line_still_has_room_for_a_packet() {
    let text = format!("{LISTEN}max-connections-per-address = 10\n[listen.b]\naddress = \"[::]:81\"\n");
    let config = load_ok(&text);
    let heaviest = Heaviest::of(&config, 1);
    assert_eq!((heaviest.peak, heaviest.connects_at_once), (1, 266));
}

/// Packets that a budget of the kernel stage drops of a client that sends each as early as its arrival curve lets it.
fn dropped(heaviest: &Heaviest<'_>, per_second: u64, burst: u64) -> usize {
    const SECOND_NS: u64 = 1_000_000_000;
    // Units of 64 ns: fine enough for the rates here, and the clock does not go round meanwhile.
    let units = |ns: u64| (ns / 64) as u32;
    let cost = units(SECOND_NS / per_second);
    let deepest = cost * burst as u32;
    let mut cell = 0;
    let sent = (0..3 * heaviest.peak).map(|packet| {
        let by_bandwidth = packet * SECOND_NS / heaviest.peak;
        let by_limit = (packet + 1).saturating_sub(heaviest.burst) * SECOND_NS / heaviest.sustained;
        // The budget is full at first, and time does not begin at 0.
        1_000 * SECOND_NS + by_bandwidth.max(by_limit)
    });
    sent.filter(|now_ns| match charge(cell, units(*now_ns), cost, deepest) {
        Some(next) => {
            cell = next;
            false
        }
        None => true,
    })
    .count()
}

#[test]
fn the_least_budget_drops_nothing_and_a_little_less_drops_something() {
    let text = limit("l", "10/s", "\"address\"") + &respond("r", "max-body = \"1MiB\"\nlimit = \"l\"\n");
    let config = load_ok(&format!("{LISTEN}{text}"));
    let heaviest = Heaviest::of(&config, 1_000_000_000);
    assert!(heaviest.sustained < heaviest.peak && heaviest.burst > 9_000, "{heaviest:?}");
    for per_second in [heaviest.sustained, 2 * heaviest.sustained, heaviest.peak / 2, heaviest.peak] {
        // One packet for the nanoseconds that a cost is rounded down by.
        let least = heaviest.burst_beside(per_second).max(1) + 1;
        assert_eq!(dropped(&heaviest, per_second, least), 0, "{per_second}");
        let less = least * 98 / 100;
        assert!(dropped(&heaviest, per_second, less) > 0 || per_second == heaviest.peak, "{per_second}");
    }
    let suggestion = heaviest.suggestion();
    assert_eq!(dropped(&heaviest, suggestion.packets, suggestion.packet_burst), 0);
    assert!(dropped(&heaviest, heaviest.sustained * 98 / 100, heaviest.burst) > 0);
}

#[test]
fn room_is_half_as_much_again_in_three_digits() {
    let table = [(0, 1), (1, 2), (40, 60), (256, 384), (999, 1_500), (1_001, 1_510), (81_274, 122_000)];
    for (number, expected) in table {
        assert_eq!(with_room(number), expected, "{number}");
    }
    assert!(with_room(u64::MAX) >= u64::MAX / 1_000 * 999);
}

/// A route that forwards anything, without a limit.
const OPEN: &str = "[route.upload]\nmatch = \"/*\"\nto = \"http://b\"\n";

/// What is said about budgets behind a listener and the route [`OPEN`], but in the last rows; the listener's lines are 1
/// and 2.
#[test]
fn budgets_below_what_is_permitted_are_named_with_both_numbers() {
    let shield = "[shield]\ninterface = \"eth0\"\n";
    let bandwidth = "client-bandwidth = \"1Gbit/s\"\n";
    let tight = limit("l", "100/s", "\"address\"") + &respond("r", &format!("{SMALL}limit = \"l\"\n"));
    let table: &[(&str, String, &str)] = &[
        (
            "a budget below the bandwidth",
            format!("{shield}packets = \"5k/s\"\n{bandwidth}{OPEN}"),
            "5:11: error[C082]: `packets` admits 5000 packets per second of a client that may send 81274",
        ),
        (
            "the same where nothing is dropped yet",
            format!("{shield}mode = \"observe\"\npackets = \"5k/s\"\n{bandwidth}{OPEN}"),
            "6:11: warning[C082]: `packets` admits 5000 packets per second of a client that may send 81274",
        ),
        ("a budget that is enough", format!("{shield}packets = \"82k/s\"\n{bandwidth}{OPEN}"), ""),
        ("no budget", format!("{shield}{bandwidth}{OPEN}"), ""),
        (
            "a burst that is enough for no request, let alone 100",
            format!("{shield}packets = \"12k/s\"\npacket-burst = 100\n{bandwidth}{tight}"),
            "6:16: error[C082]: `packet-burst` admits 100 packets at once of a client that may send 10844",
        ),
        (
            "the same with the burst",
            format!("{shield}packets = \"12k/s\"\npacket-burst = 10844\n{bandwidth}{tight}"),
            "",
        ),
        (
            "fewer SYNs than requests",
            format!("{shield}syns = \"50/s\"\nsyn-burst = 300\n{bandwidth}{tight}"),
            "5:8: error[C083]: `syns` admits 50 connections per second of a client that may open 100",
        ),
        (
            "fewer SYNs at once than connections",
            format!("{shield}syns = \"200/s\"\n{bandwidth}{tight}"),
            "5:8: error[C083]: `syns` admits 200 SYNs at once of a client that may open 256 connections",
        ),
        ("SYNs are enough", format!("{shield}syns = \"256/s\"\n{bandwidth}{tight}{OPEN}"), ""),
        (
            "without a bandwidth, a large body",
            format!("{shield}packets = \"5k/s\"\n{OPEN}"),
            "5:11: warning[C082]: an upload of 10MiB to route `upload` could lose packets",
        ),
        (
            "the same beside a route that forwards nothing",
            format!("{shield}packets = \"5k/s\"\n{}{OPEN}", respond("r", "")),
            "5:11: warning[C082]: an upload of 10MiB to route `upload` could lose packets",
        ),
        (
            "the same with a burst for it",
            format!("{shield}packets = \"5k/s\"\npacket-burst = 9000\n{OPEN}"),
            "",
        ),
        ("the same without the kernel stage", format!("[shield]\npackets = \"5k/s\"\n{OPEN}"), ""),
        (
            "bodies that are not large",
            format!("{shield}packets = \"500/s\"\n{OPEN}max-body = \"1MiB\"\n"),
            "",
        ),
        ("bodies under a limit by address", format!("{shield}packets = \"500/s\"\n{tight}"), ""),
        ("SYNs without a bandwidth", format!("{shield}syns = \"5/s\"\n{OPEN}"), ""),
    ];
    for (description, text, expected) in table {
        let found = problems(&format!("{LISTEN}{text}"), &[]);
        let found: Vec<&str> = found.lines().map(|line| line.trim_start_matches("gateway.toml:")).collect();
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(found, expected, "{description}");
    }
}
