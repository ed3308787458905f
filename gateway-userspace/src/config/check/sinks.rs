//! What a sink of the access log can take.

use crate::config::codes;
use crate::config::model::{Config, LogFormat};
use crate::diagnostic::{Problem, Report};
use crate::observe::access_log::collector::{Framing, Protocol};

/// Reports bulk requests of lines that are not JSON.
pub fn check(config: &Config, report: &mut Report) {
    for sink in &config.sink {
        let format = sink.format.as_ref().unwrap_or(&config.log.format);
        let json = matches!(format, LogFormat::Json | LogFormat::Seed);
        if sink.settings.protocol == Protocol::Http(Framing::Bulk) && !json {
            let message = format!("sink `{}` sends bulk requests of lines that are not JSON", sink.name);
            let problem = Problem::error(codes::BULK_WITHOUT_JSON, message, sink.place.clone());
            report.push(problem.help("write `format = \"json\"` here"));
        }
    }
}
