//! A network between simulated nodes.
//!
//! A message takes the time that the faults of its link and the seed say, then the receiver's function is called with
//! it. Between the two it can be lost, doubled or overtaken, and the link can be cut: the layers above must not believe
//! that what was sent arrives, and the counters prove that a run has made them doubt it.
//!
//! A receiver that connects again is a new process: what was under way to the old one is lost with it. What a dead
//! sender has sent still arrives.

mod fabric;
mod link;
mod partition;
#[cfg(test)]
mod tests;

pub use fabric::{NetworkCounts, Receive, SimNetwork};
pub use link::LinkFaults;
