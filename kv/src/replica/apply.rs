//! Applying commands: the state machine under Raft.
//!
//! Every replica must end with the same state at the same index, however its entries were grouped:
//!
//! * a command is checked against the state *before* it (lease, generation, garbage-collection threshold); a rejected
//!   one changes nothing but the applied index;
//! * runs of plain commands share an engine batch. A command that reads (a resolve) or changes the range itself (a
//!   trigger) gets a batch of its own, so that what it reads includes everything before it;
//! * the applied index is in the batch of the effects.
//!
//! The in-memory state follows each batch after it was written. Of a call that fails because the disk is full nothing
//! is repeated: entries at or below the applied index are skipped.

use std::{collections::BTreeMap, sync::Arc};

use basalt_base::{Key, RangeId, ReplicaId};
use basalt_env::{Bug, planted};
use basalt_kv_api::TxnStatus;
use basalt_raft::{
    Applied, Effect, Error, GroupDescriptor, LogEntry, LogIndex, Result, SnapshotData, StateMachine,
};
use basalt_storage::{
    Engine, Family, WriteBatch,
    mvcc::{self, Resolution, ResolveStatus},
};
use parking_lot::Mutex;

use super::{
    command::{Command, ResolveExtent, ResolveOp, SplitTrigger, Trigger},
    descriptor::{self, APPLIED, AppliedState, DESCRIPTOR, GC_THRESHOLD, LEASE, MEMBERSHIP, state_key},
    range_set::RangeSet,
    snapshot,
    state::{Replica, ReplicaState},
};

/// Why a committed command had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Evaluated under another lease.
    Lease,
    /// The range has been split since.
    Generation,
    /// It writes at or below the garbage-collection threshold.
    Threshold,
}

/// What the proposer learns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandOutcome {
    pub rejected: Option<Rejection>,
    /// Keys where a commit released a lock without leaving a version.
    pub released_bare: Vec<Key>,
}

/// The replicas of a store and the engine that holds them.
pub struct RangeStates {
    pub engine: Arc<dyn Engine>,
    pub ranges: RangeSet,
    durable: Mutex<BTreeMap<RangeId, LogIndex>>,
    /// Results of entries whose call failed later on: handed out when the loop repeats the call.
    undelivered: Mutex<BTreeMap<(RangeId, LogIndex), Applied>>,
}

impl RangeStates {
    pub fn load(engine: Arc<dyn Engine>) -> basalt_storage::Result<Self> {
        let ranges = RangeSet::load(&*engine)?;
        // What a freshly opened engine shows has survived whatever came before.
        let durable =
            ranges.all().iter().map(|replica| (replica.range_id, replica.applied().index)).collect();
        Ok(Self { engine, ranges, durable: Mutex::new(durable), undelivered: Mutex::default() })
    }

    /// Writes a new range and makes it durable: bootstrap.
    pub fn create(&self, state: ReplicaState, mut batch: WriteBatch) -> basalt_storage::Result<()> {
        state.put_all(&mut batch);
        self.engine.write(batch)?;
        self.engine.flush()?;
        self.durable.lock().insert(state.descriptor.range_id, state.applied.index);
        self.ranges.insert(Arc::new(Replica::new(state)));
        Ok(())
    }

    fn replica(&self, range_id: RangeId) -> Result<Arc<Replica>> {
        self.ranges.by_id(range_id).ok_or(Error::RangeNotFound(range_id))
    }
}

/// One call of `apply`.
struct Run<'a> {
    states: &'a RangeStates,
    replica: &'a Arc<Replica>,
    /// As it will be once `batch` is written.
    state: ReplicaState,
    batch: WriteBatch,
    dirty: bool,
}

