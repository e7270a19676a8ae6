//! Why a connection, a listener or a join did not come about.

use std::{fmt, io};

/// Why a node turned another away. The number travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    Protocol = 1,
    Cluster = 2,
    ClockOffset = 3,
    NodeId = 4,
    Certificate = 5,
    /// The node was taken out of the cluster and must not come back.
    Removed = 6,
    /// The node that was asked can not help, now or ever.
    Join = 7,
    Malformed = 8,
    /// Too many connections.
    Busy = 9,
    /// Its store was copied or set back: another process has spoken as the same node since.
    Copy = 11,
    /// It wants another number of replicas.
    Replicas = 12,
    /// By a newer version, for a reason that this one does not know.
    Other = 10,
}

impl RefusalKind {
    const ALL: [Self; 11] = [
        Self::Protocol,
        Self::Cluster,
        Self::ClockOffset,
        Self::NodeId,
        Self::Certificate,
        Self::Removed,
        Self::Join,
        Self::Malformed,
        Self::Busy,
        Self::Copy,
        Self::Replicas,
    ];

    pub(crate) fn from_number(number: u32) -> Self {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number).unwrap_or(Self::Other)
    }
}

/// A reason that both sides can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: String, cause: io::Error },
    #[error("--insecure uses loopback only, and {address} is reached from outside")]
    NotLoopback { address: String },
    #[error("{0}")]
    Certificates(String),
    #[error("cannot reach {address}: {cause}")]
    Unreachable { address: String, cause: String },
    #[error("{address} is not a Basalt node: {found}")]
    NotBasalt { address: String, found: String },
    #[error("{address}: {cause}")]
    Tls { address: String, cause: String },
    #[error("{address}: {refusal}")]
    Refused { address: String, refusal: Refusal },
    /// This node refuses the other one, which has answered.
    #[error("{address}: {refusal}")]
    Distrusted { address: String, refusal: Refusal },
    #[error(
        "{address}, which --join names, belongs to another cluster than this store: {refusal}; start the node without this \
         address, or with an empty store"
    )]
    OtherCluster { address: String, refusal: Refusal },
    #[error("address book {path}: {cause}")]
    AddressBook { path: String, cause: String },
    #[error("no node could be joined: {0}")]
    NotJoined(String),
    #[error("stopped")]
    Stopped,
}
