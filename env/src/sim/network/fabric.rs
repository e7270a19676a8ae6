//! Sending and receiving.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::link::{Gate, Link, LinkFaults, Message, one_in};
use crate::sim::SimExecutor;

/// Messages that wait on one clogged link or for one frozen node; more are lost.
const WAITING_MAX: usize = 10_000;

/// Takes what arrives: the sender, the class, the message. Must not wait.
pub type Receive = Arc<dyn Fn(u64, u8, Bytes) + Send + Sync>;

/// What has befallen the messages so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    /// Handed in for delivery; copies not included.
    pub sent: u64,
    /// Copies included.
    pub delivered: u64,
    /// Lost to `drop_one_in`.
    pub dropped: u64,
    /// Copies made by `duplicate_one_in`.
    pub duplicated: u64,
    /// Delayed by `slow_one_in`.
    pub slow: u64,
    /// Delivered behind one that was sent later on the same link.
    pub reordered: u64,
    /// Lost on a blocked link.
    pub cut: u64,
    /// Held up by a clogged link.
    pub clogged: u64,
    /// Held up by a frozen node.
    pub frozen: u64,
    /// Lost because too many were held up.
    pub overflowed: u64,
    /// For a process that was gone when they arrived, or when they were sent.
    pub stale: u64,
    /// Bytes handed in, by class.
    pub bytes: BTreeMap<u8, u64>,
}

struct Connection {
    number: u64,
    receive: Receive,
}

#[derive(Default)]
pub(super) struct State {
    next_connection: u64,
    connections: BTreeMap<u64, Connection>,
    /// Nodes that have been connected at any time.
    pub(super) known: BTreeSet<u64>,
    faults: LinkFaults,
    pub(super) links: BTreeMap<(u64, u64), Link>,
    /// Receivers that stand still, each with what has arrived.
    frozen: BTreeMap<u64, Vec<Message>>,
    counts: NetworkCounts,
}

/// Cloned handles share the network.
#[derive(Clone)]
pub struct SimNetwork {
    executor: SimExecutor,
    pub(super) state: Arc<Mutex<State>>,
}

impl SimNetwork {
    /// A healthy network without nodes.
    pub fn new(executor: &SimExecutor) -> Self {
        Self { executor: executor.clone(), state: Arc::default() }
    }

    /// Has `receive` called with the messages for `node`, from now on. A new process is not frozen.
    pub fn connect(&self, node: u64, receive: Receive) {
        let mut state = self.state.lock();
        let number = state.next_connection;
        state.next_connection += 1;
        state.known.insert(node);
        let earlier = state.connections.insert(node, Connection { number, receive });
        state.forget_frozen(node);
        drop(state);
        // Outside the lock: a destructor may send.
        drop(earlier);
    }

    /// Nobody receives for `node` any more, and what is under way to it is lost.
    pub fn disconnect(&self, node: u64) {
        let mut state = self.state.lock();
        let earlier = state.connections.remove(&node);
        state.forget_frozen(node);
        drop(state);
        drop(earlier);
    }

    /// Lets what arrives at `node` wait: receiving, too, is work of a process, and one that is paused does none. Goes
    /// with [`SimExecutor::pause`] of its tasks.
    pub fn freeze(&self, node: u64) {
        self.state.lock().frozen.entry(node).or_default();
    }

    /// Delivers what has arrived meanwhile.
    pub fn thaw(&self, node: u64) {
        let waiting = self.state.lock().frozen.remove(&node).unwrap_or_default();
        for message in waiting {
            self.deliver_at(self.executor.now(), message);
        }
    }

    /// Disconnects all nodes and forgets what waits, at the end of a run: receivers hold the network and are held by it.
    pub fn clear(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        drop(state);
    }

    /// Sends a message. False only when no node of that number was ever connected; true promises nothing.
    pub fn send(&self, from: u64, to: u64, class: u8, body: Bytes) -> bool {
        let mut state = self.state.lock();
        if !state.known.contains(&to) {
            return false;
        }
        state.counts.sent += 1;
        *state.counts.bytes.entry(class).or_default() += body.len() as u64;
        let Some(connection) = state.connections.get(&to).map(|connection| connection.number) else {
            state.counts.stale += 1;
            return true;
        };
        // A clogged link takes messages; they wait at its other end.
        if state.links.get(&(from, to)).is_some_and(|link| link.gate == Gate::Blocked) {
            state.counts.cut += 1;
            return true;
        }
        let faults = state.faults_of(from, to);
        let rng = self.executor.rng();
        if one_in(rng, faults.drop_one_in) {
            state.counts.dropped += 1;
            return true;
        }
        let message = Message { from, to, class, connection, number: state.counts.sent, body };
        let twice = one_in(rng, faults.duplicate_one_in);
        if twice {
            state.counts.duplicated += 1;
        }
        for _ in 0..1 + u8::from(twice) {
            self.dispatch(&mut state, message.clone(), &faults);
        }
        true
    }

