//! One range as this store knows it.

use std::sync::Arc;

use basalt_base::{NodeId, RangeId, ReplicaId, Timestamp};
use basalt_raft::Membership;
use basalt_storage::{Family, Reader, WriteBatch};
use parking_lot::RwLock;

use super::{
    descriptor::{
        self, APPLIED, AppliedState, DESCRIPTOR, GC_THRESHOLD, LEASE, Lease, MEMBERSHIP, RangeDescriptor,
        state_key,
    },
    wire::WireError,
};

/// The replicated state outside the data, as of the applied index.
#[derive(Clone, Debug)]
pub struct ReplicaState {
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
    }

    /// Reads what [`ReplicaState::put_all`] and later changes wrote.
    pub fn load(reader: &dyn Reader, range_id: RangeId) -> Result<Self, LoadError> {
        let record = |suffix| {
            let bytes = reader.get(Family::Local, &state_key(range_id, suffix))?;
            bytes.ok_or(LoadError::Missing { range_id, suffix: char::from(suffix) })
        };
        Ok(Self {
            descriptor: Arc::new(RangeDescriptor::decode(record(DESCRIPTOR)?)?),
            lease: Lease::decode(record(LEASE)?)?,
            gc_threshold: descriptor::decode_threshold(record(GC_THRESHOLD)?)?,
            applied: AppliedState::decode(record(APPLIED)?)?,
            membership: descriptor::decode_membership(record(MEMBERSHIP)?)?,
        })
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
pub struct Replica {
    pub range_id: RangeId,
    pub replica_id: ReplicaId,
    state: RwLock<ReplicaState>,
}

impl Replica {
    pub fn new(state: ReplicaState) -> Self {
        Self {
            range_id: state.descriptor.range_id,
            replica_id: state.descriptor.replica_id,
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

    /// Descriptor and lease sequence for a command, if this process holds the lease.
    pub fn lease_holder_view(
        &self,
        node_id: NodeId,
        incarnation: u64,
    ) -> Option<(Arc<RangeDescriptor>, u64)> {
        let state = self.state.read();
        let held = state.lease.node_id == node_id && state.lease.incarnation == incarnation;
        held.then(|| (Arc::clone(&state.descriptor), state.lease.sequence))
    }

    /// Whether the range has no other replica.
    pub fn is_alone(&self) -> bool {
        self.state.read().membership.is_alone(self.replica_id)
    }

    pub fn state(&self) -> ReplicaState {
        self.state.read().clone()
    }

    pub(super) fn publish(&self, state: ReplicaState) {
        *self.state.write() = state;
    }
}
