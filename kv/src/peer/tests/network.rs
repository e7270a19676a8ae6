//! A link between simulated nodes that loses, repeats, delays and reorders, as the seed says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use basalt_base::NodeId;
use basalt_env::sim::{SimExecutor, SimRng};
use basalt_kv_api::{Class, Link, Receiver};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::peer::frame::{Header, Kind};

#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub loss_percent: usize,
    pub repeat_percent: usize,
    pub delay_max_ms: usize,
}

/// A frame on its way.
#[derive(Clone)]
pub struct Transit {
    pub from: NodeId,
    pub to: NodeId,
    pub class: Class,
    pub frame: Bytes,
}

impl Transit {
    pub fn kind(&self) -> Kind {
        Header::decode(self.frame.clone()).expect("nodes send what they can read").0.kind
    }
}

#[derive(Default)]
struct State {
    receivers: BTreeMap<NodeId, Arc<dyn Receiver>>,
    faults: Faults,
    /// Pairs between which nothing passes, in this direction.
    cut: BTreeSet<(NodeId, NodeId)>,
    frozen: BTreeSet<NodeId>,
    /// Nodes whose queues take nothing more.
    clogged: BTreeSet<NodeId>,
    /// Kinds that are taken out of the network, and what was.
    caught: BTreeSet<u8>,
    held: Vec<Transit>,
    log: Vec<Transit>,
}

#[derive(Clone)]
pub struct Network {
    executor: SimExecutor,
    rng: Arc<SimRng>,
    state: Arc<Mutex<State>>,
}

impl Network {
    pub fn new(executor: &SimExecutor, seed: u64) -> Self {
        Self { executor: executor.clone(), rng: Arc::new(SimRng::new(seed)), state: Arc::default() }
    }

    pub fn link(&self, me: NodeId) -> Arc<dyn Link> {
        Arc::new(NodeLink { me, network: self.clone() })
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.state.lock().cut.insert((from, to));
    }

    pub fn heal(&self) {
        self.state.lock().cut.clear();
    }

    /// Nothing goes in or out until it is thawed; then everything does.
    pub fn freeze(&self, node: NodeId) {
        self.state.lock().frozen.insert(node);
    }

    pub fn thaw(&self, node: NodeId) {
        self.state.lock().frozen.remove(&node);
        self.release();
    }

    /// Holds frames of this kind back.
    pub fn catch(&self, kind: Kind) {
        self.state.lock().caught.insert(kind as u8);
    }

    /// Lets all pass again. What was held is returned, not delivered.
    pub fn take_caught(&self) -> Vec<Transit> {
        let mut state = self.state.lock();
        state.caught.clear();
        std::mem::take(&mut state.held)
    }

    /// Delivers what is held.
    pub fn release(&self) {
        self.state.lock().caught.clear();
        let held = std::mem::take(&mut self.state.lock().held);
        for transit in held {
            self.deliver(transit);
        }
    }

    pub fn clog(&self, node: NodeId) {
        self.state.lock().clogged.insert(node);
    }

    pub fn remove(&self, node: NodeId) {
        self.state.lock().receivers.remove(&node);
    }

    /// All frames that were sent.
    pub fn log(&self) -> Vec<Transit> {
        self.state.lock().log.clone()
    }

    pub fn deliver(&self, transit: Transit) {
        let receiver = {
            let mut state = self.state.lock();
            if state.cut.contains(&(transit.from, transit.to)) {
                return;
            }
            if state.frozen.contains(&transit.to) || state.frozen.contains(&transit.from) {
                state.held.push(transit);
                return;
            }
            state.receivers.get(&transit.to).cloned()
        };
        if let Some(receiver) = receiver {
            receiver.receive(transit.from, transit.class, transit.frame);
        }
    }

    fn send(&self, transit: Transit) {
        let (copies, faults) = {
            let mut state = self.state.lock();
            state.log.push(transit.clone());
            if state.caught.contains(&(transit.kind() as u8)) {
                state.held.push(transit);
                return;
            }
            let faults = state.faults;
            let lost = self.rng.below(100) < faults.loss_percent;
            let repeated = self.rng.below(100) < faults.repeat_percent;
            (if lost { 0 } else { 1 + usize::from(repeated) }, faults)
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(self.rng.below(faults.delay_max_ms + 1) as u64);
            let (network, transit) = (self.clone(), transit.clone());
            let arrival = self.executor.sleep(delay);
            self.executor.spawner(0).spawn(
                "network",
                Box::pin(async move {
                    arrival.await;
                    network.deliver(transit);
                }),
            );
        }
    }
}

struct NodeLink {
    me: NodeId,
    network: Network,
}

impl Link for NodeLink {
    fn send(&self, to: NodeId, class: Class, frame: Bytes) -> bool {
        if self.network.state.lock().clogged.contains(&self.me) {
            return false;
        }
        self.network.send(Transit { from: self.me, to, class, frame });
        true
    }

    fn deliver_to(&self, receiver: Arc<dyn Receiver>) {
        self.network.state.lock().receivers.insert(self.me, receiver);
    }
}
