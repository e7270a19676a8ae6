//! The `basalt` binary: command line, configuration, and the assembly of a node. The only place where concrete types of
//! all layers meet.
//!
//! * `command_line`, `configuration`, `size`, `clock_offset`: what the user asks for, from flags, environment and a file.
//! * `cluster`: who the node is among others; `locality`: where it stands.
//! * `node`: opens the store and starts the layers above it, bottom up; stops them top down.
//! * `backend`: the seam between the protocol (`basalt_pgwire`) and SQL sessions (`basalt_sql`).
//! * `capacity`: tells the other nodes how full the disk is; `away`: sends clients to other nodes while the disk does not answer.
//! * `others`: what nodes ask each other about their clients.
//! * `cluster_info`, `counters`: what SQL shows of nodes, ranges and counters, and an operator's orders.
//! * `certificates`, `node_command`, `local_cluster`: the commands beside `start`.

mod away;
mod backend;
mod capacity;
mod certificates;
mod clock_offset;
mod cluster;
mod cluster_info;
mod command_line;
mod configuration;
mod counters;
mod local_cluster;
mod locality;
mod logging;
mod memory;
mod node;
mod node_command;
mod others;
mod signals;
mod size;
mod start;

pub use command_line::run;
