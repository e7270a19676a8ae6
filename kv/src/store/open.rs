//! Opening a store, and making a new one.
//!
//! A new store gets one range over everything, with its meta entry, before it gets its identity: a crash in between is
//! a store without identity, and bootstrap begins again.
//!
//! Every start takes the lease of every range that is here alone, under a new sequence number, through the log. What an
//! earlier process served it served below the clock bound that it had made durable, and the new lease starts above it: so
//! the timestamp cache may begin empty with that start as its low-water mark. Leases of other ranges are taken when they
//! are needed ([`super::lease`]).

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use basalt_base::{ClockError, HlcClock, RangeId, ReplicaId, Span, Timestamp, keys};
use basalt_env::{Bug, Env, planted};
use basalt_kv_api::{Error, Result};
use basalt_raft::{Membership, Options, RaftStore, StateMachine, StoreIdent};
use basalt_storage::{
    Engine, Family, LockDirectory, WriteBatch,
    mvcc::{key::encode_key, value::encode_value},
};

use super::{
    Network, Store,
    balance::Balance,
    damage::refuse_damaged,
    drain::Draining,
    fencing::{Fence, LAG_SHARE},
    fullness::Fullness,
    janitor::Janitor,
    lease::{Leases, lease_command},
    lock_compaction::LockCompaction,
    network::{Incoming, RaftWires},
    node_states::NodeStates,
    proposal::raft_error,
    recovering::Recoveries,
    removal::Suspects,
    resolving::Resolving,
    split::Splitter,
    split_load::LoadSplits,
    watcher::Watcher,
};
use crate::{
    concurrency::{Dependents, LockTable, TimestampCache, TxnMarkers},
    config::{RANGE_BYTES_MIN, StoreConfig},
    counts::Counters,
    evaluate::storage_error,
    peer::Peers,
    replica::{
        AppliedState, Applies, CommandOutcome, Lease, Place, RangeDescriptor, RangeStates, ReplicaState,
    },
    routing::{Breakers, RangeCache, Resolutions},
};
use parking_lot::Mutex;

/// The first range; it holds the meta entries for ever.
pub const FIRST_RANGE: RangeId = RangeId(1);
const FIRST_REPLICA: ReplicaId = ReplicaId(1);
/// Versions written at bootstrap: older than anything a clock gives.
const BOOTSTRAP_TS: Timestamp = Timestamp::from_parts(1, 0);
/// Attempts to take a lease, with a pause between them, before the start fails.
const LEASE_ATTEMPTS_MAX: u32 = 500;
const LEASE_PAUSE: Duration = Duration::from_millis(10);
const CLOCK_WAIT: Duration = Duration::from_millis(10);
/// A little longer than the bound of a clock is ahead of it.
const CLOCK_WAITS: u64 = basalt_base::clock::BOUND_LEAD_MS / 10 + 100;

/// The log of a store that is about to be opened. It knows whose store it is, which the network wants to know before the
/// store can be opened on it.
pub struct StoreLog(RaftStore);

impl StoreLog {
    /// Reads the log in `env`'s disk, or makes a new one.
    pub async fn open(env: Env, options: Options) -> Result<Self> {
        RaftStore::open(env, options).await.map(Self).map_err(raft_error)
    }

    /// `None` of a new store.
    pub fn ident(&self) -> Option<StoreIdent> {
        self.0.ident()
    }
}

impl Store {
    /// Opens the store whose log is in `env`'s disk and whose state is in `engine`, or makes a new one.
    pub async fn open(
        env: Env,
        engine: Arc<dyn Engine>,
        options: Options,
        network: Network,
        config: StoreConfig,
    ) -> Result<Arc<Self>> {
        let log = StoreLog::open(env.clone(), options).await?;
        Self::open_on(env, engine, log, network, config).await
    }

