//! Stores on the simulated environment: real log, real loop, memory engine.

mod concurrency;
pub mod fixture;
mod groups;
mod large;
mod maintenance;
mod ranges;
mod recovery;
mod staging;
mod together;
mod transactions;
