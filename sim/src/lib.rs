//! Nodes on a simulated environment: production code of raft, kv and txn, one thread, a seeded schedule, virtual time, a
//! network that loses and cuts, and disks that forget what was not synced.
//!
//! A run is a function of its seed. It works under faults, heals, and must then be explained: balances by receipts,
//! registers by a linear order, locks by living transactions, ranges by one tiling of the key space.

mod boot;
mod campaign;
pub mod check;
pub mod cluster;
mod cost;
mod directory;
mod idle;
mod link;
pub mod nemesis;
pub mod node;
mod parameters;
mod planted;
mod reached;
mod run;
mod stalls;
mod tally;
pub mod trace;
mod violation;
pub mod workload;

pub use campaign::{Campaign, RUN_TWICE, Sums, run_all};
pub use cost::{Cost, Shape, cost};
pub use idle::{Idle, idle};
pub use nemesis::NemesisKind;
pub use parameters::{Long, Mix, Parameters};
pub use planted::{PLANTED_SEEDS_MAX, find_all_planted, find_planted, options_for};
pub use reached::Reached;
pub use run::{Report, RunOptions, run};
pub use stalls::{Stall, StallFault, stall};
pub use violation::Violations;

#[cfg(test)]
mod tests;
