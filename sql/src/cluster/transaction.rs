//! What a client's transaction owes the cluster.

use std::{sync::Arc, time::Duration};

use basalt_base::Timestamp;
use basalt_txn::Restart;
use basalt_types::{Oid, Result, SqlState};

use super::{
    commits::{Counted, UnderWay},
    database_lock,
    member::{Member, lost},
    rows::{self, Identity},
    synchronize, table_lock, wait,
};
use crate::{
    Session, SqlServices,
    catalog::{Database, Descriptor},
    error::sql_error,
    locks::Owner,
    output::NoticeLevel,
    session::SchemaChanges,
};

/// How long a statement or commit waits for the session to be extended or begun anew.
const SESSION_WAIT_MAX: Duration = Duration::from_secs(8);

impl Session {
    /// At the beginning of a statement: the transaction belongs to a session of the node that is still valid.
    pub(crate) async fn check_cluster(&mut self) -> Result<()> {
        let services = self.services.clone();
        let Some(member) = &services.cluster else { return Ok(()) };
        let Some(open) = &mut self.open else { return Ok(()) };
        self.cancel.run_under(open.member);
        if let Some(session) = open.member
            && member
                .expiration(session)
                .is_ok_and(|valid| services.client.now().is_ok_and(|now| valid > now))
        {
            return Ok(());
        }
        if open.used || open.schema_changes.is_some() {
            let session = open.member.ok_or_else(lost)?;
            return valid_until(&services, member, session).await.map(drop);
        }
        // Nothing has been done yet: any session will do.
        let session = Box::pin(any_session(&services, member)).await?;
        open.member = Some(session);
        self.cancel.run_under(open.member);
        Box::pin(open.txn.restart(Restart::NewTransaction)).await.map_err(sql_error)
    }

    /// Before a schema change looks at the catalog: it knows all that was committed before.
    pub(crate) async fn catch_up_with_cluster(&self) -> Result<()> {
        match &self.services.cluster {
            Some(member) if member.has_others() => synchronize::catch_up(&self.services, member).await,
            _ => Ok(()),
        }
    }

    /// Whether an object that was not found may have been made on another node just now: then it is known now.
    pub(crate) async fn learns_from_cluster(&self) -> Result<bool> {
        let before = self.services.catalog.current();
        self.catch_up_with_cluster().await?;
        Ok(!Arc::ptr_eq(&before, &self.services.catalog.current()))
    }

    /// Locks a table exclusively on all nodes; false if that is nobody's concern but this node's.
    pub(crate) async fn lock_on_all_nodes(&self, table: Oid) -> Result<bool> {
        let Some(member) = &self.services.cluster else { return Ok(false) };
        let snapshot = self.services.catalog.current();
        // Made by the transaction itself, or nobody else's to use.
        let Some(known) = snapshot.tables.get(&table) else { return Ok(false) };
        if self.is_own_temporary(known.schema_id) || member.begin_lone_change(self.id) {
            return Ok(false);
        }
        let timeout = self.lock_timeout();
        let lock = table_lock::lock(&self.services, member, self.id, table, timeout, &*self.cancel);
        Box::pin(lock).await?;
        Ok(true)
    }

    /// Locks a database on all nodes, for who drops it: nobody is connected to it, and nobody connects.
    pub(crate) async fn lock_database(&self, database: &Database) -> Result<()> {
        let services = &self.services;
        let others = services.cluster.as_ref().filter(|member| !member.begin_lone_change(self.id));
        let wait =
            database_lock::Wait { owner: self.id, timeout: self.lock_timeout(), cancel: &*self.cancel };
        Box::pin(database_lock::lock(services, others, database, wait)).await
    }

    fn is_own_temporary(&self, schema: Oid) -> bool {
        let own = self.has_temporary.then(|| crate::ddl::temporary::schema_name(self));
        own.is_some_and(|own| self.catalog_snapshot().schemas.get(&schema).is_some_and(|s| s.name == own))
    }

