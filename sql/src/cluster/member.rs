//! What a node knows of its session, of the others, and of the locks it holds for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use basalt_base::Timestamp;
use basalt_types::{Oid, Result, SqlError, SqlState};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    rows::{Acknowledgement, Identity},
    table_lock::StoredLock,
};
use crate::locks::Owner;

/// Owners of table locks that are other nodes' changes have this bit, and the id of the stored lock below it.
pub(super) const REMOTE: Owner = 1 << 63;

/// Whether the owner of a table lock is a change of another node.
pub(crate) fn is_remote(owner: Owner) -> bool {
    owner & REMOTE != 0
}

/// The node among those that share the store.
pub struct Member {
    pub(super) clock_offset_max: Duration,
    pub(super) state: Mutex<State>,
    /// Something in the state has changed.
    pub(super) changed: Notify,
    /// The version may have changed.
    pub(super) look: Notify,
    /// Held while the rows are read and applied.
    pub(super) synchronizing: tokio::sync::Mutex<()>,
    /// Held while an acknowledgement is written.
    pub(super) acknowledging: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct State {
    pub session: Option<Held>,
    /// There may be other sessions. Never false while there are any that serve.
    pub others: bool,
    /// Clients' sessions with changes that only this node knows of: nobody else was there when they began.
    pub lone: BTreeSet<Owner>,
    /// Stored locks of clients' sessions.
    pub stored: BTreeMap<Owner, Vec<StoredLock>>,
    /// Other nodes' locks, by id: the table, and whether it is held here.
    pub remote: BTreeMap<u64, (Oid, bool)>,
    /// The version when the rows were read last, as of when, and what else was read.
    pub version: Bytes,
    pub synchronized: Timestamp,
    pub sequences: Bytes,
    pub acknowledged: Option<Acknowledgement>,
    /// When the last look began after which the node knew what there was to know, and had said so; by the monotonic clock.
    pub followed: Duration,
    /// Commits under way, and those of unknown outcome that may yet take effect.
    pub commits: usize,
    /// The first session has begun.
    pub started: bool,
    pub closed: bool,
}

/// The node's session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub identity: Identity,
    /// Known to be stored.
    pub expiration: Timestamp,
    /// Clients' statements may run under it.
    pub serves: bool,
}

impl Member {
    pub(crate) fn new(clock_offset_max: Duration) -> Self {
        Self {
            clock_offset_max,
            state: Mutex::default(),
            changed: Notify::new(),
            look: Notify::new(),
            synchronizing: tokio::sync::Mutex::default(),
            acknowledging: tokio::sync::Mutex::default(),
        }
    }

    /// The session that statements run under, if there is one.
    pub fn session(&self) -> Option<Identity> {
        self.state.lock().session.filter(|held| held.serves).map(|held| held.identity)
    }

    /// The session, whether or not it serves yet.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.state.lock().session.map(|held| held.identity)
    }

    pub(super) fn require_identity(&self) -> Result<Identity> {
        self.identity().ok_or_else(lost)
    }

    /// Until when transactions of `session` may commit; an error when it has been lost.
    pub(super) fn expiration(&self, session: Identity) -> Result<Timestamp> {
        let state = self.state.lock();
        let held = state.session.filter(|held| held.serves && held.identity == session);
        held.map(|held| held.expiration).ok_or_else(lost)
    }

    /// Counts a commit under `session`, which must serve; gives the expiration.
    pub(super) fn begin_commit(&self, session: Identity) -> Result<Timestamp> {
        let mut state = self.state.lock();
        let held = state.session.filter(|held| held.serves && held.identity == session).ok_or_else(lost)?;
        state.commits += 1;
        Ok(held.expiration)
    }

    pub(super) fn end_commit(&self) {
        let mut state = self.state.lock();
        state.commits -= 1;
        if state.closed {
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// What `from` holds for its transaction is another owner's now.
    pub(super) fn hand_over(&self, from: Owner, to: Owner) {
        let mut state = self.state.lock();
        if let Some(stored) = state.stored.remove(&from) {
            state.stored.insert(to, stored);
        }
        if state.lone.remove(&from) {
            state.lone.insert(to);
        }
    }

    /// Whether other nodes must be asked before tables change.
    pub fn has_others(&self) -> bool {
        self.state.lock().others
    }

    /// Notes that a client's session changes the catalog on its own, if no other node is there. One that appears waits for
    /// [`Member::end_change`].
    pub(super) fn begin_lone_change(&self, owner: Owner) -> bool {
        let mut state = self.state.lock();
        let alone = !state.others && state.session.is_some_and(|held| held.serves);
        if alone {
            state.lone.insert(owner);
        }
        alone || state.lone.contains(&owner)
    }

    /// A client's session has ended its transaction; returns the stored locks that it still had.
    pub(super) fn end_change(&self, owner: Owner) -> Vec<StoredLock> {
        let mut state = self.state.lock();
        let stored = state.stored.remove(&owner).unwrap_or_default();
        if state.lone.remove(&owner) {
            drop(state);
            self.changed.notify_waiters();
            self.look.notify_one();
        }
        stored
    }

    /// The node has a catalog of this version.
    pub(super) fn is_at(&self, version: &Bytes) -> bool {
        self.state.lock().version == *version
    }

    /// Whether what runs under `session` may go on: it has not been lost, and nobody can have removed it yet.
    pub(crate) fn is_valid(&self, session: Identity, now: Timestamp) -> bool {
        let held = self.state.lock().session;
        held.is_some_and(|held| held.identity == session && held.expiration > now)
    }

    /// Waits until `done` says so, looking whenever the state changes.
    pub(super) async fn until<T>(&self, mut done: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = done(&self.state.lock()) {
                return value;
            }
            changed.await;
        }
    }
}

/// What a transaction is told whose node may have missed a schema change.
pub(crate) fn lost() -> SqlError {
    SqlError::new(
        SqlState::SERIALIZATION_FAILURE,
        "could not serialize access because the node lost its session with the cluster",
    )
    .with_hint("The transaction might succeed if retried.")
}
