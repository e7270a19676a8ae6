//! Opening a store.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use basalt_base::Timestamp;
use basalt_env::Env;
use parking_lot::RwLock;

use crate::{
    Error, Observer, Options, RaftHandle, Result, StateMachine, StoreIdent, Transport,
    counts::Counters,
    driver::{Driver, Start},
    handle::Shared,
    inbox::Inbox,
    log::{LogBatch, LogStore},
};

/// A store whose log was replayed but whose loop does not run yet.
///
/// Opening has two steps because the state machine needs the clock, and the clock needs the durable bound.
pub struct RaftStore {
    env: Env,
    options: Options,
    log: LogStore,
    counters: Arc<Counters>,
}

impl RaftStore {
    /// Takes the log's lock and replays the log in the folder `log/` of the store.
    ///
    /// Damage (as opposed to a torn tail) is [`Error::Corruption`] and names file and offset.
    pub async fn open(env: Env, options: Options) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let mut log = LogStore::open(env.disk.clone(), &*env.rng, &options, counters.clone()).await?;
        let mut batch = LogBatch::default();
        batch.incarnation(log.incarnation() + 1);
        log.append(&mut batch).await?;
        log.sync().await?;
        Ok(Self { env, options, log, counters })
    }

    /// The identity written at bootstrap; `None` for a new store.
    pub fn ident(&self) -> Option<StoreIdent> {
        self.log.ident()
    }

    /// Gives a new store its identity, durably. Fails on a store that has one.
    ///
    /// The initial state of the first ranges must be flushed in the engine before: an identity says that it is there.
    pub async fn bootstrap(&mut self, ident: StoreIdent) -> Result<()> {
        if self.ident().is_some() {
            return Err(Error::Invalid("the store has an identity already".to_owned()));
        }
        let mut batch = LogBatch::default();
        batch.ident(ident);
        self.log.append(&mut batch).await?;
        self.log.sync().await
    }

    /// No earlier reading of the node's clock exceeds this.
    pub fn clock_bound(&self) -> Timestamp {
        self.log.clock_bound()
    }

    /// Makes a clock bound durable before the loop runs.
    pub async fn persist_clock_bound(&mut self, bound: Timestamp) -> Result<()> {
        let mut batch = LogBatch::default();
        batch.clock_bound(bound.max(self.clock_bound()), false);
        self.log.append(&mut batch).await?;
        self.log.sync().await
    }

    /// How many times this store was opened, this time included.
    pub fn incarnation(&self) -> u64 {
        self.log.incarnation()
    }

    /// Builds the groups, replays what the state machine has lost, and starts the loop.
    /// Lone voters lead from the first turn on. The store must have an identity.
    pub async fn start(
        self,
        state_machine: Arc<dyn StateMachine>,
        transport: Arc<dyn Transport>,
        observer: Arc<dyn Observer>,
    ) -> Result<RaftHandle> {
        let Self { env, options, log, counters } = self;
        let ident = log.ident().ok_or_else(|| Error::Invalid("the store has no identity yet".to_owned()))?;
        let shared = Arc::new(Shared {
            inbox: Inbox::new(&options),
            counters,
            status: RwLock::default(),
            progress: RwLock::default(),
            ident,
            incarnation: log.incarnation(),
            command_bytes_max: options.command_bytes_max,
            is_reluctant: AtomicBool::new(false),
            turn_began: AtomicU64::new(0),
        });
        let handle = RaftHandle { shared: shared.clone() };
        let spawner = env.spawner.clone();
        let start = Start { env, options, log, shared, state_machine, transport, observer };
        let driver = Driver::new(start).await?;
        spawner.spawn_blocking_loop("raft-flush", Box::pin(driver.flusher()));
        spawner.spawn_blocking_loop("raft-snapshot", Box::pin(driver.snapshot_maker()));
        spawner.spawn_blocking_loop("raft", Box::pin(driver.run()));
        Ok(handle)
    }
}