    /// Puts the commit under the deadline of the node's session, and into it what other nodes must hear. Says whether they
    /// must.
    pub(crate) async fn prepare_commit(&self) -> Result<(UnderWay, bool)> {
        let services = &self.services;
        let alone = || (UnderWay::new(services, self.id, None, None), false);
        let (Some(member), Some(open)) = (&services.cluster, &self.open) else { return Ok(alone()) };
        let Some(session) = open.member else {
            // Nothing has run in it.
            return if open.used || open.schema_changes.is_some() { Err(lost()) } else { Ok(alone()) };
        };
        let (counted, expiration) = Counted::begin(services, member, session)?;
        let deadline = if expiration > services.client.now().map_err(sql_error)? {
            expiration
        } else {
            Box::pin(valid_until(services, member, session)).await?
        };
        open.txn.set_deadline(deadline);
        let concerns = open.schema_changes.as_ref().is_some_and(|changes| self.concerns_others(changes));
        let tells = concerns && !member.begin_lone_change(self.id);
        let state = member.state.lock();
        let stored = state.stored.get(&self.id).map_or(&[][..], |stored| stored);
        // A read-only transaction gives its locks back by itself.
        if (tells || !stored.is_empty()) && !open.txn.is_read_only() {
            for lock in stored {
                lock.remove_in(&open.txn).map_err(sql_error)?;
            }
            rows::tell(&services.env, &open.txn).map_err(sql_error)?;
        }
        Ok((UnderWay::new(services, self.id, Some((session, deadline)), Some(counted)), tells))
    }

    fn concerns_others(&self, changes: &SchemaChanges) -> bool {
        let published = self.services.catalog.current();
        changes.changes.iter().any(|(id, change)| {
            let before = || published.descriptor(*id);
            match change.clone().or_else(before) {
                Some(Descriptor::Database(_)) => true,
                Some(Descriptor::Schema(schema)) => !self.is_own_temporary(schema.id),
                Some(Descriptor::Table(table)) => !self.is_own_temporary(table.schema_id),
                // Made and dropped in this transaction.
                None => false,
            }
        })
    }

    /// Gives all table locks back, when the transaction has ended. With `committed`, the transaction has removed the stored
    /// ones itself.
    pub(crate) fn release_locks(&self, committed: bool) {
        self.cancel.run_under(None);
        release(&self.services, self.id, committed);
    }

    /// After the commit of a schema change: returns when the others know, or has the client warned.
    pub(crate) async fn until_all_know(&mut self, commit: Timestamp) {
        let services = self.services.clone();
        let Some(member) = &services.cluster else { return };
        if !wait::all_know(&services, member, commit).await {
            self.notice(
                NoticeLevel::Warning,
                SqlState::WARNING,
                "the schema change is committed, but not every node has confirmed that it knows of it",
            );
        }
    }
}

/// Gives all table locks of an owner back; see [`Session::release_locks`].
pub(super) fn release(services: &SqlServices, owner: Owner, committed: bool) {
    services.locks.release_all(owner);
    let Some(member) = &services.cluster else { return };
    for lock in member.end_change(owner) {
        if committed {
            lock.forget();
        }
    }
}

/// Until when transactions under the session may commit: not in the past. Waits for an extension.
async fn valid_until(services: &SqlServices, member: &Member, session: Identity) -> Result<Timestamp> {
    let valid = member.until(|state| match state.session {
        Some(held) if held.identity == session => match services.client.now() {
            Ok(now) if held.expiration > now => Some(Ok(held.expiration)),
            _ => None,
        },
        _ => Some(Err(lost())),
    });
    within(services, valid).await
}

/// The session that statements run under, when there is one.
async fn any_session(services: &SqlServices, member: &Member) -> Result<Identity> {
    let session = member.until(|state| {
        let now = services.client.now().ok()?;
        let held = state.session.filter(|held| held.serves && held.expiration > now)?;
        Some(Ok(held.identity))
    });
    within(services, session).await
}

async fn within<T>(services: &SqlServices, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        () = services.env.spawner.sleep(SESSION_WAIT_MAX) => Err(lost()),
    }
}
