//! A state machine in memory: per range, the list of commands applied. What was not flushed is lost in a crash.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use basalt_base::{RangeId, ReplicaId};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    Applied, Effect, Error, GroupDescriptor, INITIAL_LOG_INDEX, LogEntry, LogIndex, Membership, Result,
    SnapshotData, StateMachine,
};

/// Commands are text. `split N` in range P makes range N with the same members. N is P times ten and something; a
/// snapshot of the one is refused as long as the other is here from before the split: their keys would overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub descriptor: GroupDescriptor,
    pub commands: Vec<String>,
}

/// Sees what all stores of a test apply, and fails when two differ.
#[derive(Default)]
pub struct Witness {
    /// What was applied at each index.
    entries: Mutex<BTreeMap<(RangeId, LogIndex), LogEntry>>,
    /// The newest membership of each range, with the index that it is from.
    pub memberships: Mutex<BTreeMap<RangeId, (LogIndex, Membership)>>,
    /// Learners that came to be.
    pub learners: Mutex<BTreeSet<(RangeId, ReplicaId)>>,
}

impl Witness {
    fn see(&self, range_id: RangeId, entry: &LogEntry) {
        let known =
            self.entries.lock().entry((range_id, entry.index)).or_insert_with(|| entry.clone()).clone();
        assert_eq!(&known, entry, "two replicas of range {range_id} applied different entries");
        if let Some(membership) = &entry.membership {
            self.learn(range_id, entry.index, membership);
        }
    }

    pub fn learn(&self, range_id: RangeId, index: LogIndex, membership: &Membership) {
        self.learners.lock().extend(membership.learners.iter().map(|id| (range_id, *id)));
        let mut memberships = self.memberships.lock();
        if memberships.get(&range_id).is_none_or(|(known, _)| *known < index) {
            memberships.insert(range_id, (index, membership.clone()));
        }
    }

    /// All commands of a range, in order.
    pub fn commands(&self, range: u64) -> Vec<String> {
        let range = (RangeId(range), 0)..=(RangeId(range), LogIndex::MAX);
        let entries = self.entries.lock();
        let commands = entries.range(range).map(|(_, entry)| entry.command.to_vec());
        commands.filter(|command| !command.is_empty()).map(|text| String::from_utf8(text).unwrap()).collect()
    }
}

type Ranges = BTreeMap<RangeId, Range>;

/// The disk of the state machine outlives the process.
#[derive(Default)]
pub struct Toy {
    live: Mutex<Ranges>,
    durable: Mutex<Ranges>,
    pub full: AtomicBool,
    /// Whatever it writes is durable at once.
    pub eager: AtomicBool,
    /// Refuses snapshots.
    pub refuses: AtomicBool,
    /// Can't install or destroy anything for now.
    pub busy: AtomicBool,
    pub destroyed: AtomicU64,
    pub witness: Arc<Witness>,
}

impl Toy {
    /// Holds ranges 1 to `count`, flushed, each with these voters.
    pub fn new(replica: u64, voters: &[u64], count: u64) -> Arc<Self> {
        Self::with(replica, voters, count, Arc::default())
    }

    pub fn with(replica: u64, voters: &[u64], count: u64, witness: Arc<Witness>) -> Arc<Self> {
        let toy = Self { witness, ..Self::default() };
        for range in 1..=count {
            let membership = Membership::voters(voters.iter().copied().map(ReplicaId));
            let descriptor = GroupDescriptor::initial(RangeId(range), ReplicaId(replica), membership);
            toy.live.lock().insert(RangeId(range), Range { descriptor, commands: Vec::new() });
        }
        toy.flush().unwrap();
        Arc::new(toy)
    }

    /// What the next process finds.
    pub fn after_crash(&self) -> Arc<Self> {
        let durable = self.durable.lock().clone();
        Arc::new(Self {
            live: Mutex::new(durable.clone()),
            durable: Mutex::new(durable),
            witness: self.witness.clone(),
            ..Self::default()
        })
    }

    /// Makes state out of nothing, as a split does.
    pub fn insert(&self, descriptor: GroupDescriptor) {
        self.live.lock().insert(descriptor.range_id, Range { descriptor, commands: Vec::new() });
        self.flush().unwrap();
    }

    fn keep_up(&self) {
        if self.eager.load(Ordering::SeqCst) {
            *self.durable.lock() = self.live.lock().clone();
        }
    }

    pub fn commands(&self, range: u64) -> Vec<String> {
        self.live.lock().get(&RangeId(range)).map(|range| range.commands.clone()).unwrap_or_default()
    }

    pub fn membership(&self, range: u64) -> Membership {
        self.live.lock()[&RangeId(range)].descriptor.membership.clone()
    }

    /// The replica whose state is here.
    pub fn replica(&self, range: u64) -> Option<ReplicaId> {
        self.live.lock().get(&RangeId(range)).map(|range| range.descriptor.replica_id)
    }

    /// As [`Toy::replica`], of what survives a crash.
    pub fn durable_replica(&self, range: u64) -> Option<ReplicaId> {
        self.durable.lock().get(&RangeId(range)).map(|range| range.descriptor.replica_id)
    }

