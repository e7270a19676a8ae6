//! What the transaction layer and the key-value layer say to each other: requests, responses, transaction records,
//! errors and the [`Sender`] trait. Neither side knows the other's code.

pub mod error;
pub mod link;
pub mod program;
pub mod request;
pub mod sender;
pub mod txn;
pub mod wire;

pub use error::{Error, Result};
pub use link::{Alone, Capacity, Class, Directory, Link, NoLink, NodeInfo, Receiver};
pub use program::{RowAction, ScanBatch, ScanProgram, ScanSink};
pub use request::{
    BatchHeader, BatchRequest, BatchResponse, LockStrength, LockWait, PushType, ReadConsistency, Request,
    ResolvedTxn, Response,
};
pub use sender::Sender;
pub use txn::{IgnoredSeqs, Observed, SeqNum, TxnMeta, TxnPriority, TxnRecord, TxnStatus};
