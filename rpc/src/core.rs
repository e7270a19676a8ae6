//! What the tasks of a wire share.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::NodeId;
use basalt_env::Env;
use basalt_kv_api::{Class, Receiver};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    JoinHandler, Refusal, RefusalKind, RpcError, Security, WireOptions,
    assembly::Budget,
    handshake::Identity,
    lives::{Lives, Meeting},
    message::{Book, Hello, Record},
    nodes::Nodes,
    options::RECORDS_PER_FRAME,
    outbox::Outbox,
    pacing::Throttle,
    traffic::Traffic,
};

/// The same complaint is not repeated before.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
const COMPLAINTS_MAX: usize = 64;

pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) security: Security,
    pub(crate) options: WireOptions,
    pub(crate) identity: Identity,
    pub(crate) nodes: Nodes,
    pub(crate) lives: Lives,
    /// The address book has to be saved.
    pub(crate) book_changed: Notify,
    pub(crate) peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
    /// Who takes what arrives; nothing is read before somebody does.
    pub(crate) receiver: watch::Sender<Option<Arc<dyn Receiver>>>,
    pub(crate) join_handler: RwLock<Option<Arc<dyn JoinHandler>>>,
    pub(crate) throttle: Throttle,
    pub(crate) assembly: Budget,
    pub(crate) traffic: [Traffic; 3],
    pub(crate) complaints: Complaints,
    pub(crate) strangers: Arc<Semaphore>,
    pub(crate) connections: Arc<Semaphore>,
    /// The number of the newest connection of each peer in each class: an older one that still delivers is out of date.
    pub(crate) inbound: Mutex<BTreeMap<(NodeId, usize), u64>>,
    pub(crate) closing: watch::Sender<bool>,
    /// Why another node says that this one must not take part.
    pub(crate) cast_out: watch::Sender<Option<String>>,
}

/// The other end, and what waits for it.
pub(crate) struct Peer {
    pub(crate) node_id: NodeId,
    pub(crate) outboxes: [Outbox; 3],
    /// It was heard of: a pause before the next attempt to connect may end.
    pub(crate) awake: Notify,
    pub(crate) state: Mutex<PeerState>,
}

#[derive(Default)]
pub(crate) struct PeerState {
    pub(crate) connected: [bool; 3],
    pub(crate) problem: Option<String>,
    pub(crate) round_trip: Option<Duration>,
}

impl Peer {
    pub(crate) fn new(node_id: NodeId, options: &WireOptions) -> Arc<Self> {
        Arc::new(Self {
            node_id,
            outboxes: Class::ALL.map(|class| Outbox::new(options.limits(class))),
            awake: Notify::new(),
            state: Mutex::default(),
        })
    }
}

impl Core {
    pub(crate) fn now(&self) -> Duration {
        self.env.clock.monotonic()
    }

    /// Completes when the wire is closed.
    pub(crate) async fn closed(&self) {
        // An error means that the sender is gone, and it is a field of this.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closing.borrow()
    }

    pub(crate) fn hello(&self, purpose: u32) -> Hello {
        let own = self.nodes.own_record();
        Hello {
            build: own.build.clone(),
            records: vec![own.clone()],
            lives: self.lives.own(),
            ..self.identity.hello(&own.rpc_address, purpose)
        }
    }

    /// What a restarted node must know.
    pub(crate) fn book(&self) -> Book {
        let records = self.nodes.records();
        Book { incarnation: records[0].incarnation, records, lives: self.lives.own(), met: self.lives.met() }
    }

    /// Whether the process with these lives may speak as `peer`.
    pub(crate) fn meet(&self, peer: NodeId, lives: &[u64]) -> Result<Meeting, Refusal> {
        let meeting = self.lives.meet(peer, lives)?;
        if meeting.is_first {
            self.book_changed.notify_one();
        }
        Ok(meeting)
    }

    /// As many records as fit into one frame, this node's own first.
    pub(crate) fn introduction(&self) -> Vec<Record> {
        let mut records = self.nodes.records();
        records.truncate(RECORDS_PER_FRAME);
        records
    }

    /// Another node ended the handshake with an error, or this one did.
    pub(crate) fn note_failure(&self, error: &RpcError) {
        if let RpcError::Refused { refusal, .. } = error
            && let Some(reason) = match refusal.kind {
                RefusalKind::Removed => Some("the node was taken out of the cluster".to_owned()),
                RefusalKind::Copy => Some(refusal.reason.clone()),
                _ => None,
            }
        {
            self.cast_out.send_replace(Some(reason));
        }
        self.complaints.note(self.now(), error.to_string());
    }
}

/// What went wrong lately, each sentence once: logged, and kept for whoever asks.
#[derive(Default)]
pub(crate) struct Complaints {
    recent: Mutex<VecDeque<(String, Duration)>>,
}

impl Complaints {
    pub(crate) fn note(&self, now: Duration, text: String) {
        let mut recent = self.recent.lock();
        recent.retain(|(_, at)| now.saturating_sub(*at) < COMPLAINT_INTERVAL);
        if recent.iter().any(|(known, _)| *known == text) {
            return;
        }
        if recent.len() >= COMPLAINTS_MAX {
            recent.pop_front();
        }
        tracing::warn!("{text}");
        recent.push_back((text, now));
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.recent.lock().iter().map(|(text, _)| text.clone()).collect()
    }
}

/// Whether the other side of a connection shows signs of life.
#[derive(Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    /// This side does not listen at the moment.
    deaf: AtomicBool,
}

impl Pulse {
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::Relaxed);
    }

    /// Completes when the peer has been silent for too long, or was removed.
    pub(crate) async fn watch(&self, core: &Core, peer: NodeId) -> String {
        let silence_max = core.options.silence_max;
        let mut beats = self.beats.load(Ordering::Relaxed);
        let mut since = core.now();
        loop {
            core.env.spawner.sleep(silence_max / 5).await;
            let (before, now) = (beats, core.now());
            beats = self.beats.load(Ordering::Relaxed);
            if beats != before || self.deaf.load(Ordering::Relaxed) {
                since = now;
            } else if now.saturating_sub(since) >= silence_max {
                return format!("no sign of life for {} s", silence_max.as_secs_f32());
            }
            if core.nodes.is_removed(peer) {
                return format!("node {peer} was removed from the cluster");
            }
        }
    }
}
