//! Leases and replicas in equal parts.
//!
//! Nodes take turns, by the clock that they share to a quarter of a second: so what one has measured is still true when it
//! acts, and no two give to the same node at once. In its turn a node asks the others for their loads, one small message
//! each, and does what [`super::balance_plan`] says. A node that has just got a range does not know yet what it is in for;
//! as long as anybody says so, leases stay where they are, for a few turns at most: ranges may split all the time.
//!
//! A node that takes nothing (it drains, leaves, or its disk is full) says so; one that does not answer gets nothing either.
//! A lease goes only to a voter that has nearly all of the log.
//!
//! Nothing is written for a range that nobody uses, and none is woken, unless it moves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{NodeId, RangeId};
use basalt_env::Env;
use basalt_kv_api::wire::{Input, WireError};
use basalt_raft::Role;
use bytes::{BufMut, Bytes, BytesMut};
use futures::future::join_all;
use parking_lot::Mutex;

use super::{
    NodeState, Store,
    allocator::{Candidate, can_swap},
    balance_plan::{LEASE_WEIGHT, Movable, has_surplus, plan_leases, plan_replica},
    drain::Successor,
    open::alive,
};
use crate::{
    counts::Counters,
    replica::{Replica, ReplicaState},
    routing::PeerRequest,
};

/// How long a turn is.
const TURN_MS: u64 = 3_000;
/// Turns of nobody, while the clock does not go.
const PAUSE: Duration = Duration::from_secs(1);
/// What happened before counts for half after so long.
const MEMORY: Duration = Duration::from_secs(20);
/// For so long a node does not know the load of a range that is new to it.
const SETTLING: Duration = Duration::from_secs(6);
/// Measurements are no closer together.
const SAMPLE_MIN: Duration = Duration::from_secs(1);
/// Turns that a node waits for others to know what they have.
const WAITS_MAX: u32 = 3;
/// Leases that move at once.
const AT_ONCE: usize = 8;
/// Replicas of ranges led here that are on their way at once.
const REPLICAS_AT_ONCE: usize = 4;
/// Entries by which a voter may lag and still get the lease.
const LAG_MAX: u64 = 64;

/// What a node has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// Thousandths of requests a second, and a little for each lease.
    pub load: u64,
    /// Ranges that it leads and that have other members.
    pub leases: u64,
    pub replicas: u64,
    /// It has ranges whose load it does not know yet.
    pub is_settling: bool,
    /// It is to get neither leases nor replicas.
    pub is_closed: bool,
}

impl NodeLoad {
    fn replicas(&self) -> usize {
        usize::try_from(self.replicas).unwrap_or(usize::MAX)
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u64(self.load);
        out.put_u64(self.leases);
        out.put_u64(self.replicas);
        out.put_u8(u8::from(self.is_settling));
        out.put_u8(u8::from(self.is_closed));
        out.freeze()
    }

    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(bytes, "load of a node");
        let (load, leases, replicas) = (input.u64()?, input.u64()?, input.u64()?);
        let (is_settling, is_closed) = (input.u8()? != 0, input.u8()? != 0);
        // Later versions may say more.
        Ok(Self { load, leases, replicas, is_settling, is_closed })
    }
}

#[derive(Default)]
pub struct Balance {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the ranges led here.
    rates: BTreeMap<RangeId, Rate>,
    sampled_at: Option<Duration>,
    settled_at: Duration,
    /// Turns in which leases stayed because somebody did not know its load.
    waits: u32,
    /// What nodes have said in the last turn.
    told: BTreeMap<NodeId, NodeLoad>,
}

/// Requests of a range.
#[derive(Clone, Copy)]
struct Rate {
    requests: u64,
    since: Duration,
    /// Thousandths a second; `None` before the second look.
    millis: Option<u64>,
}

impl Store {
    pub(super) async fn run_balance(store: Weak<Self>, env: Env) {
        while alive(&store).is_some_and(|store| store.config.balances) {
            let Some(wait) = alive(&store).map(|store| store.until_turn()) else { return };
            env.spawner.sleep(wait).await;
            let Some(store) = alive(&store) else { return };
            if !store.other_nodes().is_empty() && !store.is_shedding() {
                store.take_turn().await;
            }
        }
    }

