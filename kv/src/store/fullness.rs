//! A node whose disk is full.
//!
//! It can neither serve writes nor extend leases, while its heartbeats keep everybody else from doing so. So it hands over the
//! leadership of its groups, as a node that drains does ([`super::drain`]); who leads then takes the leases when they have
//! run out. It does not call elections before others have had time to, follows as well as it can, and is back when there has
//! been room for a while. A disk that stalls needs no such care: the loop that waits for it sends no heartbeats either, and
//! the node soon answers no pings ([`crate::peer`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::Store;

/// How often a full disk is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Room must have been there for so long.
const RECOVERY: Duration = Duration::from_secs(3);

#[derive(Default)]
pub struct Fullness {
    is_full: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the disk was last found full, and when it was last looked at.
    full_at: Duration,
    looked_at: Duration,
}

impl Store {
    /// Whether the disk was lately found full.
    pub fn is_full(&self) -> bool {
        self.fullness.is_full.load(Ordering::Relaxed)
    }

    /// Notes why a proposal was refused.
    pub(super) fn note_full(&self, error: &basalt_raft::Error) {
        if matches!(error, basalt_raft::Error::DiskFull) && !self.other_nodes().is_empty() {
            self.fullness.state.lock().full_at = self.env.clock.monotonic();
            if !self.fullness.is_full.swap(true, Ordering::Relaxed) {
                tracing::warn!("no space left on the disk: other nodes are to serve");
            }
        }
    }

    /// Whether there is room again.
    pub(super) fn look_at_room(self: &Arc<Self>) {
        if !self.is_full() {
            return;
        }
        let now = self.env.clock.monotonic();
        {
            let mut state = self.fullness.state.lock();
            if now.saturating_sub(state.looked_at) < INTERVAL {
                return;
            }
            state.looked_at = now;
        }
        let store = Arc::clone(self);
        let look = async move {
            let has_room = matches!(store.raft().has_room().await, Ok(true));
            let mut state = store.fullness.state.lock();
            let now = store.env.clock.monotonic();
            if !has_room {
                state.full_at = now;
            } else if now.saturating_sub(state.full_at) >= RECOVERY {
                store.fullness.is_full.store(false, Ordering::Relaxed);
                tracing::info!("there is space on the disk again");
            }
        };
        self.env.spawner.spawn("kv room", Box::pin(look));
    }
}