    /// Sets the timer at which a message arrives.
    fn dispatch(&self, state: &mut State, message: Message, faults: &LinkFaults) {
        let (now, rng) = (self.executor.now(), self.executor.rng());
        let link = state.links.entry((message.from, message.to)).or_default();
        let (at, slow) = link.arrival(now, message.class, message.body.len(), faults, rng);
        state.counts.slow += u64::from(slow);
        self.deliver_at(at, message);
    }

    fn deliver_at(&self, at: Duration, message: Message) {
        let network = self.clone();
        self.executor.call_at(at, "delivery", move || network.deliver(message));
    }

    /// A message has reached the receiver's end of the link.
    fn deliver(&self, message: Message) {
        let mut state = self.state.lock();
        let Some(message) = state.pass_gate(message) else { return };
        let Some(message) = state.pass_frozen(message) else { return };
        let receive = match state.connections.get(&message.to) {
            Some(connection) if connection.number == message.connection => connection.receive.clone(),
            _ => {
                state.counts.stale += 1;
                return;
            }
        };
        state.counts.delivered += 1;
        let link = state.links.entry((message.from, message.to)).or_default();
        let is_late = message.number < link.newest;
        link.newest = link.newest.max(message.number);
        state.counts.reordered += u64::from(is_late);
        // Outside the lock: the receiver may send.
        drop(state);
        receive(message.from, message.class, message.body);
    }

    /// Sends off what waited on a clogged link: at once when the link keeps an order, which puts it before what is
    /// still on the wire; with new delays otherwise.
    pub(super) fn release(&self, state: &mut State, from: u64, to: u64) {
        let Some(link) = state.links.get_mut(&(from, to)) else { return };
        let waiting = std::mem::take(&mut link.waiting);
        let faults = state.faults_of(from, to);
        for message in waiting {
            if faults.in_order {
                self.deliver_at(self.executor.now(), message);
            } else {
                self.dispatch(state, message, &faults);
            }
        }
    }

    /// The faults of all links that have none of their own.
    pub fn set_link_faults(&self, faults: LinkFaults) {
        self.state.lock().faults = faults;
    }

    /// The faults of one direction between two nodes; `None` returns it to those of the whole network.
    pub fn set_faults_between(&self, from: u64, to: u64, faults: Option<LinkFaults>) {
        self.state.lock().links.entry((from, to)).or_default().faults = faults;
    }

    pub fn counts(&self) -> NetworkCounts {
        self.state.lock().counts.clone()
    }
}

impl State {
    fn faults_of(&self, from: u64, to: u64) -> LinkFaults {
        let own = self.links.get(&(from, to)).and_then(|link| link.faults.as_ref());
        own.unwrap_or(&self.faults).clone()
    }

    fn forget_frozen(&mut self, node: u64) {
        let waiting = self.frozen.remove(&node).unwrap_or_default();
        self.counts.stale += waiting.len() as u64;
    }

    /// The message, unless its receiver is frozen.
    fn pass_frozen(&mut self, message: Message) -> Option<Message> {
        let Some(waiting) = self.frozen.get_mut(&message.to) else { return Some(message) };
        if waiting.len() < WAITING_MAX {
            self.counts.frozen += 1;
            waiting.push(message);
        } else {
            self.counts.overflowed += 1;
        }
        None
    }

    /// The message, unless its link is blocked or clogged. What is on the wire when the wire is cut is lost too.
    fn pass_gate(&mut self, message: Message) -> Option<Message> {
        let Some(link) = self.links.get_mut(&(message.from, message.to)) else { return Some(message) };
        match link.gate {
            Gate::Open => return Some(message),
            Gate::Clogged if link.waiting.len() < WAITING_MAX => {
                self.counts.clogged += 1;
                link.waiting.push(message);
            }
            Gate::Clogged => self.counts.overflowed += 1,
            Gate::Blocked => self.counts.cut += 1,
        }
        None
    }
}
