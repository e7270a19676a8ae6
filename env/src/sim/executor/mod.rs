//! One thread that runs all tasks of all simulated nodes, in an order drawn from the seed, on virtual time.
//!
//! Time moves only when no task can run: to the next timer. So a simulated second costs nothing, and a run is a
//! function of its seed. Timers that are due at one instant all fire before a task runs, so that what they start races.

mod schedule;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;

pub use schedule::SimExecutor;
