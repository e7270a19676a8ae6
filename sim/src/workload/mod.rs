//! What clients do during a run, and what must be true of it afterwards.

mod anchored;
mod bank;
mod batches;
mod cancelled;
mod hot;
mod impatient;
mod inserts;
mod list_append;
mod long_fork;
mod predicate;
mod recorded;
mod register;
mod rw_register;
mod session;
mod sets;
mod skew;
mod versions;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use basalt_base::Key;
use basalt_env::{Rng, sim::SimRng};
use basalt_txn::{Result, Txn, TxnOptions};
use bytes::Bytes;

pub use anchored::Anchored;
pub use bank::Bank;
pub use batches::Batches;
pub use cancelled::Cancelled;
pub use hot::Hot;
pub use impatient::Impatient;
pub use inserts::Inserts;
pub use list_append::ListAppend;
pub use long_fork::LongFork;
pub use predicate::Predicate;
pub use register::Register;
pub use rw_register::RwRegister;
pub use session::{Ended, transact};
pub use sets::Sets;
pub use skew::Skew;

use crate::{Mix, Parameters, Reached, Violations, cluster::Cluster, trace::Trace};

/// What every client has.
#[derive(Clone)]
pub struct Context {
    pub cluster: Cluster,
    pub parameters: Arc<Parameters>,
    pub violations: Violations,
    pub trace: Trace,
    pub rng: Arc<SimRng>,
    /// Positions in the run's total order of events.
    pub events: Arc<AtomicU64>,
    pub reached: Reached,
}

impl Context {
    pub fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    pub fn coin(&self) -> bool {
        self.rng.coin()
    }

    pub fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Bytes that make rows of different sizes, so that ranges fill and split.
    pub fn padding(&self) -> usize {
        usize::try_from(self.below(300)).expect("small")
    }
}

/// All of them. Cheap to clone.
#[derive(Clone)]
pub struct Workloads {
    pub bank: Bank,
    anchored: Anchored,
    cancelled: Cancelled,
    hot: Hot,
    impatient: Impatient,
    inserts: Inserts,
    batches: Batches,
    register: Register,
    skew: Skew,
    lists: ListAppend,
    registers: RwRegister,
    predicates: Predicate,
    sets: Sets,
    forks: LongFork,
}

impl Workloads {
    pub fn new(context: Context) -> Self {
        Self {
            bank: Bank::new(context.clone()),
            anchored: Anchored::new(context.clone()),
            cancelled: Cancelled::new(context.clone()),
            hot: Hot::new(context.clone()),
            impatient: Impatient::new(context.clone()),
            inserts: Inserts::new(context.clone()),
            batches: Batches::new(context.clone()),
            register: Register::new(context.clone()),
            skew: Skew::new(context.clone()),
            lists: ListAppend::new(context.clone()),
            registers: RwRegister::new(context.clone()),
            predicates: Predicate::new(context.clone()),
            sets: Sets::new(context.clone()),
            forks: LongFork::new(context),
        }
    }

    /// One transaction of a client, of a workload that the run's mix has.
    pub async fn step(&self, context: &Context, client: usize) {
        if context.parameters.leases_only {
            return self.step_at_home(context, client).await;
        }
        if context.parameters.mix == Mix::Hot {
            return self.hot.step(client).await;
        }
        if context.parameters.nodes > 1 && context.one_in(5) {
            return self.registers.read_past(client).await;
        }
        if context.parameters.nodes > 1 && context.rng.coin() {
            return match context.below(6) {
                0 => self.lists.step(client).await,
                1 => self.registers.step(client).await,
                2 => self.predicates.step(client).await,
                3 => self.sets.step(client).await,
                4 => self.hot.step(client).await,
                _ => self.forks.step(client).await,
            };
        }
        if context.parameters.corners && context.one_in(3) {
            return match context.below(8) {
                0 => self.anchored.step(client).await,
                1..4 => self.cancelled.step(client).await,
                4..6 => self.impatient.step(client).await,
                _ => self.inserts.step(client).await,
            };
        }
        let bank_turn = match context.parameters.mix {
            Mix::Bank => true,
            Mix::Register | Mix::Hot => false,
            Mix::Both => context.rng.coin(),
        };
        match (bank_turn, context.below(6)) {
            (true, 0) => self.batches.step(client).await,
            (true, 1) => self.skew.step(client).await,
            (true, _) => self.bank.step(client).await,
            (false, _) => self.register.step(client).await,
        }
    }

    /// Every client stays with its node: a writer, whom a node that is cut off keeps waiting, keeps nobody else. Every
    /// node has one, and readers.
    async fn step_at_home(&self, context: &Context, client: usize) {
        let nodes = usize::try_from(context.parameters.nodes).expect("few");
        let is_writer = client < nodes;
        match (is_writer, context.rng.coin()) {
            (true, true) => self.registers.at(client).step(client).await,
            (true, false) => self.register.at(client).step(client).await,
            (false, true) => self.registers.at(client).read(client).await,
            (false, false) => self.register.at(client).read(client).await,
        }
    }

    /// After the run, in one transaction.
    pub async fn check(&self, txn: &Txn) -> Result<()> {
        self.bank.check(txn).await?;
        self.anchored.check(txn).await?;
        self.cancelled.check(txn).await?;
        self.hot.check(txn).await?;
        self.impatient.check(txn).await?;
        self.inserts.check(txn).await?;
        self.batches.check(txn).await?;
        self.skew.check(txn).await?;
        self.lists.check(txn).await?;
        self.registers.check(txn).await?;
        self.predicates.check(txn).await?;
        self.sets.check(txn).await?;
        self.forks.check(txn).await?;
        self.register.check(txn).await
    }

    /// When no lock is left: what the nodes hold against what clients were told.
    pub fn check_versions(&self) {
        self.lists.check_versions();
        self.registers.check_versions();
    }
}

/// `10 ‖ table ‖ number`: all keys of a workload have one length, so none is a prefix of another.
pub fn row_key(table: u8, number: u64) -> Key {
    let mut key = vec![basalt_base::keys::TABLE_PREFIX, table];
    key.extend(number.to_be_bytes());
    Key::from(key)
}

/// A number and padding behind it.
pub fn row_value(number: u64, padding: usize) -> Bytes {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(8 + padding, b'.');
    Bytes::from(value)
}

/// The number in a row; `None` for damaged bytes.
pub fn row_number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*value.first_chunk()?))
}

pub fn options(parameters: &Parameters) -> TxnOptions {
    TxnOptions {
        buffer_bytes_max: parameters.buffer_bytes_max,
        batch_bytes_max: parameters.batch_bytes_max,
        footprint_keys_max: parameters.footprint_keys_max,
        staged_commits: parameters.staged_commits,
        ..TxnOptions::default()
    }
}
