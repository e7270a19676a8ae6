//! The store loop: one task that owns all groups and the log.
//!
//! A turn: take everything queued; step and propose; collect what every group wants to write; append it as *one*
//! batch; *one* sync, if any of it must be durable; only then send what depends on it; apply what is committed;
//! answer. While a sync runs the next turn's work gathers in the inbox, so that load makes batches and not queues of
//! syncs. Each group has at most one Ready outstanding, handled to its end within a turn.
//!
//! An idle store of lone voters does nothing at all: it has no timer.

mod apply;
mod groups;
mod intake;
mod maintenance;
mod peers;
mod removal;
mod replica;
mod round;
mod run;
mod sleep;
mod snapshots;
mod together;

pub(crate) use run::{Driver, Start};
