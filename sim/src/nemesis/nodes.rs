//! Nodes that crash, stand still, or are off for long.

use std::time::Duration;

use super::{Nemesis, weather::Kind};

/// Scheduling steps between the moment a crash is due and the crash: so it hits any await point.
const CRASH_STEPS_MAX: u64 = 400;
const DOWN_MAX: Duration = Duration::from_millis(800);
/// A node that stands still does so for less than this, mostly.
const FROZEN_MAX: Duration = Duration::from_secs(12);

impl Nemesis {
    pub(super) async fn crash(&self, every: Duration) {
        while self.due(Kind::Crash, every).await {
            let node = self.context.cluster.any();
            self.executor.steps(self.context.below(CRASH_STEPS_MAX)).await;
            if self.is_stopped() {
                return;
            }
            let Some(_claim) = node.claim() else { continue };
            if self.context.one_in(6) {
                node.shut_down().await;
            }
            node.crash(&self.context);
            self.wait(DOWN_MAX / 2).await;
            node.start();
        }
    }

    /// A node is off for longer than the others wait before they replace its replicas.
    pub(super) async fn turn_off(&self, every: Duration) {
        while self.due(Kind::Outage, every).await {
            let node = self.context.cluster.any();
            let Some(_claim) = node.claim() else { continue };
            node.crash(&self.context);
            self.context.trace.line(|| format!("node {} is off", node.number()));
            let dead_after = self.context.parameters.dead_after;
            let extra = self.context.below(u64::try_from(dead_after.as_millis()).unwrap_or(1_000));
            if self.rest(dead_after + Duration::from_millis(extra)).await {
                self.context.reached.count("off until it counts as dead");
            }
            node.start();
        }
    }

    pub(super) async fn freeze(&self, every: Duration) {
        while self.due(Kind::Freeze, every).await {
            let node = self.context.cluster.any();
            let Some(_claim) = node.claim() else { continue };
            node.freeze();
            self.context.reached.count("frozen");
            let most = if self.context.coin() { FROZEN_MAX } else { FROZEN_MAX / 8 };
            self.wait(most / 2).await;
            node.thaw();
        }
    }

    /// An upgrade: every node stops cleanly and starts again, one after the other.
    pub(super) async fn restart_all(&self, every: Duration) {
        while self.due(Kind::Restart, every).await {
            self.context.trace.line(|| "rolling restart".to_owned());
            for node in self.context.cluster.nodes() {
                let Some(_claim) = node.claim() else { continue };
                node.shut_down().await;
                node.crash(&self.context);
                self.wait(DOWN_MAX / 2).await;
                node.start();
                node.until_up().await;
                if !self.wait(Duration::from_secs(1)).await {
                    return;
                }
            }
            self.context.reached.count("rolling restart");
        }
    }

    /// Nodes that the cluster does not begin with.
    pub(super) async fn grow(&self, every: Duration) {
        for _ in 0..self.context.parameters.nodes_later() {
            if !self.wait(every).await {
                return;
            }
            self.context.cluster.grow().await;
            self.context.reached.count("joined later");
        }
    }
}
