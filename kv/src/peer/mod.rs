//! Calls between nodes.

mod config;
mod handler;
mod offset;
mod peers;

pub use config::PeerConfig;
pub use handler::{CallError, Handler};
pub use offset::ClockOffset;
pub use peers::Peers;
