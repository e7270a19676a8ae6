//! Requests for a leaseholder that this node cannot reach, over a third node that can.
//!
//! A way between two nodes may be dead while both are well: the lease stays where it is, because the others still hear its
//! holder. Whoever finds the leaseholder silent asks another replica, which serves the batch if it can by now, and otherwise
//! passes it on, once: an ordinary batch to whom it takes for the leaseholder.
//!
//! Only what was certainly not executed is sent over another way: the leaseholder was silent before the batch left, or the
//! replica that was asked has refused it. Of a batch that was passed on and not answered nothing is known, as of any other
//! whose answer is lost. Nobody takes the node in between for the leaseholder, and its way is tried only while the straight
//! one is dead.

use std::sync::Arc;

use basalt_base::{NodeId, RangeId};
use basalt_kv_api::Error;
use bytes::Bytes;

use super::{
    Located,
    remote::{PeerReply, PeerRequest},
};
use crate::{counts::Counters, peer::CallError, store::Store};

impl Store {
    /// Who is to pass on a batch for `target`, if it is silent: each of the other replicas that are up, in turn.
    pub(super) fn relay_to(&self, located: &Located, target: NodeId, turn: u32) -> Option<NodeId> {
        if self.peers().is_up(target) {
            return None;
        }
        let me = self.ident().node_id;
        let places = located.descriptor.replicas.iter().map(|place| place.node_id);
        let others: Vec<NodeId> =
            places.filter(|node| *node != me && *node != target && self.peers().is_up(*node)).collect();
        others.get(turn as usize % others.len().max(1)).copied()
    }

    /// To whom a batch goes that was refused here. Not to who has asked: that would know.
    pub(super) fn next_hop(&self, range_id: RangeId, from: NodeId, reply: &PeerReply) -> Option<NodeId> {
        if !matches!(reply.result, Err(Error::NotLeaseholder)) {
            return None;
        }
        let replica = self.states.ranges.by_id(range_id)?;
        let holder = self.holder_of(&replica)?;
        (holder != self.ident().node_id && holder != from && self.peers().is_up(holder)).then_some(holder)
    }

    /// Passes a batch on. `refused` is what is answered if it can't be.
    pub(super) async fn pass_on(
        self: &Arc<Self>,
        holder: NodeId,
        range_id: RangeId,
        batch: Bytes,
        refused: PeerReply,
    ) -> Bytes {
        Counters::increment(&self.counters.batches_relayed);
        let request = PeerRequest::Batch { range_id, batch };
        match self.peers().call(holder, request.encode()).await {
            Ok(reply) => reply,
            Err(CallError::NotSent | CallError::Refused(_)) => refused.encode(),
            Err(CallError::Lost) => Bytes::new(),
        }
    }
}
