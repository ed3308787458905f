//! Metrics that are read from elsewhere at each scrape: the kernel stage, the abuse loop, issuers, log, configuration.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Gateway;
use super::kernel::Kernel;
use crate::abuse::counters::LATENCY_EDGES_US;
use crate::abuse::lists::Figures;
use crate::abuse::shadow::Outcome;
use crate::dataplane::Room;
use crate::observe::access_log::Reason;
use crate::observe::metrics::{Registry, Sample};
use crate::observe::names;

/// Registers all of them, once.
pub fn register(registry: &Registry, gateway: &Gateway) {
    kernel(registry, gateway.kernel.clone());
    abuse(registry, gateway);
    lists(registry, gateway);
    issuers(registry, gateway);
    configuration(registry, gateway);
    access_log(registry, gateway);
}

fn kernel(registry: &Registry, kernel: Kernel) {
    let Kernel::On { dataplane, drift, pressure, .. } = kernel else { return };
    let lock = move |dataplane: &std::sync::Mutex<crate::dataplane::Dataplane>| {
        let dataplane = dataplane.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (dataplane.counters().unwrap_or_default(), dataplane.attachments(), dataplane.lost())
    };
    let (attached, weighed) = (dataplane.clone(), dataplane.clone());
    let (filled, sized) = (dataplane.clone(), dataplane.clone());
    // Exact lists only, of which each family has one: the room for prefixes is not for the configuration to say.
    let rooms = |dataplane: &std::sync::Mutex<crate::dataplane::Dataplane>, of: fn(&Room) -> usize| {
        let rooms = dataplane.lock().unwrap_or_else(std::sync::PoisonError::into_inner).rooms();
        let exact = rooms.iter().filter(|room| room.exact);
        exact.map(|room| Sample::new([room.family], of(room) as f64)).collect()
    };
    registry.gauge_fn(
        names::DENYLIST_ENTRIES,
        "Addresses (IPv6: /64s) in the kernel's denylist",
        &["family"],
        move || rooms(&filled, |room| room.entries),
    );
    registry.gauge_fn(
        names::DENYLIST_CAPACITY,
        "Addresses (IPv6: /64s) that the kernel's denylist has room for",
        &["family"],
        move || rooms(&sized, |room| room.capacity),
    );
    registry.counter_fn(
        names::XDP_PACKETS,
        "Packets seen by the kernel stage since its maps were made, by verdict",
        &["verdict"],
        move || {
            let (counters, ..) = lock(&dataplane);
            counters
                .iter()
                .map(|(reason, tally)| Sample::new([reason.name()], tally.packets as f64))
                .collect()
        },
    );
    registry.counter_fn(
        names::XDP_BYTES,
        "Bytes of the packets seen by the kernel stage since its maps were made, by verdict",
        &["verdict"],
        move || {
            let (counters, ..) = lock(&weighed);
            counters.iter().map(|(reason, tally)| Sample::new([reason.name()], tally.bytes as f64)).collect()
        },
    );
    registry.gauge_fn(
        names::PRESSURE,
        "1 if something presses on this machine, or has in the last ten seconds",
        &[],
        move || vec![Sample::new([], f64::from(u8::from(pressure.presses())))],
    );
    registry.gauge_fn(
        names::BANS_DRIFT,
        "What was found in the kernel otherwise than it was written, since the start; each was put right at once",
        &["kind"],
        move || drift.by_kind().map(|(kind, count)| Sample::new([kind], count as f64)).collect(),
    );
    registry.gauge_fn(
        names::XDP_ATTACHED,
        "1 for each interface that the kernel stage is attached to, 0 for each that it has lost",
        &["interface", "mode"],
        move || {
            let (_, attachments, lost) = lock(&attached);
            let held = attachments.iter().map(|at| Sample::new([&at.interface, &at.mode.to_string()], 1.0));
            held.chain(lost.iter().map(|lost| Sample::new([lost.interface.as_str(), "none"], 0.0))).collect()
        },
    );
}

fn abuse(registry: &Registry, gateway: &Gateway) {
    let counters = gateway.keeper.counters();
    let of = counters.clone();
    registry.gauge_fn(names::BANS_ACTIVE, "Bans in force", &[], move || {
        vec![Sample::new([], of.bans_active.load(Relaxed) as f64)]
    });
    let of = counters.clone();
    registry.counter_fn(names::BANS, "Bans made, by who made them", &["by"], move || {
        vec![
            Sample::new(["rule"], of.bans_by_rule.load(Relaxed) as f64),
            Sample::new(["operator"], of.bans_by_operator.load(Relaxed) as f64),
        ]
    });
    let of = counters.clone();
    let refused = "Offences after which nobody was banned, by why";
    registry.counter_fn(names::BANS_REFUSED, refused, &["because"], move || {
        vec![
            Sample::new(["exempt"], of.exempted.load(Relaxed) as f64),
            Sample::new(["collateral"], of.collateral.load(Relaxed) as f64),
            Sample::new(["suppressed"], of.suppressed.load(Relaxed) as f64),
        ]
    });
    let of = counters.clone();
    registry.counter_fn(
        names::ABUSE_SIGNALS_DROPPED,
        "Refusals that the abuse loop never saw",
        &[],
        move || vec![Sample::new([], of.signals_dropped.load(Relaxed) as f64)],
    );
    let of = counters.clone();
    registry.counter_fn(
        names::PAROLES,
        "Bans whose client was let through on parole, by what came of it",
        &["outcome"],
        move || {
            vec![
                Sample::new(["released"], of.paroles_released.load(Relaxed) as f64),
                Sample::new(["renewed"], of.paroles_renewed.load(Relaxed) as f64),
            ]
        },
    );
    let of = counters.clone();
    registry.counter_fn(
        names::SHADOW_REQUESTS,
        "Requests that shadow bans would have kept out, by what became of them",
        &["outcome"],
        move || Outcome::ALL.map(|one| Sample::new([one.as_str()], of.shadow.of(one) as f64)).into(),
    );
    let of = counters;
    registry.counter_fn(
        names::BAN_LATENCY_BUCKETS,
        "Bans by rule, by the time from the last denial to the entry in the kernel; cumulative",
        &["le"],
        move || {
            let mut below = 0;
            let edges = LATENCY_EDGES_US.iter().map(|edge| (*edge as f64 / 1e6).to_string());
            edges
                .chain([String::from("+Inf")])
                .zip(&of.latency.buckets)
                .map(|(edge, count)| {
                    below += count.load(Relaxed);
                    Sample::new([&edge], below as f64)
                })
                .collect()
        },
    );
}

