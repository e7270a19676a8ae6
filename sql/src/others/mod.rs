//! Questions to the other nodes about their sessions.
//!
//! What one node does for its clients, only it knows: it is in no store. So whoever wants to know asks all nodes at once,
//! and waits for so long and no longer: a node that is down is not asked, and one that is silent costs [`ask::PATIENCE`].
//! What must be certain does not rest on the answers (see [`crate::cluster`]): they inform people, and carry their wishes.

pub mod answer;
pub mod ask;
mod message;

use basalt_base::NodeId;
use basalt_env::BoxFuture;
use bytes::Bytes;

pub use ask::Answers;
pub use message::{LockInfo, Question};

/// The way to the other nodes.
pub trait Others: Send + Sync {
    /// All that have not been removed from the cluster.
    fn members(&self) -> Vec<NodeId>;
    /// The node's answer ([`answer::answer`]); `None` when there will be none.
    fn ask(&self, node: NodeId, question: Bytes) -> BoxFuture<'_, Option<Bytes>>;
}
