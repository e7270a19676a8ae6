//! Questions between the layers above the stores of different nodes, over the calls that stores have anyway.

use std::sync::Arc;

use basalt_base::NodeId;
use basalt_env::BoxFuture;
use bytes::{BufMut, Bytes, BytesMut};

use super::{NodeState, Store};
use crate::{peer::CallError, routing::PeerRequest};

/// Before an answer: an empty one says that nobody was there to give it.
const ANSWERED: u8 = 1;

/// What stands above the store, as other nodes see it.
pub trait Above: Send + Sync {
    /// Answers what the same layer of another node asks. Dropped when whoever asked gives up or is down.
    fn answer(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes>;
}

impl Store {
    /// From now on questions of other nodes are answered. Only the first call counts; `above` must not keep the store alive.
    pub fn answer_with(&self, above: Arc<dyn Above>) {
        let _already = self.above.set(above);
    }

    /// Asks what stands above the store of another node. It waits for as long as that node is up.
    pub async fn ask_above(&self, node: NodeId, request: Bytes) -> Result<Bytes, CallError> {
        let mut answer = self.peers.call(node, PeerRequest::Above(request).encode()).await?;
        match answer.first() {
            Some(&ANSWERED) => Ok(answer.split_off(1)),
            // It starts, or it knows no such questions.
            _ => Err(CallError::Refused("it does not answer such questions yet".to_owned())),
        }
    }

    /// All other nodes that have not been removed from the cluster.
    pub fn other_members(&self) -> Vec<NodeId> {
        self.other_nodes().into_iter().filter(|node| self.state_of(*node) != NodeState::Removed).collect()
    }

    pub(crate) async fn answer_above(&self, from: NodeId, request: Bytes) -> Bytes {
        let Some(above) = self.above.get() else { return Bytes::new() };
        let answer = above.answer(from, request).await;
        let mut out = BytesMut::with_capacity(1 + answer.len());
        out.put_u8(ANSWERED);
        out.put_slice(&answer);
        out.freeze()
    }
}
