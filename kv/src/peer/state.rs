//! What is known of one peer.

use std::time::Duration;

use basalt_base::NodeId;
use parking_lot::{Mutex, MutexGuard};

use super::{incoming::Incoming, offset::OffsetSamples, outgoing::Outgoing};

pub struct Peer {
    pub node: NodeId,
    pub state: Mutex<PeerState>,
    /// What the handler was told last. Held while it is told, so that it hears of changes in their order.
    pub told: Mutex<Told>,
}

#[derive(Clone, Copy, Default)]
pub struct Told {
    pub is_up: bool,
    pub incarnation: u64,
}

/// All times are of the monotonic clock.
#[derive(Default)]
pub struct PeerState {
    /// The latest that was heard of; 0 before.
    pub incarnation: u64,
    pub is_up: bool,
    /// When it last answered a ping.
    pub heard_at: Option<Duration>,
    /// When its last frame arrived.
    pub frame_at: Duration,
    /// The stamp of the latest ping that it has answered.
    pub stamp_answered: Option<Duration>,
    /// Why it does not want to hear from this node.
    pub refusal: Option<String>,
    /// It stops, and executes no more calls.
    pub leaves: bool,
    pub warned_at: Option<Duration>,
    pub outgoing: Outgoing,
    pub incoming: Incoming,
    pub offsets: OffsetSamples,
}

impl Peer {
    pub fn new(node: NodeId) -> Self {
        Self { node, state: Mutex::default(), told: Mutex::default() }
    }

    /// The state, unless the peer has restarted since it was this incarnation.
    pub fn state_of(&self, incarnation: u64) -> Option<MutexGuard<'_, PeerState>> {
        let state = self.state.lock();
        (state.incarnation == incarnation).then_some(state)
    }
}

impl PeerState {
    pub fn is_up(&self, now: Duration, silence_max: Duration) -> bool {
        self.is_up && self.heard_at.is_some_and(|heard_at| now.saturating_sub(heard_at) < silence_max)
    }

    /// The peer is not the one it was: it restarted. Returns how many calls are lost.
    pub fn adopt(&mut self, incarnation: u64) -> usize {
        self.incarnation = incarnation;
        self.is_up = false;
        self.heard_at = None;
        self.stamp_answered = None;
        self.refusal = None;
        self.leaves = false;
        self.offsets.clear();
        self.incoming.cancel_all();
        self.incoming = Incoming::default();
        self.outgoing.lose_all()
    }
}
