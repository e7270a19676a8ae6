//! What the node above does with calls and messages, and how a call fails.

use std::time::Duration;

use basalt_base::NodeId;
use basalt_env::BoxFuture;
use basalt_kv_api::Class;
use bytes::Bytes;
use thiserror::Error;

/// Takes what other nodes ask and tell.
pub trait Handler: Send + Sync + 'static {
    /// Answers a call of another node. Runs as a task of its own; dropped when the caller gives up or is down.
    fn call(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes>;
    /// A one-way message. It may be lost, repeated, late. Must not block.
    fn message(&self, from: NodeId, class: Class, message: Bytes);
    /// A peer came up or went down; one that restarted does both. Must not block.
    fn liveness(&self, node: NodeId, is_up: bool);
    /// For how long this node has not been able to do its part for the others. Asked at every tick; must not block.
    fn held_up_for(&self) -> Duration {
        Duration::ZERO
    }
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// The peer is down or its queue is full: certainly not executed.
    #[error("the node cannot be reached")]
    NotSent,
    /// It may or may not have been executed, or may be still.
    #[error("the connection was lost")]
    Lost,
    /// The peer said no: certainly not executed.
    #[error("the node refused the call: {0}")]
    Refused(String),
}
