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
//! Commands carry closed timestamps. The range is closed up to the highest one so far, and a command that writes there is
//! rejected, by every replica alike: so whatever leaseholders, their clocks and the order of the log do, a replica that is
//! closed up to T holds what a read at T sees, for ever: locks there may still be resolved, and old versions collected.
//!
//! The in-memory state follows each batch after it was written. Of a call that fails because the disk is full nothing
//! is repeated: entries at or below the applied index are skipped.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
};

use basalt_base::{Key, RangeId, ReplicaId, Timestamp};
use basalt_env::{Bug, planted};
use basalt_kv_api::TxnStatus;
use basalt_raft::{
    Applied, Effect, Error, GroupDescriptor, LogEntry, LogIndex, Membership, Result, SnapshotData,
    StateMachine,
};
use basalt_storage::{
    Engine, Family, WriteBatch,
    mvcc::{self, Resolution, ResolveStatus},
};
use parking_lot::Mutex;

use super::{
    command::{Command, LeaseTrigger, ResolveExtent, ResolveOp, SplitTrigger, Trigger},
    descriptor::{
        self, APPLIED, AppliedState, DESCRIPTOR, GC_THRESHOLD, LEASE, Lease, MEMBERSHIP, Place, state_key,
    },
    invariants,
    range_set::RangeSet,
    snapshot::{self, Head},
    state::{Replica, ReplicaState},
    verify,
};
use crate::concurrency::{Marks, ReadSummary};

/// Why a committed command had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Evaluated under another lease; or a lease that another one came before.
    Lease,
    /// The range has been split since.
    Generation,
    /// It writes at or below the garbage-collection threshold.
    Threshold,
    /// It writes where the range was closed to writes meanwhile.
    Closed,
}

/// What the proposer learns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandOutcome {
    pub rejected: Option<Rejection>,
    /// Keys where a commit released a lock without leaving a version.
    pub released_bare: Vec<Key>,
}

/// Told of changes after they were applied, by the store loop: must not block.
pub trait Applies: Send + Sync {
    /// Another descriptor, or, with `new_lease`, another lease than this store's memory was filled under. Extensions of a
    /// lease are not told.
    fn changed(&self, replica: &Arc<Replica>, new_lease: bool);
    /// A leaseholder has given its lease away, and tells of the reads that it has served. Called before anything is served
    /// under the next lease.
    fn told_of_reads(&self, lease: &Lease, summary: &ReadSummary);
    /// The replica is gone from this store.
    fn destroyed(&self, replica: &Arc<Replica>);
}

/// The replicas of a store and the engine that holds them.
pub struct RangeStates {
    pub engine: Arc<dyn Engine>,
    pub ranges: RangeSet,
    pub observer: OnceLock<Weak<dyn Applies>>,
    durable: Mutex<BTreeMap<RangeId, LogIndex>>,
    /// Results of entries whose call failed later on: handed out when the loop repeats the call.
    undelivered: Mutex<BTreeMap<(RangeId, LogIndex), Applied>>,
    /// Checks the invariants of what is stored, too: for simulations.
    pub verify: bool,
}

