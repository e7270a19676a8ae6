//! What must be true of a run.
//!
//! All but [`quiescent`], [`replicas`], [`serving`] and [`survey`] are functions of a recorded history. They know nothing of the store,
//! do no I/O, and say the same of the same history every time.

pub mod anomaly;
pub mod bank;
mod cycle;
pub mod dependencies;
mod facts;
mod graph;
pub mod history;
mod internal;
pub mod linearizable;
pub mod list_append;
pub mod long_fork;
pub mod monotonic;
pub mod mvcc;
pub mod predicate;
pub mod quiescent;
mod real_time;
pub mod replicas;
pub mod rw_register;
pub mod serving;
pub mod sets;
pub mod survey;
mod version_order;

pub use anomaly::{Anomaly, Kind, Level};

#[cfg(test)]
mod tests;
