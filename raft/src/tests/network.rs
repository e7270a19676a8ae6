//! The way between the stores of a test, and the observer of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::{RangeId, ReplicaId};
use basalt_env::{
    Rng, Spawner,
    sim::{SimExecutor, SimRng},
};
use parking_lot::Mutex;

use crate::{Envelope, Error, GroupDescriptor, MessageKind, Observer, RaftHandle, Term, Transport};

/// The store of a replica. A store may have several replicas of a range one after the other.
pub fn node_of(replica_id: ReplicaId) -> u64 {
    replica_id.0 % 100
}

/// What goes wrong on the way, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub lost: usize,
    pub repeated: usize,
    /// Messages are late by up to this, and so overtake each other.
    pub delay_max: Duration,
}

/// Delivers at once, except between stores that are cut off, unless there are faults.
#[derive(Clone, Default)]
pub struct Network {
    stores: Arc<Mutex<BTreeMap<u64, RaftHandle>>>,
    cut: Arc<Mutex<BTreeSet<u64>>>,
    /// From, to.
    cut_links: Arc<Mutex<BTreeSet<(u64, u64)>>>,
    /// Replicas that the transport thinks dead.
    pub dead: Arc<Mutex<BTreeSet<u64>>>,
    faults: Arc<Mutex<Option<(SimExecutor, Faults)>>>,
    pub snapshots: Arc<AtomicU64>,
    /// On their way now, and at most.
    in_flight: Arc<Mutex<(u64, u64)>>,
    calls: Arc<AtomicU64>,
    /// Answers to requests for votes: term, candidate, granted.
    pub votes: Arc<Mutex<Vec<(Term, ReplicaId, bool)>>>,
    /// The messages of this range do not reach this store.
    cut_range: Arc<Mutex<Option<(RangeId, u64)>>>,
    sent: Arc<Mutex<BTreeMap<MessageKind, u64>>>,
    /// Snapshots are lost and nobody says so.
    pub hides_snapshots: Arc<Mutex<bool>>,
}

impl Network {
    /// The store sends and receives from now on.
    pub fn connect(&self, node: u64, handle: RaftHandle) {
        self.stores.lock().insert(node, handle);
    }

    pub fn handle(&self, node: u64) -> Option<RaftHandle> {
        self.stores.lock().get(&node).cloned()
    }

    pub fn cut(&self, node: u64) {
        self.cut.lock().insert(node);
    }

    pub fn heal(&self, node: u64) {
        self.cut.lock().remove(&node);
    }

    pub fn cut_link(&self, from: u64, to: u64) {
        self.cut_links.lock().insert((from, to));
    }

    pub fn heal_all(&self) {
        self.cut.lock().clear();
        self.cut_links.lock().clear();
    }

    pub fn set_faults(&self, executor: &SimExecutor, faults: Option<Faults>) {
        *self.faults.lock() = faults.map(|faults| (executor.clone(), faults));
    }

    pub fn count(&self, kind: MessageKind) -> u64 {
        self.sent.lock().get(&kind).copied().unwrap_or_default()
    }

    pub fn cut_range(&self, range: Option<(RangeId, u64)>) {
        *self.cut_range.lock() = range;
    }

    /// Calls of the transport.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn most_snapshots(&self) -> u64 {
        self.in_flight.lock().1
    }

    fn is_cut(&self, from: u64, to: u64) -> bool {
        let cut = self.cut.lock();
        cut.contains(&from) || cut.contains(&to) || self.cut_links.lock().contains(&(from, to))
    }

    fn deliver(&self, message: Envelope) {
        let (from, to) = (node_of(message.from), node_of(message.to));
        let hidden = message.is_snapshot && *self.hides_snapshots.lock();
        if message.kind == MessageKind::VoteResponse {
            let vote = message.open().unwrap();
            self.votes.lock().push((vote.term, ReplicaId(vote.to), !vote.reject));
        }
        let lost = self.is_cut(from, to) || hidden || *self.cut_range.lock() == Some((message.range_id, to));
        let stores = self.stores.lock();
        if message.is_snapshot && !hidden {
            self.snapshots.fetch_add(1, Ordering::SeqCst);
            if let Some(sender) = stores.get(&from) {
                sender.report_snapshot(message.range_id, message.to, !lost);
            }
        }
        if lost
            && !hidden
            && let Some(sender) = stores.get(&from)
        {
            sender.report_unreachable(message.range_id, message.to);
        }
        if let Some(receiver) = stores.get(&to).filter(|_| !lost) {
            receiver.step(vec![message]);
        }
    }

    fn deliver_with_faults(&self, executor: &SimExecutor, faults: Faults, message: Envelope) {
        let rng: &SimRng = executor.rng();
        if rng.below(100) < faults.lost {
            if message.is_snapshot
                && let Some(sender) = self.stores.lock().get(&node_of(message.from))
            {
                sender.report_snapshot(message.range_id, message.to, false);
            }
            return;
        }
        let copies = if rng.below(100) < faults.repeated { 2 } else { 1 };
        for _ in 0..copies {
            let micros = rng.next_u64() % (faults.delay_max.as_micros() as u64 + 1);
            let (network, message) = (self.clone(), message.clone());
            if message.is_snapshot {
                let mut in_flight = self.in_flight.lock();
                in_flight.0 += 1;
                in_flight.1 = in_flight.1.max(in_flight.0);
            }
            let sleep = executor.sleep(Duration::from_micros(micros));
            let late = async move {
                sleep.await;
                network.in_flight.lock().0 -= u64::from(message.is_snapshot);
                network.deliver(message);
            };
            executor.spawner(0).spawn("late message", Box::pin(late));
        }
    }
}

