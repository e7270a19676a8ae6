//! Logs go to standard error: for people on a terminal, as JSON lines otherwise.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

/// Begins logging what `filter` lets through.
pub fn begin(filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("log filter {filter:?}: {error}"))?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let begun = if io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    begun.map_err(|error| error.to_string())
}
