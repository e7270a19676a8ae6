//! What becomes of writes where a range was closed to them.

use std::sync::Arc;

use basalt_base::{NodeId, RangeId, ReplicaId, Span, Timestamp};
use basalt_raft::{LogEntry, LogIndex, Membership, StateMachine};
use basalt_storage::{Family, MemoryEngine, WriteBatch};
use bytes::Bytes;

use super::{
    AppliedState, Command, CommandOutcome, Header, Lease, LeaseTrigger, Place, RangeDescriptor, RangeStates,
    Rejection, ReplicaState, SplitTrigger, Trigger, state::Past,
};

const RANGE: RangeId = RangeId(1);
const RIGHT: RangeId = RangeId(2);

fn places() -> Vec<Place> {
    (1..=3).map(|id| Place { node_id: NodeId(id), replica_id: ReplicaId(id) }).collect()
}

fn descriptor(
    range_id: RangeId,
    generation: u64,
    start: &'static [u8],
    end: &'static [u8],
) -> RangeDescriptor {
    let span = Span::new(Bytes::from_static(start), Bytes::from_static(end));
    RangeDescriptor { range_id, generation, span, replicas: places(), next_replica_id: ReplicaId(4) }
}

fn empty() -> RangeStates {
    RangeStates::load(Arc::new(MemoryEngine::new()), true).unwrap()
}

/// A replica of a range of three, under a lease that began at 5.
struct Fixture {
    states: RangeStates,
    next: LogIndex,
    sequence: u64,
    generation: u64,
}

impl Fixture {
    fn new() -> Self {
        let states = empty();
        let state = ReplicaState {
            replica_id: ReplicaId(1),
            descriptor: Arc::new(descriptor(RANGE, 1, b"a", b"z")),
            lease: lease(1, 1, 5),
            gc_threshold: Timestamp::ZERO,
            applied: AppliedState { index: 10, term: 5, ..AppliedState::default() },
            membership: Membership::voters([ReplicaId(1), ReplicaId(2), ReplicaId(3)]),
        };
        states.create(state, WriteBatch::new()).unwrap();
        Self { states, next: 11, sequence: 1, generation: 1 }
    }

    fn header(&self, write_ts: u64, closed_ts: u64) -> Header {
        Header {
            lease_sequence: self.sequence,
            generation: self.generation,
            write_ts: Timestamp(write_ts),
            closed_ts: Timestamp(closed_ts),
        }
    }

    fn apply(&mut self, command: &Command) -> Option<Rejection> {
        let entry = LogEntry { index: self.next, term: 5, command: command.encode(), membership: None };
        self.next += 1;
        let applied = self.states.apply(RANGE, &[entry]).unwrap().remove(0);
        applied.outcome.unwrap().downcast::<CommandOutcome>().unwrap().rejected
    }

    /// A put at a timestamp.
    fn write(&mut self, write_ts: u64, closed_ts: u64) -> Option<Rejection> {
        let mut batch = WriteBatch::new();
        batch.put(Family::Data, Bytes::copy_from_slice(&write_ts.to_be_bytes()), &b"v"[..]);
        self.apply(&Command { header: self.header(write_ts, closed_ts), batch, ..Command::default() })
    }

    fn closed(&self, range_id: RangeId) -> u64 {
        let in_memory = self.states.ranges.by_id(range_id).unwrap().applied().closed_ts;
        let stored = Past::load(&*self.states.engine, range_id).unwrap().unwrap().closed_ts;
        assert_eq!(in_memory, stored);
        in_memory.0
    }
}

fn lease(sequence: u64, node: u64, start: u64) -> Lease {
    Lease {
        sequence,
        node_id: NodeId(node),
        incarnation: 1,
        start: Timestamp(start),
        expiration: Timestamp(start + 100),
    }
}

#[test]
fn nothing_is_written_where_the_range_is_closed() {
    let mut fixture = Fixture::new();
    for (write_ts, closed_ts, rejected, closed) in [
        (6, 0, None, 0),
        // Closed above its own write: that is about those that follow.
        (7, 10, None, 10),
        (10, 30, Some(Rejection::Closed), 10),
        (11, 8, None, 10),
        (20, 20, None, 20),
        (12, 0, Some(Rejection::Closed), 20),
        // Without a version.
        (0, 25, None, 25),
    ] {
        assert_eq!(fixture.write(write_ts, closed_ts), rejected, "{write_ts}");
        assert_eq!(fixture.closed(RANGE), closed, "{write_ts}");
    }
    let stored = |at: u64| fixture.states.engine.get(Family::Data, &at.to_be_bytes()).unwrap().is_some();
    assert_eq!([6, 7, 10, 11, 20, 12].map(stored), [true, true, false, true, true, false]);
    // Of another lease.
    fixture.sequence = 7;
    assert_eq!(fixture.write(50, 40), Some(Rejection::Lease));
    assert_eq!(fixture.closed(RANGE), 25);
}

#[test]
fn what_is_closed_stays_closed_under_other_leases_in_both_halves_and_in_copies() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.write(30, 20), None);
    let replaces = lease(1, 1, 5).expiration;
    let trigger = LeaseTrigger { lease: lease(2, 2, 200), replaces, ..LeaseTrigger::default() };
    let header = fixture.header(0, 0);
    assert_eq!(
        fixture.apply(&Command { header, trigger: Trigger::Lease(trigger), ..Command::default() }),
        None
    );
    fixture.sequence = 2;
    assert_eq!(fixture.closed(RANGE), 200);
    assert_eq!(fixture.write(200, 0), Some(Rejection::Closed));
    assert_eq!(fixture.write(201, 210), None);
    let split = SplitTrigger {
        left: descriptor(RANGE, 2, b"a", b"m"),
        right: descriptor(RIGHT, 2, b"m", b"z"),
        right_bytes: 0,
        right_garbage: 0,
    };
    let header = fixture.header(0, 220);
    assert_eq!(
        fixture.apply(&Command { header, trigger: Trigger::Split(split), ..Command::default() }),
        None
    );
    assert_eq!((fixture.closed(RANGE), fixture.closed(RIGHT)), (220, 220));
    assert_eq!(fixture.states.ranges.by_id(RIGHT).unwrap().promised(), Timestamp(220));
    let copy = fixture.states.snapshot(RIGHT).unwrap();
    let elsewhere = empty();
    elsewhere.install_snapshot(RIGHT, ReplicaId(2), &copy).unwrap();
    let copied = elsewhere.ranges.by_id(RIGHT).unwrap();
    assert_eq!((copied.applied().closed_ts, copied.promised()), (Timestamp(220), Timestamp(220)));
}
