//! A disk in memory with the crash semantics and the faults of a real one.
//!
//! A write is visible at once and durable after `sync` of its file; a creation, removal or rename is durable after
//! `sync_dir` of its directory. [`SimDisk::crash`] throws the rest away, or, when asked to tear, keeps an arbitrary
//! part of it, sector by sector, because that is what a power cut leaves behind.
//!
//! What a healthy disk never does is injected as a [`DiskFault`]. Each fault counts how often it bit, so that a run can
//! prove that it met what it claims to survive.

mod content;
mod device;
mod directory;
mod fault;
mod file;
#[cfg(test)]
mod tests;

pub use device::{SimDisk, Tear};
pub use fault::{DiskFault, DiskFaultCounts, InjectedFault, Operation};
