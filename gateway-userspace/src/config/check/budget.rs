//! Whether the kernel's budgets let every client through that the rest of the configuration permits.
//!
//! With `client-bandwidth` a budget that is too small is an error; in the mode `observe`, where nothing is dropped yet, a
//! warning. Without it nobody has said how fast clients are, and only one thing is suspect: a single large upload, at the
//! bandwidth of [`ASSUMED_BANDWIDTH`], that the budget would not let through as a whole.

pub mod heaviest;

use crate::config::codes;
use crate::config::model::{Action, Budget, Config, Shield};
use crate::config::units::{show_bit_rate, show_packet_rate, show_size};
use crate::diagnostic::{Code, Located, Place, Problem, Report};

use heaviest::{BURST_MAX, FRAME_BYTES, Heaviest};

/// Bits per second of a client where the configuration does not say it.
pub const ASSUMED_BANDWIDTH: u64 = 1_000_000_000;

/// The least body in bytes that is large enough to warn of without `client-bandwidth`.
const LARGE_BODY: u64 = 1 << 20;

/// Reports budgets that are too small.
pub fn check(config: &Config, report: &mut Report) {
    let Some(shield) = &config.shield else { return };
    if let Some(bandwidth) = &shield.client_bandwidth {
        let proof = Proof { heaviest: Heaviest::of(config, bandwidth.value), shield, bandwidth };
        report.problems.extend(shield.packets.iter().filter_map(|budget| proof.packets(budget)));
        report.problems.extend(shield.syns.iter().filter_map(|budget| proof.syns(config, budget)));
    } else if let Some(budget) = shield.packets.as_ref().filter(|_| !shield.interfaces.is_empty()) {
        report.problems.extend(suspect(config, budget));
    }
}

/// Whether a problem is only that a budget is too small, so that the rest of the configuration is good.
pub fn is_too_small(code: Code) -> bool {
    [codes::PACKET_BUDGET, codes::SYN_BUDGET].contains(&code)
}

/// What the budgets are held against.
struct Proof<'c> {
    heaviest: Heaviest<'c>,
    shield: &'c Shield,
    bandwidth: &'c Located<u64>,
}

impl Proof<'_> {
    fn packets(&self, budget: &Budget) -> Option<Problem> {
        let Budget { per_second, burst } = budget;
        let heaviest = &self.heaviest;
        let suggestion = heaviest.suggestion();
        let (place, message, label, help) = if per_second.value < heaviest.sustained {
            let message = format!(
                "`packets` admits {} packets per second of a client that may send {}",
                per_second.value, heaviest.sustained
            );
            let label = format!("at least {} are needed", heaviest.sustained);
            let help = format!("write `packets = \"{}\"`", show_packet_rate(suggestion.packets));
            (&per_second.place, message, label, help)
        } else {
            let needed = heaviest.burst_beside(per_second.value);
            if burst.value >= needed {
                return None;
            }
            let message = format!(
                "`{}` admits {} packets at once of a client that may send {needed}",
                burst_key(budget, "packets", "packet-burst"),
                burst.value
            );
            let label = format!("at least {needed} are needed beside {} per second", per_second.value);
            let help = match heaviest::with_room(needed) {
                burst if burst <= BURST_MAX => format!("write `packet-burst = {burst}`"),
                _ => format!("write `packets = \"{}\"`", show_packet_rate(suggestion.packets)),
            };
            (&burst.place, message, label, help)
        };
        let bandwidth =
            format!("this has room for {} packets of {FRAME_BYTES} bytes per second", heaviest.peak);
        let mut problem = self.problem(codes::PACKET_BUDGET, place, message, label, &help);
        problem.related.push((self.bandwidth.place.clone(), bandwidth));
        problem.related.extend(heaviest.because());
        Some(problem)
    }

    fn syns(&self, config: &Config, budget: &Budget) -> Option<Problem> {
        let Budget { per_second, burst } = budget;
        let heaviest = &self.heaviest;
        let suggestion = heaviest.suggestion();
        let help = |key: &str, value: &str| format!("write `{key} = {value}`");
        if let Some(connects) = heaviest.connects.filter(|connects| per_second.value < *connects) {
            let message = format!(
                "`syns` admits {} connections per second of a client that may open {connects}",
                per_second.value
            );
            let help = help("syns", &format!("\"{}\"", show_packet_rate(suggestion.syns)));
            let label = format!("at least {connects} are needed");
            let mut problem = self.problem(codes::SYN_BUDGET, &per_second.place, message, label, &help);
            problem.related.extend(heaviest.because());
            return Some(problem);
        }
        let needed = heaviest.connects_at_once;
        if burst.value >= needed {
            return None;
        }
        let message = format!(
            "`{}` admits {} SYNs at once of a client that may open {needed} connections",
            burst_key(budget, "syns", "syn-burst"),
            burst.value
        );
        let help = help("syn-burst", &suggestion.syn_burst.to_string());
        let label = format!("at least {needed} are needed");
        let mut problem = self.problem(codes::SYN_BUDGET, &burst.place, message, label, &help);
        for listen in &config.listen {
            let most = listen.limits.connections_per_address_max;
            let text = format!("`max-connections-per-address` is {most} here");
            problem = problem.related(listen.place.clone(), text);
        }
        Some(problem)
    }

    fn problem(&self, code: Code, place: &Place, message: String, label: String, help: &str) -> Problem {
        let problem = match self.shield.enforce {
            true => Problem::error(code, message, place.clone()),
            false => Problem::warning(code, message, place.clone()),
        };
        problem.label(label).help(format!("{help}; `portcullis budget suggest` says how that is derived"))
    }
}

/// The key that says how much is admitted at once: the rate's, if the burst is not written.
fn burst_key(budget: &Budget, rate: &'static str, burst: &'static str) -> &'static str {
    if budget.burst.place == budget.per_second.place { rate } else { burst }
}

/// A warning of an upload that the budget would not let through as a whole.
fn suspect(config: &Config, Budget { per_second, burst }: &Budget) -> Option<Problem> {
    let heaviest = Heaviest::of(config, ASSUMED_BANDWIDTH);
    let (route, packets) = heaviest.unlimited?;
    let body = route.requests.body_bytes_max;
    let missing = heaviest.peak.saturating_sub(per_second.value);
    let needed = heaviest::ceil(u128::from(packets) * u128::from(missing), heaviest.peak.into());
    let takes_bodies = matches!(route.action, Action::Forward { .. });
    if body <= LARGE_BODY || burst.value >= needed || !takes_bodies {
        return None;
    }
    let body = show_size(body);
    let bandwidth = show_bit_rate(ASSUMED_BANDWIDTH);
    let message = format!("an upload of {body} to route `{}` could lose packets", route.name);
    let problem = Problem::warning(codes::PACKET_BUDGET, message, burst.place.clone());
    let label = format!("at {bandwidth} it needs {needed} packets at once, and {} are admitted", burst.value);
    let related = format!("takes bodies of {body}, {packets} packets, without a limit by address");
    let help = "write `client-bandwidth` into `[shield]`, and the budgets are held against that; \
                `portcullis budget suggest` says what they must be";
    Some(problem.label(label).related(route.place.clone(), related).help(help))
}

#[cfg(test)]
mod tests;
