//! One range as this store knows it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use basalt_base::{NodeId, RangeId, ReplicaId, Timestamp};
use basalt_raft::Membership;
use basalt_storage::{Family, Reader, WriteBatch};
use parking_lot::RwLock;

use super::{
    descriptor::{
        self, APPLIED, AppliedState, DESCRIPTOR, GC_THRESHOLD, LEASE, Lease, MEMBERSHIP, REPLICA_ID,
        RangeDescriptor, state_key,
    },
    wire::WireError,
};
use crate::concurrency::Marks;

/// The replicated state outside the data, as of the applied index.
#[derive(Clone, Debug)]
pub struct ReplicaState {
    /// This store's replica; the only part that other replicas do not share.
    pub replica_id: ReplicaId,
    pub descriptor: Arc<RangeDescriptor>,
    pub lease: Lease,
    pub gc_threshold: Timestamp,
    pub applied: AppliedState,
    pub membership: Membership,
}

impl ReplicaState {
    /// Writes every record: for a new range.
    pub fn put_all(&self, batch: &mut WriteBatch) {
        let id = self.descriptor.range_id;
        batch.put(Family::Local, state_key(id, DESCRIPTOR), self.descriptor.encode());
        batch.put(Family::Local, state_key(id, LEASE), self.lease.encode());
        batch.put(
            Family::Local,
            state_key(id, GC_THRESHOLD),
            descriptor::encode_threshold(self.gc_threshold),
        );
        batch.put(Family::Local, state_key(id, MEMBERSHIP), descriptor::encode_membership(&self.membership));
        batch.put(Family::Local, state_key(id, APPLIED), self.applied.encode());
        batch.put(Family::Local, state_key(id, REPLICA_ID), descriptor::encode_replica_id(self.replica_id));
    }

    /// Reads what [`ReplicaState::put_all`] and later changes wrote.
    pub fn load(reader: &dyn Reader, range_id: RangeId) -> Result<Self, LoadError> {
        let record = |suffix| {
            let bytes = reader.get(Family::Local, &state_key(range_id, suffix))?;
            bytes.ok_or(LoadError::Missing { range_id, suffix: char::from(suffix) })
        };
        let descriptor = RangeDescriptor::decode(record(DESCRIPTOR)?)?;
        let replica_id = match reader.get(Family::Local, &state_key(range_id, REPLICA_ID))? {
            Some(bytes) => descriptor::decode_replica_id(bytes)?,
            // Stores without peers did not write it: theirs was the only one.
            None => descriptor.replicas.first().map_or(ReplicaId(1), |place| place.replica_id),
        };
        Ok(Self {
            replica_id,
            descriptor: Arc::new(descriptor),
            lease: Lease::decode(record(LEASE)?)?,
            gc_threshold: descriptor::decode_threshold(record(GC_THRESHOLD)?)?,
            applied: AppliedState::decode(record(APPLIED)?)?,
            membership: descriptor::decode_membership(record(MEMBERSHIP)?)?,
        })
    }
}

/// What a read of the past must know of a range, as of the view of the engine that it reads.
pub struct Past {
    pub descriptor: RangeDescriptor,
    pub closed_ts: Timestamp,
    pub gc_threshold: Timestamp,
}

impl Past {
    /// `None` if the view has no such range.
    pub fn load(reader: &dyn Reader, range_id: RangeId) -> Result<Option<Self>, LoadError> {
        let record = |suffix| reader.get(Family::Local, &state_key(range_id, suffix));
        let (Some(descriptor), Some(applied), Some(threshold)) =
            (record(DESCRIPTOR)?, record(APPLIED)?, record(GC_THRESHOLD)?)
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            descriptor: RangeDescriptor::decode(descriptor)?,
            closed_ts: AppliedState::decode(applied)?.closed_ts,
            gc_threshold: descriptor::decode_threshold(threshold)?,
        }))
    }
}

/// Why the state of a range can't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Storage(#[from] basalt_storage::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("state of range {range_id} lacks record '{suffix}'")]
    Missing { range_id: RangeId, suffix: char },
}

