//! A node: production store and coordinator over a simulated disk and an engine in memory.
//!
//! Everything that runs on the node, recovery and client sessions too, belongs to one group of tasks. A crash drops
//! them all where they are, then takes from the disk what was not synced and from the engine what was not flushed.

mod faults;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::{Key, NodeId, Span, StoreId, Timestamp};
use basalt_env::{
    BoxFuture, Clock, Rng,
    sim::{InjectedFault, SimDisk, SimExecutor, SimNetwork, SimNodeClock, SimRng, Tear},
};
use basalt_kv::{Network, PeerConfig, Store};
use basalt_kv_api::Directory;
use basalt_raft::StoreIdent;
use basalt_storage::MemoryEngine;
use basalt_txn::TxnClient;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    Parameters, Reached, Violations, boot::boot, link::SimLink, tally::Tally, trace::Trace, workload::Context,
};

/// Recovery that takes longer than this virtual time is a violation.
const BOOT_MAX: Duration = Duration::from_secs(60);
/// A client's pause before it asks again.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// Groups of tasks that one node may have, one after the other.
const GROUPS_A_NODE: u64 = 1 << 32;
const DISK_CAPACITY: u64 = 1 << 40;
/// What a node says that finds itself in a state that the design rules out.
const BROKEN: &str = "broken invariant";

pub(crate) struct Running {
    pub(crate) store: Arc<Store>,
    pub(crate) client: TxnClient,
}

