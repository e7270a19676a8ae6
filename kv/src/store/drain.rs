//! Giving up what this node serves: before it stops, and while it is leaving the cluster.
//!
//! A node that drains says so in the directory, so that nobody gives it anything. What it serves goes to live voters that
//! are not on their way out themselves: a lease in force by a transfer, after which nothing is served here under it; a
//! group whose lease has lapsed by its leadership alone, since the next leaseholder is who leads. It takes a lease only
//! where nobody else could, so that no range stands still because of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use basalt_base::{NodeId, ReplicaId};
use basalt_kv_api::Result;
use basalt_raft::Role;
use futures::future::join_all;

use super::{NodeState, Store, proposal::raft_error};
use crate::replica::Replica;

/// How often the rest is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// Leases that are on their way at once.
const AT_ONCE: usize = 16;
/// Entries by which a voter may lag and still take over.
const LAG_MAX: u64 = 1_024;

/// How far a node is from serving nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainProgress {
    /// Ranges that it still serves or leads, other than those that nobody else has a replica of.
    pub leases_left: usize,
}

impl DrainProgress {
    pub fn is_done(&self) -> bool {
        self.leases_left == 0
    }
}

/// Whether this node gives up what it serves.
#[derive(Default)]
pub struct Draining {
    is_draining: AtomicBool,
    /// Leases are being given away now.
    is_busy: AtomicBool,
}

/// A replica that could serve instead of the one here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Successor {
    pub node_id: NodeId,
    pub replica_id: ReplicaId,
}

impl Store {
    /// Gives all leases to other nodes, and takes none from now on; waits at most `patience`. To be repeated until nothing
    /// is left, by whoever wants to show how far it is. Goes on in the background until [`Store::undrain`].
    pub async fn drain(self: &Arc<Self>, patience: Duration) -> DrainProgress {
        if !self.draining.is_draining.swap(true, Ordering::SeqCst) {
            tracing::info!("draining");
        }
        self.directory.set_draining(true);
        let begun = self.env.clock.monotonic();
        loop {
            self.shed_leases().await;
            let progress = self.drain_progress();
            if progress.is_done() || self.env.clock.monotonic().saturating_sub(begun) >= patience {
                return progress;
            }
            self.env.spawner.sleep(PAUSE).await;
        }
    }

    /// The node serves again.
    pub fn undrain(&self) {
        self.draining.is_draining.store(false, Ordering::SeqCst);
        self.directory.set_draining(false);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.is_draining.load(Ordering::SeqCst)
    }

    pub fn drain_progress(&self) -> DrainProgress {
        DrainProgress { leases_left: self.held_here().len() }
    }

    /// Whether leases are to go elsewhere.
    pub(super) fn is_shedding(&self) -> bool {
        self.is_draining()
            || self.is_full()
            || self.state_of(self.ident.node_id) == NodeState::Decommissioning
    }

    /// What this node serves or leads and somebody else could.
    fn held_here(&self) -> Vec<Arc<Replica>> {
        let statuses = self.raft().statuses();
        let is_held = |replica: &Arc<Replica>| {
            let leads = statuses.get(&replica.range_id).is_some_and(|status| status.role == Role::Leader);
            !replica.is_alone() && (leads || self.serves(replica) && !replica.is_revoked())
        };
        self.states.ranges.all().into_iter().filter(is_held).collect()
    }

    /// Gives away what can be given away now. Once at a time.
    pub(super) async fn shed_leases(self: &Arc<Self>) {
        if self.draining.is_busy.swap(true, Ordering::SeqCst) {
            return;
        }
        let busy = Busy(Arc::clone(self));
        let mut served = self.served_by_others();
        for some in self.held_here().chunks(AT_ONCE) {
            let mut moves = Vec::new();
            for replica in some {
                let Some(to) = self.successor(replica, &served) else { continue };
                *served.entry(to.node_id).or_default() += 1;
                moves.push(async move {
                    if let Err(error) = self.hand_over(replica, to).await {
                        tracing::debug!(range = %replica.range_id, %error, "its lease stays for now");
                    }
                });
            }
            join_all(moves).await;
        }
        drop(busy);
    }

    /// Ranges that others serve, as far as is known here.
    pub(super) fn served_by_others(&self) -> BTreeMap<NodeId, usize> {
        let mut served = BTreeMap::new();
        for replica in self.states.ranges.all() {
            let node_id = replica.lease().node_id;
            if node_id != self.ident.node_id {
                *served.entry(node_id).or_insert(0) += 1;
            }
        }
        served
    }

    /// The voter that should serve the range instead of this node: of those that can, the one that serves least.
    pub(super) fn successor(&self, replica: &Replica, served: &BTreeMap<NodeId, usize>) -> Option<Successor> {
        let successors = self.successors(replica);
        successors.into_iter().min_by_key(|to| (served.get(&to.node_id).copied().unwrap_or(0), to.node_id))
    }

    /// The voters that could serve the range instead of this node.
    pub(super) fn successors(&self, replica: &Replica) -> Vec<Successor> {
        self.successors_within(replica, LAG_MAX)
    }

    /// Those that lag by no more than so many entries.
    pub(super) fn successors_within(&self, replica: &Replica, lag_max: u64) -> Vec<Successor> {
        let (descriptor, membership) = (replica.descriptor(), replica.membership());
        let last = self.raft().status(replica.range_id).map_or(0, |status| status.last_index);
        let progress = self.raft().progress(replica.range_id);
        let keeps_up = |replica_id: ReplicaId| {
            let Some(progress) = &progress else { return true };
            progress.iter().any(|member| {
                member.replica_id == replica_id
                    && member.matched + lag_max >= last
                    && member.pending_snapshot.is_none()
            })
        };
        let nodes = self.directory.nodes();
        let takes = |node_id: NodeId| {
            let node = nodes.iter().find(|node| node.node_id == node_id);
            node_id != self.ident.node_id
                && node.is_some_and(|node| !node.draining)
                && self.state_of(node_id) == NodeState::Active
                && self.peers.is_up(node_id)
        };
        let places = descriptor.replicas.iter().filter(|place| {
            membership.voters.contains(&place.replica_id)
                && takes(place.node_id)
                && keeps_up(place.replica_id)
        });
        places.map(|place| Successor { node_id: place.node_id, replica_id: place.replica_id }).collect()
    }

    /// Gives the range to another replica: the lease, if it is in force, and the leadership.
    pub(super) async fn hand_over(self: &Arc<Self>, replica: &Arc<Replica>, to: Successor) -> Result<()> {
        // A transfer of the lease is written, for which a full disk has no room: then it runs out.
        if self.leads(replica) && self.serves(replica) && !replica.is_revoked() && !self.is_full() {
            let Some(incarnation) = self.peers.incarnation_of(to.node_id) else { return Ok(()) };
            return self.transfer_lease(replica, to.node_id, incarnation).await;
        }
        if self.leads(replica) {
            return self.raft().transfer_leader(replica.range_id, to.replica_id).map_err(raft_error);
        }
        // Without the leadership the lease runs out.
        Ok(())
    }
}

struct Busy(Arc<Store>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.draining.is_busy.store(false, Ordering::SeqCst);
    }
}
