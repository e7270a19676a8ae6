//! Keeping as many replicas of each range as are wanted: the leaseholder's work.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use basalt_base::{NodeId, ReplicaId};
use basalt_env::Env;
use basalt_kv_api::{Error, Result};
use basalt_raft::{Membership, MembershipChange};

use super::{
    NodeState, Store,
    allocator::{Candidate, Health, Reached, Step, next_step},
    open::alive,
    proposal::raft_error,
};
use crate::{
    counts::Counters,
    replica::{Command, Header, Place, Replica, Trigger},
};

/// Rounds between two looks for records that nobody takes care of.
const ADOPT_EVERY: u64 = 10;
/// Rounds between two looks for locks that nobody meets.
const SWEEP_EVERY: u64 = 10;
/// Rounds between two looks at what was decided about nodes.
const NODE_STATES_EVERY: u64 = 60;

impl Store {
    pub(super) async fn run_replicate(store: Weak<Self>, env: Env) {
        let Some(interval) = alive(&store).map(|store| store.config.replicate_interval) else { return };
        for round in 1_u64.. {
            env.spawner.sleep(interval).await;
            let Some(store) = alive(&store) else { return };
            if round.is_multiple_of(SWEEP_EVERY) {
                store.sweep_locks().await;
            }
            if store.directory.nodes().len() < 2 {
                continue;
            }
            // There are peers now, if there were none at the start.
            store.limit_lag();
            store.watch_steps();
            store.note_who_is_up();
            if round.is_multiple_of(ADOPT_EVERY) {
                store.adopt_led().await;
            }
            let never = !store.knows_node_states() && round.is_multiple_of(5);
            if never || round.is_multiple_of(NODE_STATES_EVERY) {
                // Beside the rest: it may wait for a range that nobody serves.
                let task = Arc::clone(&store);
                let task = async move {
                    if let Err(error) = task.reload_node_states().await {
                        tracing::debug!(%error, "what was decided about nodes could not be read");
                    }
                };
                env.spawner.spawn("kv node states", Box::pin(task));
            }
            let nodes = store.candidates();
            for replica in store.states.ranges.all() {
                // Idle ranges, too, of which nobody has the lease.
                if !store.leads(&replica) {
                    continue;
                }
                if let Err(error) = store.replicate(&replica, &nodes).await {
                    tracing::debug!(range = %replica.range_id, %error, "its replicas stay as they are");
                }
            }
        }
    }

