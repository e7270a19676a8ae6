//! Commits under way, and those that nobody learned the outcome of.
//!
//! A commit that was sent may take effect for as long as its deadline has not passed, whether or not anybody still waits
//! for its answer. Until it is known how it ended, or that it can't take effect any more, everything that it relies on
//! must stay: the table locks on this node, and those stored for the others; and the stored session of the node, which a
//! clean stop would remove ([`super::session`]). So all of that belongs to the commit, not to the client's session: an
//! [`UnderWay`] that is dropped undecided has it kept by a task, which watches for the outcome.
//!
//! Commits of schema changes are carried through by a task from the start: what was committed must be published.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::Timestamp;
use basalt_txn::{Error, Txn};
use basalt_types::{Oid, Result};
use tokio::sync::oneshot;

use super::{Member, rows::Identity};
use crate::{catalog::Descriptor, locks::Owner, services::SqlServices};

/// Between looks for an outcome.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Counts a commit of the node while it lives.
pub(super) struct Counted(Weak<SqlServices>);

impl Counted {
    /// Counts one under `session`, which must serve; gives its expiration.
    pub(super) fn begin(
        services: &Arc<SqlServices>,
        member: &Member,
        session: Identity,
    ) -> Result<(Self, Timestamp)> {
        let expiration = member.begin_commit(session)?;
        Ok((Self(Arc::downgrade(services)), expiration))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(member) = self.0.upgrade().as_ref().and_then(|services| services.cluster.as_ref()) {
            member.end_commit();
        }
    }
}

/// What holds for a commit until its outcome is known.
struct Undecided {
    services: Arc<SqlServices>,
    /// Has the table locks.
    owner: Owner,
    /// The node's session and the deadline under it, on a node among others.
    under: Option<(Identity, Timestamp)>,
    changes: Vec<(Oid, Option<Descriptor>)>,
    counted: Option<Counted>,
}

/// A commit that may have been sent. Dropped, it is taken for one of unknown outcome.
pub(crate) struct UnderWay(Option<Undecided>);

impl UnderWay {
    pub(super) fn new(
        services: &Arc<SqlServices>,
        owner: Owner,
        under: Option<(Identity, Timestamp)>,
        counted: Option<Counted>,
    ) -> Self {
        Self(Some(Undecided { services: services.clone(), owner, under, changes: Vec::new(), counted }))
    }

    /// It is known how it ended; the locks are for the caller to give back.
    pub(crate) fn decide(mut self) {
        self.0 = None;
    }

    /// Commits `txn` with its schema changes: publishes them and gives the locks back, even if nobody waits for it.
    pub(crate) async fn carry_through(
        mut self,
        txn: Txn,
        changes: Vec<(Oid, Option<Descriptor>)>,
    ) -> Result<Timestamp, Error> {
        let Some(mut undecided) = self.0.take() else { return Err(Error::Ended("committed")) };
        undecided.changes = changes;
        undecided.take_over();
        let spawner = undecided.services.env.spawner.clone();
        let (sender, receiver) = oneshot::channel();
        let task = async move {
            let under_way = Self(Some(undecided));
            let committed = txn.commit().await;
            if committed.is_err() {
                txn.rollback().await;
            }
            under_way.end(&committed, !txn.is_read_only()).await;
            // The client may have gone.
            drop(sender.send(committed));
        };
        spawner.spawn("sql-schema-commit", Box::pin(task));
        receiver.await.unwrap_or_else(|_| {
            let reason = "the node stopped during the commit".to_owned();
            Err(basalt_kv_api::Error::Ambiguous { reason }.into())
        })
    }

    async fn end(mut self, committed: &Result<Timestamp, Error>, removes_locks: bool) {
        let Some(undecided) = &self.0 else { return };
        match committed {
            Ok(commit) => {
                undecided.services.catalog.publish(&undecided.changes, *commit);
                undecided.release(removes_locks);
            }
            Err(error) if is_unknown(error) => {
                // Else it is looked for further, and nobody waits for that.
                if !undecided.is_settled().await {
                    return;
                }
                undecided.release(false);
            }
            Err(_) => undecided.release(false),
        }
        self.0 = None;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(mut undecided) = self.0.take() else { return };
        undecided.take_over();
        let spawner = undecided.services.env.spawner.clone();
        spawner.spawn("sql-unknown-commit", Box::pin(settle(undecided)));
    }
}

impl Undecided {
    /// From here on the locks are not the client's session's, which may begin another transaction, or end.
    fn take_over(&mut self) {
        let owner = self.services.next_session_id();
        self.services.locks.hand_over(self.owner, owner);
        if let Some(member) = &self.services.cluster {
            member.hand_over(self.owner, owner);
        }
        self.owner = owner;
    }

    /// `removes_locks` if the transaction has removed the stored ones.
    fn release(&self, removes_locks: bool) {
        super::transaction::release(&self.services, self.owner, removes_locks);
    }

    /// The commit is known to have taken effect, and so is what it changed; or it never will.
    async fn is_settled(&self) -> bool {
        let member = self.services.cluster.as_ref();
        if let (Some(member), Some((session, deadline))) = (member, self.under) {
            if member.identity() != Some(session) {
                // Nobody removes a session that may still commit, and the node reads everything before it begins another.
                return true;
            }
            if self.changes.is_empty() {
                return self.services.client.now().is_ok_and(|now| now > deadline);
            }
        }
        if self.under.is_none() && self.changes.is_empty() {
            return true;
        }
        match self.services.catalog.reload().await {
            // A store of this process alone has nothing on its way to it. Elsewhere, what was not there when it was read
            // above the deadline can't come any more.
            Ok(at) => self.under.is_none_or(|(_, deadline)| at > deadline) || self.is_there(),
            Err(error) => {
                tracing::warn!(%error, "could not read the catalog after a commit of unknown outcome; its tables stay locked");
                false
            }
        }
    }

    /// The node knows of what was changed. The locks see to it that nobody else has changed the same tables.
    fn is_there(&self) -> bool {
        let known = self.services.catalog.current();
        // The last change of each thing is the one to be seen.
        let last: std::collections::BTreeMap<_, _> = self.changes.iter().map(|(id, to)| (*id, to)).collect();
        last.into_iter().all(|(id, change)| match (change, known.descriptor(id)) {
            (Some(Descriptor::Table(ours)), Some(Descriptor::Table(stored))) => {
                stored.version >= ours.version
            }
            (Some(_), Some(_)) | (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
    }
}

/// Keeps what the commit relies on until it is settled.
async fn settle(undecided: Undecided) {
    let spawner = undecided.services.env.spawner.clone();
    let Undecided { services, owner, under, changes, counted } = undecided;
    let weak = Arc::downgrade(&services);
    drop(services);
    let mut changes = Some(changes);
    let mut pause = LOOK_FIRST;
    loop {
        spawner.sleep(pause).await;
        pause = LOOK_MAX.min(pause * 2);
        // The node may have ended.
        let Some(services) = weak.upgrade() else { return };
        let look =
            Undecided { services, owner, under, changes: changes.take().unwrap_or_default(), counted: None };
        if look.is_settled().await {
            look.release(false);
            drop(counted);
            return;
        }
        changes = Some(look.changes);
    }
}

/// The commit may have taken effect, or may yet.
pub(crate) fn is_unknown(error: &Error) -> bool {
    matches!(error.store(), Some(basalt_kv_api::Error::Ambiguous { .. }))
}
