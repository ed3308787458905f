//! What only the configuration as a whole can show: references, collisions, certificates, and what was probably not
//! meant.

pub mod budget;
mod certificates;
mod exposure;
mod feeds;
mod listeners;
mod matches;
mod references;
mod sinks;

use crate::diagnostic::Report;

use super::decode::Decoder;
use super::model::Config;

/// Checks a decoded configuration, of which parts may be missing when there are errors already.
pub fn check(config: &Config, d: &mut Decoder<'_>) {
    references::check(d);
    matches::check(d);
    let read_files = d.read_files;
    let report: &mut Report = &mut d.report;
    listeners::check(config, report);
    sinks::check(config, report);
    if read_files {
        certificates::check(config, report);
        listeners::check_interfaces(config, report);
    }
    // What is only a suspicion needs the whole configuration, and so does a sum over all of it.
    if !report.has_errors() {
        exposure::check(config, report);
        feeds::check(config, report);
        budget::check(config, report);
    }
}
