//! The `basalt` binary: command line, configuration, and the assembly of a node. The only place where concrete types of
//! all layers meet.
//!
//! * `command_line`, `configuration`, `size`: what the user asks for, from flags, environment and a file.
//! * `node`: opens the store and starts the layers above it, bottom up; stops them top down.
//! * `backend`: the seam between the protocol (`basalt_pgwire`) and SQL sessions (`basalt_sql`).
//! * `counters`: the counters of all layers by name, and the list of ranges.

mod backend;
mod command_line;
mod configuration;
mod counters;
mod logging;
mod memory;
mod node;
mod signals;
mod size;
mod start;

pub use command_line::run;
