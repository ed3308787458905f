//! What the heaviest client may send that keeps to every limit: packets and new connections.
//!
//! A client is one source as the kernel stage sees it: an IPv4 address, or an IPv6 /64. Its packets are bounded by its
//! bandwidth, and by limits that count by address. Of what follows from limits the *arrival curve* is known: in any `t`
//! seconds the client sends at most `min(peak × t, burst + sustained × t)` packets, and a budget of GCRA admits all of
//! them exactly if `burst + sustained × t` stays below `its burst + its rate × t` where that minimum has its knee.
//!
//! Assumed is that TCP sends full segments and acknowledges every second one. Not counted: retransmissions, an upload
//! and a download at full bandwidth at the same time (half as much again), and what a source sends to other services of
//! the machine. That is what the room in a [`Suggestion`] is for.

use std::collections::HashMap;

use crate::config::model::{Action, Config, Route};
use crate::config::units::{show_bit_rate, show_rate, show_size};
use crate::diagnostic::{Located, Place};
use crate::policy::rate_limit::config::{Config as Limit, Key};

/// Bytes that a full packet takes on Ethernet: 1500, header and checksum (18), preamble (8), gap (12).
pub const FRAME_BYTES: u64 = 1538;
/// Bytes of payload of the smallest full segment: IPv6's least MTU (1280, RFC 8200 §5) without its headers.
const SEGMENT_BYTES: u64 = 1220;
/// Packets of a request beside its bytes, with a connection of its own: the handshake's last, FIN, and two
/// acknowledgements.
const EXTRA_PACKETS: u64 = 4;
/// Most that `packet-burst` and `syn-burst` take.
pub const BURST_MAX: u64 = 1_000_000_000;
/// Most limits that a derivation lists one by one.
const LISTED_MAX: usize = 10;

/// What the heaviest client may send.
#[derive(Debug)]
pub struct Heaviest<'c> {
    /// Its bandwidth in bits per second.
    pub bandwidth: u64,
    /// Full packets per second for which the bandwidth has room, at least 1.
    pub peak: u64,
    /// Packets per second for as long as it likes, at most `peak`.
    pub sustained: u64,
    /// Packets at once beside that, at the pace of `peak`; 0 if `sustained` is all that the bandwidth has room for.
    pub burst: u64,
    /// New connections per second; none if no limit bounds them.
    pub connects: Option<u64>,
    /// Connections that it may open at once.
    pub connects_at_once: u64,
    /// The route with the largest requests that no limit by address protects, one that forwards them before one that
    /// does not, and packets of one request to it.
    pub unlimited: Option<(&'c Route, u64)>,
    /// What limits by address let through, the heaviest first.
    limited: Vec<Limited<'c>>,
    /// Acknowledgements per second of answers whose size nothing bounds.
    answers: u64,
}

/// Requests that a limit bounds for each address.
#[derive(Debug)]
struct Limited<'c> {
    limit: &'c Located<Limit>,
    /// Of the routes that share the bucket, the one with the largest requests.
    route: &'c Route,
    /// Packets of one request to it.
    packets: u64,
}

impl Limited<'_> {
    /// Packets per second, rounded up.
    fn per_second(&self) -> u64 {
        let Limit { requests, per, .. } = self.limit.value;
        ceil(u128::from(requests) * u128::from(self.packets) * 1_000, per.as_millis())
    }

    /// Requests per second, rounded up.
    fn requests_per_second(&self) -> u64 {
        let Limit { requests, per, .. } = self.limit.value;
        ceil(u128::from(requests) * 1_000, per.as_millis())
    }

    /// Packets at once.
    fn at_once(&self) -> u64 {
        self.limit.value.burst.saturating_add(1).saturating_mul(self.packets)
    }
}

