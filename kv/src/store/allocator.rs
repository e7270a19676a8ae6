//! Which replicas a range should gain or lose next: a pure function of what is known.
//!
//! Never a step that leaves fewer live voters: new members come in as learners, are filled, and only then get their votes,
//! all at once, in one joint change with the removal of whom they replace. So a range has an odd number of voters before and
//! after: growing from one to three it never has two, who would tolerate less than one.
//!
//! The range's leader never removes itself. Whose node is leaving hands the range over first ([`super::drain`]).

use std::cmp::Reverse;

use basalt_base::{NodeId, ReplicaId};
use basalt_kv_api::Capacity;
use basalt_raft::{LogIndex, Membership};

use crate::replica::{Place, RangeDescriptor, ReplicaState};

/// A node as the allocator sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub node_id: NodeId,
    pub health: Health,
    /// Where it stands, the widest tier first.
    pub locality: Vec<(String, String)>,
    /// Replicas that it has, as far as is known here.
    pub replicas: usize,
    /// Of its store, if it has said.
    pub capacity: Option<Capacity>,
}

impl Candidate {
    pub fn is_live(&self) -> bool {
        self.health == Health::Live
    }

    /// Whether its disk has room for another replica, as far as is known here.
    pub fn has_room(&self) -> bool {
        self.capacity.is_none_or(|capacity| !capacity.is_nearly_full())
    }

    /// Bytes that it could take; as many as one can count while it has not said.
    pub fn available_bytes(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.available_bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Live,
    /// It does not answer, but may come back soon.
    Silent,
    /// It has not answered for so long that its replicas are replaced.
    Dead,
    /// It is about to stop, and will come back: it gets nothing, and keeps what it has.
    Draining,
    /// It is being decommissioned: its replicas move elsewhere.
    Leaving,
}

/// A learner's or voter's place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    pub replica_id: ReplicaId,
    pub matched: LogIndex,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    AddLearner(NodeId),
    /// Gives learners their votes, and takes those of other members.
    Promote {
        learners: Vec<ReplicaId>,
        instead_of: Vec<ReplicaId>,
    },
    Remove(Vec<ReplicaId>),
}

/// Entries by which a learner may lag and still be promoted.
const LAG_MAX: u64 = 64;
/// As many replicas as a decommissioning leaves, if there were as many nodes before: with fewer nodes the last ones stay.
const REPLICAS_KEPT: usize = 3;

/// The next step for a range whose leader is on `me`, if one is due.
pub fn next_step(
    descriptor: &RangeDescriptor,
    membership: &Membership,
    reached: &[Reached],
    last_index: LogIndex,
    nodes: &[Candidate],
    me: NodeId,
    wanted: usize,
) -> Option<Step> {
    if membership.is_joint() {
        return None;
    }
    let health = |replica: ReplicaId| {
        let node_id = descriptor.node_of(replica)?;
        // A node that is not in the directory any more has left.
        Some(nodes.iter().find(|node| node.node_id == node_id).map_or(Health::Dead, |node| node.health))
    };
    let goes = |replica: &ReplicaId| matches!(health(*replica), None | Some(Health::Dead | Health::Leaving));
    let own = descriptor.replica_on(me);
    let voters = &membership.voters;
    let leaving: Vec<ReplicaId> =
        voters.iter().copied().filter(|voter| Some(*voter) != own).filter(goes).collect();
    let target = target(nodes, wanted);
    if let Some(useless) = membership.learners.iter().find(|learner| goes(learner)) {
        return Some(Step::Remove(vec![*useless]));
    }
    let mut needed = (target + leaving.len()).saturating_sub(voters.len());
    let own_goes = own.as_ref().is_some_and(goes);
    if own_goes && leaving.len() + 1 >= voters.len() {
        // There is nobody yet to hand over to.
        needed = needed.max(1);
    }
    if membership.learners.len() < needed
        && let Some(node) = best(descriptor, nodes)
    {
        return Some(Step::AddLearner(node));
    }
    let is_filled = |learner: &ReplicaId| {
        let matched = reached.iter().find(|reached| reached.replica_id == *learner).map(|at| at.matched);
        health(*learner) == Some(Health::Live)
            && matched.is_some_and(|matched| matched > 0 && matched + LAG_MAX >= last_index)
    };
    let excess = |count: usize| if own_goes { 0 } else { count.saturating_sub(target) };
    let removable = || least_useful_first(descriptor, membership, nodes, own, &goes);
    if !membership.learners.is_empty() {
        let filled: Vec<ReplicaId> = membership.learners.iter().copied().filter(is_filled).collect();
        // One that is ready to replace a member does not wait for the others.
        if filled.is_empty() || filled.len() < membership.learners.len() && leaving.is_empty() {
            return None;
        }
        let instead_of: Vec<ReplicaId> =
            removable().into_iter().take(excess(voters.len() + filled.len())).collect();
        let after = voters.len() + filled.len() - instead_of.len();
        // An even number is no better than one less, unless it is on the way to a smaller one.
        let is_better = after % 2 == 1 || after < voters.len() || own_goes;
        return is_better.then_some(Step::Promote { learners: filled, instead_of });
    }
    let surplus: Vec<ReplicaId> = removable().into_iter().take(excess(voters.len())).collect();
    (!surplus.is_empty()).then_some(Step::Remove(surplus))
}

