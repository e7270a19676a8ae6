//! What clients do during a run, and what must be true of it afterwards.

mod bank;
mod batches;
mod register;
mod session;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use basalt_base::Key;
use basalt_env::{Rng, sim::SimRng};
use basalt_txn::TxnOptions;
use bytes::Bytes;

pub use bank::Bank;
pub use batches::Batches;
pub use register::Register;
pub use session::{Ended, transact};

use crate::{Parameters, Violations, node::Node, trace::Trace};

/// What every client has.
#[derive(Clone)]
pub struct Context {
    pub node: Node,
    pub parameters: Arc<Parameters>,
    pub violations: Violations,
    pub trace: Trace,
    pub rng: Arc<SimRng>,
    /// Positions in the run's total order of events.
    pub events: Arc<AtomicU64>,
}

impl Context {
    pub fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    pub fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Bytes that make rows of different sizes, so that ranges fill and split.
    pub fn padding(&self) -> usize {
        usize::try_from(self.below(300)).expect("small")
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
        ..TxnOptions::default()
    }
}
