//! A node: its layers from the bottom up, and their end from the top down.
//!
//! In the store's folder, `LOCK` keeps other processes out, `log/` is the Raft log, which makes commits durable, and
//! `state/` is the state engine, which the log brings up to date after a crash; `spill/` holds what running statements
//! do not keep in memory.

use std::{fs, io, sync::Arc, time::Duration};

use basalt_base::NodeId;
use basalt_env::{DiskLock, Env};
use basalt_kv::{LocalSender, Network, Store, StoreConfig, StoreLog, peer::PeerConfig};
use basalt_pgwire::Server;
use basalt_rpc::Wire;
use basalt_sql::{SqlOptions, SqlServices, StoreInfo, exec::Vectorized};
use basalt_sql_analytic::{AnalyticExecutor, AnalyticOptions};
use basalt_storage::Engine;
use basalt_storage_rocks::{RocksEngine, RocksOptions};
use basalt_txn::{TxnClient, TxnOptions};
use basalt_types::{SqlError, SqlState};

use crate::{
    capacity,
    cluster::{self, Admission, Membership},
    cluster_info::ClusterInfo,
    configuration::Configuration,
    counters::Counters,
    others::{Answers, OtherNodes},
};

const LOCK_FILE: &str = "LOCK";
const SPILL_FOLDER: &str = "spill";
const FREE_BYTES_MIN: u64 = 64 << 20;
/// How long what ended transactions have left may take.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long other nodes have to take over the leases of one that stops.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// A node that waits for others says so this often.
const WAITING_INTERVAL: Duration = Duration::from_secs(30);
/// Between attempts to read the catalog at start.
const CATALOG_RETRY: Duration = Duration::from_millis(200);
const STATE_FOLDER: &str = "state";
/// Memtables are charged to the cache; this is their part of it, and their most.
const WRITE_BUFFER_SHARE: u64 = 3;
const WRITE_BUFFER_BYTES_MAX: u64 = 256 << 20;
/// One statement may take a quarter of what all may take.
const STATEMENT_SHARE: usize = 4;

pub struct Node {
    services: Arc<SqlServices>,
    client: TxnClient,
    store: Arc<Store>,
    wire: Arc<Wire>,
    rpc_address: String,
    _lock: Box<dyn DiskLock>,
}

impl Node {
    /// Opens the store, or makes a new one, and starts what stands above it.
    pub async fn open(env: Env, configuration: &Configuration) -> Result<Self, String> {
        let folder = configuration.store.display();
        let lock = lock(&env, configuration)?;
        let engine =
            RocksEngine::open(&configuration.store.join(STATE_FOLDER), &rocks_options(configuration))
                .map_err(|error| format!("store {folder}: {error}"))?;
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let started = env.clock.monotonic();
        let options =
            basalt_raft::Options { free_bytes_min: FREE_BYTES_MIN, ..basalt_raft::Options::default() };
        let log =
            StoreLog::open(env.clone(), options).await.map_err(|error| format!("store {folder}: {error}"))?;
        let Membership { ident, joins, wire, rpc_address } =
            cluster::enter(&env, configuration, log.ident()).await?;
        let clock_offset_max = configuration.clock_offset_max.get();
        let network = Network {
            link: wire.clone(),
            directory: wire.clone(),
            config: PeerConfig { clock_offset_max, ..PeerConfig::default() },
        };
        let config = StoreConfig {
            node_id: ident.node_id,
            store_id: ident.store_id,
            cluster_id: Some(ident.cluster_id),
            join: joins.then_some(ident),
            range_bytes_max: configuration.range_bytes_max,
            replicas_wanted: configuration.replicas,
            clock_offset_max,
            lease_duration: configuration.clock_offset_max.lease_duration(),
            ..StoreConfig::default()
        };
        let store = Store::open_on(env.clone(), engine.clone(), log, network, config)
            .await
            .map_err(|error| format!("store {folder}: {error}"))?;
        cluster::forget_joiner(&configuration.store)?;
        let tell = capacity::tell_capacity(Arc::downgrade(&wire), env.clone(), configuration.store.clone());
        env.spawner.spawn_blocking_loop("capacity", Box::pin(tell));
        wire.admit_with(Arc::new(Admission(Arc::downgrade(&store))));
        let elapsed = env.clock.monotonic().saturating_sub(started);
        tracing::info!(
            cluster = %cluster::cluster_name(ident.cluster_id),
            node = %ident.node_id,
            rpc = %rpc_address,
            ranges = store.ranges().len(),
            milliseconds = elapsed.as_millis(),
            "store opened"
        );
        let sender = Arc::new(LocalSender::new(store.clone()));
        let client = TxnClient::new(env.clone(), sender, TxnOptions::default());
        let counters = Counters::new(engine, store.clone(), client.clone());
        let info: Arc<dyn StoreInfo> =
            Arc::new(ClusterInfo { store: store.clone(), wire: wire.clone(), counters });
        let vectorized: Option<Arc<dyn Vectorized>> = Some(Arc::new(analytic_executor(configuration)?));
        let opening = open_catalog(
            &env,
            || {
                let options =
                    SqlOptions { node_id: ident.node_id, clock_offset_max, ..sql_options(configuration) };
                SqlServices::open(
                    env.clone(),
                    client.clone(),
                    options,
                    vectorized.clone(),
                    Some(info.clone()),
                )
            },
            &wire,
        );
        // Whoever waits for others hears that there is no use in it.
        let services = tokio::select! {
            biased;
            cause = until_failed(&store, &wire) => return Err(format!("store {folder}: {cause}")),
            opened = opening => opened.map_err(|error| format!("store {folder}: {}", error.message()))?,
        };
        let garbage = basalt_sql::ddl::garbage::collect_forever(services.clone());
        env.spawner.spawn("sql garbage", Box::pin(garbage));
        Ok(Self { services, client, store, wire, rpc_address, _lock: lock })
    }