/// Whether a replica of the range, which has as many as it should, may move from one live node to another: where there is
/// room for it, without being in closer company there, and so that the next steps take exactly the one that is meant.
pub fn can_swap(
    state: &ReplicaState,
    nodes: &[Candidate],
    me: NodeId,
    from: NodeId,
    to: NodeId,
    wanted: usize,
) -> bool {
    let (descriptor, membership) = (&state.descriptor, &state.membership);
    let find = |node_id: NodeId| nodes.iter().find(|node| node.node_id == node_id && node.is_live());
    let (Some(leaves), Some(comes)) = (find(from), find(to)) else { return false };
    let Some(leaving) = descriptor.replica_on(from) else { return false };
    let own = descriptor.replica_on(me);
    let is_settled = !membership.is_joint()
        && membership.learners.is_empty()
        && membership.voters.len() == target(nodes, wanted)
        && membership.voters.len() == descriptor.replicas.len();
    let others = descriptor.replicas.iter().filter(|place| place.node_id != from);
    let others: Vec<&Candidate> = others.filter_map(|place| find(place.node_id)).collect();
    let closeness = |node: &Candidate| {
        others.iter().map(|other| shared_tiers(&node.locality, &other.locality)).sum::<usize>()
    };
    let goes = |replica: &ReplicaId| descriptor.node_of(*replica).and_then(find).is_none();
    // Who goes when the new one has come.
    let (mut with_both, mut members) = (RangeDescriptor::clone(descriptor), membership.clone());
    with_both.replicas.push(Place { node_id: to, replica_id: descriptor.next_replica_id });
    members.learners.push(descriptor.next_replica_id);
    let first = least_useful_first(&with_both, &members, nodes, own, &goes).first().copied();
    from != me
        && comes.has_room()
        && descriptor.replica_on(to).is_none()
        && is_settled
        && others.len() + 1 == membership.voters.len()
        && closeness(comes) <= closeness(leaves)
        && first == Some(leaving)
}

/// How many voters a range should have.
///
/// The dead count until they are removed from the cluster: that others have died is no reason to give up replicas. Those who
/// leave do not, but for the last three: with two nodes left there would be one replica.
fn target(nodes: &[Candidate], wanted: usize) -> usize {
    let staying = nodes.iter().filter(|node| node.health != Health::Leaving).count();
    odd(wanted.min(staying)).max(odd(wanted.min(nodes.len())).min(REPLICAS_KEPT))
}

