//! What this node answers.

use basalt_kv_api::wire::WireError;
use bytes::Bytes;

use super::message::{Answer, LockInfo, Question};
use crate::{cluster, locks::TableLockMode, services::SqlServices};

/// Answers a question of another node.
pub fn answer(services: &SqlServices, question: Bytes) -> Result<Bytes, WireError> {
    Ok(match Question::decode(question)? {
        Question::Sessions => services.sessions.all().encode(),
        Question::Locks => locks(services).encode(),
        Question::Signal(pid, signal) => services.sessions.signal(pid, signal).encode(),
        Question::HasPid(pid) => services.sessions.has_pid(pid).encode(),
    })
}

/// The locks of this node's sessions. What it holds for changes of other nodes, those tell.
pub(crate) fn locks(services: &SqlServices) -> Vec<LockInfo> {
    let own = services.locks.list().into_iter().filter(|(_, owner, _)| !cluster::is_remote(*owner));
    own.map(|(table, owner, mode)| LockInfo {
        table,
        pid: services.sessions.pid_of(owner),
        exclusive: mode == TableLockMode::Exclusive,
    })
    .collect()
}