    /// From now on this node asks the others about their clients, and answers them about those of `server`.
    pub fn talks_of_clients(&self, server: &Arc<Server>) -> Arc<OtherNodes> {
        let others = Arc::new(OtherNodes { store: self.store.clone(), env: self.store.env().clone() });
        self.services.ask_through(others.clone());
        let answers = Answers { services: Arc::downgrade(&self.services), server: Arc::downgrade(server) };
        self.store.answer_with(Arc::new(answers));
        others
    }

    /// Tells the other nodes where clients reach this one.
    pub fn serves_sql_at(&self, address: &str) {
        self.wire.set_addresses(address, "");
    }

    /// For how long the disk has kept this node waiting.
    pub fn held_up_for(&self) -> Duration {
        self.store.held_up_for()
    }

    /// Whether other nodes are members of the cluster.
    pub fn has_others(&self) -> bool {
        !self.store.other_members().is_empty()
    }

    /// Where other nodes reach this one.
    pub fn rpc_address(&self) -> &str {
        &self.rpc_address
    }

    pub fn id(&self) -> NodeId {
        self.store.ident().node_id
    }

    /// Tells the other nodes that this one is about to stop.
    pub fn begin_to_stop(&self) {
        self.wire.set_draining(true);
    }

    pub fn services(&self) -> &Arc<SqlServices> {
        &self.services
    }

    /// Waits until the node can not go on; says why.
    pub async fn until_failed(&self) -> String {
        until_failed(&self.store, &self.wire).await
    }

    /// After the last session has ended: lets other nodes take over what this one serves, and flushes, so that the next
    /// start has nothing to replay.
    pub async fn close(self) -> Result<(), String> {
        self.services.close().await;
        self.client.settle(SETTLE_PATIENCE).await;
        let progress = self.store.drain(DRAIN_PATIENCE).await;
        if !progress.is_done() {
            tracing::warn!(
                leases = progress.leases_left,
                "some leases found no other node, and run out by themselves"
            );
        }
        self.store.shutdown().await.map_err(|error| format!("the store did not stop cleanly: {error}"))?;
        self.wire.close();
        tracing::info!("stopped");
        Ok(())
    }
}

async fn until_failed(store: &Store, wire: &Wire) -> String {
    tokio::select! {
        biased;
        cause = store.until_failed() => format!("it has failed, so the node ends: {cause}"),
        cause = wire.until_cast_out() => cause,
    }
}

/// Opens the layers above the store. A node of several starts before a majority does, and serves when there is one; until then
/// it says from time to time whom it waits for.
async fn open_catalog<F>(env: &Env, open: impl Fn() -> F, wire: &Wire) -> Result<Arc<SqlServices>, SqlError>
where
    F: Future<Output = Result<Arc<SqlServices>, SqlError>>,
{
    let mut told: Option<Duration> = None;
    loop {
        let error = match open().await {
            Err(error) if error.sqlstate() == SqlState::CANNOT_CONNECT_NOW => error,
            opened => return opened,
        };
        let now = env.clock.monotonic();
        if told.is_none_or(|told| now.saturating_sub(told) > WAITING_INTERVAL) {
            told = Some(now);
            let missing = cluster::missing_nodes(wire);
            tracing::warn!(missing, "waiting for the other nodes: {}", error.message());
        }
        env.spawner.sleep(CATALOG_RETRY).await;
    }
}

fn lock(env: &Env, configuration: &Configuration) -> Result<Box<dyn DiskLock>, String> {
    let folder = configuration.store.display();
    env.disk.create_dir_all("").map_err(|error| format!("store {folder}: {error}"))?;
    env.disk.lock(LOCK_FILE).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            format!(
                "store {folder} is in use by another process; give this node a store of its own with --store"
            )
        }
        _ => format!("store {folder}: {error}"),
    })
}

fn rocks_options(configuration: &Configuration) -> RocksOptions {
    let write_buffer = (configuration.cache_bytes / WRITE_BUFFER_SHARE).min(WRITE_BUFFER_BYTES_MAX);
    RocksOptions {
        block_cache_bytes: as_usize(configuration.cache_bytes),
        write_buffer_bytes: as_usize(write_buffer),
        ..RocksOptions::default()
    }
}

fn sql_options(configuration: &Configuration) -> SqlOptions {
    let node = as_usize(configuration.sql_memory_bytes);
    SqlOptions {
        node_memory_bytes: node,
        statement_memory_bytes: node / STATEMENT_SHARE,
        ..SqlOptions::default()
    }
}

/// Spills into a folder that is empty at every start.
fn analytic_executor(configuration: &Configuration) -> Result<AnalyticExecutor, String> {
    let folder = configuration.store.join(SPILL_FOLDER);
    let emptied = match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(&folder),
    };
    emptied.map_err(|error| format!("{}: {error}", folder.display()))?;
    let partitions = std::thread::available_parallelism().map_or(1, usize::from);
    let options = AnalyticOptions { partitions, spill_directory: Some(folder), ..AnalyticOptions::default() };
    Ok(AnalyticExecutor::new(options))
}

fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