impl<'c> Heaviest<'c> {
    /// Derives it for a client of this bandwidth in bits per second.
    pub fn of(config: &'c Config, bandwidth: u64) -> Heaviest<'c> {
        let peak = (bandwidth / (8 * FRAME_BYTES)).max(1);
        let connects_at_once = config.listen.iter().map(|listen| listen.limits.connections_per_address_max);
        let connects_at_once = connects_at_once.map(|most| most as u64).sum();
        let (limited, unlimited) = requests(config);
        let forwards = config.route.iter().any(|route| matches!(route.action, Action::Forward { .. }));
        let answers = if forwards { peak.div_ceil(2) } else { 0 };
        let uploads = sum(limited.iter().map(Limited::per_second));
        let sustained = if unlimited.is_some() { peak } else { uploads.saturating_add(answers).min(peak) };
        let at_once = sum(limited.iter().map(Limited::at_once));
        let connects = sum(limited.iter().map(Limited::requests_per_second));
        Heaviest {
            bandwidth,
            peak,
            sustained,
            burst: if sustained == peak { 0 } else { at_once },
            connects: unlimited.is_none().then_some(connects),
            connects_at_once,
            unlimited,
            limited,
            answers,
        }
    }

    /// Packets at once that a budget of this many packets per second, at least `sustained`, must admit.
    pub fn burst_beside(&self, per_second: u64) -> u64 {
        let above = u128::from(self.peak.saturating_sub(per_second));
        match self.peak.saturating_sub(self.sustained) {
            0 => 0,
            knee => ceil(above * u128::from(self.burst), knee.into()),
        }
    }

    /// Budgets that let it through, with room.
    pub fn suggestion(&self) -> Suggestion {
        let mut packets = with_room(self.sustained);
        let mut burst = with_room(self.burst_beside(packets));
        if burst >= BURST_MAX {
            // So many at once are no burst any more.
            packets = with_room(self.peak);
            burst = 0;
        }
        let syn_burst = with_room(self.connects_at_once);
        // Where nothing bounds new connections: as many each second as it may have.
        let syns = self.connects.map_or(syn_burst, with_room);
        Suggestion {
            packets,
            packet_burst: burst.max(packets).min(BURST_MAX),
            syns,
            syn_burst: syn_burst.max(syns).min(BURST_MAX),
        }
    }

    /// The place in the configuration that permits most of the packets and connections, and what to say about it; none
    /// without a route.
    pub fn because(&self) -> Option<(Place, String)> {
        if let Some((route, _)) = self.unlimited {
            let text = format!("no limit by address bounds what a client sends to route `{}`", route.name);
            return Some((route.place.clone(), text));
        }
        let heaviest = self.limited.first()?;
        let Limit { requests, per, .. } = heaviest.limit.value;
        let text = format!(
            "{} requests to route `{}`, of up to {} packets each",
            show_rate(requests, per),
            heaviest.route.name,
            heaviest.packets
        );
        Some((heaviest.limit.place.clone(), text))
    }

    /// How it is derived, one line for each step.
    pub fn derivation(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "a bandwidth of {} has room for {} / (8 × {FRAME_BYTES} bytes) = {} full packets per second",
            show_bit_rate(self.bandwidth),
            self.bandwidth,
            self.peak
        )];
        match self.unlimited {
            Some((route, _)) => {
                lines.push(format!(
                    "route `{}` has no limit by address, so a client may use all of it",
                    route.name
                ));
            }
            None => lines.extend(self.of_limits()),
        }
        lines.push(match self.sustained == self.peak {
            true => format!("packets of the heaviest client: {} per second", self.sustained),
            false => format!(
                "packets of the heaviest client: {} per second, {} at once",
                self.sustained, self.burst
            ),
        });
        let most = self.connects_at_once;
        lines.push(match self.connects {
            Some(connects) => format!(
                "connections of the heaviest client: one for each request, {connects} per second, and {most} at once, as \
                 `max-connections-per-address` of all listeners says"
            ),
            None => format!(
                "connections of the heaviest client: {most} at once, as `max-connections-per-address` of all listeners \
                 says; no limit bounds how often it opens them, so as many per second"
            ),
        });
        lines
    }

    fn of_limits(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.limited.iter().take(LISTED_MAX).map(of_limit).collect();
        let others = self.limited.get(LISTED_MAX..).unwrap_or_default();
        if !others.is_empty() {
            let packets = sum(others.iter().map(Limited::per_second));
            lines.push(format!("{} more limits admit {packets} packets per second", others.len()));
        }
        if self.answers > 0 {
            lines.push(format!(
                "an answer of any size has one acknowledgement for two packets: {} per second",
                self.answers
            ));
        }
        lines
    }
}