/// Voters but the leader's: those of no use first, then those in the best company.
fn least_useful_first(
    descriptor: &RangeDescriptor,
    membership: &Membership,
    nodes: &[Candidate],
    own: Option<ReplicaId>,
    goes: &impl Fn(&ReplicaId) -> bool,
) -> Vec<ReplicaId> {
    let node_of = |replica: ReplicaId| {
        let node_id = descriptor.node_of(replica)?;
        nodes.iter().find(|node| node.node_id == node_id)
    };
    let use_of = |voter: &ReplicaId| {
        let node = node_of(*voter);
        let others = membership.voters.iter().chain(&membership.learners).filter(|other| *other != voter);
        let closeness = node.map_or(0, |node| {
            let shared = |other: &Candidate| shared_tiers(&node.locality, &other.locality);
            others.filter_map(|other| node_of(*other)).map(shared).sum::<usize>()
        });
        let is_silent = node.is_some_and(|node| node.health == Health::Silent);
        Reverse((goes(voter), is_silent, closeness, node.map_or(0, |node| node.replicas), *voter))
    };
    let mut voters: Vec<ReplicaId> =
        membership.voters.iter().copied().filter(|voter| Some(*voter) != own).collect();
    voters.sort_by_key(use_of);
    voters
}

/// As many replicas as an odd number allows: an even one tolerates no more failures than one less.
fn odd(count: usize) -> usize {
    if count == 0 { 1 } else { count - (count + 1) % 2 }
}

/// The node that should get the next replica: one with room, in a place unlike those of the others, with few replicas; of
/// such the one with the most room.
fn best(descriptor: &RangeDescriptor, nodes: &[Candidate]) -> Option<NodeId> {
    let present: Vec<&Candidate> =
        nodes.iter().filter(|node| descriptor.replica_on(node.node_id).is_some()).collect();
    let candidates = nodes
        .iter()
        .filter(|node| node.is_live() && node.has_room() && descriptor.replica_on(node.node_id).is_none());
    candidates
        .min_by_key(|node| {
            let closeness =
                present.iter().map(|other| shared_tiers(&node.locality, &other.locality)).sum::<usize>();
            (closeness, node.replicas, Reverse(node.available_bytes()), node.node_id)
        })
        .map(|node| node.node_id)
}

