//! Calls between nodes, over a link that may lose, repeat and reorder what it carries.
//!
//! Guarantees:
//!
//! * A call is executed at most once, by the incarnation of the peer that it was sent to. A call that ended with
//!   [`CallError::NotSent`] or [`CallError::Refused`] was not executed and will not be.
//! * A call ends: with its reply, or soon after the peer or the way to it has died. There is no time limit otherwise,
//!   because a call may wait for a lock as long as that takes.
//! * Whoever learns something from another node has moved his clock past the moment when it was said.
//!
//! Mechanisms:
//!
//! * Every node pings every other one. A peer that has answered lately is up: frames pass in both directions. Only then
//!   its incarnation is known, and only then it is called. Every frame names the incarnations of both ends: what belongs
//!   to an earlier one is dropped, and a new one ends all calls of the old one (`peers.rs`, `receive.rs`). A node that its disk
//!   holds up answers no pings: to the others it is as good as down (`pinging.rs`).
//! * Pings name the calls that wait: what was lost is sent again, what nobody waits for is cancelled. Ids that were seen
//!   are not executed again (`outgoing.rs`, `incoming.rs`).
//! * Every frame carries a reading of the sender's hybrid logical clock. One that is further ahead than clocks may differ
//!   is not applied, and its frame not accepted. A ping is answered nevertheless, so that a node whose clock is wrong
//!   can find out (`offset.rs`).

mod config;
mod counts;
mod frame;
mod handler;
mod incoming;
mod offset;
mod outgoing;
mod peers;
mod pinging;
mod receive;
mod serving;
mod state;

#[cfg(test)]
mod tests;

pub use config::PeerConfig;
pub use counts::PeerCounts;
pub use handler::{CallError, Handler};
pub use offset::ClockOffset;
pub use peers::Peers;
