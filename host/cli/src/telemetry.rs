//! Logs to stderr, as text or as one JSON object a line. Set up once, before anything is logged.

use crate::{
    config::{Log, LogFormat},
    error::Error,
};
use std::io::{self, IsTerminal};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

/// Starts logging.
pub fn start(log: &Log) -> Result<(), Error> {
    let setting = |detail: String| Error::Setting { origin: "log_level".to_owned(), detail };
    let filter = EnvFilter::try_new(&log.level).map_err(|error| setting(error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would be told on stderr as well, by a macro that panics when that can't be written: on a full disk.
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).finish().try_init(),
    };
    started.map_err(|error| setting(error.to_string()))
}
