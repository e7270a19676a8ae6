//! The network between the nodes of a cluster: [`Wire`] implements `Link` and `Directory` of `basalt_kv_api`.
//!
//! What is promised: messages that arrive come from the node they claim to come from, whole, and per class in the order in
//! which they were sent. What is not: that they arrive. Whoever needs an answer waits for one.
//!
//! From that follows the shape. Two nodes are joined by one connection for each class and direction, opened by the sender when
//! it has something to send: a class never waits behind another one, and nobody has to agree on who dials. Each connection
//! begins with a handshake that settles who is who (`handshake`), over mutual TLS (`security`). What waits for a peer is
//! bounded (`outbox`), a peer that does not read holds up its sender by the flow control of TCP, and one that says
//! nothing for some seconds is given up. What nodes know of each other is gossip over the same connections (`nodes`).
//!
//! Not gRPC: HTTP/2 libraries switch on features of crates that everything else is built on, and with a connection per class
//! its streams and windows would add nothing but a second flow control. Messages are protocol buffers (`message`) in frames
//! (`frame`), so that another transport could carry them.

mod acceptor;
mod address_book;
mod assembly;
pub mod certificates;
mod certs_dir;
mod core;
mod dialer;
mod error;
mod frame;
mod gossip;
mod handshake;
mod join;
mod lives;
mod message;
mod nodes;
mod options;
mod outbox;
mod pacing;
mod security;
mod seeds;
mod socket;
mod traffic;
mod wire;

pub use error::{Refusal, RefusalKind, RpcError};
pub use join::{JoinHandler, JoinRequest, Joined, KnownNodes, join};
pub use nodes::{LocalNode, NodeStatus};
pub use options::{PROTOCOL, QueueLimits, WireOptions};
pub use security::{Certificates, NODE_NAME, Security};
pub use socket::Listener;
pub use traffic::ClassCounts;
pub use wire::{Wire, WireConfig};

#[cfg(test)]
mod tests;
