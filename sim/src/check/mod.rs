//! What must be true of a run.

pub mod linearizable;
pub mod quiescent;