struct State {
    /// Whose cluster it belongs to, if it did not begin it.
    join: Option<StoreIdent>,
    disk: SimDisk,
    engine: MemoryEngine,
    running: Option<Running>,
    /// The tasks of this incarnation; never reused.
    group: u64,
    /// Ends because of a wrong clock.
    fenced: u64,
    crashes: u64,
    commits: u64,
    /// Of the incarnations that are over.
    tally: Tally,
    ranges: usize,
    disk_full: bool,
    /// The disk was full during this start.
    was_full: bool,
    /// Faults are over.
    healed: bool,
    /// A sync fails, or has failed.
    failing: Option<InjectedFault>,
    /// What the disk holds was damaged: the store may refuse to open.
    damaged: bool,
    /// It did.
    refused: bool,
    /// The node never comes back.
    lost: bool,
    /// No reading of the clock that earlier incarnations have given exceeds it.
    latest_reading: Timestamp,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Node {
    number: u64,
    executor: SimExecutor,
    network: SimNetwork,
    directory: Arc<dyn Directory>,
    clock: SimNodeClock,
    parameters: Arc<Parameters>,
    trace: Trace,
    violations: Violations,
    stalls: Arc<AtomicU64>,
    /// Some fault that turns the node off and on is at it.
    claimed: Arc<AtomicBool>,
    state: Arc<Mutex<State>>,
}

/// Nobody else turns the node off and on meanwhile.
pub struct Claim(Arc<AtomicBool>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Node {
    pub fn new(
        number: u64,
        executor: SimExecutor,
        network: SimNetwork,
        directory: Arc<dyn Directory>,
        parameters: Arc<Parameters>,
        trace: Trace,
        violations: Violations,
    ) -> Self {
        let state = State {
            join: None,
            disk: SimDisk::new(),
            engine: MemoryEngine::new(),
            running: None,
            group: number * GROUPS_A_NODE,
            fenced: 0,
            crashes: 0,
            commits: 0,
            tally: Tally::default(),
            ranges: 0,
            disk_full: false,
            was_full: false,
            healed: false,
            failing: None,
            damaged: false,
            refused: false,
            lost: false,
            latest_reading: Timestamp::ZERO,
        };
        let clock = SimNodeClock::new(&executor);
        let state = Arc::new(Mutex::new(state));
        let stalls = Arc::default();
        let node = Self {
            number,
            executor,
            network,
            directory,
            clock,
            parameters,
            trace,
            violations,
            stalls,
            claimed: Arc::default(),
            state,
        };
        node.slow_disk();
        node
    }

    /// The node is to join a cluster when it starts.
    pub fn join(&self, cluster_id: u128) {
        let ident = StoreIdent { cluster_id, node_id: NodeId(self.number), store_id: StoreId(self.number) };
        self.state.lock().join = Some(ident);
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn clock(&self) -> &SimNodeClock {
        &self.clock
    }

    fn network(&self) -> Network {
        if self.parameters.nodes == 1 {
            return Network::none(NodeId(self.number));
        }
        let link = SimLink { network: self.network.clone(), node: self.number };
        let config = PeerConfig {
            clock_offset_max: self.parameters.clock_offset_max,
            silence_max: self.parameters.silence_max,
            ping_interval: self.parameters.silence_max / 4,
            ..PeerConfig::default()
        };
        Network { link: Arc::new(link), directory: Arc::clone(&self.directory), config }
    }

    /// Begins recovery; [`Node::until_up`] waits for its end.
    pub fn start(&self) {
        let (group, disk, engine, join) = {
            let state = self.state.lock();
            (state.group, state.disk.clone(), state.engine.clone(), state.join)
        };
        let node = self.clone();
        let env = if self.parameters.nodes == 1 {
            self.executor.env(group, disk)
        } else {
            self.executor.env_with(group, disk, &self.clock)
        };
        let spawner = env.spawner.clone();
        let task = async move {
            match boot(env, engine, node.network(), join, &node.parameters).await {
                Ok(running) => {
                    let ranges = running.store.ranges().len();
                    node.trace.line(|| format!("node {} is up, {ranges} ranges", node.number));
                    node.check_clock(running.store.latest_reading());
                    let store = Arc::clone(&running.store);
                    node.state.lock().running = Some(running);
                    let cause = store.until_failed().await;
                    drop(store);
                    node.end(&cause);
                }
                Err(error) => node.start_again(&error),
            }
        };
        spawner.spawn("boot", Box::pin(task));
    }

    /// Readings of the clock increase over restarts, too.
    fn check_clock(&self, reading: Timestamp) {
        let before = self.state.lock().latest_reading;
        if reading < before {
            let number = self.number;
            self.violations.report(format!(
                "the clock of node {number} begins at {reading}, but {before} was given out"
            ));
        }
    }

    /// The store has failed for good, and its process ends with it.
    fn end(&self, cause: &str) {
        self.trace.line(|| format!("node {} ends: {cause}", self.number));
        if cause.contains(BROKEN) {
            self.violations.report(format!("node {}: {cause}", self.number));
        }
        if cause.contains("clock") {
            self.state.lock().fenced += 1;
        }
        self.start_later();
    }

    /// The process ends with an error; somebody starts it again, unless it says that what it has is damaged.
    fn start_again(&self, error: &basalt_kv_api::Error) {
        self.trace.line(|| format!("node {} does not start: {error}", self.number));
        let mut state = self.state.lock();
        if state.damaged && matches!(error, basalt_kv_api::Error::Corruption(_)) {
            state.refused = true;
            return;
        }
        let starved = state.disk_full
            && matches!(error, basalt_kv_api::Error::DiskFull | basalt_kv_api::Error::Unavailable(_));
        // Its clock was set meanwhile.
        let fenced = error.to_string().contains("not to be trusted");
        state.fenced += u64::from(fenced);
        if error.to_string().contains(BROKEN)
            || !fenced
                && !starved
                && !state.was_full
                && state.failing.as_ref().is_none_or(|fault| fault.bites() == 0)
        {
            self.violations.report(format!("the store of node {} does not open: {error}", self.number));
        }
        drop(state);
        self.start_later();
    }

    fn start_later(&self) {
        let group = self.kill();
        let node = self.clone();
        let task = async move {
            node.pause().await;
            {
                let mut state = node.state.lock();
                if state.group != group {
                    // A crash has come between, and whoever caused it starts the node.
                    return;
                }
                state.disk = state.disk.restart();
                // What an engine shows when it was opened it has made durable by then. An end loses less than a power cut: an
                // engine that writes as it goes loses nothing, one that buffers some.
                let unflushed = state.engine.unflushed();
                let kept = SimRng::new(group ^ unflushed << 32).next_u64() % (unflushed + 1);
                state.engine = state.engine.crash(kept);
            }
            node.slow_disk();
            node.apply_disk_full();
            node.start();
        };
        self.executor.spawner(0).spawn("supervisor", Box::pin(task));
    }

    /// Ends the process where it is. Returns the group of the next one.
    pub(crate) fn kill(&self) -> u64 {
        let (killed, running) = {
            let mut state = self.state.lock();
            let killed = state.group;
            state.group += 1;
            let running = state.running.take();
            if let Some(running) = &running {
                state.commits += running.client.counts().commits;
                state.tally.add(running);
                state.latest_reading = state.latest_reading.max(running.store.latest_reading());
            }
            (killed, running)
        };
        self.network.disconnect(self.number);
        self.directory.set_draining(false);
        self.executor.kill(killed);
        drop(running);
        // Destructors may have started tasks.
        self.executor.kill(killed);
        killed + 1
    }

    pub async fn until_up(&self) {
        let deadline = self.executor.now() + BOOT_MAX;
        while self.state.lock().running.is_none() {
            if self.executor.now() > deadline {
                self.violations.report(format!("node {} is not up after {BOOT_MAX:?}", self.number));
                return;
            }
            self.pause().await;
        }
    }

    pub async fn pause(&self) {
        self.executor.sleep(PAUSE).await;
    }

    /// The range of a key, by where it begins.
    pub(crate) fn range_start(&self, key: &[u8]) -> Option<Key> {
        let ranges = self.with_running(|running, _| running.store.ranges())?;
        ranges.into_iter().find(|range| range.span.contains(key)).map(|range| range.span.start)
    }

    /// Runs `body` as a session on the node. The receiver fails when the node crashes; `None` when it is down.
    pub fn session<T: Send + 'static>(
        &self,
        body: impl FnOnce(TxnClient) -> BoxFuture<'static, T>,
    ) -> Option<oneshot::Receiver<T>> {
        let (group, client) = {
            let state = self.state.lock();
            (state.group, state.running.as_ref()?.client.clone())
        };
        let (sender, receiver) = oneshot::channel();
        let body = body(client);
        let task = async move {
            // The client may have given up.
            let _ = sender.send(body.await);
        };
        self.executor.spawner(group).spawn("session", Box::pin(task));
        Some(receiver)
    }

    /// Has the store do something. Fails when the node crashes; `None` when it is down.
    pub(crate) fn operate<T: Send + 'static>(
        &self,
        body: impl FnOnce(Arc<Store>) -> BoxFuture<'static, T>,
    ) -> Option<oneshot::Receiver<T>> {
        let (group, store) = {
            let state = self.state.lock();
            (state.group, Arc::clone(&state.running.as_ref()?.store))
        };
        let (sender, receiver) = oneshot::channel();
        let body = body(store);
        let task = async move {
            // Whoever asked may have given up.
            let _ = sender.send(body.await);
        };
        self.executor.spawner(group).spawn("operation", Box::pin(task));
        Some(receiver)
    }

    /// Cuts the power.
    pub fn crash(&self, context: &Context) {
        self.kill();
        let mut state = self.state.lock();
        state.crashes += 1;
        state.was_full = state.disk_full;
        state.failing = None;
        let unflushed = state.engine.unflushed();
        let kept = context.below(unflushed + 1);
        state.engine = state.engine.crash(kept);
        let tear = if self.parameters.tear { Tear::Random(&context.rng) } else { Tear::Lose };
        state.disk = state.disk.crash(tear);
        drop(state);
        let number = self.number;
        self.trace.line(|| {
            format!("node {number} crashes: the engine keeps {kept} of {unflushed} unflushed batches")
        });
        self.slow_disk();
        self.apply_disk_full();
    }

    /// Asks the store to stop in an orderly way. The crash that follows finds nothing to lose.
    pub async fn shut_down(&self) {
        let Some(store) = self.state.lock().running.as_ref().map(|running| running.store.clone()) else {
            return;
        };
        let (group, (sender, receiver)) = (self.state.lock().group, oneshot::channel());
        let task = async move {
            let _ = sender.send(store.shutdown().await.map_err(|error| error.to_string()));
        };
        self.executor.spawner(group).spawn("shutdown", Box::pin(task));
        let outcome = receiver.await;
        self.trace.line(|| format!("node {} shuts down: {outcome:?}", self.number));
    }

    /// Lets go of everything, at the end of a run.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        let running = state.running.take();
        if let Some(running) = &running {
            state.commits += running.client.counts().commits;
            state.ranges = running.store.ranges().len();
        }
        drop(state);
        drop(running);
    }

