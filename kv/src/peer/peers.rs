//! The peers of a node.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use basalt_base::{HlcClock, NodeId};
use basalt_env::Env;
use basalt_kv_api::{Class, Directory, Link};
use bytes::Bytes;

use super::{CallError, ClockOffset, Handler, PeerConfig};

/// Calls and messages to other nodes, and what is known of them.
pub struct Peers {
    link: Arc<dyn Link>,
}

impl Peers {
    pub fn new(
        _env: &Env,
        _me: NodeId,
        _cluster_id: u128,
        _incarnation: u64,
        link: Arc<dyn Link>,
        _directory: Arc<dyn Directory>,
        _clock: Arc<HlcClock>,
        _config: PeerConfig,
    ) -> Arc<Self> {
        Arc::new(Self { link })
    }

    /// Begins to take what arrives and to ping the others. Holds itself only weakly.
    pub fn start(self: &Arc<Self>, _handler: Arc<dyn Handler>) {}

    /// Ends all calls, in both directions, and lets go of the handler.
    pub fn stop(&self) {}

    /// Asks another node, and waits for the answer as long as that node lives.
    pub async fn call(&self, _to: NodeId, _request: Bytes) -> Result<Bytes, CallError> {
        Err(CallError::NotSent)
    }

    /// Sends a one-way message. False if it will certainly not arrive.
    pub fn send(&self, to: NodeId, class: Class, message: Bytes) -> bool {
        self.link.send(to, class, message)
    }

    /// Whether the node has answered a ping lately.
    pub fn is_up(&self, _node: NodeId) -> bool {
        false
    }

    /// How long ago the node has last answered a ping.
    pub fn last_heard(&self, _node: NodeId) -> Option<Duration> {
        None
    }

    pub fn offsets(&self) -> BTreeMap<NodeId, ClockOffset> {
        BTreeMap::new()
    }

    /// Whether this node's clock is certainly further than `limit` from those of most peers measured.
    pub fn offset_exceeds(&self, _limit: Duration) -> bool {
        false
    }
}
