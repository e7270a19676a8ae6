//! Opening a store, and making a new one.
//!
//! A new store gets one range over everything, with its meta entry, before it gets its identity: a crash in between is
//! a store without identity, and bootstrap begins again.
//!
//! Every start takes the lease of every range under a new sequence number, through the log. What an earlier process
//! served it served below the clock bound that it had made durable, and the new lease starts above it: so the
//! timestamp cache may begin empty with that start as its low-water mark.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::{HlcClock, RangeId, ReplicaId, Span, Timestamp, keys};
use basalt_env::{Bug, Env, planted};
use basalt_kv_api::{Error, Result};
use basalt_raft::{Membership, Observer, Options, RaftStore, StateMachine, StoreIdent, Term, Transport};
use basalt_storage::{
    Engine, Family, LockDirectory, WriteBatch,
    mvcc::{key::encode_key, value::encode_value},
};

use super::{
    Store, janitor::Janitor, lock_compaction::LockCompaction, proposal::raft_error, resolving::Resolving,
    split::Splitter,
};
use crate::{
    concurrency::{LockTable, TimestampCache, TxnMarkers},
    config::{RANGE_BYTES_MIN, StoreConfig},
    counts::Counters,
    evaluate::storage_error,
    replica::{
        AppliedState, Command, CommandOutcome, Header, Lease, RangeDescriptor, RangeStates, Replica,
        ReplicaState, Trigger,
    },
    routing::RangeCache,
};

/// The first range; it holds the meta entries for ever.
pub const FIRST_RANGE: RangeId = RangeId(1);
/// Versions written at bootstrap: older than anything a clock gives.
const BOOTSTRAP_TS: Timestamp = Timestamp::from_parts(1, 0);
/// Attempts to take a lease, with a pause between them, before the start fails.
const LEASE_ATTEMPTS_MAX: u32 = 500;
const LEASE_PAUSE: Duration = Duration::from_millis(10);

impl Store {
    /// Opens the store whose log is in `env`'s disk and whose state is in `engine`, or makes a new one.
    pub async fn open(
        env: Env,
        engine: Arc<dyn Engine>,
        options: Options,
        transport: Arc<dyn Transport>,
        config: StoreConfig,
    ) -> Result<Arc<Self>> {
        if config.range_bytes_max < RANGE_BYTES_MIN {
            return Err(Error::Invalid(format!("ranges must be allowed {RANGE_BYTES_MIN} bytes")));
        }
        let mut log = RaftStore::open(env.clone(), options).await.map_err(raft_error)?;
        let engine = LockDirectory::open(engine).map_err(storage_error)?;
        let states = Arc::new(RangeStates::load(Arc::new(engine)).map_err(storage_error)?);
        let ident = match log.ident() {
            Some(ident) if states.ranges.is_empty() => {
                return Err(Error::Corruption(format!("store {} has lost its ranges", ident.store_id)));
            }
            Some(ident) => ident,
            None => bootstrap(&env, &mut log, &states, &config).await?,
        };
        let earlier = if planted(Bug::ForgetClockBound) { Timestamp::ZERO } else { log.clock_bound() };
        let clock = HlcClock::new(env.clock.clone(), earlier, config.clock_offset_max);
        let incarnation = log.incarnation();
        let observer = Arc::new(FatalObserver);
        let state_machine: Arc<dyn StateMachine> = Arc::clone(&states) as _;
        let raft = log.start(state_machine, transport, observer).await.map_err(raft_error)?;
        let bound = clock.next_bound();
        raft.persist_clock_bound(bound).await.map_err(raft_error)?;
        clock.set_bound(bound);
        let start = clock.now().map_err(|error| Error::Unavailable(error.to_string()))?;
        let store = Arc::new(Self {
            locks: Arc::new(LockTable::new(config.txn_locks_max, config.lock_queue_max)),
            reads: TimestampCache::new(start, config.timestamp_cache_entries),
            markers: TxnMarkers::new(start, config.txn_markers_max),
            env,
            config,
            ident,
            incarnation,
            clock,
            raft: OnceLock::from(raft),
            states,
            latches: Arc::default(),
            cache: RangeCache::default(),
            counters: Counters::default(),
            janitor: Janitor::default(),
            resolving: Resolving::default(),
            lock_compaction: LockCompaction::default(),
            splitter: Splitter::default(),
            last_range_id: AtomicU64::new(0),
        });
        store.take_leases(start).await?;
        // A range's lease comes behind everything in its log: only now has every split been replayed, and counting
        // earlier would give the id of a range that is still to appear to another one.
        let ranges = store.states.ranges.all();
        let last_range_id = ranges.iter().map(|replica| replica.range_id.0).max().unwrap_or(0);
        store.last_range_id.store(last_range_id, Ordering::SeqCst);
        store.repair_meta().await?;
        store.start_background();
        Ok(store)
    }

    async fn take_leases(&self, start: Timestamp) -> Result<()> {
        // Ranges may appear while the log is replayed, so look again until all are ours.
        for _ in 0..LEASE_ATTEMPTS_MAX {
            let mut pending = Vec::new();
            for replica in self.states.ranges.all() {
                if replica.lease_holder_view(self.ident.node_id, self.incarnation).is_none() {
                    let command = self.lease_command(&replica, start);
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

    fn lease_command(&self, replica: &Replica, start: Timestamp) -> Command {
        let state = replica.state();
        let lease = Lease {
            sequence: state.lease.sequence + 1,
            node_id: self.ident.node_id,
            incarnation: self.incarnation,
            start,
        };
        Command {
            header: Header {
                lease_sequence: state.lease.sequence,
                generation: state.descriptor.generation,
                ..Header::default()
            },
            trigger: Trigger::Lease(lease),
            ..Command::default()
        }
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
        if let Err(error) = self.adopt_records() {
            tracing::warn!(%error, "records of earlier transactions could not be read");
        }
        for replica in self.states.ranges.all() {
            self.note_growth(&replica);
        }
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
            replica_id: ReplicaId(1),
            generation: 1,
            span: Span::new(keys::KEY_MIN, keys::KEY_MAX),
        };
        let mut batch = WriteBatch::new();
        let value = encode_value(Some(&descriptor.encode()), BOOTSTRAP_TS, BOOTSTRAP_TS);
        batch.put(Family::Data, encode_key(&keys::meta_key(&keys::KEY_MAX), BOOTSTRAP_TS), value);
        let state = ReplicaState {
            membership: Membership::voters([descriptor.replica_id]),
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
    let cluster_id = (u128::from(env.rng.next_u64()) << 64) | u128::from(env.rng.next_u64());
    let ident = StoreIdent { cluster_id, node_id: config.node_id, store_id: config.store_id };
    log.bootstrap(ident).await.map_err(raft_error)?;
    Ok(ident)
}

/// Says why the store stopped. Requests learn it from their proposals.
struct FatalObserver;

impl Observer for FatalObserver {
    fn on_leader_change(&self, _: RangeId, _: Term, _: Option<ReplicaId>, _: bool) {}

    fn on_fatal(&self, error: &basalt_raft::Error) {
        tracing::error!(%error, "the store has stopped");
    }
}