fn of_limit(limited: &Limited<'_>) -> String {
    let Limit { name, requests, per, burst, .. } = &limited.limit.value;
    format!(
        "limit `{name}` admits {} of an address to route `{}`, {} at once; a request with a body of {} is {} packets: {} \
         packets per second, {} at once",
        show_rate(*requests, *per),
        limited.route.name,
        burst.saturating_add(1),
        show_size(limited.route.requests.body_bytes_max),
        limited.packets,
        limited.per_second(),
        limited.at_once()
    )
}

/// What limits by address admit, and the route with the largest requests that none of them protects.
fn requests(config: &Config) -> (Vec<Limited<'_>>, Option<(&Route, u64)>) {
    let limits: HashMap<&str, &Located<Limit>> =
        config.limit.iter().map(|limit| (&*limit.value.name, limit)).collect();
    let headers = config.listen.iter().map(|listen| listen.limits.header_bytes_max as u64).max().unwrap_or(0);
    let mut limited: Vec<Limited<'_>> = Vec::new();
    let mut shared: HashMap<&str, usize> = HashMap::new();
    let mut unlimited: Option<(&Route, u64)> = None;
    for route in &config.route {
        let packets = packets_of(route, headers);
        let binding = route.limits.iter().filter_map(|name| limits.get(&*name.value));
        let tightest = binding.filter(|limit| binds(&limit.value, route)).min_by(|one, other| {
            let pace = |one: &Limit, other: &Limit| u128::from(one.requests) * other.per.as_millis();
            pace(&one.value, &other.value).cmp(&pace(&other.value, &one.value))
        });
        let Some(limit) = tightest else {
            let weight =
                |route: &Route, packets: u64| (matches!(route.action, Action::Forward { .. }), packets);
            if unlimited.is_none_or(|(other, most)| weight(route, packets) > weight(other, most)) {
                unlimited = Some((route, packets));
            }
            continue;
        };
        let new = Limited { limit, route, packets };
        // Counted by route too, each route has buckets of its own.
        if limit.value.by.contains(&Key::Route) {
            limited.push(new);
            continue;
        }
        match shared.get(&*limit.value.name) {
            Some(known) if limited[*known].packets < packets => limited[*known] = new,
            Some(_) => {}
            None => {
                shared.insert(&limit.value.name, limited.len());
                limited.push(new);
            }
        }
    }
    limited.sort_by_key(|limited| std::cmp::Reverse(limited.per_second()));
    (limited, unlimited)
}

/// Whether a limit has at most one bucket for an address on a route. What names an identity counts by address where the
/// route establishes none.
fn binds(limit: &Limit, route: &Route) -> bool {
    limit.by.iter().all(|key| match key {
        Key::Address | Key::Route => true,
        key => key.needs_identity() && route.auth.is_empty(),
    })
}

/// Packets of one request with the largest header section and body, on a connection of its own, with the
/// acknowledgements of the answer if its size is known.
fn packets_of(route: &Route, header_bytes: u64) -> u64 {
    let bytes = route.requests.body_bytes_max.saturating_add(header_bytes);
    let answer = match &route.action {
        Action::Respond { body, .. } => (body.len() as u64).div_ceil(SEGMENT_BYTES).div_ceil(2),
        Action::Forward { .. } => 0,
    };
    bytes.div_ceil(SEGMENT_BYTES) + EXTRA_PACKETS + answer
}

/// Budgets to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// `packets`, per second.
    pub packets: u64,
    /// `packet-burst`, at least one second's worth.
    pub packet_burst: u64,
    /// `syns`, per second.
    pub syns: u64,
    /// `syn-burst`, at least one second's worth.
    pub syn_burst: u64,
}

/// Half as much again, rounded up to three digits; at least 1.
pub fn with_room(number: u64) -> u64 {
    let more = number.saturating_add(number.div_ceil(2)).max(1);
    let mut unit = 1;
    while more / unit >= 1_000 {
        unit *= 10;
    }
    more.div_ceil(unit).saturating_mul(unit)
}

/// A quotient, rounded up.
pub fn ceil(dividend: u128, divisor: u128) -> u64 {
    u64::try_from(dividend.div_ceil(divisor.max(1))).unwrap_or(u64::MAX)
}

fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
