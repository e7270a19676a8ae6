//! Replicas: the replicated state of a range, commands, and how commands are applied.

pub mod apply;
#[cfg(test)]
mod closed_tests;
pub mod command;
pub mod descriptor;
mod invariants;
pub mod range_set;
mod snapshot;
pub mod state;
pub mod verify;

pub use basalt_kv_api::wire;

pub use apply::{Applies, CommandOutcome, RangeStates, Rejection};
pub use command::{
    Command, Header, LeaseTrigger, ResolveExtent, ResolveOp, SplitTrigger, StatsDelta, Trigger,
};
pub use descriptor::{AppliedState, Lease, Place, RangeDescriptor};
pub use range_set::RangeSet;
pub use snapshot::families;
pub use state::{LeaseView, Replica, ReplicaState};
