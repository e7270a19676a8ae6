//! Which replica a range should gain or lose next: a pure function of what is known.
//!
//! One step at a time, and never one that leaves fewer live voters: new members come in as learners, are filled, and only
//! then get a vote, in one joint change with the removal of whom they replace.

use basalt_base::{NodeId, ReplicaId};
use basalt_raft::{LogIndex, Membership};

use crate::replica::RangeDescriptor;

/// A node as the allocator sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub node_id: NodeId,
    pub health: Health,
    /// Where it stands, the widest tier first.
    pub locality: Vec<(String, String)>,
    /// Replicas that it has, as far as is known here.
    pub replicas: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Live,
    /// It does not answer, but may come back soon.
    Silent,
    /// It has not answered for so long that its replicas are replaced.
    Dead,
    /// It is about to leave: its replicas move elsewhere.
    Draining,
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
    /// Gives a learner its vote, and takes that of another member.
    Promote {
        learner: ReplicaId,
        instead_of: Option<ReplicaId>,
    },
    Remove(ReplicaId),
}

/// Entries by which a learner may lag and still be promoted.
const LAG_MAX: u64 = 64;

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
    let is_leaving =
        |replica: &ReplicaId| matches!(health(*replica), None | Some(Health::Dead | Health::Draining));
    let own = descriptor.replica_on(me);
    let leaving = membership.voters.iter().copied().filter(|voter| Some(*voter) != own).find(is_leaving);
    // The dead count until they are removed from the cluster: that others have died is no reason to give up replicas.
    let usable = nodes.iter().filter(|node| node.health != Health::Draining).count();
    let target = odd(wanted.min(usable));
    // One at a time: the next is added when this one has its vote or is gone.
    if let Some(learner) = membership.learners.first() {
        return match health(*learner) {
            Some(Health::Live) => {
                let matched = reached.iter().find(|reached| reached.replica_id == *learner)?.matched;
                if matched == 0 || matched + LAG_MAX < last_index {
                    // It is being filled.
                    return None;
                }
                let instead_of = leaving.filter(|_| membership.voters.len() + 1 > target);
                Some(Step::Promote { learner: *learner, instead_of })
            }
            Some(Health::Silent) => None,
            _ => Some(Step::Remove(*learner)),
        };
    }
    let is_short = membership.voters.len() < target || leaving.is_some();
    if is_short && let Some(node) = best(descriptor, nodes) {
        return Some(Step::AddLearner(node));
    }
    if membership.voters.len() > target {
        // One that is of no use goes first, then the one in the best company; the leader stays.
        let least_useful =
            membership.voters.iter().copied().filter(|voter| Some(*voter) != own).max_by_key(|voter| {
                let node_id = descriptor.node_of(*voter);
                let node = nodes.iter().find(|node| Some(node.node_id) == node_id);
                (
                    is_leaving(voter),
                    health(*voter) == Some(Health::Silent),
                    node.map_or(0, |node| node.replicas),
                )
            });
        return least_useful.map(Step::Remove);
    }
    None
}

/// As many replicas as an odd number allows: an even one tolerates no more failures than one less.
fn odd(count: usize) -> usize {
    if count == 0 { 1 } else { count - (count + 1) % 2 }
}

/// The node that should get the next replica: in a place unlike those of the others, and with few replicas.
fn best(descriptor: &RangeDescriptor, nodes: &[Candidate]) -> Option<NodeId> {
    let present: Vec<&Candidate> =
        nodes.iter().filter(|node| descriptor.replica_on(node.node_id).is_some()).collect();
    let candidates = nodes
        .iter()
        .filter(|node| node.health == Health::Live && descriptor.replica_on(node.node_id).is_none());
    candidates
        .min_by_key(|node| {
            let closeness =
                present.iter().map(|other| shared_tiers(&node.locality, &other.locality)).sum::<usize>();
            (closeness, node.replicas, node.node_id)
        })
        .map(|node| node.node_id)
}

/// Tiers that two places have in common, from the widest on.
fn shared_tiers(one: &[(String, String)], other: &[(String, String)]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use basalt_base::{Key, RangeId, Span};

    use super::*;
    use crate::replica::Place;

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
        use Health::{Dead, Draining, Live, Silent};
        let add = |node| Some(Step::AddLearner(NodeId(node)));
        let promote = |node: u64, instead_of: Option<u64>| {
            let instead_of = instead_of.map(|node| ReplicaId(10 * node));
            Some(Step::Promote { learner: ReplicaId(10 * node), instead_of })
        };
        let remove = |node: u64| Some(Step::Remove(ReplicaId(10 * node)));
        type Case<'a> = (&'a [u64], &'a [u64], &'a [(u64, LogIndex)], &'a [(u64, Health)], Option<Step>);
        let cases: [Case; 16] = [
            // Two nodes can't do better than one.
            (&[1], &[], &[], &[(1, Live), (2, Live)], None),
            (&[1], &[], &[], &[(1, Live), (2, Live), (3, Live)], add(2)),
            // Filled or not.
            (&[1], &[2], &[(2, 0)], &[(1, Live), (2, Live), (3, Live)], None),
            (&[1], &[2], &[(2, 500)], &[(1, Live), (2, Live), (3, Live)], None),
            (&[1], &[2], &[(2, 990)], &[(1, Live), (2, Live), (3, Live)], promote(2, None)),
            (&[1, 2], &[], &[], &[(1, Live), (2, Live), (3, Live)], add(3)),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Live), (3, Live), (4, Live)], None),
            // Silence is waited for, death is not.
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Silent), (3, Live), (4, Live)], None),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Dead), (3, Live), (4, Live)], add(4)),
            (
                &[1, 2, 3],
                &[4],
                &[(4, 990)],
                &[(1, Live), (2, Dead), (3, Live), (4, Live)],
                promote(4, Some(2)),
            ),
            (&[1, 2, 3], &[4], &[(4, 0)], &[(1, Live), (2, Live), (3, Live), (4, Dead)], remove(4)),
            (&[1, 2, 3], &[], &[], &[(1, Live), (2, Draining), (3, Live), (4, Live)], add(4)),
            // Of four, the dead one goes; and without a fourth node, it stays: two of three are a majority still.
            (&[1, 2, 3, 4], &[], &[], &[(1, Live), (2, Live), (3, Dead), (4, Live)], remove(3)),
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
    fn replicas_spread_over_localities() {
        // Node 4 shares its zone with node 1.
        let nodes = nodes(&[(1, Health::Live), (4, Health::Live), (2, Health::Live)]);
        assert_eq!(best(&descriptor(&[1]), &nodes), Some(NodeId(2)));
    }
}
