//! What must hold whenever a command is applied, whoever has made it.
//!
//! None of this can fail unless a rule further up is broken already. A replica that finds it broken stops its node: whatever
//! it made of the entry, nobody could say that it is what the others have. Every check compares numbers that are at hand;
//! what must look into the data is in [`super::verify`], for simulations.

use basalt_base::RangeId;
use basalt_raft::{Error, LogEntry, Membership, Result};

use super::{
    descriptor::{AppliedState, Lease, RangeDescriptor},
    state::Replica,
};

pub(super) fn broken(range_id: RangeId, what: impl std::fmt::Display) -> Error {
    Error::Invariant(format!("range {range_id}: {what}"))
}

/// Entries are applied one after the other, and terms never fall.
pub(super) fn follows(range_id: RangeId, before: &AppliedState, entry: &LogEntry) -> Result<()> {
    if entry.index == before.index + 1 && entry.term >= before.term {
        return Ok(());
    }
    let (index, term) = (entry.index, entry.term);
    Err(broken(
        range_id,
        format_args!(
            "entry {index} of term {term} is applied behind {} of term {}",
            before.index, before.term
        ),
    ))
}

/// Every member is somewhere, and a new one has an id that none had before.
pub(super) fn members(old: &RangeDescriptor, new: &RangeDescriptor, membership: &Membership) -> Result<()> {
    let is_known = |place: &super::Place| old.replicas.contains(place);
    if let Some(place) =
        new.replicas.iter().find(|place| !is_known(place) && place.replica_id < old.next_replica_id)
    {
        return Err(broken(
            old.range_id,
            format_args!(
                "replica id {} is given out again, to node {}, though {} is the next",
                place.replica_id, place.node_id, old.next_replica_id
            ),
        ));
    }
    let members = [&membership.voters, &membership.learners, &membership.voters_outgoing];
    match members.into_iter().flatten().find(|member| new.node_of(**member).is_none()) {
        Some(member) => Err(broken(old.range_id, format_args!("its member {member} is on no node"))),
        None => Ok(()),
    }
}

/// The halves of a split are the whole, and newer than it.
pub(super) fn halves(whole: &RangeDescriptor, left: &RangeDescriptor, right: &RangeDescriptor) -> Result<()> {
    let tile = left.span.start == whole.span.start
        && left.span.end == right.span.start
        && right.span.end == whole.span.end
        && left.span.start < left.span.end
        && right.span.start < right.span.end;
    let newer = left.generation > whole.generation && right.generation > whole.generation;
    if tile && newer && left.range_id == whole.range_id && right.range_id != whole.range_id {
        return Ok(());
    }
    Err(broken(whole.range_id, format_args!("{whole:?} is split into {left:?} and {right:?}")))
}

