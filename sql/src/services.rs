//! What all sessions of a node share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::NodeId;
use basalt_env::{BoxFuture, Env};
use basalt_planner::parse::NodeChange;
use basalt_txn::TxnClient;
use basalt_types::{Oid, Result};
use parking_lot::RwLock;

use crate::{
    catalog::CatalogStore,
    cluster::{self, Member},
    exec::{Vectorized, memory::MemoryBudget},
    jobs::{self, Jobs},
    locks::TableLocks,
    others::Others,
    plan_cache::PlanCache,
    row_ids::RowIds,
    sequences::Sequences,
    sessions::Sessions,
    virtual_tables::VirtualSchema,
};

/// Microseconds between the Unix epoch and PostgreSQL's.
pub const POSTGRES_EPOCH_UNIX_MICROS: i64 = 946_684_800_000_000;

/// Limits of statements and sessions.
#[derive(Clone, Debug)]
pub struct SqlOptions {
    /// Memory of all statements together.
    pub node_memory_bytes: usize,
    /// Memory of one statement before it spills or fails.
    pub statement_memory_bytes: usize,
    /// Plans whose estimated cost is above this run vectorised, where they can.
    pub vectorized_cost_min: f64,
    pub prepared_statements_max: usize,
    pub portals_max: usize,
    pub plan_cache_entries_max: usize,
    /// This node among those that share the store.
    pub node_id: NodeId,
    /// How far clocks of nodes may differ. Zero where no other node will ever use the store: nothing is agreed upon then.
    pub clock_offset_max: Duration,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            node_memory_bytes: 1 << 30,
            statement_memory_bytes: 256 << 20,
            vectorized_cost_min: 5_000.0,
            prepared_statements_max: 1_000,
            portals_max: 100,
            plan_cache_entries_max: 2_000,
            node_id: NodeId(1),
            clock_offset_max: Duration::ZERO,
        }
    }
}

/// Counters of lower layers, as name and value.
pub trait MetricsSource: Send + Sync {
    fn metrics(&self) -> Vec<(String, i64)>;
}

/// A row of `SHOW RANGES`.
#[derive(Clone, Debug)]
pub struct RangeRow {
    pub range_id: u64,
    pub start: bytes::Bytes,
    pub end: bytes::Bytes,
    /// Of the replica on this node, if there is one.
    pub bytes: Option<u64>,
    /// The nodes of its replicas.
    pub replicas: Vec<u64>,
    /// The node that serves it, if this one knows.
    pub leaseholder: Option<u64>,
}

/// A row of `SHOW NODES`.
#[derive(Clone, Debug)]
pub struct NodeRow {
    pub node_id: u64,
    /// It is the node that was asked.
    pub is_local: bool,
    /// `live`, `draining`, `decommissioning`, `decommissioned` or `down`.
    pub status: String,
    /// Where other nodes, and SQL clients, reach it.
    pub rpc_address: String,
    pub sql_address: String,
    /// `region=eu,zone=a`
    pub locality: String,
    pub version: String,
    /// Ranges that have a replica there, and those that it serves; `None` while nobody can tell.
    pub replicas: Option<u64>,
    pub leases: Option<u64>,
    /// Of its store, in bytes: the file system, what can still be written there, and what the store has written; `None` while
    /// it has not said.
    pub capacity_bytes: Option<u64>,
    pub available_bytes: Option<u64>,
    pub used_bytes: Option<u64>,
    /// Milliseconds since it was last heard of; `None` if not since this node started.
    pub silent_millis: Option<u64>,
    /// From this node and back.
    pub round_trip_micros: Option<u64>,
    /// Its wall clock minus that of this node.
    pub clock_offset_micros: Option<i64>,
    /// What is wrong with it, seen from here.
    pub problem: Option<String>,
}

/// What the node knows of its store, and of the cluster, beyond transactions.
pub trait StoreInfo: MetricsSource {
    /// All ranges of the cluster, in key order.
    fn ranges(&self) -> BoxFuture<'_, Result<Vec<RangeRow>>>;
    /// All nodes that ever took part, in order.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>>>;
    /// Takes a node out of service, or into it again. Returns when that is decided, not when it is done.
    fn change_node(&self, node: u64, change: NodeChange) -> BoxFuture<'_, Result<()>>;
    /// About how many bytes the versions of the keys in `span` take.
    fn bytes_in(&self, span: &basalt_base::Span) -> u64;
}

