//! What every layer shares: identifiers, timestamps and the hybrid logical clock, the order-preserving key codec,
//! the map of the key space, coarse error kinds, and limits.
//!
//! Nothing here performs I/O or knows SQL.

pub mod clock;
pub mod codec;
pub mod error;
pub mod ids;
pub mod keys;
pub mod limits;
pub mod process_id;
pub mod timestamp;

pub use clock::{ClockError, HlcClock};
pub use error::ErrorKind;
pub use ids::{NodeId, RangeId, ReplicaId, StoreId, TxnId};
pub use keys::{Key, Span};
pub use timestamp::Timestamp;
