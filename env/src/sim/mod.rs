//! A simulated environment: one thread, virtual time, seeded choices, files that forget what was not synced, messages
//! that come late or not at all.

mod clock;
mod disk;
mod executor;
mod network;
mod random;

pub use clock::SimNodeClock;
pub use disk::{DiskFault, DiskFaultCounts, InjectedFault, Operation, SimDisk, Tear};
pub use executor::SimExecutor;
pub use network::{LinkFaults, NetworkCounts, Receive, SimNetwork};
pub use random::SimRng;
