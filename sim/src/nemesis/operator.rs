//! What an operator does to nodes, and takes back.

use std::time::Duration;

use basalt_base::NodeId;
use basalt_kv::NodeState;

use super::{Nemesis, weather::Kind};

impl Nemesis {
    /// Has a node give up what it serves, as before a stop, and take it up again.
    pub(super) async fn drain(&self, every: Duration) {
        while self.due(Kind::Drain, every).await {
            let node = self.context.cluster.any();
            let (trace, number) = (self.context.trace.clone(), node.number());
            let patience = Duration::from_millis(self.context.below(4_000));
            let drained = node.operate(move |store| Box::pin(async move { store.drain(patience).await }));
            if let Some(drained) = drained
                && let Ok(progress) = drained.await
            {
                trace.line(|| format!("node {number} drains: {progress:?}"));
                let what = if progress.is_done() { "node drained" } else { "node drained in part" };
                self.context.reached.count(what);
            }
            self.wait(every / 4).await;
            if let Some(done) = node.operate(|store| Box::pin(async move { store.undrain() })) {
                // The node may crash meanwhile.
                let _ = done.await;
            }
            trace.line(|| format!("node {number} drains no more"));
        }
    }

    /// Has a node give up its replicas, and thinks better of it.
    pub(super) async fn decommission(&self, every: Duration) {
        while self.due(Kind::Decommission, every).await {
            let number = self.context.cluster.any().number();
            self.decide(number, NodeState::Decommissioning).await;
            self.wait(every).await;
            let is_there = || self.context.cluster.nodes().iter().any(|node| node.number() == number);
            // Until it is decided, unless the node was lost: one more that goes would leave too few.
            while is_there() && !self.decide(number, NodeState::Active).await {
                self.context.cluster.pause().await;
            }
        }
    }

    async fn decide(&self, number: u64, state: NodeState) -> bool {
        let node = self.context.cluster.any();
        let decision = node
            .operate(move |store| Box::pin(async move { store.set_node_state(NodeId(number), state).await }));
        let Some(decision) = decision else { return false };
        let outcome = decision.await;
        self.context.trace.line(|| format!("node {number} is to be {state:?}: {outcome:?}"));
        let decided = matches!(outcome, Ok(Ok(())));
        if decided && state == NodeState::Decommissioning {
            self.context.reached.count("node decommissioned");
        }
        decided
    }
}
