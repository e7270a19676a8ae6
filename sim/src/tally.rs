//! What the nodes of a run have done, over all their incarnations.

use crate::{Reached, node::Running};

/// Sums of the counters that say whether a run came to what clusters are tested for. One that ends in the middle of
/// recovery is not in them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally([u64; Tally::WORK.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Self::WORK.len()])
    }
}

impl Tally {
    /// In the order of the sums.
    pub const WORK: [&'static str; 34] = [
        "split",
        "split by load",
        "lease transfer",
        "lease of another node taken over",
        "lease moved for balance",
        "replica moved for balance",
        "leader elected",
        "snapshot installed",
        "learner added",
        "learner promoted",
        "joint change of members",
        "replica added",
        "replica removed",
        "replica destroyed",
        "push",
        "refresh",
        "transaction refreshed",
        "deadlock",
        "commit of one phase",
        "commit of two phases",
        "commit with unknown outcome",
        "batch sent to another node",
        "batch passed on by a third node",
        "rejected command",
        "commit staged",
        "staged commit acknowledged",
        "staged commit in vain",
        "push of a staged transaction",
        "staged transaction found committed",
        "staged transaction found aborted",
        "commit decided after a lost answer",
        "read answered by any replica",
        "read left to the leaseholder",
        "uncertain read",
    ];

    /// Adds what one incarnation has done until now.
    pub fn add(&mut self, running: &Running) {
        let (kv, raft) = (running.store.counts(), running.store.raft_counts());
        let txn = running.client.counts();
        let counts = [
            kv.splits,
            kv.splits_by_load,
            kv.lease_transfers,
            kv.lease_takeovers,
            kv.leases_balanced,
            kv.replicas_balanced,
            raft.leader_changes,
            raft.snapshots_installed,
            raft.learners_added,
            raft.promotions,
            raft.joint_changes,
            kv.replicas_added,
            kv.replicas_removed,
            kv.replicas_destroyed,
            kv.pushes,
            kv.refreshes,
            txn.refreshes,
            kv.deadlocks,
            kv.commits_one_phase,
            kv.commits_two_phase,
            txn.ambiguous,
            kv.batches_sent,
            kv.batches_relayed,
            kv.rejections,
            kv.stagings,
            txn.staged,
            txn.staged_in_vain,
            kv.staging_pushes,
            kv.recovered_commits,
            kv.recovered_aborts,
            txn.found_committed + txn.found_aborted,
            kv.follower_reads,
            kv.follower_refusals,
            kv.uncertain_reads,
        ];
        self.0.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }

    pub fn report(&self, reached: &Reached) {
        Self::WORK.into_iter().zip(self.0).for_each(|(what, count)| reached.add(what, count));
    }
}