    /// Opens the store that `log` belongs to.
    pub async fn open_on(
        env: Env,
        engine: Arc<dyn Engine>,
        log: StoreLog,
        network: Network,
        config: StoreConfig,
    ) -> Result<Arc<Self>> {
        if config.range_bytes_max < RANGE_BYTES_MIN {
            return Err(Error::Invalid(format!("ranges must be allowed {RANGE_BYTES_MIN} bytes")));
        }
        if network.directory.has_peers() {
            refuse_damaged(&*env.disk)?;
        }
        let StoreLog(mut log) = log;
        let engine = LockDirectory::open(engine).map_err(storage_error)?;
        let states = Arc::new(RangeStates::load(Arc::new(engine), config.verify).map_err(storage_error)?);
        let ident = match (log.ident(), config.join) {
            (Some(ident), _) => ident,
            // Its ranges come from others.
            (None, Some(ident)) => {
                log.bootstrap(ident).await.map_err(raft_error)?;
                ident
            }
            (None, None) => bootstrap(&env, &mut log, &states, &config).await?,
        };
        let earlier = if planted(Bug::ForgetClockBound) { Timestamp::ZERO } else { log.clock_bound() };
        let has_peers = network.directory.has_peers();
        if has_peers && !planted(Bug::SkipClockWait) {
            wait_for_clock(&env, earlier).await;
        }
        let clock = Arc::new(HlcClock::new(env.clock.clone(), earlier, config.clock_offset_max));
        if has_peers && !planted(Bug::IgnoreClockLag) {
            clock.limit_lag(config.clock_offset_max / LAG_SHARE);
        }
        if has_peers {
            clock.limit_step(config.clock_offset_max / 2);
        }
        let incarnation = log.incarnation();
        let Network { link, directory, config: peer_config } = network;
        let peers = Peers::new(
            &env,
            ident.node_id,
            ident.cluster_id,
            incarnation,
            link,
            Arc::clone(&directory),
            Arc::clone(&clock),
            peer_config,
        );
        let (started, spawner) = (env.clock.monotonic(), Arc::clone(&env.spawner));
        let wires = RaftWires::new(ident.node_id, Arc::clone(&peers), Arc::clone(&states), spawner);
        let wires = Arc::new(wires);
        let state_machine: Arc<dyn StateMachine> = Arc::clone(&states) as _;
        let (transport, observer) = (Arc::clone(&wires) as _, Arc::clone(&wires) as _);
        let raft = log.start(state_machine, transport, observer).await.map_err(raft_error)?;
        let start = loop {
            let bound = clock.next_bound();
            raft.persist_clock_bound(bound).await.map_err(raft_error)?;
            clock.set_bound(bound);
            match clock.now() {
                Ok(now) => break now,
                // The disk has taken its time: the bound is in the past already.
                Err(ClockError::BoundReached { .. }) => env.spawner.sleep(CLOCK_WAIT).await,
                Err(error) => return Err(Error::Unavailable(error.to_string())),
            }
        };
        let store = Arc::new(Self {
            locks: Arc::new(LockTable::new(config.txn_locks_max, config.lock_queue_max)),
            reads: TimestampCache::new(start, config.timestamp_cache_entries),
            markers: TxnMarkers::new(start, config.txn_markers_max),
            dependents: Dependents::default(),
            env,
            config,
            ident,
            incarnation,
            clock,
            watcher: OnceLock::new(),
            raft: OnceLock::from(raft),
            states,
            latches: Arc::default(),
            cache: RangeCache::default(),
            breakers: Breakers::default(),
            resolutions: Resolutions::default(),
            counters: Counters::default(),
            janitor: Janitor::default(),
            resolving: Resolving::default(),
            recoveries: Recoveries::default(),
            lock_compaction: LockCompaction::default(),
            splitter: Splitter::default(),
            leases: Leases::default(),
            peers,
            directory,
            wires: Arc::clone(&wires),
            suspects: Suspects::default(),
            balance: Balance::default(),
            load_splits: LoadSplits::default(),
            fence: Fence::default(),
            above: OnceLock::new(),
            fullness: Fullness::default(),
            draining: Draining::default(),
            node_states: NodeStates::default(),
            started,
            seen_up: Mutex::default(),
        });
        let watcher: Arc<dyn Applies> = Arc::new(Watcher::new(Arc::downgrade(&store)));
        if store.states.observer.set(Arc::downgrade(&watcher)).is_err() {
            return Err(Error::Internal("a store was opened twice".to_owned()));
        }
        if store.watcher.set(watcher).is_err() {
            return Err(Error::Internal("a store was opened twice".to_owned()));
        }
        wires.serve(Arc::downgrade(&store));
        store.peers.start(Arc::new(Incoming { store: Arc::downgrade(&store), wires }));
        store.take_leases(start).await?;
        if !has_peers && store.has_admitted()? {
            wait_for_clock(&store.env, store.clock.latest()).await;
        }
        store.start_background();
        Ok(store)
    }

    /// Takes the leases without end: of the ranges that nobody else has a replica of.
    async fn take_leases(self: &Arc<Self>, start: Timestamp) -> Result<()> {
        // Ranges may appear while the log is replayed, so look again until all are ours.
        for _ in 0..LEASE_ATTEMPTS_MAX {
            let mut pending = Vec::new();
            for replica in self.states.ranges.all() {
                let lease = replica.lease();
                let is_ours = lease.is_of(self.ident.node_id, self.incarnation);
                // One that somebody else held last, and that may still run, is taken when it is needed.
                let takes = lease.node_id == self.ident.node_id || lease.sequence == 0;
                if replica.is_alone() && takes && !is_ours {
                    let trigger = self.next_lease(&replica, &lease, start, true);
                    let command = lease_command(&replica, trigger);
                    pending.push(self.raft().propose(replica.range_id, command.encode()));
                }
            }
            if pending.is_empty() {
                return Ok(());
            }
            let mut settled = true;
            for proposal in pending {
                match proposal.await {
                    Ok(outcome) => {
                        let outcome = outcome.downcast::<CommandOutcome>();
                        settled &= outcome.is_ok_and(|outcome| outcome.rejected.is_none());
                    }
                    Err(basalt_raft::Error::NotLeader { .. } | basalt_raft::Error::Dropped) => {
                        settled = false;
                    }
                    Err(error) => return Err(raft_error(error)),
                }
            }
            if !settled {
                self.env.spawner.sleep(LEASE_PAUSE).await;
            }
        }
        Err(Error::Unavailable("the leases of the store's ranges could not be taken".to_owned()))
    }

