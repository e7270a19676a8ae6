//! The client side of transactions: timestamps, the write buffer, commit, refresh, retries.

mod buffer;
mod cleanup;
mod client;
mod commit;
mod counts;
mod error;
mod flush;
mod footprint;
mod heartbeat;
mod options;
mod read;
mod refresh;
mod scan;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

pub use client::{AsTxnError, TxnClient};
pub use counts::TxnCounts;
pub use error::{Error, Restart, Result};
pub use options::{Isolation, ReadOptions, Savepoint, ScanPage, ScanRequest, TxnConfig, TxnOptions};
pub use transaction::Txn;
