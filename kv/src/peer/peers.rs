//! The peers of a node: calls and messages to them, and which of them are up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use basalt_base::{ClockError, HlcClock, NodeId, Timestamp};
use basalt_env::Env;
use basalt_kv_api::{Class, Directory, Link, Receiver};
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::RwLock;

use super::{
    CallError, ClockOffset, Handler, PeerConfig, PeerCounts,
    counts::Counters,
    frame::{self, FORMAT, Header, Kind},
    offset::SAMPLES_MAX,
    pinging,
    state::{Peer, PeerState},
};

/// Nodes that were ever heard of.
const PEERS_MAX: usize = 4_096;
/// A peer with a wrong clock is logged no more often.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub struct Peers {
    pub(super) env: Env,
    pub(super) me: NodeId,
    pub(super) cluster_id: u128,
    pub(super) incarnation: u64,
    pub(super) link: Arc<dyn Link>,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) clock: Arc<HlcClock>,
    pub(super) config: PeerConfig,
    pub(super) counters: Counters,
    /// No further call is executed here.
    pub(super) refuses: AtomicBool,
    /// This node answers no pings.
    pub(super) is_held_up: AtomicBool,
    handler: RwLock<Option<Arc<dyn Handler>>>,
    peers: RwLock<BTreeMap<NodeId, Arc<Peer>>>,
}

impl Peers {
    /// `incarnation` is greater than that of every earlier process of this node, and not zero.
    pub fn new(
        env: &Env,
        me: NodeId,
        cluster_id: u128,
        incarnation: u64,
        link: Arc<dyn Link>,
        directory: Arc<dyn Directory>,
        clock: Arc<HlcClock>,
        mut config: PeerConfig,
    ) -> Arc<Self> {
        assert!(incarnation > 0, "incarnations begin at one: zero means unknown");
        config.calls_max = config.calls_max.min(frame::ASKED_MAX);
        Arc::new(Self {
            env: env.clone(),
            me,
            cluster_id,
            incarnation,
            link,
            directory,
            clock,
            config,
            counters: Counters::default(),
            refuses: AtomicBool::new(false),
            is_held_up: AtomicBool::new(false),
            handler: RwLock::new(None),
            peers: RwLock::default(),
        })
    }

    /// Begins to take what arrives and to ping the others. The link and the loop hold this only weakly.
    pub fn start(self: &Arc<Self>, handler: Arc<dyn Handler>) {
        *self.handler.write() = Some(handler);
        self.link.deliver_to(Arc::new(Inbox(Arc::downgrade(self))));
        self.env.spawner.spawn(
            "peer-ping",
            Box::pin(pinging::run(
                Arc::downgrade(self),
                Arc::clone(&self.env.spawner),
                self.config.ping_interval,
            )),
        );
    }