impl RangeStates {
    pub fn load(engine: Arc<dyn Engine>, verify: bool) -> basalt_storage::Result<Self> {
        let ranges = RangeSet::load(&*engine)?;
        // What a freshly opened engine shows has survived whatever came before.
        let durable =
            ranges.all().iter().map(|replica| (replica.range_id, replica.applied().index)).collect();
        Ok(Self {
            engine,
            ranges,
            observer: OnceLock::new(),
            durable: Mutex::new(durable),
            undelivered: Mutex::default(),
            verify,
        })
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

    fn observer(&self) -> Option<Arc<dyn Applies>> {
        self.observer.get()?.upgrade()
    }

    fn tell_changed(&self, replica: &Arc<Replica>, new_lease: bool) {
        if let Some(observer) = self.observer() {
            observer.changed(replica, new_lease);
        }
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
    /// There is something to tell after the write.
    changed: bool,
    new_lease: bool,
}

impl Run<'_> {
    fn entry(&mut self, entry: &LogEntry) -> Result<Applied> {
        let mut applied = Applied::default();
        if entry.index <= self.state.applied.index {
            let undelivered = &self.states.undelivered;
            return Ok(undelivered.lock().remove(&(self.replica.range_id, entry.index)).unwrap_or_default());
        }
        invariants::follows(self.replica.range_id, &self.state.applied, entry)?;
        let command = match entry.command.is_empty() {
            true => None,
            false => Some(
                Command::decode(entry.command.clone())
                    .map_err(|error| Error::Corruption(error.to_string()))?,
            ),
        };
        if let Some(membership) = &entry.membership {
            let added = match command.as_ref().map(|command| &command.trigger) {
                Some(Trigger::Replicas(places)) => &places[..],
                _ => &[],
            };
            self.change_members(membership, added)?;
        }
        let Some(command) = command else {
            self.advance(entry);
            return Ok(applied);
        };
        if entry.membership.is_some() {
            self.advance(entry);
            applied.outcome = Some(Box::new(CommandOutcome::default()));
            return Ok(applied);
        }
        let mut outcome = CommandOutcome { rejected: self.check(&command), ..CommandOutcome::default() };
        if outcome.rejected.is_some() {
            self.advance(entry);
        } else if command.must_cut_batch() {
            self.write()?;
            self.advance(entry);
            self.close(command.header.closed_ts);
            self.execute(command, &mut outcome, &mut applied.effects)?;
        } else {
            self.advance(entry);
            self.close(command.header.closed_ts);
            self.count(&command);
            self.batch.append(command.batch);
        }
        applied.outcome = Some(Box::new(outcome));
        Ok(applied)
    }

    /// Raft has changed the membership, whatever the lease: the descriptor follows.
    fn change_members(&mut self, membership: &Membership, added: &[Place]) -> Result<()> {
        let changed = self.state.descriptor.with_members(membership, added);
        invariants::members(&self.state.descriptor, &changed, membership)?;
        self.state.membership = membership.clone();
        self.state.descriptor = Arc::new(changed);
        let range_id = self.replica.range_id;
        self.batch.put(
            Family::Local,
            state_key(range_id, MEMBERSHIP),
            descriptor::encode_membership(membership),
        );
        self.batch.put(Family::Local, state_key(range_id, DESCRIPTOR), self.state.descriptor.encode());
        self.changed = true;
        Ok(())
    }

    fn advance(&mut self, entry: &LogEntry) {
        self.state.applied.index = entry.index;
        self.state.applied.term = entry.term;
        self.dirty = true;
    }

    fn close(&mut self, closed_ts: Timestamp) {
        let closed = &mut self.state.applied.closed_ts;
        *closed = closed_ts.max(*closed);
    }

    fn count(&mut self, command: &Command) {
        self.state.applied.bytes += command.stats.bytes;
        self.state.applied.garbage += command.stats.garbage;
    }

    fn check(&self, command: &Command) -> Option<Rejection> {
        let state = &self.state;
        if let Trigger::Replicas(_) = &command.trigger {
            // Raft found the change of membership impossible.
            return Some(Rejection::Generation);
        }
        if let Trigger::Lease(trigger) = &command.trigger {
            return (!succeeds(state, trigger)).then_some(Rejection::Lease);
        }
        if command.header.lease_sequence != state.lease.sequence {
            return Some(Rejection::Lease);
        }
        if command.header.generation != state.descriptor.generation && !planted(Bug::IgnoreGeneration) {
            return Some(Rejection::Generation);
        }
        let write_ts = command.header.write_ts;
        if write_ts.is_zero() {
            None
        } else if write_ts <= state.gc_threshold {
            Some(Rejection::Threshold)
        } else {
            let closed = write_ts <= state.applied.closed_ts && !planted(Bug::WriteBelowClosed);
            closed.then_some(Rejection::Closed)
        }
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
            Trigger::Lease(LeaseTrigger { lease, tombstones, reads, .. }) => {
                invariants::succession(self.replica, &self.state.lease, &lease)?;
                if lease.sequence != self.state.lease.sequence {
                    // Before anybody can serve under it.
                    if !planted(Bug::SkipLowWater) {
                        let mut marks = Marks::blank(lease.start);
                        if let Some(tombstones) = tombstones {
                            marks.inherited = Arc::new(tombstones);
                        }
                        // Whoever holds the lease writes above that. The same on every replica: it decides which commands
                        // are rejected.
                        self.close(reads.as_ref().map_or(lease.start, |reads| reads.low_water));
                        if let Some(reads) = reads
                            && let Some(observer) = self.states.observer()
                        {
                            observer.told_of_reads(&lease, &reads);
                            (marks.reads, marks.pushes) = (reads.low_water, reads.pushes_low_water);
                        }
                        self.replica.bequeath(marks);
                    }
                    (self.changed, self.new_lease) = (true, true);
                }
                self.state.lease = lease;
                self.batch.put(Family::Local, state_key(self.replica.range_id, LEASE), lease.encode());
                self.write()
            }
            Trigger::Replicas(_) => {
                Err(Error::Corruption("places without a change of membership".to_owned()))
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
        let bare = match &resolve.extent {
            ResolveExtent::Key(key) => {
                let resolved = mvcc::resolve(&reader, batch, key, &resolution)?;
                let bare = resolution.status == ResolveStatus::Committed
                    && resolved.released > 0
                    && resolved.committed == 0;
                if bare { vec![key.clone()] } else { Vec::new() }
            }
            ResolveExtent::Span(span) => {
                let resolved = mvcc::resolve_range(&reader, batch, span, &resolution, usize::MAX)?;
                resolved.released_without_version
            }
        };
        if self.states.verify
            && let Some(what) = verify::resolved(&reader, batch, &resolution)?
        {
            return Err(invariants::broken(self.replica.range_id, what));
        }
        Ok(bare)
    }

    fn split(&mut self, split: SplitTrigger, effects: &mut Vec<Effect>) -> Result<()> {
        invariants::halves(&self.state.descriptor, &split.left, &split.right)?;
        let right = ReplicaState {
            replica_id: self.replica.replica_id,
            descriptor: Arc::new(split.right),
            lease: self.state.lease,
            gc_threshold: self.state.gc_threshold,
            applied: AppliedState {
                index: basalt_raft::INITIAL_LOG_INDEX,
                term: basalt_raft::INITIAL_LOG_TERM,
                bytes: split.right_bytes,
                garbage: split.right_garbage,
                closed_ts: self.state.applied.closed_ts,
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
        let group =
            GroupDescriptor::initial(right.descriptor.range_id, right.replica_id, right.membership.clone());
        self.changed = true;
        self.write()?;
        let left = Arc::clone(&self.state.descriptor);
        let right = Arc::new(Replica::new(right));
        right.inherit(self.replica);
        self.states.ranges.split(self.replica, &left, Arc::clone(&right));
        self.states.tell_changed(&right, false);
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
        if std::mem::take(&mut self.changed) {
            self.states.tell_changed(self.replica, std::mem::take(&mut self.new_lease));
        }
        Ok(())
    }
}

/// Whether a lease may follow the one in force.
///
/// Nobody gets a lease under which another process may still serve: it has expired and the new one begins above it, or
/// its holder gives it away, or the holder is an earlier incarnation of the same node, which serves no more. A lease
/// without end is for a replica without any other, since nobody else could ever take it over.
fn succeeds(state: &ReplicaState, trigger: &LeaseTrigger) -> bool {
    let (old, new) = (&state.lease, &trigger.lease);
    let Some(replica_id) = state.descriptor.replica_on(new.node_id) else { return false };
    if !new.expires() && !state.membership.is_alone(replica_id) {
        return false;
    }
    if new.sequence == old.sequence {
        let later = new.expires() && (!old.expires() || new.expiration > old.expiration);
        return new.is_of(old.node_id, old.incarnation) && new.start == old.start && later;
    }
    let passed = if trigger.is_transfer || new.node_id == old.node_id || old.sequence == 0 {
        new.start > old.start
    } else {
        old.expires() && (new.start >= old.expiration || planted(Bug::TakeLeaseEarly))
    };
    new.sequence == old.sequence + 1 && trigger.replaces == old.expiration && passed
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
            changed: false,
            new_lease: false,
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
        replica_id: ReplicaId,
        snapshot: &SnapshotData,
    ) -> Result<()> {
        let malformed = |error: super::wire::WireError| Error::Corruption(error.to_string());
        let before = self.ranges.by_id(range_id);
        let span = before.as_ref().map(|replica| replica.descriptor().span.clone());
        let head = Head::read(snapshot.bytes.clone()).map_err(malformed)?;
        let (state, batch) = head.install(replica_id, snapshot, span.as_ref()).map_err(malformed)?;
        self.engine.write(batch)?;
        let lease = state.lease;
        let replica = Arc::new(Replica::new(state));
        // What this process knew of the range is from before the snapshot: a lease of its own is not used again.
        replica.revoke(lease.sequence);
        match before {
            Some(before) => {
                // Who still holds the old object must not serve from it.
                before.revoke(before.lease().sequence);
                self.ranges.replace(&before, Arc::clone(&replica));
            }
            None => self.ranges.insert(Arc::clone(&replica)),
        }
        self.tell_changed(&replica, true);
        Ok(())
    }

    /// One that overlaps another range here would take keys from it. The left neighbour of a range that a split has made
    /// elsewhere is to apply that split first; then this replica has its state without a snapshot.
    fn accepts_snapshot(&self, range_id: RangeId, _replica_id: ReplicaId, snapshot: &SnapshotData) -> bool {
        let Ok(head) = Head::read(snapshot.bytes.clone()) else { return false };
        let overlapping = self.ranges.overlapping(&head.descriptor.span);
        let accepts = overlapping.iter().all(|replica| replica.range_id == range_id);
        if accepts && let Some(replica) = self.ranges.by_id(range_id) {
            // Nothing is served from here between the state that is there and the one that comes.
            replica.revoke(replica.lease().sequence);
        }
        accepts
    }

    fn destroy(&self, range_id: RangeId) -> Result<()> {
        let mut batch = WriteBatch::new();
        let replica = self.ranges.by_id(range_id);
        if let Some(replica) = &replica {
            replica.revoke(replica.lease().sequence);
            snapshot::clear(&mut batch, &replica.descriptor().span);
        }
        snapshot::clear_records(&mut batch, range_id);
        self.engine.write(batch)?;
        self.durable.lock().remove(&range_id);
        if let Some(replica) = replica {
            self.ranges.remove(&replica);
            if let Some(observer) = self.observer() {
                observer.destroyed(&replica);
            }
        }
        Ok(())
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