impl Run<'_> {
    fn entry(&mut self, entry: &LogEntry) -> Result<Applied> {
        let mut applied = Applied::default();
        if entry.index <= self.state.applied.index {
            let undelivered = &self.states.undelivered;
            return Ok(undelivered.lock().remove(&(self.replica.range_id, entry.index)).unwrap_or_default());
        }
        if let Some(membership) = &entry.membership {
            self.state.membership = membership.clone();
            let key = state_key(self.replica.range_id, MEMBERSHIP);
            self.batch.put(Family::Local, key, descriptor::encode_membership(membership));
        }
        if entry.command.is_empty() {
            self.advance(entry);
            return Ok(applied);
        }
        let command =
            Command::decode(entry.command.clone()).map_err(|error| Error::Corruption(error.to_string()))?;
        let mut outcome = CommandOutcome { rejected: self.check(&command), ..CommandOutcome::default() };
        if outcome.rejected.is_some() {
            self.advance(entry);
        } else if command.must_cut_batch() {
            self.write()?;
            self.advance(entry);
            self.execute(command, &mut outcome, &mut applied.effects)?;
        } else {
            self.advance(entry);
            self.count(&command);
            self.batch.append(command.batch);
        }
        applied.outcome = Some(Box::new(outcome));
        Ok(applied)
    }

    fn advance(&mut self, entry: &LogEntry) {
        self.state.applied.index = entry.index;
        self.state.applied.term = entry.term;
        self.dirty = true;
    }

    fn count(&mut self, command: &Command) {
        self.state.applied.bytes += command.stats.bytes;
        self.state.applied.garbage += command.stats.garbage;
    }

    fn check(&self, command: &Command) -> Option<Rejection> {
        let state = &self.state;
        if let Trigger::Lease(lease) = &command.trigger {
            // Compare and swap: the proposer names the sequence number that it replaces. A lease without expiration is
            // safe only while nobody else can elect another leader.
            let succeeds = lease.sequence == state.lease.sequence + 1
                && command.header.lease_sequence == state.lease.sequence
                && state.membership.is_sole_voter(self.replica.replica_id);
            return (!succeeds).then_some(Rejection::Lease);
        }
        if command.header.lease_sequence != state.lease.sequence {
            return Some(Rejection::Lease);
        }
        if command.header.generation != state.descriptor.generation {
            return Some(Rejection::Generation);
        }
        let below = !command.header.write_ts.is_zero() && command.header.write_ts <= state.gc_threshold;
        below.then_some(Rejection::Threshold)
    }

    /// Applies a command that needs a batch of its own. The caller has written what came before.
    fn execute(
        &mut self,
        command: Command,
        outcome: &mut CommandOutcome,
        effects: &mut Vec<Effect>,
    ) -> Result<()> {
        self.count(&command);
        let mut open = mvcc_batch(command.batch);
        for resolve in &command.resolves {
            let mut effects = WriteBatch::new();
            outcome.released_bare.extend(self.resolve(&open, &mut effects, resolve)?);
            if planted(Bug::LoseResolvedValue) && self.state.applied.index.is_multiple_of(100) {
                effects.ops.retain(|op| !matches!(op, basalt_storage::Op::Put { family: Family::Data, .. }));
            }
            let bytes = i64::try_from(data_bytes(&effects)).unwrap_or(i64::MAX);
            self.state.applied.bytes += bytes + effects.provisional_bytes;
            self.state.applied.garbage += bytes;
            open.append(effects);
        }
        self.batch.append(open.take());
        match command.trigger {
            Trigger::None => self.write(),
            Trigger::Lease(lease) => {
                self.state.lease = lease;
                self.batch.put(Family::Local, state_key(self.replica.range_id, LEASE), lease.encode());
                self.write()
            }
            Trigger::GcThreshold(threshold) => {
                self.state.gc_threshold = self.state.gc_threshold.max(threshold);
                let key = state_key(self.replica.range_id, GC_THRESHOLD);
                let value = descriptor::encode_threshold(self.state.gc_threshold);
                self.batch.put(Family::Local, key, value);
                self.write()
            }
            Trigger::Split(split) => self.split(split, effects),
        }
    }

    fn resolve(
        &self,
        open: &basalt_storage::OpenBatch,
        batch: &mut WriteBatch,
        resolve: &ResolveOp,
    ) -> Result<Vec<Key>> {
        let resolution = Resolution {
            txn_id: resolve.txn.id,
            epoch: resolve.txn.epoch,
            status: match resolve.txn.status {
                TxnStatus::Pending | TxnStatus::Staging => ResolveStatus::Pending,
                TxnStatus::Committed => ResolveStatus::Committed,
                TxnStatus::Aborted => ResolveStatus::Aborted,
            },
            ts: resolve.txn.timestamp,
            ignored: &resolve.txn.ignored.0,
        };
        let reader = open.over(&*self.states.engine);
        match &resolve.extent {
            ResolveExtent::Key(key) => {
                let resolved = mvcc::resolve(&reader, batch, key, &resolution)?;
                let bare = resolution.status == ResolveStatus::Committed
                    && resolved.released > 0
                    && resolved.committed == 0;
                Ok(if bare { vec![key.clone()] } else { Vec::new() })
            }
            ResolveExtent::Span(span) => {
                let resolved = mvcc::resolve_range(&reader, batch, span, &resolution, usize::MAX)?;
                Ok(resolved.released_without_version)
            }
        }
    }

    fn split(&mut self, split: SplitTrigger, effects: &mut Vec<Effect>) -> Result<()> {
        let right = ReplicaState {
            descriptor: Arc::new(split.right),
            lease: self.state.lease,
            gc_threshold: self.state.gc_threshold,
            applied: AppliedState {
                index: basalt_raft::INITIAL_LOG_INDEX,
                term: basalt_raft::INITIAL_LOG_TERM,
                bytes: split.right_bytes,
                garbage: split.right_garbage,
            },
            membership: self.state.membership.clone(),
        };
        self.state.applied.bytes -= split.right_bytes;
        self.state.applied.garbage -= split.right_garbage;
        self.state.descriptor = Arc::new(split.left);
        let key = state_key(self.replica.range_id, DESCRIPTOR);
        self.batch.put(Family::Local, key, self.state.descriptor.encode());
        right.put_all(&mut self.batch);
        if planted(Bug::LoseLockOnSplit) {
            self.batch.delete_range(Family::Lock, right.descriptor.span.clone());
        }
        let group = GroupDescriptor::initial(
            right.descriptor.range_id,
            right.descriptor.replica_id,
            right.membership.clone(),
        );
        self.write()?;
        let left = Arc::clone(&self.state.descriptor);
        self.states.ranges.split(self.replica, &left, Arc::new(Replica::new(right)));
        effects.push(Effect::NewGroup(group));
        Ok(())
    }

    /// Writes the open batch with the applied state and publishes the result.
    fn write(&mut self) -> Result<()> {
        if !self.dirty {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.put(Family::Local, state_key(self.replica.range_id, APPLIED), self.state.applied.encode());
        self.states.engine.write(batch)?;
        self.replica.publish(self.state.clone());
        self.dirty = false;
        Ok(())
    }
}

