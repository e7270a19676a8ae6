//! What a cluster takes: time without answers, time to be whole again, processor time for nothing.

pub mod failover;
mod fill;
pub mod idle;
pub mod recovery;
