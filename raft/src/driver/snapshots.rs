//! Installing snapshots, and the fate of those that are sent.
//!
//! A snapshot that came goes into the log first, synced: from then on Raft may rely on it, and a crash in the middle of the
//! installation is repaired by repeating it. The log that it replaces may hold a split whose right side is not durable
//! yet and that nobody could replay then; if so, the state machine is flushed before.

use std::time::Duration;

use basalt_base::RangeId;
use raft::{ProgressState, SnapshotStatus, StateRole};

use super::{round::Part, run::Driver};
use crate::{Error, Result, counts::Counters, inbox::Control, log::PendingSnapshot};

impl Driver {
    /// Makes the right sides of splits durable whose entries a snapshot is about to replace.
    pub(super) async fn flush_before_snapshots(&mut self, parts: &[Part]) -> Result<()> {
        let replaces_split =
            |part: &Part| part.snapshot.is_some() && self.splits.contains_key(&part.range_id);
        if !parts.iter().any(replaces_split) {
            return Ok(());
        }
        while must_wait(self.state_machine.flush())? {
            self.wait_for_room().await;
        }
        self.splits.clear();
        Ok(())
    }

    /// Notes which snapshots to others have arrived or failed.
    pub(super) fn settle_snapshots(&self, range_id: RangeId) {
        let raft = self.replicas.get(&range_id).map(|replica| &replica.node.raft);
        let leader = raft.filter(|raft| raft.state == StateRole::Leader);
        self.slots.settle(range_id, self.env.clock.monotonic(), |to| {
            let progress = leader.and_then(|raft| raft.prs().get(to))?;
            Some(progress.state == ProgressState::Snapshot)
        });
    }

    /// A snapshot is ready: the answers to heartbeats make Raft ask for it.
    pub(super) fn snapshot_made(&mut self, range_id: RangeId) {
        self.with_node(range_id, |node| node.ping());
    }

    /// Makes snapshots beside the loop: reading a range takes long.
    pub fn snapshot_maker(&self) -> impl Future<Output = ()> + Send + use<> {
        let (slots, shared) = (self.slots.clone(), self.shared.clone());
        let state_machine = self.state_machine.clone();
        let bytes_max = self.options.snapshot_bytes_max;
        async move {
            loop {
                let (range_id, to) = slots.wanted().await;
                if shared.inbox.closed().is_some() {
                    return;
                }
                let made = match state_machine.snapshot(range_id) {
                    Ok(data) if data.bytes.len() <= bytes_max => Some(data),
                    Ok(data) => {
                        tracing::warn!(range = %range_id, bytes = data.bytes.len(), "a snapshot is too large");
                        None
                    }
                    Err(error) => {
                        tracing::warn!(range = %range_id, %error, "no snapshot can be made");
                        None
                    }
                };
                slots.made(range_id, to, made);
                if shared.inbox.control(Control::SnapshotMade(range_id)).is_err() {
                    return;
                }
            }
        }
    }

    /// Tells Raft that snapshots of which nothing is heard are lost.
    pub(super) fn give_up_snapshots(&mut self, now: Duration) {
        let Some(before) = now.checked_sub(self.options.snapshot_timeout) else { return };
        for (range_id, to) in self.slots.older_than(before) {
            tracing::info!(range = %range_id, to, "nothing was heard of a snapshot");
            self.with_node(range_id, |node| node.report_snapshot(to, SnapshotStatus::Failure));
            self.settle_snapshots(range_id);
        }
    }

    /// Takes note of snapshots that are in the log now, and installs them.
    pub(super) fn install_new(&mut self, parts: &[Part]) -> Result<()> {
        let mut arrived = false;
        for part in parts {
            let Some(snapshot) = &part.snapshot else { continue };
            let Some(replica) = self.replicas.get_mut(&part.range_id) else { continue };
            replica.fail_waiting(snapshot.index, "a snapshot took the place of the log");
            replica.unapplied.clear();
            replica.membership = snapshot.membership.clone();
            replica.installing = Some(snapshot.clone());
            self.installing.insert(part.range_id);
            arrived = true;
        }
        if arrived { self.install() } else { Ok(()) }
    }

    /// Tries again what the state machine could not install.
    pub(super) fn install_again(&mut self) -> Result<()> {
        if self.installing.is_empty() || self.env.clock.monotonic() < self.retry_at {
            return Ok(());
        }
        self.install()
    }

    fn install(&mut self) -> Result<()> {
        let mut installed = Vec::new();
        for range_id in &self.installing {
            let Some(replica) = self.replicas.get(range_id) else { continue };
            let Some(snapshot) = replica.installing.clone() else { continue };
            let result =
                self.state_machine.install_snapshot(*range_id, replica.replica_id, &snapshot.into_data());
            if !must_wait(result)? {
                installed.push(*range_id);
            }
        }
        // A barrier: the copy in the log is given up only when the state is durable.
        if !installed.is_empty() && must_wait(self.state_machine.flush())? {
            installed.clear();
        }
        for range_id in installed {
            self.installing.remove(&range_id);
            let Some(replica) = self.replicas.get_mut(&range_id) else { continue };
            let Some(PendingSnapshot { index, .. }) = replica.installing.take() else { continue };
            replica.applied = index;
            self.batch.snapshot_installed(range_id);
            Counters::add(&self.counters.snapshots_installed, 1);
            self.update_ticking(range_id);
            // Entries behind the snapshot may have gathered.
            self.dirty.insert(range_id);
        }
        if !self.installing.is_empty() {
            self.retry_at = self.env.clock.monotonic() + self.options.disk_full_retry;
        }
        Ok(())
    }
}

/// Whether what failed may succeed later.
fn must_wait(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(error @ (Error::Unavailable(_) | Error::DiskFull)) => {
            tracing::warn!(%error, "a snapshot must wait");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