/// Tiers that two places have in common, from the widest on.
fn shared_tiers(one: &[(String, String)], other: &[(String, String)]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use basalt_base::{Key, RangeId, Span, Timestamp};

    use super::*;
    use crate::replica::{AppliedState, Lease};

    fn descriptor(nodes: &[u64]) -> RangeDescriptor {
        let place = |node: &u64| Place { node_id: NodeId(*node), replica_id: ReplicaId(10 * node) };
        RangeDescriptor {
            range_id: RangeId(1),
            generation: 1,
            span: Span::new(Key::from_static(b"a"), Key::from_static(b"z")),
            replicas: nodes.iter().map(place).collect(),
            next_replica_id: ReplicaId(1_000),
        }
    }

    fn members(voters: &[u64], learners: &[u64]) -> Membership {
        let ids = |nodes: &[u64]| nodes.iter().map(|node| ReplicaId(10 * node)).collect();
        Membership { voters: ids(voters), learners: ids(learners), ..Membership::default() }
    }

    fn nodes(health: &[(u64, Health)]) -> Vec<Candidate> {
        let node = |(node, health): &(u64, Health)| Candidate {
            node_id: NodeId(*node),
            health: *health,
            locality: vec![("zone".to_owned(), (node % 3).to_string())],
            replicas: 0,
            capacity: None,
        };
        health.iter().map(node).collect()
    }

    fn reached(nodes: &[(u64, LogIndex)]) -> Vec<Reached> {
        nodes
            .iter()
            .map(|(node, matched)| Reached { replica_id: ReplicaId(10 * node), matched: *matched })
            .collect()
    }

    #[test]
    fn each_step_is_the_one_that_is_due() {
        use Health::{Dead, Draining, Leaving, Live, Silent};
        let add = |node| Some(Step::AddLearner(NodeId(node)));
        let ids = |nodes: &[u64]| nodes.iter().map(|node| ReplicaId(10 * node)).collect();
        let promote = |learners: &[u64], instead_of: &[u64]| {
            Some(Step::Promote { learners: ids(learners), instead_of: ids(instead_of) })
        };
        let remove = |nodes: &[u64]| Some(Step::Remove(ids(nodes)));
        type Case<'a> = (&'a [u64], &'a [u64], &'a [(u64, LogIndex)], &'a [(u64, Health)], Option<Step>);
        let three = [(1, Live), (2, Live), (3, Live)];
        let cases: [Case; 26] = [
            // Two nodes can't do better than one.
            (&[1], &[], &[], &[(1, Live), (2, Live)], None),
            // From one to three without two in between: both learners first, filled or not, then both votes at once.
            (&[1], &[], &[], &three, add(2)),
            (&[1], &[2], &[(2, 0)], &three, add(3)),
            (&[1], &[2, 3], &[(2, 990), (3, 0)], &three, None),
            (&[1], &[2, 3], &[(2, 990), (3, 500)], &three, None),
            (&[1], &[2, 3], &[(2, 990), (3, 990)], &three, promote(&[2, 3], &[])),
            (&[1], &[2], &[(2, 990)], &[(1, Live), (2, Live), (3, Silent)], None),
            (&[1, 2], &[], &[], &three, add(3)),
            (&[1, 2], &[3], &[(3, 990)], &three, promote(&[3], &[])),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Live), (3, Live), (4, Live)], None),
            // Silence is waited for, death is not.
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Silent), (3, Live), (4, Live)], None),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Dead), (3, Live), (4, Live)], add(4)),
            (
                &[1, 2, 3],
                &[4],
                &[(4, 990)],
                &[(1, Live), (2, Dead), (3, Live), (4, Live)],
                promote(&[4], &[2]),
            ),
            (&[1, 2, 3], &[4], &[(4, 0)], &[(1, Live), (2, Live), (3, Live), (4, Dead)], remove(&[4])),
            // Who will come back keeps what he has, who leaves does not.
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Draining), (3, Live), (4, Live)], None),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Leaving), (3, Live), (4, Live)], add(4)),
            // There is nowhere to go.
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Leaving), (3, Live)], None),
            // A leader that leaves waits until it can hand over; its range goes elsewhere if it has no other replica.
            (&[1, 2, 3], &[], &[], &[(1, Leaving), (2, Live), (3, Live), (4, Live)], None),
            (&[1], &[], &[], &[(1, Leaving), (2, Live)], add(2)),
            (&[1], &[2], &[(2, 990)], &[(1, Leaving), (2, Live)], promote(&[2], &[])),
            (&[1, 2], &[], &[], &[(1, Leaving), (2, Live)], None),
            (&[1, 2], &[], &[], &[(1, Live), (2, Leaving)], remove(&[2])),
            // Of four, the dead one goes; and without a fourth node, it stays: two of three are a majority still.
            (&[1, 2, 3, 4], &[], &[], &[(1, Live), (2, Live), (3, Dead), (4, Live)], remove(&[3])),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Live), (3, Silent)], None),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Dead), (3, Live)], None),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Dead), (3, Dead)], None),
        ];
        for (voters, learners, matched, health, expected) in cases {
            let all: Vec<u64> = voters.iter().chain(learners).copied().collect();
            let step = next_step(
                &descriptor(&all),
                &members(voters, learners),
                &reached(matched),
                1_000,
                &nodes(health),
                NodeId(1),
                3,
            );
            assert_eq!(step, expected, "voters {voters:?}, learners {learners:?}, nodes {health:?}");
        }
    }

    #[test]
    fn five_replicas_become_three_in_one_change() {
        let nodes = nodes(&[
            (1, Health::Live),
            (2, Health::Live),
            (3, Health::Leaving),
            (4, Health::Live),
            (5, Health::Live),
        ]);
        let all = [1, 2, 3, 4, 5];
        let step =
            next_step(&descriptor(&all), &members(&all, &[]), &[], 1_000, &nodes, NodeId(1), 5).unwrap();
        // Nodes 1 and 4 share a zone, and so do 2 and 5.
        assert_eq!(step, Step::Remove(vec![ReplicaId(30), ReplicaId(50)]));
    }

    #[test]
    fn replicas_spread_over_localities() {
        // Node 4 shares its zone with node 1.
        let nodes = nodes(&[(1, Health::Live), (4, Health::Live), (2, Health::Live)]);
        assert_eq!(best(&descriptor(&[1]), &nodes), Some(NodeId(2)));
    }

    #[test]
    fn replicas_go_where_there_is_room() {
        let store =
            |used_bytes, available_bytes| Some(Capacity { size_bytes: 1_000, available_bytes, used_bytes });
        let mut nodes = nodes(&[1, 2, 3, 4, 5].map(|node| (node, Health::Live)));
        for node in &mut nodes {
            node.locality = Vec::new();
        }
        let here = descriptor(&[1]);
        for (capacities, expected) in [
            // The most room, of those that are as good otherwise.
            ([store(10, 500), store(10, 600), store(500, 600), store(10, 30)], Some(3)),
            // Whoever has not said is believed to have it.
            ([store(10, 500), None, store(10, 900), None], Some(3)),
            ([store(960, 40), store(10, 1), store(10, 2), store(1, 0)], Some(4)),
            ([store(960, 40), store(960, 40), store(960, 40), store(1, 0)], None),
        ] {
            for (node, capacity) in nodes[1..].iter_mut().zip(capacities) {
                node.capacity = capacity;
            }
            assert_eq!(best(&here, &nodes), expected.map(NodeId), "{capacities:?}");
        }
        // A range keeps what it has on a full node, and what is needed elsewhere does not go there.
        let three = members(&[1, 2, 3], &[]);
        let step =
            |nodes: &[Candidate]| next_step(&descriptor(&[1, 2, 3]), &three, &[], 1_000, nodes, NodeId(1), 3);
        assert_eq!(step(&nodes), None);
        nodes[1].health = Health::Dead;
        assert_eq!(step(&nodes), None);
        nodes[4].capacity = store(1, 20);
        assert_eq!(step(&nodes), Some(Step::AddLearner(NodeId(5))));
        // Few replicas count for more than much room.
        nodes[3].capacity = store(1, 900);
        nodes[3].replicas = 1;
        assert_eq!(step(&nodes), Some(Step::AddLearner(NodeId(5))));
    }

    #[test]
    fn replicas_do_not_move_to_a_full_node() {
        let mut nodes = nodes(&[1, 2, 3, 4].map(|node| (node, Health::Live)));
        for node in &mut nodes {
            node.locality = Vec::new();
        }
        // The one that goes is that of the node with the most replicas.
        nodes[1].replicas = 5;
        let state = ReplicaState {
            replica_id: ReplicaId(10),
            descriptor: Arc::new(descriptor(&[1, 2, 3])),
            membership: members(&[1, 2, 3], &[]),
            lease: Lease::default(),
            gc_threshold: Timestamp::ZERO,
            applied: AppliedState::default(),
        };
        assert!(can_swap(&state, &nodes, NodeId(1), NodeId(2), NodeId(4), 3));
        nodes[3].capacity = Some(Capacity { size_bytes: 100, available_bytes: 4, used_bytes: 96 });
        assert!(!can_swap(&state, &nodes, NodeId(1), NodeId(2), NodeId(4), 3));
    }
}
