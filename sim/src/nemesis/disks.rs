//! Disks that are full, or fail.

use std::time::Duration;

use super::{Nemesis, weather::Kind};

impl Nemesis {
    pub(super) async fn fill_disk(&self, every: Duration) {
        while self.due(Kind::DiskFull, every).await {
            let node = self.context.cluster.any();
            self.context.trace.line(|| format!("disk of node {} is full", node.number()));
            if self.context.parameters.nodes > 1 {
                self.context.reached.count("disk full");
            }
            node.set_disk_full(true);
            self.wait(Duration::from_millis(400)).await;
            self.context.trace.line(|| format!("disk of node {} has room", node.number()));
            node.set_disk_full(false);
        }
    }

    /// A sync of the log fails. The store must end then, and what it had not synced counts as lost.
    pub(super) async fn fail_syncs(&self, every: Duration) {
        while self.due(Kind::SyncError, every).await {
            let node = self.context.cluster.any();
            let Some(_claim) = node.claim() else { continue };
            self.context.trace.line(|| format!("a sync of node {} fails", node.number()));
            let fault = node.fail_sync();
            self.rest(Duration::from_secs(5)).await;
            fault.lift();
            self.context.reached.add("failed sync", fault.bites());
        }
    }
}
