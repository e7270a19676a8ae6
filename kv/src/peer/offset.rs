//! How far the clocks of peers are from this node's.

/// The clock of a peer, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Its wall clock minus ours.
    pub micros: i64,
    /// The truth is within so much of it.
    pub uncertainty_micros: u64,
}