    fn start_background(self: &Arc<Self>) {
        let spawner = &self.env.spawner;
        spawner.spawn("kv clock bound", Box::pin(Self::keep_clock(Arc::downgrade(self), self.env.clone())));
        spawner.spawn("kv janitor", Box::pin(Self::run_janitor(Arc::downgrade(self), self.env.clone())));
        // These read much at a time: on threads of their own they hold nobody up.
        let garbage = Self::run_garbage(Arc::downgrade(self), self.env.clone());
        spawner.spawn_blocking_loop("kv garbage", Box::pin(garbage));
        let wake = self.splitter.wake();
        let splitter = Self::run_splitter(Arc::downgrade(self), wake);
        spawner.spawn_blocking_loop("kv splitter", Box::pin(splitter));
        let wake = self.lock_compaction.wake();
        let compaction = Self::run_lock_compaction(Arc::downgrade(self), wake);
        spawner.spawn_blocking_loop("kv lock compaction", Box::pin(compaction));
        let replicate = Self::run_replicate(Arc::downgrade(self), self.env.clone());
        spawner.spawn("kv replicate", Box::pin(replicate));
        spawner.spawn("kv clock watch", Box::pin(Self::watch_clock(Arc::downgrade(self), self.env.clone())));
        spawner
            .spawn("kv damage watch", Box::pin(Self::watch_damage(Arc::downgrade(self), self.env.clone())));
        spawner.spawn("kv balance", Box::pin(Self::run_balance(Arc::downgrade(self), self.env.clone())));
        spawner.spawn("kv removal", Box::pin(Self::run_removal(Arc::downgrade(self), self.env.clone())));
        spawner.spawn("kv leases", Box::pin(Self::keep_leases(Arc::downgrade(self), self.env.clone())));
        for replica in self.states.ranges.all() {
            self.note_growth(&replica);
        }
    }
}

/// Until the clock has reached what an earlier process may have read from it. A node without peers moves its clock forward
/// instead; the readings of one with peers must not differ from theirs, however far ahead the clock was once: what the node
/// would write above it, the others would not see for as long.
async fn wait_for_clock(env: &Env, earlier: Timestamp) {
    for waits in 0_u64.. {
        let now = Timestamp::from_unix_ms(env.clock.wall_micros() / 1_000);
        if now >= earlier {
            return;
        }
        // Nothing is said of the moment that every restart takes.
        if waits % CLOCK_WAITS == CLOCK_WAITS - 1 {
            let ahead = Duration::from_millis(earlier.physical_ms().saturating_sub(now.physical_ms()));
            tracing::warn!(
                ?ahead,
                "the clock of this node was ahead of what it is now; the node starts when it has come as far again. If that \
                 takes too long, remove the node and let it join with an empty store"
            );
        }
        env.spawner.sleep(CLOCK_WAIT).await;
    }
}

/// The store, unless it is gone.
pub(super) fn alive(store: &Weak<Store>) -> Option<Arc<Store>> {
    store.upgrade().filter(|store| store.raft().stopped().is_none())
}

async fn bootstrap(
    env: &Env,
    log: &mut RaftStore,
    states: &RangeStates,
    config: &StoreConfig,
) -> Result<StoreIdent> {
    if states.ranges.is_empty() {
        let descriptor = RangeDescriptor {
            range_id: FIRST_RANGE,
            generation: 1,
            span: Span::new(keys::KEY_MIN, keys::KEY_MAX),
            replicas: vec![Place { node_id: config.node_id, replica_id: FIRST_REPLICA }],
            next_replica_id: ReplicaId(FIRST_REPLICA.0 + 1),
        };
        let mut batch = WriteBatch::new();
        let value = encode_value(Some(&descriptor.encode()), BOOTSTRAP_TS, BOOTSTRAP_TS);
        batch.put(Family::Data, encode_key(&keys::meta_key(&keys::KEY_MAX), BOOTSTRAP_TS), value);
        let state = ReplicaState {
            replica_id: FIRST_REPLICA,
            membership: Membership::voters([FIRST_REPLICA]),
            descriptor: Arc::new(descriptor),
            lease: Lease::default(),
            gc_threshold: Timestamp::ZERO,
            applied: AppliedState {
                index: basalt_raft::INITIAL_LOG_INDEX,
                term: basalt_raft::INITIAL_LOG_TERM,
                ..AppliedState::default()
            },
        };
        states.create(state, batch).map_err(storage_error)?;
    }
    let random = || (u128::from(env.rng.next_u64()) << 64) | u128::from(env.rng.next_u64());
    let cluster_id = config.cluster_id.unwrap_or_else(random);
    let ident = StoreIdent { cluster_id, node_id: config.node_id, store_id: config.store_id };
    log.bootstrap(ident).await.map_err(raft_error)?;
    Ok(ident)
}
