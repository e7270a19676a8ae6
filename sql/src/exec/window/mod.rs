//! Window functions over one sorted partition, for both executors.
//!
//! An executor sorts and splits partitions its own way and hands them over as argument rows, peers and keys; frames,
//! exclusions and the calls themselves are computed here, so that both give the same values.

mod call;
mod frame;
mod moving;
mod range_offset;

pub use call::WindowColumn;
pub use frame::{FrameSpec, Peers, RangeKeys};