/// Another lease begins above everything that this process has served under those before: no two leases are ever served
/// under at one timestamp.
pub(super) fn succession(replica: &Replica, old: &Lease, new: &Lease) -> Result<()> {
    let served = replica.highest_served();
    if new.sequence == old.sequence || new.start > served {
        return Ok(());
    }
    Err(broken(
        replica.range_id,
        format_args!(
            "lease {} of node {} begins at {}, but up to {served} was served here under lease {} of node {}",
            new.sequence, new.node_id, new.start, old.sequence, old.node_id
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use basalt_base::{Key, NodeId, ReplicaId, Span, Timestamp};
    use bytes::Bytes;

    use super::*;
    use crate::replica::{Place, ReplicaState};

    fn place(id: u64) -> Place {
        Place { node_id: NodeId(id), replica_id: ReplicaId(id) }
    }

    fn descriptor(range_id: u64, generation: u64, start: &'static str, end: &'static str) -> RangeDescriptor {
        RangeDescriptor {
            range_id: RangeId(range_id),
            generation,
            span: Span::new(Key::from_static(start.as_bytes()), Key::from_static(end.as_bytes())),
            replicas: vec![place(1), place(2)],
            next_replica_id: ReplicaId(4),
        }
    }

    fn message(result: Result<()>) -> String {
        result.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn entries_follow_each_other() {
        let before = AppliedState { index: 7, term: 3, ..AppliedState::default() };
        for (index, term, holds) in [(8, 3, true), (8, 4, true), (7, 3, false), (9, 3, false), (8, 2, false)]
        {
            let entry = LogEntry { index, term, command: Bytes::new(), membership: None };
            assert_eq!(follows(RangeId(1), &before, &entry).is_ok(), holds, "{index} {term}");
        }
    }

    #[test]
    fn an_id_of_a_replica_is_given_out_once_and_members_have_places() {
        let old = descriptor(1, 5, "a", "m");
        let learner = |id| Membership {
            learners: vec![ReplicaId(id)],
            ..Membership::voters([ReplicaId(1), ReplicaId(2)])
        };
        let with = |id: u64, added: &[Place]| {
            message(members(&old, &old.with_members(&learner(id), added), &learner(id)))
        };
        assert_eq!(with(4, &[place(4)]), "");
        assert_eq!(with(9, &[place(9)]), "");
        // Replica 3 was here once.
        assert!(with(3, &[place(3)]).contains("given out again"));
        // The id of a member, on another node.
        let elsewhere = Place { node_id: NodeId(7), replica_id: ReplicaId(2) };
        let mut moved = old.clone();
        moved.replicas[1] = elsewhere;
        assert!(message(members(&old, &moved, &learner(1))).contains("given out again"));
        assert!(with(4, &[]).contains("is on no node"));
    }

    #[test]
    fn halves_tile_the_whole_and_are_newer() {
        let whole = descriptor(1, 5, "a", "m");
        let cases = [
            (descriptor(1, 6, "a", "f"), descriptor(2, 6, "f", "m"), true),
            (descriptor(1, 6, "a", "f"), descriptor(2, 6, "g", "m"), false),
            (descriptor(1, 6, "a", "f"), descriptor(2, 6, "e", "m"), false),
            (descriptor(1, 6, "a", "f"), descriptor(2, 6, "f", "l"), false),
            (descriptor(1, 6, "b", "f"), descriptor(2, 6, "f", "m"), false),
            (descriptor(1, 6, "a", "m"), descriptor(2, 6, "m", "m"), false),
            (descriptor(1, 5, "a", "f"), descriptor(2, 6, "f", "m"), false),
            (descriptor(1, 6, "a", "f"), descriptor(2, 5, "f", "m"), false),
            (descriptor(1, 6, "a", "f"), descriptor(1, 6, "f", "m"), false),
        ];
        for (left, right, holds) in cases {
            assert_eq!(halves(&whole, &left, &right).is_ok(), holds, "{left:?} {right:?}");
        }
    }

    #[test]
    fn a_lease_begins_above_what_was_served_under_the_one_before() {
        let at = |ms| Timestamp::from_parts(ms, 0);
        let old = Lease {
            sequence: 3,
            node_id: NodeId(1),
            incarnation: 1,
            start: at(1_000),
            expiration: at(3_000),
        };
        let state = ReplicaState {
            replica_id: ReplicaId(1),
            descriptor: Arc::new(descriptor(1, 5, "a", "m")),
            lease: old,
            gc_threshold: Timestamp::ZERO,
            applied: AppliedState::default(),
            membership: Membership::voters([ReplicaId(1), ReplicaId(2)]),
        };
        let replica = Replica::new(state);
        assert!(replica.lease_view(NodeId(1), 1, at(2_000), 250).is_some());
        let next = |sequence, start| {
            let new = Lease { sequence, node_id: NodeId(2), start, ..old };
            message(succession(&replica, &old, &new))
        };
        assert_eq!(next(4, at(2_001)), "");
        assert!(next(4, at(2_000)).contains("was served here"));
        assert_eq!(next(3, at(1_000)), "", "an extension");
    }
}