fn lists(registry: &Registry, gateway: &Gateway) {
    let counters = gateway.keeper.counters();
    let figures = move || counters.lists.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let of = figures.clone();
    let entries = "Addresses and networks of a list that are in force";
    registry.gauge_fn(names::LIST_ENTRIES, entries, &["list"], move || {
        of().iter().map(|list| Sample::new([&*list.name], list.counts.entries as f64)).collect()
    });
    let of = figures.clone();
    let skipped =
        "Entries of a list that could not be read, and addresses and networks of it that are left out";
    registry.gauge_fn(names::LIST_SKIPPED, skipped, &["list"], move || {
        let skipped = |list: &Figures| list.counts.skipped as f64 + list.counts.guarded as f64;
        of().iter().map(|list| Sample::new([&*list.name], skipped(list))).collect()
    });
    let of = figures.clone();
    let refreshes = "Attempts to read a list since the start, by result";
    registry.counter_fn(names::LIST_REFRESHES, refreshes, &["list", "result"], move || {
        let of_list = |list: &Figures| {
            let results = [
                ("taken", list.refreshes.taken),
                ("unchanged", list.refreshes.unchanged),
                ("failed", list.refreshes.failed),
            ];
            results.map(|(result, count)| Sample::new([&*list.name, result], count as f64))
        };
        of().iter().flat_map(of_list).collect()
    });
    let lease = "How long a list holds still if it is not read again, seconds; absent if it has no end";
    registry.gauge_fn(names::LIST_LEASE_SECONDS, lease, &["list"], move || {
        let now = Instant::now();
        let left = |list: &Figures| Some(list.lease_end?.saturating_duration_since(now).as_secs_f64());
        figures().iter().filter_map(|list| Some(Sample::new([&*list.name], left(list)?))).collect()
    });
}

fn issuers(registry: &Registry, gateway: &Gateway) {
    let state = gateway.state.clone();
    registry.gauge_fn(names::JWKS_AGE, "Age of an issuer's keys in seconds", &["auth"], move || {
        let now = Instant::now();
        let issuers = state.keyring.issuers();
        let ages = issuers.iter().filter_map(|issuer| Some((issuer, issuer.health(now).age?)));
        ages.map(|(issuer, age)| Sample::new([issuer.name()], age.as_secs_f64())).collect()
    });
    let state = gateway.state.clone();
    registry.counter_fn(names::JWKS_FETCHES, "Fetches of issuers' keys", &["auth", "result"], move || {
        let now = Instant::now();
        let issuers = state.keyring.issuers();
        let counts = issuers.iter().flat_map(|issuer| {
            let health = issuer.health(now);
            [
                Sample::new([issuer.name(), "ok"], health.succeeded as f64),
                Sample::new([issuer.name(), "error"], health.failed as f64),
            ]
        });
        counts.collect()
    });
}

fn configuration(registry: &Registry, gateway: &Gateway) {
    let live = gateway.live.clone();
    registry.gauge_fn(names::CONFIG_GENERATION, "Generation of the configuration in force", &[], move || {
        vec![Sample::new([], live.generation() as f64)]
    });
    let last = gateway.last_reload.clone();
    registry.gauge_fn(names::CONFIG_LAST_RELOAD_SUCCESS, "1 if the last reload succeeded", &[], move || {
        vec![Sample::new([], f64::from(u8::from(last.error().is_none())))]
    });
}

fn access_log(registry: &Registry, gateway: &Gateway) {
    let log = gateway.log.clone();
    registry.counter_fn(
        names::ACCESS_LOG_WRITTEN,
        "Lines of the access log that a sink has taken",
        &["sink"],
        move || {
            let tallies = log.tallies();
            tallies.iter().map(|(sink, tally)| Sample::new([sink], tally.written() as f64)).collect()
        },
    );
    let log = gateway.log.clone();
    registry.counter_fn(
        names::ACCESS_LOG_DROPPED,
        "Lines of the access log that were lost",
        &["sink", "reason"],
        move || {
            let tallies = log.tallies();
            let counts = tallies.iter().flat_map(|(sink, tally)| {
                Reason::ALL.map(|reason| Sample::new([sink, reason.as_str()], tally.dropped(reason) as f64))
            });
            counts.collect()
        },
    );
    let log = gateway.log.clone();
    registry.gauge_fn(
        names::ACCESS_LOG_WAITING_BYTES,
        "Bytes of the access log that wait for a receiver in the network",
        &["sink"],
        move || {
            let tallies = log.tallies();
            tallies.iter().map(|(sink, tally)| Sample::new([sink], tally.waiting_bytes() as f64)).collect()
        },
    );
}
