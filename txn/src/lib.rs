//! The client side of transactions: timestamps, the write buffer, commit, refresh, retries.

mod client;
mod counts;
mod error;
mod options;
mod transaction;

pub use client::{AsTxnError, TxnClient};
pub use counts::TxnCounts;
pub use error::{Error, Restart, Result};
pub use options::{Isolation, ReadOptions, Savepoint, ScanPage, ScanRequest, TxnConfig, TxnOptions};
pub use transaction::Txn;