impl Transport for Network {
    fn send(&self, messages: Vec<Envelope>) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let faults = self.faults.lock().clone();
        for message in messages {
            *self.sent.lock().entry(message.kind).or_default() += 1;
            match &faults {
                None => self.deliver(message),
                Some((executor, faults)) => self.deliver_with_faults(executor, *faults, message),
            }
        }
    }

    fn is_alive(&self, _range_id: RangeId, replica_id: ReplicaId) -> bool {
        !self.dead.lock().contains(&node_of(replica_id))
    }
}

/// Remembers who led which term, and fails when two did.
#[derive(Default)]
pub struct Leaders(Mutex<BTreeMap<(RangeId, Term), ReplicaId>>);

impl Leaders {
    fn lead(&self, range_id: RangeId, term: Term, leader: ReplicaId) {
        let known = *self.0.lock().entry((range_id, term)).or_insert(leader);
        assert_eq!(known, leader, "two leaders in term {term} of range {range_id}");
    }
}

/// What a store's owner does: keeps leaders, and makes blank replicas when messages ask for them.
pub struct Owner {
    leaders: Arc<Leaders>,
    terms: Mutex<BTreeMap<RangeId, Term>>,
    pub adopts: bool,
    spawner: Arc<dyn Spawner>,
    handle: Mutex<Option<RaftHandle>>,
    /// What it was told of ranges unknown here, and of newer replicas.
    pub unknown: Mutex<Vec<(RangeId, ReplicaId, MessageKind)>>,
    pub newer: Mutex<Vec<(RangeId, ReplicaId, MessageKind)>>,
}

impl Owner {
    pub fn new(executor: &SimExecutor, node: u64, leaders: Arc<Leaders>, adopts: bool) -> Arc<Self> {
        Arc::new(Self {
            leaders,
            terms: Mutex::default(),
            adopts,
            spawner: executor.spawner(node),
            handle: Mutex::default(),
            unknown: Mutex::default(),
            newer: Mutex::default(),
        })
    }

    pub fn set_handle(&self, handle: RaftHandle) {
        *self.handle.lock() = Some(handle);
    }

    /// Makes a blank replica, in the place of an older one if there is one, and delivers the message again.
    fn adopt(&self, envelope: &Envelope, replaces: bool) {
        let Some(handle) = self.handle.lock().clone().filter(|_| self.adopts) else { return };
        let envelope = envelope.clone();
        let adoption = async move {
            let (range_id, replica_id) = (envelope.range_id, envelope.to);
            if replaces && handle.remove_group(range_id, replica_id).await.is_err() {
                return;
            }
            if handle.create_group(GroupDescriptor::blank(range_id, replica_id)).await.is_ok() {
                handle.step(vec![envelope]);
            }
        };
        self.spawner.spawn("adoption", Box::pin(adoption));
    }
}

impl Observer for Owner {
    fn on_leader_change(&self, range_id: RangeId, term: Term, leader: Option<ReplicaId>, is_leader: bool) {
        if let Some(leader) = leader.filter(|_| is_leader) {
            self.leaders.lead(range_id, term, leader);
        }
        let mut terms = self.terms.lock();
        let known = terms.entry(range_id).or_default();
        assert!(term >= *known, "the term of range {range_id} went back from {known} to {term}");
        *known = term;
    }

    fn on_fatal(&self, _error: &Error) {}

    fn on_unknown_range(&self, envelope: &Envelope) {
        self.unknown.lock().push((envelope.range_id, envelope.to, envelope.kind));
        self.adopt(envelope, false);
    }

    fn on_newer_replica(&self, envelope: &Envelope) {
        self.newer.lock().push((envelope.range_id, envelope.to, envelope.kind));
        self.adopt(envelope, true);
    }
}
