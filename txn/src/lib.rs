//! The client side of transactions: timestamps, the write buffer, reads through it, commit, refresh, retries.
//!
//! Guarantee: a committed transaction takes effect at one timestamp at which everything it read still holds
//! (SERIALIZABLE), and reads of a key never go back in real time. The mechanism:
//!
//! * writes wait in a buffer, so that most transactions are one batch on one range ([`Txn::commit`]);
//! * reads remember what they covered; when something pushes the transaction up, they are verified up there;
//! * a transaction that outgrows its buffer writes locks, whose fate one record decides.
//!
//! `README.md` has the rules for callers and what the key-value layer must provide.

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
mod staging;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

pub use client::{AsTxnError, TxnClient};
pub use counts::TxnCounts;
pub use error::{Error, Restart, Result};
pub use options::{Isolation, ReadOptions, Savepoint, ScanPage, ScanRequest, TxnConfig, TxnOptions};
pub use transaction::Txn;
