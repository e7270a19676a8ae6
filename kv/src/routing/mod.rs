//! From batches to ranges: the range cache over meta, and the router.

mod attempts;
mod breakers;
mod cache;
mod divide;
mod lookup;
mod program;
mod relay;
mod remote;
mod resolutions;
mod router;
mod sender;
mod staged;

pub(crate) use attempts::Origin;
pub use breakers::Breakers;
pub use cache::{Located, RangeCache};
pub use remote::PeerRequest;
pub(crate) use resolutions::Resolutions;
pub use sender::LocalSender;