    /// All nodes and how they are.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut replicas: BTreeMap<NodeId, usize> = BTreeMap::new();
        for replica in self.states.ranges.all() {
            for place in &replica.descriptor().replicas {
                *replicas.entry(place.node_id).or_default() += 1;
            }
        }
        let candidate = |node: basalt_kv_api::NodeInfo| {
            let is_up = node.node_id == self.ident.node_id || self.peers.is_up(node.node_id);
            let state = self.state_of(node.node_id);
            let is_draining = node.draining
                || self.is_told_closed(node.node_id)
                || node.node_id == self.ident.node_id && self.is_draining();
            let health = if state == NodeState::Decommissioning {
                Health::Leaving
            } else if is_up {
                if is_draining { Health::Draining } else { Health::Live }
            } else if self.silent_for(node.node_id) > self.config.dead_after {
                Health::Dead
            } else {
                Health::Silent
            };
            let known = replicas.get(&node.node_id).copied().unwrap_or(0);
            let replicas = self.replicas_told(node.node_id).unwrap_or(known);
            let (locality, capacity) = (node.locality, node.capacity);
            Candidate { node_id: node.node_id, health, locality, replicas, capacity }
        };
        let nodes = self.directory.nodes().into_iter();
        nodes.filter(|node| self.state_of(node.node_id) != NodeState::Removed).map(candidate).collect()
    }

    fn note_who_is_up(&self) {
        let now = self.env.clock.monotonic();
        let mut seen = self.seen_up.lock();
        for node in self.other_nodes() {
            if self.peers.is_up(node) {
                seen.insert(node, now);
            }
        }
    }

    /// How long a node was not seen up; at most as long as this process has looked. That it has just begun again counts
    /// as much as that it goes on.
    fn silent_for(&self, node_id: NodeId) -> std::time::Duration {
        let since = self.seen_up.lock().get(&node_id).copied().unwrap_or(self.started);
        self.env.clock.monotonic().saturating_sub(since)
    }

    async fn replicate(self: &Arc<Self>, replica: &Arc<Replica>, nodes: &[Candidate]) -> Result<()> {
        let state = replica.state();
        let (descriptor, membership) = (state.descriptor, state.membership);
        let Some(status) = self.raft().status(replica.range_id) else { return Ok(()) };
        let progress = self.raft().progress(replica.range_id).unwrap_or_default();
        let reached: Vec<Reached> = progress
            .iter()
            .map(|progress| Reached { replica_id: progress.replica_id, matched: progress.matched })
            .collect();
        let wanted = self.config.replicas_wanted;
        let step = next_step(
            &descriptor,
            &membership,
            &reached,
            status.last_index,
            nodes,
            self.ident.node_id,
            wanted,
        );
        if step.is_some() {
            self.ensure_lease(replica).await?;
        }
        match step {
            None => Ok(()),
            Some(Step::AddLearner(_)) if self.is_too_large(replica) => {
                // A copy of it could not be sent.
                self.note_growth(replica);
                Ok(())
            }
            Some(Step::AddLearner(node_id)) => self.add_learner(replica, node_id).await,
            Some(Step::Promote { learners, instead_of }) => {
                self.limit_lease(replica).await?;
                let (added, removed) = (learners.len(), instead_of.len());
                let mut changes: Vec<_> = learners.into_iter().map(MembershipChange::AddVoter).collect();
                changes.extend(instead_of.into_iter().map(MembershipChange::Remove));
                self.change_members(replica, membership, changes, Vec::new()).await?;
                Counters::add(&self.counters.replicas_added, added);
                Counters::add(&self.counters.replicas_removed, removed);
                Ok(())
            }
            Some(Step::Remove(gone)) => {
                let removed = gone.len();
                let changes = gone.into_iter().map(MembershipChange::Remove).collect();
                self.change_members(replica, membership, changes, Vec::new()).await?;
                Counters::add(&self.counters.replicas_removed, removed);
                Ok(())
            }
        }
    }

    /// Adds a replica without a vote; the next steps give it one.
    pub(super) async fn add_learner(self: &Arc<Self>, replica: &Arc<Replica>, node_id: NodeId) -> Result<()> {
        self.ensure_lease(replica).await?;
        // Somebody else could lead, so somebody else must be able to get the lease.
        self.limit_lease(replica).await?;
        // Of one moment: the next id of a replica goes with the members.
        let state = replica.state();
        if state.descriptor.replica_on(node_id).is_some() {
            return Ok(());
        }
        let place = Place { node_id, replica_id: state.descriptor.next_replica_id };
        self.wires.note(replica.range_id, place.replica_id, node_id);
        let change = vec![MembershipChange::AddLearner(place.replica_id)];
        self.change_members(replica, state.membership, change, vec![place]).await
    }

    /// Changes the members of the group from what they were when that was decided. Whatever becomes of the lease meanwhile,
    /// descriptor and membership agree.
    async fn change_members(
        &self,
        replica: &Replica,
        from: Membership,
        changes: Vec<MembershipChange>,
        places: Vec<Place>,
    ) -> Result<()> {
        if let Some(place) = places.first()
            && place.replica_id < ReplicaId(1)
        {
            return Err(Error::Internal("replica ids begin at one".to_owned()));
        }
        let state = replica.state();
        let header = Header {
            lease_sequence: state.lease.sequence,
            generation: state.descriptor.generation,
            ..Header::default()
        };
        let command = Command { header, trigger: Trigger::Replicas(places), ..Command::default() };
        tracing::info!(range = %replica.range_id, ?changes, "changing replicas");
        let proposal = self.raft().change_membership_from(replica.range_id, from, changes, command.encode());
        let patience = self.env.spawner.sleep(self.config.proposal_patience);
        tokio::select! {
            biased;
            outcome = proposal => outcome.map(drop).map_err(raft_error),
            () = patience => Err(Error::Unavailable("the range does not decide".to_owned())),
        }
    }
}
