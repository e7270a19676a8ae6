//! Ranges: the leaseholder side of a store.
//!
//! See `README.md` for the numbered invariants and the path of a request. Start reading at [`store::Store`], then
//! `store/execute.rs`, which is that path.

pub mod concurrency;
mod config;
mod counts;
pub mod evaluate;
pub mod peer;
pub mod replica;
mod routing;
pub mod store;

#[cfg(test)]
mod tests;

pub use config::{RANGE_BYTES_MIN, StoreConfig};
pub use counts::KvCounts;
pub use peer::PeerConfig;
pub use routing::LocalSender;
pub use store::{
    Above, ClusterRange, DrainProgress, LeaveProgress, Network, NodeLoad, NodeState, RangeInfo, ReplicaInfo,
    Store, StoreLog,
};