    /// How long it is until this node's next turn begins.
    fn until_turn(&self) -> Duration {
        let nodes = self.directory.nodes();
        let (Ok(now), count) = (self.now(), nodes.len().max(1) as u64) else { return PAUSE };
        let own = nodes.iter().position(|node| node.node_id == self.ident.node_id).unwrap_or(0) as u64;
        let (cycle, offset) = (count * TURN_MS, own * TURN_MS);
        let into = now.physical_ms() % cycle;
        Duration::from_millis((cycle + offset - into - 1) % cycle + 1)
    }

    async fn take_turn(self: &Arc<Self>) {
        let own = self.node_load();
        for range_id in self.split_busy(&self.rates()).await {
            // Half of what was measured is somewhere else now.
            self.balance.state.lock().rates.remove(&range_id);
        }
        let mut loads = self.loads_of_others().await;
        loads.insert(self.ident.node_id, own);
        self.balance.state.lock().told.clone_from(&loads);
        loads.retain(|_, load| !load.is_closed);
        let deadline = self.env.clock.monotonic() + Duration::from_millis(TURN_MS);
        if loads.len() < 2 || !loads.contains_key(&self.ident.node_id) {
            return;
        }
        let may_move = {
            let mut state = self.balance.state.lock();
            let settling = loads.values().any(|load| load.is_settling);
            state.waits = if settling && state.waits < WAITS_MAX { state.waits + 1 } else { 0 };
            state.waits == 0
        };
        if may_move {
            self.balance_leases(&loads, deadline).await;
        }
        self.balance_replicas(&loads, deadline).await;
    }

    /// Of those that can take something.
    async fn loads_of_others(&self) -> BTreeMap<NodeId, NodeLoad> {
        let takes = |node: &basalt_kv_api::NodeInfo| {
            !node.draining
                && node.node_id != self.ident.node_id
                && self.state_of(node.node_id) == NodeState::Active
                && self.peers.is_up(node.node_id)
        };
        let nodes: Vec<NodeId> =
            self.directory.nodes().iter().filter(|node| takes(node)).map(|node| node.node_id).collect();
        let calls = nodes.iter().map(|node| self.peers.call(*node, PeerRequest::Load.encode()));
        // Somebody who is frozen must not hold up the turn.
        let patience = self.env.spawner.sleep(PAUSE);
        let answers = tokio::select! {
            biased;
            answers = join_all(calls) => answers,
            () = patience => return BTreeMap::new(),
        };
        let loads = nodes.into_iter().zip(answers);
        loads.filter_map(|(node, answer)| Some((node, NodeLoad::decode(answer.ok()?).ok()?))).collect()
    }

    /// What this node has to do.
    pub fn node_load(&self) -> NodeLoad {
        let led = self.led_with_others();
        self.sample(&led);
        let state = self.balance.state.lock();
        let now = self.env.clock.monotonic();
        NodeLoad {
            load: led.iter().map(|replica| weight(&state, replica.range_id)).sum(),
            leases: led.len() as u64,
            replicas: self.states.ranges.all().len() as u64,
            is_settling: now.saturating_sub(state.settled_at) < SETTLING,
            is_closed: self.is_shedding(),
        }
    }

    fn led_with_others(&self) -> Vec<Arc<Replica>> {
        let statuses = self.raft().statuses();
        let leads = |replica: &Arc<Replica>| {
            !replica.is_alone()
                && statuses.get(&replica.range_id).is_some_and(|status| status.role == Role::Leader)
        };
        self.states.ranges.all().into_iter().filter(leads).collect()
    }

    /// Thousandths of requests a second of ranges led here.
    fn rates(&self) -> BTreeMap<RangeId, u64> {
        let state = self.balance.state.lock();
        state.rates.iter().filter_map(|(range_id, rate)| Some((*range_id, rate.millis?))).collect()
    }

