//! A randomised model test of MVCC, as a function over any engine, so that every engine crate runs the same one.
//!
//! The driver does random operations of several transactions on the engine and on a [`model`] written for clarity only,
//! and compares every result; at the end it compares reads at every timestamp.

mod driver;
mod model;
mod random;

pub use driver::run_model;
pub use random::Random;

#[cfg(test)]
mod tests {
    use super::run_model;
    use crate::MemoryEngine;

    #[test]
    fn multi_version_concurrency_control_agrees_with_the_model_on_the_memory_engine() {
        for seed in 0..250 {
            run_model(&MemoryEngine::new(), seed, 200);
        }
    }
}
