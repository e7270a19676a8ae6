//! Keeps the clock's durable bound ahead of its readings.
//!
//! The bound is placed three seconds ahead and renewed when less than two are left: one small write to the log every
//! two seconds, idle or not. Were the disk to stall, the clock would go on just below the bound, in logical steps.

use std::{sync::Weak, time::Duration};

use basalt_env::Env;

use super::{Store, open::alive};

const INTERVAL: Duration = Duration::from_secs(1);
const LEFT_MIN_MS: u64 = 2_000;

impl Store {
    pub(super) async fn keep_clock(store: Weak<Self>, env: Env) {
        loop {
            env.spawner.sleep(INTERVAL).await;
            let Some(store) = alive(&store) else { return };
            let next = store.clock.next_bound();
            let left = store.clock.bound().physical_ms() + basalt_base::clock::BOUND_LEAD_MS;
            if left.saturating_sub(next.physical_ms()) >= LEFT_MIN_MS {
                continue;
            }
            match store.raft().persist_clock_bound(next).await {
                Ok(()) => store.clock.set_bound(next),
                Err(error) => tracing::warn!(%error, "the clock's bound could not be made durable"),
            }
        }
    }
}