    /// Up to where the range is applied in what survives a crash.
    pub fn durable_index(&self, range: u64) -> LogIndex {
        self.durable.lock().get(&RangeId(range)).map_or(0, |range| range.descriptor.applied_index)
    }

    pub fn ranges(&self) -> Vec<u64> {
        self.live.lock().keys().map(|range| range.0).collect()
    }
}

impl StateMachine for Toy {
    fn groups(&self) -> Result<Vec<GroupDescriptor>> {
        Ok(self.live.lock().values().map(|range| range.descriptor.clone()).collect())
    }

    fn apply(&self, range_id: RangeId, entries: &[LogEntry]) -> Result<Vec<Applied>> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Error::DiskFull);
        }
        let mut ranges = self.live.lock();
        let mut results = Vec::new();
        for entry in entries {
            let range = ranges.get_mut(&range_id).expect("applies to a range that exists");
            let after = range.descriptor.applied_index;
            assert_eq!(entry.index, after + 1, "entries come in order, each once: {:?}", range.descriptor);
            assert!(entry.term >= range.descriptor.applied_term);
            self.witness.see(range_id, entry);
            range.descriptor.applied_index = entry.index;
            range.descriptor.applied_term = entry.term;
            if let Some(membership) = &entry.membership {
                range.descriptor.membership = membership.clone();
            }
            let mut applied = Applied::default();
            if !entry.command.is_empty() {
                let command = String::from_utf8(entry.command.to_vec()).unwrap();
                range.commands.push(command.clone());
                if let Some(new) = command.strip_prefix("split ") {
                    let new = RangeId(new.parse().unwrap());
                    let GroupDescriptor { replica_id, membership, .. } = range.descriptor.clone();
                    self.witness.learn(new, INITIAL_LOG_INDEX, &membership);
                    let descriptor = GroupDescriptor::initial(new, replica_id, membership);
                    ranges.insert(new, Range { descriptor: descriptor.clone(), commands: Vec::new() });
                    applied.effects.push(Effect::NewGroup(descriptor));
                }
                applied.outcome = Some(Box::new(command));
            }
            results.push(applied);
        }
        drop(ranges);
        self.keep_up();
        Ok(results)
    }

    fn snapshot(&self, range_id: RangeId) -> Result<SnapshotData> {
        let ranges = self.live.lock();
        let range = ranges.get(&range_id).ok_or(Error::RangeNotFound(range_id))?;
        Ok(SnapshotData {
            index: range.descriptor.applied_index,
            term: range.descriptor.applied_term,
            membership: range.descriptor.membership.clone(),
            bytes: Bytes::from(range.commands.join("\n")),
        })
    }

    fn accepts_snapshot(&self, range_id: RangeId, _replica_id: ReplicaId, snapshot: &SnapshotData) -> bool {
        let ranges = self.live.lock();
        let text = String::from_utf8(snapshot.bytes.to_vec()).unwrap();
        let commands: Vec<_> = text.lines().map(str::to_owned).collect();
        let overlaps = |(other, state): (&RangeId, &Range)| {
            // Of two ranges, the one that the other came from must have been split.
            match (child_towards(range_id.0, other.0), child_towards(other.0, range_id.0)) {
                (Some(child), _) => !commands.contains(&format!("split {child}")),
                (_, Some(child)) => !state.commands.contains(&format!("split {child}")),
                _ => false,
            }
        };
        !self.refuses.load(Ordering::SeqCst) && !ranges.iter().any(overlaps)
    }

    fn install_snapshot(
        &self,
        range_id: RangeId,
        replica_id: ReplicaId,
        snapshot: &SnapshotData,
    ) -> Result<()> {
        if self.busy.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("busy".to_owned()));
        }
        let text = String::from_utf8(snapshot.bytes.to_vec()).unwrap();
        let descriptor = GroupDescriptor {
            range_id,
            replica_id,
            membership: snapshot.membership.clone(),
            applied_index: snapshot.index,
            applied_term: snapshot.term,
        };
        let commands = text.lines().map(str::to_owned).collect();
        self.live.lock().insert(range_id, Range { descriptor, commands });
        self.keep_up();
        Ok(())
    }

    fn destroy(&self, range_id: RangeId) -> Result<()> {
        if self.busy.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("busy".to_owned()));
        }
        self.live.lock().remove(&range_id);
        self.keep_up();
        self.destroyed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn durable_applied(&self, range_id: RangeId) -> LogIndex {
        self.durable.lock().get(&range_id).map_or(0, |range| range.descriptor.applied_index)
    }

    fn flush(&self) -> Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(Error::DiskFull);
        }
        *self.durable.lock() = self.live.lock().clone();
        Ok(())
    }
}

/// The child of `ancestor` that `range` is or came from, if it came from it.
fn child_towards(ancestor: u64, mut range: u64) -> Option<u64> {
    while range > ancestor {
        if range / 10 == ancestor {
            return Some(range);
        }
        range /= 10;
    }
    None
}
