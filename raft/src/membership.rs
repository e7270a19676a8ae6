//! Who belongs to a group.

use basalt_base::ReplicaId;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

/// The configuration of a group, as the state machine stores it beside its applied index.
/// Joint while `voters_outgoing` is not empty: both majorities are needed then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub voters: Vec<ReplicaId>,
    pub learners: Vec<ReplicaId>,
    pub voters_outgoing: Vec<ReplicaId>,
    /// Voters of the outgoing half that become learners when the joint configuration is left.
    pub learners_next: Vec<ReplicaId>,
    pub auto_leave: bool,
}

/// One step of a change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// Receives the log but does not vote. New replicas start here.
    AddLearner(ReplicaId),
    /// Adds a voter or promotes a learner.
    AddVoter(ReplicaId),
    Remove(ReplicaId),
}

impl Membership {
    /// A group of these voters.
    pub fn voters(voters: impl IntoIterator<Item = ReplicaId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether `replica` alone decides, with nobody else to send to.
    pub fn is_alone(&self, replica: ReplicaId) -> bool {
        self.is_sole_voter(replica) && self.learners.is_empty()
    }

    /// Whether `replica` alone decides.
    pub fn is_sole_voter(&self, replica: ReplicaId) -> bool {
        self.voters == [replica] && !self.is_joint()
    }

    pub fn contains(&self, replica: ReplicaId) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next]
            .into_iter()
            .any(|members| members.contains(&replica))
    }

    pub(crate) fn to_conf_state(&self) -> ConfState {
        let ids = |members: &[ReplicaId]| members.iter().map(|member| member.0).collect::<Vec<_>>();
        let mut state = ConfState::default();
        state.set_voters(ids(&self.voters));
        state.set_learners(ids(&self.learners));
        state.set_voters_outgoing(ids(&self.voters_outgoing));
        state.set_learners_next(ids(&self.learners_next));
        state.set_auto_leave(self.auto_leave);
        state
    }

    pub(crate) fn from_conf_state(state: &ConfState) -> Self {
        // Sorted, so that equal configurations are equal bytes on every replica.
        let ids = |members: &[u64]| {
            let mut ids: Vec<_> = members.iter().copied().map(ReplicaId).collect();
            ids.sort_unstable();
            ids
        };
        Self {
            voters: ids(state.get_voters()),
            learners: ids(state.get_learners()),
            voters_outgoing: ids(state.get_voters_outgoing()),
            learners_next: ids(state.get_learners_next()),
            auto_leave: state.get_auto_leave(),
        }
    }
}

/// The Raft form of `changes`. Several of them go through a joint configuration, which the leader leaves explicitly:
/// raft-rs's automatic leave never fires when the leader changes in between.
pub(crate) fn conf_change(changes: &[MembershipChange]) -> ConfChangeV2 {
    let mut conf_change = ConfChangeV2::default();
    let singles: Vec<_> = changes
        .iter()
        .map(|change| {
            let (kind, replica) = match change {
                MembershipChange::AddLearner(replica) => (ConfChangeType::AddLearnerNode, replica),
                MembershipChange::AddVoter(replica) => (ConfChangeType::AddNode, replica),
                MembershipChange::Remove(replica) => (ConfChangeType::RemoveNode, replica),
            };
            let mut single = ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = replica.0;
            single
        })
        .collect();
    if singles.len() > 1 {
        conf_change.set_transition(ConfChangeTransition::Explicit);
    }
    conf_change.set_changes(singles.into());
    conf_change
}