/// The node, as sessions see it.
pub struct SqlServices {
    pub env: Env,
    pub client: TxnClient,
    pub options: SqlOptions,
    pub catalog: CatalogStore,
    pub locks: TableLocks,
    /// The node among others; `None` where there can be none.
    pub cluster: Option<Member>,
    pub memory: MemoryBudget,
    pub jobs: Arc<Jobs>,
    pub plans: PlanCache,
    pub sequences: Sequences,
    pub row_ids: Arc<RowIds>,
    pub virtual_schema: Arc<VirtualSchema>,
    pub vectorized: Option<Arc<dyn Vectorized>>,
    pub store: Option<Arc<dyn StoreInfo>>,
    pub sessions: Sessions,
    others: OnceLock<Arc<dyn Others>>,
    pub start_micros: i64,
    /// Rows added minus rows removed since the snapshot's estimate, by table.
    row_deltas: RwLock<BTreeMap<Oid, Arc<AtomicI64>>>,
    next_session: AtomicU64,
}

impl SqlServices {
    /// Loads (or makes) the catalog.
    pub async fn open(
        env: Env,
        client: TxnClient,
        options: SqlOptions,
        vectorized: Option<Arc<dyn Vectorized>>,
        store: Option<Arc<dyn StoreInfo>>,
    ) -> Result<Arc<Self>> {
        let catalog = CatalogStore::open(client.clone()).await?;
        let cluster = (!options.clock_offset_max.is_zero()).then(|| Member::new(options.clock_offset_max));
        let start_micros = env.clock.wall_micros() - POSTGRES_EPOCH_UNIX_MICROS;
        let services = Arc::new(Self {
            row_ids: Arc::new(RowIds::new(&env, options.node_id)),
            memory: MemoryBudget::node(options.node_memory_bytes),
            jobs: Arc::default(),
            plans: PlanCache::new(options.plan_cache_entries_max),
            sequences: Sequences::default(),
            env,
            client,
            options,
            catalog,
            locks: TableLocks::default(),
            cluster,
            virtual_schema: Arc::new(VirtualSchema::new()),
            vectorized,
            store,
            sessions: Sessions::default(),
            others: OnceLock::new(),
            start_micros,
            row_deltas: RwLock::default(),
            next_session: AtomicU64::new(1),
        });
        cluster::start(&services).await?;
        // Temporary tables of sessions that a crash ended.
        crate::ddl::temporary::clear_dead(&services).await?;
        let jobs = jobs::executor::run_forever(Arc::downgrade(&services));
        services.env.spawner.spawn("sql-jobs", Box::pin(jobs));
        Ok(services)
    }

    /// Leaves the cluster in good order, so that nobody waits for this node. After the last session has ended.
    pub async fn close(&self) {
        self.jobs.stop(self).await;
        cluster::end(self).await;
    }

    /// From now on other nodes are asked for what only they know. Only the first call counts.
    pub fn ask_through(&self, others: Arc<dyn Others>) {
        let _already = self.others.set(others);
    }

    pub(crate) fn others(&self) -> Option<&dyn Others> {
        self.others.get().map(|others| &**others)
    }

    pub fn next_session_id(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    /// The wall clock in microseconds since 2000-01-01 UTC.
    pub fn now_micros(&self) -> i64 {
        self.env.clock.wall_micros() - POSTGRES_EPOCH_UNIX_MICROS
    }

    /// Notes rows added to (or removed from) a table by a committed statement, so that estimates follow.
    pub fn add_rows(self: &Arc<Self>, table: Oid, rows: i64) {
        let delta = self.row_deltas.read().get(&table).cloned();
        let delta = delta.unwrap_or_else(|| self.row_deltas.write().entry(table).or_default().clone());
        let changed = delta.fetch_add(rows, Ordering::Relaxed) + rows;
        let estimate =
            self.catalog.current().tables.get(&table).and_then(|table| table.row_estimate).unwrap_or(0.0);
        // Publish when plans could change: the table grew or shrank by half and by more than a handful.
        if changed.unsigned_abs() > 100 && changed.abs() as f64 > estimate / 2.0 {
            delta.fetch_sub(changed, Ordering::Relaxed);
            self.catalog.set_row_estimate(table, (estimate + changed as f64).max(0.0));
            self.keep_row_estimate(table);
        }
    }

    /// Has a table's estimate written, behind the back of the statement: the session's own transaction may hold a lock on
    /// it (TRUNCATE and ANALYZE in one), so that to wait for it would be to wait for oneself.
    pub fn keep_row_estimate(self: &Arc<Self>, table: Oid) {
        let services = self.clone();
        let keep = async move {
            if let Err(error) = services.catalog.keep_row_estimate(table).await {
                tracing::debug!(%error, "an estimate of rows could not be kept");
            }
        };
        self.env.spawner.spawn("sql-estimate", Box::pin(keep));
    }
}