impl From<LoadError> for basalt_storage::Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Storage(error) => error,
            other => Self::Corruption(other.to_string()),
        }
    }
}

/// A replica. Its state is changed by the store loop at apply and read by requests.
///
/// Beside the replicated state it knows what only this process knows of the lease.
pub struct Replica {
    pub range_id: RangeId,
    pub replica_id: ReplicaId,
    state: RwLock<ReplicaState>,
    /// What is known of earlier leases.
    marks: RwLock<Arc<Marks>>,
    /// The lease with this sequence number is not used any more by its holder, here: it is being given away.
    revoked: AtomicU64,
    /// A tighter expiration than that of the lease in force, once it was proposed. Zero for none.
    capped_at: AtomicU64,
    /// Writers go above it: what is closed, or will be once commands that are under way are applied.
    promised: AtomicU64,
    /// Requests served under the lease since it was last extended.
    served: AtomicU64,
    /// Requests served in all.
    requests: AtomicU64,
    /// The highest timestamp that anything served depended on.
    highest_served: AtomicU64,
    /// The generation of the descriptor that meta is known to have.
    told_meta: AtomicU64,
}

/// Under what a request is evaluated.
#[derive(Clone, Debug)]
pub struct LeaseView {
    pub descriptor: Arc<RangeDescriptor>,
    pub sequence: u64,
    pub marks: Arc<Marks>,
    /// See [`Replica::promised`].
    pub promised: Timestamp,
    /// Nobody else has a replica, and the lease is not going to expire.
    pub is_alone: bool,
    /// The end of the lease, or the largest timestamp.
    pub until: Timestamp,
}

impl Replica {
    pub fn new(state: ReplicaState) -> Self {
        Self {
            range_id: state.descriptor.range_id,
            replica_id: state.replica_id,
            marks: RwLock::new(Arc::new(Marks::blank(state.lease.start))),
            revoked: AtomicU64::new(0),
            capped_at: AtomicU64::new(0),
            promised: AtomicU64::new(state.applied.closed_ts.0),
            served: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            highest_served: AtomicU64::new(0),
            told_meta: AtomicU64::new(0),
            state: RwLock::new(state),
        }
    }

    pub fn descriptor(&self) -> Arc<RangeDescriptor> {
        Arc::clone(&self.state.read().descriptor)
    }

    pub fn gc_threshold(&self) -> Timestamp {
        self.state.read().gc_threshold
    }

    pub fn applied(&self) -> AppliedState {
        self.state.read().applied
    }

    pub fn lease(&self) -> Lease {
        self.state.read().lease
    }

    pub fn membership(&self) -> Membership {
        self.state.read().membership.clone()
    }

    /// What a request needs of the lease, if this process holds it and it covers `at`, the highest timestamp that the
    /// request depends on, with `stasis_ms` to spare.
    pub fn lease_view(
        &self,
        node_id: NodeId,
        incarnation: u64,
        at: Timestamp,
        stasis_ms: u64,
    ) -> Option<LeaseView> {
        let state = self.state.read();
        let lease = &state.lease;
        self.serves(&state, node_id, incarnation, at, stasis_ms).then(|| {
            if lease.expires() {
                self.served.fetch_add(1, Ordering::Relaxed);
                self.highest_served.fetch_max(at.0, Ordering::SeqCst);
            }
            LeaseView {
                descriptor: Arc::clone(&state.descriptor),
                sequence: lease.sequence,
                marks: self.marks(),
                promised: self.promised(),
                is_alone: !lease.expires() && state.membership.is_alone(self.replica_id),
                until: if lease.expires() { lease.expiration } else { Timestamp::MAX },
            }
        })
    }

    /// Whether a request that depends on `at` would be served here, without noting that one was.
    pub fn would_serve(&self, node_id: NodeId, incarnation: u64, at: Timestamp, stasis_ms: u64) -> bool {
        self.serves(&self.state.read(), node_id, incarnation, at, stasis_ms)
    }