    /// From now on calls of others are refused, which tells them that they were not executed. Those that have begun go on.
    pub fn refuse_calls(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    /// The node says that this incarnation of it stops: it is called no more.
    pub fn note_leaving(&self, node: NodeId, incarnation: u64) {
        if let Some(peer) = self.peer(node)
            && let Some(mut state) = peer.state_of(incarnation)
        {
            state.leaves = true;
        }
    }

    /// Of this process.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Ends all calls, in both directions, and lets go of the handler, which may hold this.
    pub fn stop(&self) {
        let handler = self.handler.write().take();
        drop(handler);
        for peer in self.all() {
            let mut state = peer.state.lock();
            state.is_up = false;
            state.incoming.cancel_all();
            state.outgoing.lose_all();
        }
    }

    /// Asks another node, and waits for the answer as long as that node lives. Dropping the future gives the call up.
    pub async fn call(&self, to: NodeId, request: Bytes) -> Result<Bytes, CallError> {
        self.call_as(Class::Batch, to, request).await
    }

    /// A call whose request travels among others of the class: a copy of a range does not hold up transactions.
    pub async fn call_as(&self, class: Class, to: NodeId, request: Bytes) -> Result<Bytes, CallError> {
        let peer = self.peer(to).ok_or(CallError::NotSent)?;
        let frame = self.frame(Kind::Call, 0, 0, &request);
        if frame.len() > self.config.bytes_max(class) {
            return Err(CallError::Refused(format!("a request of {} bytes is too large", request.len())));
        }
        let (id, frame, answer) = {
            let mut state = peer.state.lock();
            if !state.is_up(self.now(), self.config.silence_max) {
                return Err(state.refusal.clone().map_or(CallError::NotSent, CallError::Refused));
            }
            if state.leaves || state.outgoing.len() >= self.config.calls_max {
                return Err(CallError::NotSent);
            }
            let incarnation = state.incarnation;
            state.outgoing.begin(class, frame, incarnation)
        };
        let open = OpenCall { peers: self, peer: &peer, id };
        if !self.link.send(to, class, frame) && peer.state.lock().outgoing.not_sent(id) {
            return Err(CallError::NotSent);
        }
        Counters::increment(&self.counters.calls_sent);
        let answer = answer.await.unwrap_or(Err(CallError::Lost));
        drop(open);
        answer
    }

    /// Sends a one-way message. False if it will certainly not arrive.
    pub fn send(&self, to: NodeId, class: Class, message: Bytes) -> bool {
        let incarnation = self.peer(to).map_or(0, |peer| peer.state.lock().incarnation);
        let frame = self.frame(Kind::Message, incarnation, 0, &message);
        frame.len() <= self.config.bytes_max(class) && self.link.send(to, class, frame.freeze())
    }

    /// Whether the node has answered a ping lately.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.known(node, |state| state.is_up(self.now(), self.config.silence_max)).unwrap_or(false)
    }

    /// The incarnation of a node that is up.
    pub fn incarnation_of(&self, node: NodeId) -> Option<u64> {
        let peer = self.peer(node)?;
        let state = peer.state.lock();
        state.is_up.then_some(state.incarnation)
    }

    /// How long ago the node has last answered a ping, in its present incarnation.
    pub fn last_heard(&self, node: NodeId) -> Option<Duration> {
        self.known(node, |state| state.heard_at)?.map(|heard_at| self.now().saturating_sub(heard_at))
    }

    /// The clocks of all peers that were measured lately.
    pub fn offsets(&self) -> BTreeMap<NodeId, ClockOffset> {
        let (now, age_max) = (self.now(), self.config.ping_interval * SAMPLES_MAX as u32);
        let measured =
            self.all().into_iter().map(|peer| (peer.node, peer.state.lock().offsets.best(now, age_max)));
        measured.filter_map(|(node, offset)| Some((node, offset?))).collect()
    }

    /// Whether this node's clock is certainly further than `limit` from those of most other nodes of the cluster, all to the
    /// same side: some ahead and some behind contradict each other. Of the two that are left of three nobody can say who is
    /// wrong.
    pub fn offset_exceeds(&self, limit: Duration) -> bool {
        let others = self.directory.nodes().into_iter().map(|node| node.node_id);
        let others: Vec<NodeId> = others.filter(|node| *node != self.me).collect();
        let offsets = self.offsets();
        let on_side = |ahead: bool| {
            let known = others.iter().filter_map(|node| offsets.get(node));
            known.filter(|offset| offset.exceeds(limit) && (offset.micros > 0) == ahead).count()
        };
        on_side(true).max(on_side(false)) * 2 > others.len()
    }

    pub fn counts(&self) -> PeerCounts {
        self.counters.snapshot()
    }

