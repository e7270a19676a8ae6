//! Faults on a real node: what a client was told must hold after processes die, power fails, disks fill and files rot.
//!
//! Everything is judged from outside. The load keeps its own account of what the node acknowledged, what it refused and
//! what was under way when the connection broke; after the fault the tables are read back and compared with it.

pub mod clients;
pub mod crash;
pub mod damage;
pub mod disk_full;
pub mod load;
pub mod loop_fs;
pub mod options;
pub mod order;
pub mod process;
pub mod verify;
pub mod volume;
pub mod wait;

/// What a scenario ends with: a summary, or what went wrong.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