    /// Looks how many requests the ranges have had.
    fn sample(&self, led: &[Arc<Replica>]) {
        let now = self.env.clock.monotonic();
        let mut state = self.balance.state.lock();
        if state.sampled_at.is_some_and(|at| now.saturating_sub(at) < SAMPLE_MIN) {
            return;
        }
        state.sampled_at = Some(now);
        let mut old = std::mem::take(&mut state.rates);
        for replica in led {
            let requests = replica.requests();
            let rate = match old.remove(&replica.range_id) {
                None => {
                    state.settled_at = now;
                    Rate { requests, since: now, millis: None }
                }
                Some(rate) => rate.after(requests, now),
            };
            state.rates.insert(replica.range_id, rate);
        }
    }

    async fn balance_leases(self: &Arc<Self>, loads: &BTreeMap<NodeId, NodeLoad>, deadline: Duration) {
        let me = self.ident.node_id;
        let requests = |load: &NodeLoad| load.load.saturating_sub(load.leases.saturating_mul(LEASE_WEIGHT));
        let chance = chance(loads.values().map(requests).sum::<u64>() / loads.len() as u64);
        let loads: BTreeMap<NodeId, u64> = loads.iter().map(|(node, load)| (*node, load.load)).collect();
        if !has_surplus(me, &loads, chance) {
            return;
        }
        let led = self.led_with_others();
        let movable = {
            let state = self.balance.state.lock();
            let movable = |replica: &Arc<Replica>| Movable {
                range_id: replica.range_id,
                weight: weight(&state, replica.range_id),
                takers: self.takers(replica).into_iter().map(|to| to.node_id).collect(),
            };
            led.iter().map(movable).collect()
        };
        let moves = plan_leases(me, loads, movable, chance);
        for some in moves.chunks(AT_ONCE) {
            if self.env.clock.monotonic() >= deadline {
                // What was measured is not true any more.
                return;
            }
            join_all(some.iter().map(|(range_id, to)| self.move_lease(*range_id, *to))).await;
        }
    }

    /// Voters that could serve the range as well as this node.
    fn takers(&self, replica: &Replica) -> Vec<Successor> {
        let is_known = self.raft().progress(replica.range_id).is_some()
            // Nobody lags in a group that sleeps.
            || self.raft().status(replica.range_id).is_some_and(|status| status.is_quiescent);
        if is_known { self.successors_within(replica, LAG_MAX) } else { Vec::new() }
    }

    async fn move_lease(self: &Arc<Self>, range_id: RangeId, to: NodeId) {
        let Some(replica) = self.states.ranges.by_id(range_id) else { return };
        let Some(to) = self.takers(&replica).into_iter().find(|taker| taker.node_id == to) else {
            return;
        };
        match self.hand_over(&replica, to).await {
            Ok(()) => Counters::increment(&self.counters.leases_balanced),
            Err(error) => tracing::debug!(range = %range_id, %error, "its lease stays here"),
        }
    }

    /// Begins to move replicas, if there are nodes with many and nodes with few.
    async fn balance_replicas(self: &Arc<Self>, loads: &BTreeMap<NodeId, NodeLoad>, deadline: Duration) {
        let mut nodes = self.candidates();
        nodes.retain(|node| loads.contains_key(&node.node_id) || !node.is_live());
        let is_live = |node: &NodeId| nodes.iter().any(|known| known.node_id == *node && known.is_live());
        let counts: BTreeMap<NodeId, usize> = loads
            .iter()
            .filter(|(node, _)| is_live(node))
            .map(|(node, load)| (*node, load.replicas()))
            .collect();
        if plan_replica(&counts, |_| 0).is_empty() {
            return;
        }
        let mut led: Vec<(Arc<Replica>, ReplicaState)> =
            self.led_with_others().into_iter().map(|replica| (replica.clone(), replica.state())).collect();
        let under_way = led.iter().filter(|(_, state)| !state.membership.learners.is_empty()).count();
        led.retain(|(replica, _)| !self.is_too_large(replica));
        for _ in under_way..REPLICAS_AT_ONCE {
            let Some((index, from, to)) = self.replica_to_move(&led, &nodes) else { return };
            let (replica, _) = led.swap_remove(index);
            if self.env.clock.monotonic() >= deadline {
                return;
            }
            match self.add_learner(&replica, to).await {
                Ok(()) => Counters::increment(&self.counters.replicas_balanced),
                Err(error) => {
                    tracing::debug!(range = %replica.range_id, %error, "its replicas stay");
                    continue;
                }
            }
            for node in &mut nodes {
                if node.node_id == to {
                    node.replicas += 1;
                } else if node.node_id == from {
                    node.replicas = node.replicas.saturating_sub(1);
                }
            }
        }
    }

