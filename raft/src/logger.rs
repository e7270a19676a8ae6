//! raft-rs logs through slog; this hands its lines to tracing.

use std::fmt::Write;

use slog::{Drain, Key, Level, Logger, OwnedKVList, Record, Serializer, o};

/// A logger for raft-rs whose lines end up in the node's log. What raft-rs calls information (each election of each
/// range) is detail here.
pub(crate) fn raft_logger() -> Logger {
    Logger::root(TracingDrain, o!())
}

struct TracingDrain;

impl Drain for TracingDrain {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<(), slog::Never> {
        macro_rules! line {
            ($level:ident) => {
                if tracing::enabled!(target: "raft", tracing::Level::$level) {
                    tracing::event!(target: "raft", tracing::Level::$level, "{}", format_line(record, context));
                }
            };
        }
        match record.level() {
            Level::Critical | Level::Error => line!(ERROR),
            Level::Warning => line!(WARN),
            Level::Info => line!(DEBUG),
            Level::Debug | Level::Trace => line!(TRACE),
        }
        Ok(())
    }
}

fn format_line(record: &Record<'_>, context: &OwnedKVList) -> String {
    use slog::KV;
    let mut line = Line(record.msg().to_string());
    // Writing into a string does not fail.
    let _ = record.kv().serialize(record, &mut line);
    let _ = context.serialize(record, &mut line);
    line.0
}

struct Line(String);

impl Serializer for Line {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(slog::Error::from)
    }
}
