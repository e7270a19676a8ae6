//! A node: its layers from the bottom up, and their end from the top down.
//!
//! In the store's folder, `LOCK` keeps other processes out, `log/` is the Raft log, which makes commits durable, and
//! `state/` is the state engine, which the log brings up to date after a crash; `spill/` holds what running statements
//! do not keep in memory.

use std::{fs, io, sync::Arc};

use basalt_env::{DiskLock, Env, os::os_env};
use basalt_kv::{LocalSender, Network, Store, StoreConfig};
use basalt_sql::{SqlOptions, SqlServices, StoreInfo, exec::Vectorized};
use basalt_sql_analytic::{AnalyticExecutor, AnalyticOptions};
use basalt_storage::Engine;
use basalt_storage_rocks::{RocksEngine, RocksOptions};
use basalt_txn::{TxnClient, TxnOptions};

use crate::{configuration::Configuration, counters::Counters};

const LOCK_FILE: &str = "LOCK";
const SPILL_FOLDER: &str = "spill";
const FREE_BYTES_MIN: u64 = 64 << 20;
const STATE_FOLDER: &str = "state";
/// Memtables are charged to the cache; this is their part of it, and their most.
const WRITE_BUFFER_SHARE: u64 = 3;
const WRITE_BUFFER_BYTES_MAX: u64 = 256 << 20;
/// One statement may take a quarter of what all may take.
const STATEMENT_SHARE: usize = 4;

pub struct Node {
    env: Env,
    services: Arc<SqlServices>,
    store: Arc<Store>,
    _lock: Box<dyn DiskLock>,
}

impl Node {
    /// Opens the store, or makes a new one, and starts what stands above it.
    pub async fn open(configuration: &Configuration) -> Result<Self, String> {
        let folder = configuration.store.display();
        let env = os_env(&configuration.store);
        let lock = lock(&env, configuration)?;
        let engine =
            RocksEngine::open(&configuration.store.join(STATE_FOLDER), &rocks_options(configuration))
                .map_err(|error| format!("store {folder}: {error}"))?;
        let engine: Arc<dyn Engine> = Arc::new(engine);
        let started = env.clock.monotonic();
        let config = StoreConfig { range_bytes_max: configuration.range_bytes_max, ..StoreConfig::default() };
        let network = Network::none(config.node_id);
        let store = Store::open(
            env.clone(),
            engine.clone(),
            basalt_raft::Options { free_bytes_min: FREE_BYTES_MIN, ..basalt_raft::Options::default() },
            network,
            config,
        )
        .await
        .map_err(|error| format!("store {folder}: {error}"))?;
        let ident = store.ident();
        let elapsed = env.clock.monotonic().saturating_sub(started);
        tracing::info!(
            cluster = %format_args!("{:032x}", ident.cluster_id),
            ranges = store.ranges().len(),
            milliseconds = elapsed.as_millis(),
            "store opened"
        );
        let sender = Arc::new(LocalSender::new(store.clone()));
        let client = TxnClient::new(env.clone(), sender, TxnOptions::default());
        let counters = Counters::new(engine, store.clone(), client.clone());
        let counters: Arc<dyn StoreInfo> = Arc::new(counters);
        let vectorized: Option<Arc<dyn Vectorized>> = Some(Arc::new(analytic_executor(configuration)?));
        let services =
            SqlServices::open(env.clone(), client, sql_options(configuration), vectorized, Some(counters))
                .await
                .map_err(|error| format!("store {folder}: {}", error.message()))?;
        let garbage = basalt_sql::ddl::garbage::collect_forever(services.clone());
        env.spawner.spawn("sql garbage", Box::pin(garbage));
        Ok(Self { env, services, store, _lock: lock })
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    pub fn services(&self) -> &Arc<SqlServices> {
        &self.services
    }

    /// Waits until the store has failed for good; says what failed.
    pub async fn until_failed(&self) -> String {
        self.store.until_failed().await
    }

    /// After the last session has ended: flushes, so that the next start has nothing to replay.
    pub async fn close(self) -> Result<(), String> {
        self.store.shutdown().await.map_err(|error| format!("the store did not stop cleanly: {error}"))?;
        tracing::info!("stopped");
        Ok(())
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
