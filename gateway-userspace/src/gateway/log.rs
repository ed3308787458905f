//! Where the access log goes by the configuration, and the outcome of the last reload.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::codes;
use crate::config::model::{Config, LogFormat, LogSink};
use crate::diagnostic::Problem;
use crate::observe::access_log::collector::Settings;
use crate::observe::access_log::{Format, Sink, Target, Template};

/// The sinks that the configuration names; none if the log is off.
pub fn targets(config: &Config) -> Result<Vec<Target>, Box<Problem>> {
    let targets = config.log.to.iter().map(|sink| {
        let mut format = &config.log.format;
        let named = match sink {
            LogSink::Stdout => Sink::Stdout,
            LogSink::Stderr => Sink::Stderr,
            LogSink::File(path) => Sink::File(path.clone()),
            LogSink::Syslog(receiver) => Sink::Syslog(receiver.clone()),
            LogSink::Named(name) => {
                // The check of references has found it before.
                let found = config.sink.iter().find(|sink| sink.name == *name);
                let sink = found.ok_or_else(|| unusable(format!("there is no sink `{name}`")))?;
                format = sink.format.as_ref().unwrap_or(format);
                let json = matches!(format, LogFormat::Json | LogFormat::Seed);
                Sink::Collector(Arc::new(Settings { json, ..sink.settings.clone() }))
            }
        };
        Ok(Target { name: sink.to_string().into(), format: written(format)?, sink: named })
    });
    targets.collect()
}

fn written(format: &LogFormat) -> Result<Format, Box<Problem>> {
    Ok(match format {
        LogFormat::Json => Format::Json,
        LogFormat::Seed => Format::Seed,
        LogFormat::Combined => Format::Combined,
        LogFormat::Custom(text) => {
            Format::Custom(Template::parse(text).map_err(|error| unusable(super::chain(&error)))?)
        }
    })
}

/// The access log cannot be written.
pub fn unusable(why: String) -> Box<Problem> {
    Box::new(Problem::unplaced(codes::UNREADABLE, why))
}

/// How the last reload ended.
#[derive(Debug, Default)]
pub struct LastReload(Mutex<Option<String>>);

impl LastReload {
    /// It failed with this, or succeeded.
    pub fn set(&self, error: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