fn mvcc_batch(batch: WriteBatch) -> basalt_storage::OpenBatch {
    let mut open = basalt_storage::OpenBatch::new();
    open.append(batch);
    open
}

/// Bytes of the versions in `batch`.
pub fn data_bytes(batch: &WriteBatch) -> usize {
    batch
        .ops
        .iter()
        .map(|op| match op {
            basalt_storage::Op::Put { family: Family::Data, key, value } => key.len() + value.len(),
            _ => 0,
        })
        .sum()
}

impl StateMachine for RangeStates {
    fn groups(&self) -> Result<Vec<GroupDescriptor>> {
        let describe = |replica: &Arc<Replica>| {
            let state = replica.state();
            GroupDescriptor {
                range_id: replica.range_id,
                replica_id: replica.replica_id,
                membership: state.membership,
                applied_index: state.applied.index,
                applied_term: state.applied.term,
            }
        };
        Ok(self.ranges.all().iter().map(describe).collect())
    }

    fn apply(&self, range_id: RangeId, entries: &[LogEntry]) -> Result<Vec<Applied>> {
        let replica = self.replica(range_id)?;
        let mut run = Run {
            states: self,
            state: replica.state(),
            replica: &replica,
            batch: WriteBatch::new(),
            dirty: false,
        };
        let mut applied = Vec::with_capacity(entries.len());
        let done = entries.iter().try_for_each(|entry| run.entry(entry).map(|result| applied.push(result)));
        if let Err(error) = done.and_then(|()| run.write()) {
            let written = replica.applied().index;
            let results = entries.iter().map(|entry| (range_id, entry.index)).zip(applied);
            self.undelivered.lock().extend(results.filter(|((_, index), _)| *index <= written));
            return Err(error);
        }
        Ok(applied)
    }

    fn snapshot(&self, range_id: RangeId) -> Result<SnapshotData> {
        snapshot::take(&*self.engine, range_id)
    }

    fn install_snapshot(
        &self,
        range_id: RangeId,
        _replica_id: ReplicaId,
        _snapshot: &SnapshotData,
    ) -> Result<()> {
        // Stores have no peers yet, so nobody sends one.
        Err(Error::Invalid(format!("range {range_id} can't be replaced by a snapshot on a lone store")))
    }

    fn durable_applied(&self, range_id: RangeId) -> LogIndex {
        self.durable.lock().get(&range_id).copied().unwrap_or(basalt_raft::INITIAL_LOG_INDEX)
    }

    fn flush(&self) -> Result<()> {
        // Noted before the flush: what is applied while it runs may or may not be covered.
        let noted: Vec<(RangeId, LogIndex)> =
            self.ranges.all().iter().map(|replica| (replica.range_id, replica.applied().index)).collect();
        self.engine.flush()?;
        self.durable.lock().extend(noted);
        Ok(())
    }
}