    fn serves(
        &self,
        state: &ReplicaState,
        node_id: NodeId,
        incarnation: u64,
        at: Timestamp,
        stasis_ms: u64,
    ) -> bool {
        let lease = &state.lease;
        let capped_at = Timestamp(self.capped_at.load(Ordering::SeqCst));
        lease.is_of(node_id, incarnation)
            && lease.covers(at, stasis_ms)
            && (capped_at.is_zero() || at.add_ms(stasis_ms) < capped_at)
            && self.revoked.load(Ordering::SeqCst) != lease.sequence
    }

    /// Requests served under the lease since [`Replica::take_served`].
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Counts a request that is served.
    pub fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests served by this process.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn take_served(&self) -> u64 {
        self.served.swap(0, Ordering::Relaxed)
    }

    pub fn highest_served(&self) -> Timestamp {
        Timestamp(self.highest_served.load(Ordering::SeqCst))
    }

    /// Whether meta may lack the present descriptor.
    pub fn owes_meta(&self) -> bool {
        self.told_meta.load(Ordering::Relaxed) < self.state.read().descriptor.generation
    }

    /// Meta has the descriptor of this generation, or a later one.
    pub fn note_meta(&self, generation: u64) {
        self.told_meta.fetch_max(generation, Ordering::Relaxed);
    }

    pub fn marks(&self) -> Arc<Marks> {
        Arc::clone(&self.marks.read())
    }

    /// What the holder of the next lease must know of those before it. Reads and pushes are never forgotten.
    pub fn bequeath(&self, next: Marks) {
        let mut marks = self.marks.write();
        let (reads, pushes) = (marks.reads.max(next.reads), marks.pushes.max(next.pushes));
        *marks = Arc::new(Marks { reads, pushes, ..next });
    }

    /// What writers evaluated here go above. It is at least what is closed; above that only a courtesy, which saves their
    /// commands from being turned down.
    pub fn promised(&self) -> Timestamp {
        Timestamp(self.promised.load(Ordering::SeqCst))
    }

    /// A command that closes the range up to `to` is about to be proposed.
    pub fn promise(&self, to: Timestamp) {
        self.promised.fetch_max(to.0, Ordering::SeqCst);
    }

    /// From now on this process serves nothing under the lease of this sequence number.
    pub fn revoke(&self, sequence: u64) {
        self.revoked.store(sequence, Ordering::SeqCst);
    }

    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst) == self.state.read().lease.sequence
    }

    /// The lease without end is going to get one: from now on nothing is served beyond it.
    pub fn cap_at(&self, expiration: Timestamp) {
        self.capped_at.store(expiration.0, Ordering::SeqCst);
    }

    pub fn is_capped(&self) -> bool {
        self.capped_at.load(Ordering::SeqCst) != 0
    }

    /// Whether the range has no other replica.
    pub fn is_alone(&self) -> bool {
        self.state.read().membership.is_alone(self.replica_id)
    }

    /// Whether the range has no other replica and its lease no end.
    pub fn is_alone_for_good(&self) -> bool {
        let state = self.state.read();
        !state.lease.expires() && state.membership.is_alone(self.replica_id)
    }

    pub fn state(&self) -> ReplicaState {
        self.state.read().clone()
    }

    pub(super) fn publish(&self, state: ReplicaState) {
        if state.lease.expires() {
            // The lease in force says it itself now.
            self.capped_at.store(0, Ordering::SeqCst);
        }
        self.promise(state.applied.closed_ts);
        *self.state.write() = state;
    }

    /// What the right half of a split takes over from `left`.
    pub(super) fn inherit(&self, left: &Self) {
        *self.marks.write() = left.marks();
        self.promise(left.promised());
        let marks = [
            (&self.revoked, &left.revoked),
            (&self.capped_at, &left.capped_at),
            (&self.highest_served, &left.highest_served),
        ];
        for (own, lefts) in marks {
            own.store(lefts.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }
}