    pub(crate) fn with_running<T>(&self, read: impl FnOnce(&Running, &MemoryEngine) -> T) -> Option<T> {
        let state = self.state.lock();
        state.running.as_ref().map(|running| read(running, &state.engine))
    }

    /// What it would answer requests for now, by its own clock.
    pub(crate) fn served_now(&self) -> Vec<Span> {
        let wall = Timestamp::from_unix_ms(self.clock.wall_micros().div_euclid(1_000));
        self.with_running(|running, _| running.store.served_at(wall)).unwrap_or_default()
    }

    pub fn crashes(&self) -> u64 {
        self.state.lock().crashes
    }

    pub fn commits(&self) -> u64 {
        let state = self.state.lock();
        let current = state.running.as_ref().map_or(0, |running| running.client.counts().commits);
        state.commits + current
    }

    /// Counts what the node has done.
    pub(crate) fn report(&self, reached: &Reached) {
        let state = self.state.lock();
        let mut tally = state.tally;
        if let Some(running) = &state.running {
            tally.add(running);
        }
        tally.report(reached);
        reached.add("crash", state.crashes);
        reached.add("ended itself", state.fenced);
        reached.add("disk stall", self.stalls.load(Ordering::Relaxed));
        let disk = state.disk.fault_counts();
        reached.add("torn write", disk.torn_writes);
        reached.add("lost write", disk.lost_writes);
        reached.add("misdirected write", disk.misdirected_writes);
    }

    pub fn range_count(&self) -> usize {
        self.state.lock().running.as_ref().map_or(0, |running| running.store.ranges().len())
    }
}
