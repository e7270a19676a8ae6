//! A node whose clock is wrong ends itself, before its leases do harm.
//!
//! A lease is the promise that nobody else serves before it ends, by a clock that is right up to the largest difference that
//! is permitted. Two things make a clock wrong. It steps: then it contradicts the monotonic clock at once, and the clock
//! itself gives no reading any more, so that no request is served after the step ([`basalt_base::HlcClock::limit_step`];
//! half of the difference, since two nodes may step at once). Or it drifts, slowly: then the pings of others show it, and at
//! four fifths of the difference there is time left. Steps that are small enough to be put up with add up to what pings
//! show, too.
//!
//! Only a majority of the others can say that a clock is wrong; one other node may be wrong itself. A clock that was wrong
//! from the start does no harm: what others say is refused as lying in the future or they refuse what this node says, so it
//! can't lead.

use std::{sync::Weak, time::Duration};

use basalt_env::{Bug, Env, planted};
use parking_lot::Mutex;

use super::{Store, open::alive};
use crate::concurrency::Signal;

const INTERVAL: Duration = Duration::from_millis(250);
/// The share of the largest permitted difference, in percent, at which a clock that drifts is taken for wrong.
const OFFSET_PERCENT: u32 = 80;
/// The clock of a node with peers may lag by this part of what clocks may differ by.
pub(super) const LAG_SHARE: u32 = 5;

/// Why the store has ended itself.
#[derive(Default)]
pub struct Fence {
    cause: Mutex<Option<String>>,
    fenced: Signal,
}

impl Store {
    /// With peers, a clock fails rather than lag.
    pub(super) fn limit_lag(&self) {
        if !planted(Bug::IgnoreClockLag) {
            self.clock.limit_lag(self.config.clock_offset_max / LAG_SHARE);
        }
    }

    /// With peers, clocks must be right.
    pub(super) fn watch_steps(&self) {
        self.clock.limit_step(self.config.clock_offset_max / 2);
    }

    pub(super) async fn watch_clock(store: Weak<Self>, env: Env) {
        loop {
            env.spawner.sleep(INTERVAL).await;
            let Some(store) = alive(&store) else { return };
            // For the look at the clocks: nobody else may read them.
            let _ = store.now();
            if let Some(cause) = store.wrong_clock() {
                store.fence(cause);
                return;
            }
        }
    }

    fn wrong_clock(&self) -> Option<String> {
        if let Some(micros) = self.clock.stepped() {
            let (ms, way) = (micros.abs() / 1_000, if micros < 0 { "back" } else { "forward" });
            let limit = self.config.clock_offset_max / 2;
            return Some(format!(
                "the wall clock was set {way} by {ms} ms, more than the {limit:?} that are put up with; start again when \
                 it is right"
            ));
        }
        let limit = self.config.clock_offset_max * OFFSET_PERCENT / 100;
        if planted(Bug::IgnoreClockStep) || !self.peers.offset_exceeds(limit) {
            return None;
        }
        let offsets: Vec<String> = self
            .peers
            .offsets()
            .into_iter()
            .map(|(node, offset)| format!("{} ms from node {node}", offset.micros / 1_000))
            .collect();
        Some(format!(
            "the clock of this node differs from those of most others by more than {limit:?} ({}); set it right and \
             start again",
            offsets.join(", ")
        ))
    }

    pub(super) fn fence(&self, cause: String) {
        self.clock.fence();
        tracing::error!("{cause}");
        *self.fence.cause.lock() = Some(cause);
        self.fence.fenced.fire();
    }

    /// Waits until the store has ended itself, and says why.
    pub(super) async fn until_fenced(&self) -> String {
        self.fence.fenced.wait().await;
        self.fence.cause.lock().clone().unwrap_or_default()
    }
}
