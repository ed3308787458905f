//! `portcullis budget`: budgets of the kernel stage that let every client through that the configuration permits.

use serde::Serialize;

use crate::config::check::budget::ASSUMED_BANDWIDTH;
use crate::config::check::budget::heaviest::Heaviest;
use crate::config::units::{self, show_bit_rate, show_packet_rate};
use crate::config::{self, Config, Environment};
use crate::diagnostic::render;

use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with budgets.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print the keys of [shield] to write, and how they are derived.
    Suggest {
        /// Bandwidth of the fastest client, such as 1Gbit/s; if not given, as in [shield], else 1Gbit/s.
        #[arg(long, value_name = "RATE", value_parser = bandwidth)]
        client_bandwidth: Option<u64>,
    },
}

/// Derives and prints.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let Verb::Suggest { client_bandwidth } = arguments.verb;
    let config = match config::load_for_budgets(&common.config, &Environment::of_process()) {
        Ok(config) => config,
        Err(report) => {
            let problems = render::human(&report, output.colour_of_errors);
            eprintln!("{problems}{}", render::summary(&report, &common.config));
            return Exit::Config;
        }
    };
    let proposal = propose(&config, client_bandwidth);
    output.answer(&proposal, || text(&proposal));
    Exit::Done
}

/// Budgets, and where they come from.
#[derive(Debug, Serialize)]
struct Proposal {
    /// Bits per second.
    client_bandwidth: u64,
    /// `argument`, `configuration` or `assumed`.
    client_bandwidth_from: &'static str,
    packets: u64,
    packet_burst: u64,
    syns: u64,
    syn_burst: u64,
    heaviest: Permitted,
    derivation: Vec<String>,
}

/// What the heaviest client may send.
#[derive(Debug, Serialize)]
struct Permitted {
    packets_per_second: u64,
    /// Packets at once beside that; 0 if its bandwidth has no room for more.
    packets_at_once: u64,
    /// `null` if no limit bounds them.
    connections_per_second: Option<u64>,
    connections_at_once: u64,
}

fn propose(config: &Config, given: Option<u64>) -> Proposal {
    let configured = config.shield.as_ref().and_then(|shield| shield.client_bandwidth.as_ref());
    let (client_bandwidth, client_bandwidth_from) = match (given, configured) {
        (Some(bandwidth), _) => (bandwidth, "argument"),
        (None, Some(bandwidth)) => (bandwidth.value, "configuration"),
        (None, None) => (ASSUMED_BANDWIDTH, "assumed"),
    };
    let heaviest = Heaviest::of(config, client_bandwidth);
    let suggestion = heaviest.suggestion();
    Proposal {
        client_bandwidth,
        client_bandwidth_from,
        packets: suggestion.packets,
        packet_burst: suggestion.packet_burst,
        syns: suggestion.syns,
        syn_burst: suggestion.syn_burst,
        heaviest: Permitted {
            packets_per_second: heaviest.sustained,
            packets_at_once: heaviest.burst,
            connections_per_second: heaviest.connects,
            connections_at_once: heaviest.connects_at_once,
        },
        derivation: heaviest.derivation(),
    }
}

/// Lines for the configuration, with the derivation as a comment.
fn text(proposal: &Proposal) -> String {
    let mut text = String::new();
    for line in &proposal.derivation {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str("# budgets: half as much again, in three digits\n");
    let assumed = match proposal.client_bandwidth_from {
        "assumed" => "  # assumed: write that of the fastest client",
        _ => "",
    };
    text.push_str(&format!(
        "[shield]\n\
         packets          = \"{}\"\n\
         packet-burst     = {}\n\
         syns             = \"{}\"\n\
         syn-burst        = {}\n\
         client-bandwidth = \"{}\"{assumed}\n",
        show_packet_rate(proposal.packets),
        proposal.packet_burst,
        show_packet_rate(proposal.syns),
        proposal.syn_burst,
        show_bit_rate(proposal.client_bandwidth)
    ));
    text
}

fn bandwidth(text: &str) -> Result<u64, String> {
    units::bit_rate(text).map_err(|fault| format!("{}, {}; {}", fault.message, fault.expected, fault.help))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{load_ok, problems};

    use super::*;

    const LISTEN: &str = "[listen.a]\naddress = \"[::]:80\"\n";

    /// Configurations without `[shield]`.
    const TABLE: &[&str] = &[
        "",
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\n",
        "[limit.l]\nrate = \"100/min\"\nby = \"address\"\n[route.r]\nmatch = \"/\"\nto = \"http://b\"\nlimit = \"l\"\n",
        "[limit.l]\nrate = \"10/s\"\nby = \"address\"\n[route.r]\nmatch = \"/\"\nrespond = {}\nlimit = \"l\"\n\
         max-body = \"64KiB\"\n",
        "[limit.l]\nrate = \"1M/day\"\nby = \"address\"\n[route.r]\nmatch = \"/\"\nrespond = {}\nlimit = \"l\"\n",
    ];

    #[test]
    fn what_is_proposed_is_accepted_as_it_is_printed() {
        for rest in TABLE {
            for bandwidth in [None, Some(1), Some(20_000_000), Some(100_000_000_000)] {
                let text_without = format!("{LISTEN}{rest}");
                let proposal = propose(&load_ok(&text_without), bandwidth);
                let lines = text(&proposal);
                assert_eq!(problems(&format!("{text_without}{lines}"), &[]), "", "{text_without}{lines}");
            }
        }
    }

    #[test]
    fn the_bandwidth_is_that_of_the_argument_then_of_the_file_and_else_assumed() {
        let written = load_ok(&format!("{LISTEN}[shield]\nclient-bandwidth = \"10Mbit/s\"\n"));
        let from = |config: &Config, given| {
            let proposal = propose(config, given);
            (proposal.client_bandwidth, proposal.client_bandwidth_from)
        };
        assert_eq!(from(&written, Some(5)), (5, "argument"));
        assert_eq!(from(&written, None), (10_000_000, "configuration"));
        assert_eq!(from(&load_ok(LISTEN), None), (ASSUMED_BANDWIDTH, "assumed"));
    }
}
