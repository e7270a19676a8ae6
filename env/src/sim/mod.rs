//! A simulated environment: one thread, virtual time, seeded choices, files that forget what was not synced.

mod disk;
mod executor;
mod random;

pub use disk::{SimDisk, Tear};
pub use executor::SimExecutor;
pub use random::SimRng;