    /// The place of a range in the list, and between which nodes a replica of it should move.
    fn replica_to_move(
        &self,
        led: &[(Arc<Replica>, ReplicaState)],
        nodes: &[Candidate],
    ) -> Option<(usize, NodeId, NodeId)> {
        let live = nodes.iter().filter(|node| node.is_live());
        let counts = live.map(|node| (node.node_id, node.replicas)).collect();
        let (me, wanted) = (self.ident.node_id, self.config.replicas_wanted);
        let available_bytes = |node_id: NodeId| {
            nodes.iter().find(|node| node.node_id == node_id).map_or(0, Candidate::available_bytes)
        };
        plan_replica(&counts, available_bytes).into_iter().find_map(|(from, to)| {
            let index = led.iter().position(|(_, state)| can_swap(state, nodes, me, from, to, wanted))?;
            Some((index, from, to))
        })
    }

    /// Replicas of a node, as it has said itself.
    pub(super) fn replicas_told(&self, node: NodeId) -> Option<usize> {
        self.balance.state.lock().told.get(&node).map(NodeLoad::replicas)
    }

    /// Whether a node has said that it takes nothing.
    pub(super) fn is_told_closed(&self, node: NodeId) -> bool {
        self.balance.state.lock().told.get(&node).is_some_and(|load| load.is_closed)
    }
}

/// The deviation of a rate that is measured over twice the memory, of requests that come as they like. All in thousandths.
fn chance(rate: u64) -> u64 {
    let memory = MEMORY.as_secs().max(1);
    (rate.saturating_mul(1_000) / (2 * memory)).isqrt()
}

fn weight(state: &State, range_id: RangeId) -> u64 {
    LEASE_WEIGHT + state.rates.get(&range_id).and_then(|rate| rate.millis).unwrap_or(0)
}

impl Rate {
    fn after(self, requests: u64, now: Duration) -> Self {
        let passed = u64::try_from(now.saturating_sub(self.since).as_millis()).unwrap_or(u64::MAX).max(1);
        let memory = u64::try_from(MEMORY.as_millis()).unwrap_or(u64::MAX);
        let fresh = requests.saturating_sub(self.requests).saturating_mul(1_000_000) / passed;
        let mean = |old: u64| {
            let sum = u128::from(old) * u128::from(memory) + u128::from(fresh) * u128::from(passed);
            u64::try_from(sum / u128::from(memory + passed)).unwrap_or(u64::MAX)
        };
        Self { requests, since: now, millis: Some(self.millis.map_or(fresh, mean)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_round_trip_and_refuse_truncation() {
        let load = NodeLoad { load: 7, leases: 2, replicas: 3, is_settling: true, is_closed: false };
        let bytes = load.encode();
        assert_eq!(NodeLoad::decode(bytes.clone()), Ok(load));
        (0..bytes.len()).for_each(|length| assert!(NodeLoad::decode(bytes.slice(..length)).is_err()));
    }

    #[test]
    fn chance_is_small_where_the_load_is_large() {
        assert_eq!([0, 1_000, 40_000, 4_000_000].map(chance), [0, 158, 1_000, 10_000]);
    }

    #[test]
    fn a_rate_follows_what_happens() {
        let at = Duration::from_secs;
        let rate = Rate { requests: 1_000, since: at(0), millis: None };
        let rate = rate.after(1_500, at(5));
        assert_eq!(rate.millis, Some(100_000));
        let rate = rate.after(1_500, at(25));
        assert_eq!(rate.millis, Some(50_000), "half is forgotten");
        // Starts anew when the range was away.
        assert_eq!(rate.after(0, at(45)).millis, Some(25_000));
    }
}