    /// Calls that wait here, and calls of others that are worked on.
    pub fn calls_open(&self) -> (usize, usize) {
        self.all().iter().fold((0, 0), |(waiting, running), peer| {
            let state = peer.state.lock();
            (waiting + state.outgoing.len(), running + state.incoming.running_count())
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.env.clock.monotonic()
    }

    pub(super) fn handler(&self) -> Option<Arc<dyn Handler>> {
        self.handler.read().clone()
    }

    /// What is kept of another node; made when it is first named.
    pub(super) fn peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        if node == self.me {
            return None;
        }
        if let Some(peer) = self.peers.read().get(&node) {
            return Some(Arc::clone(peer));
        }
        let mut peers = self.peers.write();
        if peers.len() >= PEERS_MAX {
            return None;
        }
        Some(Arc::clone(peers.entry(node).or_insert_with(|| Arc::new(Peer::new(node)))))
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.peers.read().values().cloned().collect()
    }

    fn known<T>(&self, node: NodeId, look: impl FnOnce(&PeerState) -> T) -> Option<T> {
        let peer = self.peers.read().get(&node).cloned()?;
        let state = peer.state.lock();
        Some(look(&state))
    }

    pub(super) fn header(&self, kind: Kind, to_incarnation: u64, call_id: u64) -> Header {
        let reading = match kind {
            // Shows the clock itself, so that a wrong one is noticed before it has given anything away.
            Kind::Ping | Kind::Pong => self.clock.now().unwrap_or_else(|_| self.clock.latest()),
            _ => self.clock.latest(),
        };
        Header {
            format: FORMAT,
            kind,
            cluster_id: self.cluster_id,
            from_incarnation: self.incarnation,
            to_incarnation,
            reading,
            call_id,
        }
    }

    pub(super) fn frame(&self, kind: Kind, to_incarnation: u64, call_id: u64, payload: &[u8]) -> BytesMut {
        let mut frame = self.header(kind, to_incarnation, call_id).encode(payload.len());
        frame.put_slice(payload);
        frame
    }

    /// Moves the clock past what a peer has read from its own. A frame whose reading is not accepted is not, either.
    pub(super) fn absorb(&self, peer: &Peer, reading: Timestamp) -> Result<(), ClockError> {
        let result = self.clock.update(reading);
        if let Err(error @ ClockError::TooFarAhead { .. }) = &result {
            Counters::increment(&self.counters.clocks_too_far_ahead);
            let now = self.now();
            let mut state = peer.state.lock();
            if state.warned_at.is_none_or(|warned_at| now.saturating_sub(warned_at) >= WARN_INTERVAL) {
                state.warned_at = Some(now);
                drop(state);
                tracing::warn!(node = %peer.node, %error, "the clock of a node is wrong");
            }
        }
        result
    }

    /// Tells the handler whether a peer is up, if it has not heard.
    pub(super) fn tell(&self, peer: &Peer) {
        let Some(handler) = self.handler() else { return };
        let mut told = peer.told.lock();
        let (is_up, incarnation) = {
            let state = peer.state.lock();
            (state.is_up, state.incarnation)
        };
        if told.is_up && (!is_up || told.incarnation != incarnation) {
            told.is_up = false;
            Counters::increment(&self.counters.peers_lost);
            handler.liveness(peer.node, false);
        }
        if is_up && !told.is_up {
            told.is_up = true;
            told.incarnation = incarnation;
            handler.liveness(peer.node, true);
        }
    }
}

/// A call that somebody waits for.
struct OpenCall<'a> {
    peers: &'a Peers,
    peer: &'a Peer,
    id: u64,
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        let incarnation = {
            let mut state = self.peer.state.lock();
            if !state.outgoing.give_up(self.id) {
                return;
            }
            state.incarnation
        };
        // Should this be lost: the next ping does not name the call any more.
        let frame = self.peers.frame(Kind::Cancel, incarnation, self.id, &[]);
        self.peers.link.send(self.peer.node, Class::Batch, frame.freeze());
    }
}

/// What the link holds.
struct Inbox(Weak<Peers>);

impl Receiver for Inbox {
    fn receive(&self, from: NodeId, class: Class, message: Bytes) {
        if let Some(peers) = self.0.upgrade() {
            peers.receive(from, class, message);
        }
    }
}
