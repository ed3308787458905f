//! What the decisions of one request cost: `cargo bench -p gateway-userspace --bench decisions`.
//!
//! Prints the best of several rounds in nanoseconds for each call, on one thread. It asserts nothing; compare runs on
//! one quiet machine only.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_userspace::policy::ip_access::{Access, config};
use gateway_userspace::policy::rate_limit::gcra::Rate;
use gateway_userspace::policy::rate_limit::table::Table as LimitTable;
use gateway_userspace::request::path::{EncodedSlash, normalise};
use gateway_userspace::route::Table;
use gateway_userspace::route::pattern::{HostPattern, Kind, PathPattern, Pattern, Segment, Tail};

const ROUNDS: usize = 15;
const CALLS: u32 = 200_000;

fn main() {
    for routes in [20, 1000, 10_000] {
        let table = routes_of(routes);
        let paths: Vec<String> = (0..routes).map(|i| format!("/v1/service{i}/items/7")).collect();
        measure(&format!("route: hit, {routes} routes, random one, 1 parameter"), |i| {
            let path = &paths[scattered(i) % paths.len()];
            black_box(table.lookup("api.example.com", path, "GET")).is_ok()
        });
        measure(&format!("route: no route, {routes} routes"), |_| {
            black_box(table.lookup("api.example.com", "/v2/none", "GET")).is_ok()
        });
    }
    for (name, path) in [
        ("path: in normal form, 36 bytes", "/v1/service17/items/7/orders/12345"),
        ("path: with an encoded space", "/v1/service17/items/a%20b/orders/123"),
        ("path: to be rewritten", "/v1/./service17/%69tems//7/x/../orders"),
    ] {
        measure(name, |_| black_box(normalise(black_box(path), EncodedSlash::Reject)).is_ok());
    }
    let rate = Rate::new(1000, Duration::from_secs(1), 100);
    for keys in [1, 1000, 100_000] {
        let table = LimitTable::new(1 << 14);
        let start = Instant::now();
        measure(&format!("limit: one of {keys} keys"), |i| {
            let now_ns = 1_000_000_000 + u64::try_from(start.elapsed().as_nanos()).unwrap_or(0);
            black_box(table.take(hash(scattered(i) % keys), now_ns, rate)).wait_ns.is_none()
        });
    }
    let table = LimitTable::new(1 << 14);
    measure("limit: every key a stranger, table full", |i| {
        black_box(table.take(hash(i), 1_000_000_000 + u64::try_from(i).unwrap_or(0), rate)).wait_ns.is_none()
    });
    let rules =
        (0..20_u8).map(|i| config::Rule { allow: true, prefix: format!("10.{i}.0.0/16").parse().ok() });
    let access = Access::new(&config::Config { rules: rules.collect() }).expect("there are rules");
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    measure("access: 20 rules, none matches", |_| black_box(access.check(black_box(client))).is_ok());
}

fn measure(name: &str, mut call: impl FnMut(usize) -> bool) {
    let mut best_ns = f64::INFINITY;
    let mut calls = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call(calls));
            calls += 1;
        }
        let round_ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS);
        best_ns = best_ns.min(round_ns);
    }
    println!("{best_ns:8.1} ns  {name}");
}

fn routes_of(count: usize) -> Table {
    let literal = |text: String| Segment::Literal(text.into());
    Table::new((0..count).map(|i| {
        let segments = vec![
            literal("v1".into()),
            literal(format!("service{i}")),
            literal("items".into()),
            Segment::Parameter("id".into(), Kind::Any),
        ];
        let path = PathPattern { segments, tail: Tail::End, text: Arc::from("") };
        let host = HostPattern::Exact("api.example.com".into());
        (Pattern { methods: vec!["GET".into()], host, path }, i)
    }))
}

/// Numbers far apart for numbers side by side.
fn scattered(i: usize) -> usize {
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}

fn hash(i: usize) -> u128 {
    let i = u128::try_from(i).unwrap_or(0) + 1;
    i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}
