//! Coarse error kinds: what the caller must do.

/// What an error asks of the layer above. Each crate's `Error::kind` maps its variants exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A concurrency conflict: run the transaction (or statement) again.
    Retry,
    /// The request reached the wrong replica or range: refresh routing and send it again.
    Redirect,
    /// The write may or may not have taken effect: never retry by yourself.
    Ambiguous,
    /// A resource is missing for now (stalled disk, no leader, no space).
    Unavailable,
    /// The request itself is wrong.
    Invalid,
    /// Stored data is damaged.
    Corruption,
    /// A bug.
    Internal,
}
