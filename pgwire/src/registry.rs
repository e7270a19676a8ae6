//! The server's connections: who may be cancelled with which key, and how many there are.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use basalt_env::Rng;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{CancelHandle, CancelReason, Limits, start_line::StartLine};

/// Bytes of a cancel key: four in protocol 3.0, as many as PostgreSQL 18 sends from 3.2 on.
pub(crate) const SHORT_KEY_BYTES: usize = 4;
pub(crate) const LONG_KEY_BYTES: usize = 32;

pub(crate) struct Registry {
    sessions: Mutex<Sessions>,
    session_slots: Arc<Semaphore>,
    pub start_line: StartLine,
    connections: AtomicUsize,
    connection_ended: Notify,
}

#[derive(Default)]
struct Sessions {
    /// The next session's. Counts from anywhere, so that a process does not use the ids of the one before it again.
    next_number: Option<u32>,
    by_process_id: HashMap<i32, Session>,
}

struct Session {
    secret: Vec<u8>,
    cancel: CancelHandle,
}

/// A session's place in the registry, given back when dropped.
pub(crate) struct Registration {
    registry: Arc<Registry>,
    pub process_id: i32,
    pub secret: Vec<u8>,
    pub cancel: CancelHandle,
    _slot: OwnedSemaphorePermit,
}

/// Counts a connection from accept to its end.
pub(crate) struct ConnectionCount(Arc<Registry>);

impl Registry {
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            sessions: Mutex::default(),
            session_slots: Arc::new(Semaphore::new(limits.connections_max)),
            start_line: StartLine::new(limits),
            connections: AtomicUsize::new(0),
            connection_ended: Notify::new(),
        })
    }

    /// A place among the sessions with a fresh process id and key, when there is one. `process_id` makes the id of a number.
    pub fn register(
        self: &Arc<Self>,
        rng: &dyn Rng,
        key_bytes: usize,
        process_id: impl Fn(u32) -> i32,
    ) -> Option<Registration> {
        let slot = self.session_slots.clone().try_acquire_owned().ok()?;
        let mut secret = vec![0; key_bytes];
        rng.fill_secret(&mut secret);
        let cancel = CancelHandle::default();
        let mut sessions = self.sessions.lock();
        // There are far fewer sessions than process ids.
        let process_id = loop {
            let number = sessions.next_number.unwrap_or_else(|| rng.next_u64() as u32);
            sessions.next_number = Some(number.wrapping_add(1));
            let process_id = process_id(number);
            if process_id > 0 && !sessions.by_process_id.contains_key(&process_id) {
                break process_id;
            }
        };
        let session = Session { secret: secret.clone(), cancel: cancel.clone() };
        sessions.by_process_id.insert(process_id, session);
        Some(Registration { registry: self.clone(), process_id, secret, cancel, _slot: slot })
    }

    /// Acts on a cancel request; `false` when the process id is not one of ours.
    pub fn cancel(&self, process_id: i32, secret: &[u8]) -> bool {
        let sessions = self.sessions.lock();
        let Some(session) = sessions.by_process_id.get(&process_id) else { return false };
        if equal_in_constant_time(&session.secret, secret) {
            session.cancel.cancel(CancelReason::Requested);
        }
        true
    }

    /// Ends every session as soon as it is idle.
    pub fn drain_all(&self) {
        for session in self.sessions.lock().by_process_id.values() {
            session.cancel.drain();
        }
    }

    /// Tells every running statement to stop.
    pub fn cancel_all(&self, reason: CancelReason) {
        for session in self.sessions.lock().by_process_id.values() {
            session.cancel.cancel(reason);
        }
    }

    pub fn count_connection(self: &Arc<Self>) -> ConnectionCount {
        self.connections.fetch_add(1, Ordering::AcqRel);
        ConnectionCount(self.clone())
    }

    /// Completes when no connection is left.
    pub async fn wait_empty(&self) {
        loop {
            let ended = self.connection_ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.connections.load(Ordering::Acquire) == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Sessions that have authenticated.
    pub fn session_count(&self) -> usize {
        self.sessions.lock().by_process_id.len()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.sessions.lock().by_process_id.remove(&self.process_id);
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
        self.0.connection_ended.notify_waiters();
    }
}

/// The time taken tells only the length, which is no secret.
fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use basalt_env::os::OsRng;

    use super::*;

    fn any(number: u32) -> i32 {
        (number >> 1).cast_signed()
    }

    #[test]
    fn process_ids_are_positive_and_used_once_at_a_time() {
        let registry = Registry::new(&Limits::default());
        let of_four = |number: u32| (number % 5).cast_signed();
        let register = || registry.register(&OsRng::default(), SHORT_KEY_BYTES, of_four).unwrap();
        let mut sessions: Vec<Registration> = (0..4).map(|_| register()).collect();
        let mut ids: Vec<i32> = sessions.iter().map(|session| session.process_id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 3, 4]);
        let freed = sessions.swap_remove(1).process_id;
        assert_eq!(register().process_id, freed);
    }

    #[test]
    fn only_the_right_key_cancels() {
        let registry = Registry::new(&Limits { connections_max: 1, ..Limits::default() });
        let session = registry.register(&OsRng::default(), LONG_KEY_BYTES, any).unwrap();
        assert!(registry.register(&OsRng::default(), SHORT_KEY_BYTES, any).is_none(), "one slot");
        let mut wrong = session.secret.clone();
        wrong[31] ^= 1;
        for secret in [&wrong[..], &session.secret[..31], b""] {
            assert!(registry.cancel(session.process_id, secret));
            assert!(!session.cancel.is_cancelled());
        }
        assert!(!registry.cancel(session.process_id + 1, &session.secret));
        assert!(registry.cancel(session.process_id, &session.secret));
        assert_eq!(session.cancel.reason(), Some(CancelReason::Requested));
        drop(session);
        assert_eq!(registry.session_count(), 0);
        assert!(registry.register(&OsRng::default(), SHORT_KEY_BYTES, any).is_some());
    }
}
