//! A node whose state the medium has damaged serves nothing any more, and leaves.
//!
//! Checksums find damage when it is read: by a request, or by a compaction that rewrites the file. What is damaged can't be
//! mended in place, since the files around it can't be rewritten either. But everything is elsewhere, too: so the node gives
//! its leases away, notes on its disk that it must not start again, and ends. The others replace its replicas as those of any
//! node that is gone. Who asks meanwhile is kept waiting until another node serves the range.
//!
//! That holds as long as the others can do without it, and the node can go on: one that can't apply what is in its log ends. Else a request that meets the damage fails (`XX001`), and all others
//! are served: half a replica is better than none.

use std::{io, sync::Weak, time::Duration};

use basalt_env::{Disk, Env, OpenMode};
use basalt_kv_api::{Error, Result};

use super::{Store, open::alive};
use crate::replica::RangeDescriptor;

/// In the store's folder; holds what was found.
const NOTE: &str = "DAMAGED";
const NOTE_BYTES_MAX: u64 = 4_096;
const INTERVAL: Duration = Duration::from_millis(250);
/// How long other nodes have to take over.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// What a request is told that met damage: to wait for another node, if there is one.
    pub(super) fn unless_damaged(&self, error: Error) -> Error {
        if matches!(error, Error::Corruption(_)) && self.leaves_damaged() {
            return Error::Unavailable("the state of this node is damaged, and others take over".to_owned());
        }
        error
    }

    fn leaves_damaged(&self) -> bool {
        self.states.engine.damage().is_some() && self.others_can_do_without()
    }

    /// Whether the other nodes that are up have a majority in every range of which a replica is here.
    fn others_can_do_without(&self) -> bool {
        let serves = |range: &RangeDescriptor| {
            let is_up = |node| node != self.ident.node_id && self.peers.is_up(node);
            let up = range.replicas.iter().filter(|place| is_up(place.node_id)).count();
            up * 2 > range.replicas.len()
        };
        self.states.ranges.all().iter().all(|replica| serves(&replica.descriptor()))
    }

    pub(super) async fn watch_damage(store: Weak<Self>, env: Env) {
        let mut told = false;
        loop {
            env.spawner.sleep(INTERVAL).await;
            let Some(store) = alive(&store) else { return };
            let Some(found) = store.states.engine.damage() else { continue };
            if !store.others_can_do_without() {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(%found, "the state of this node is damaged; it stays, because the others can't do without it");
                }
                continue;
            }
            tracing::error!(%found, "the state of this node is damaged; it leaves the cluster");
            store.note_damage().await;
            store.drain(DRAIN_PATIENCE).await;
            store.fence(format!(
                "the state of this node is damaged ({found}), and others have taken over; wipe the store and let the node \
                 join again"
            ));
            return;
        }
    }
}

impl Store {
    /// Notes that this store must not be used again, if its state is damaged: before it leaves, or when it could not even apply
    /// what is in its log. A node without others has nothing better.
    pub(super) async fn note_damage(&self) {
        let Some(found) = self.states.engine.damage().filter(|_| self.has_peers()) else { return };
        if let Err(error) = note(&*self.env.disk, &found).await {
            tracing::warn!(%error, "it can't be noted that this store must not be used again");
        }
    }
}

async fn note(disk: &dyn Disk, found: &str) -> io::Result<()> {
    let file = disk.open(NOTE, OpenMode::ReadWriteCreate)?;
    file.write_at(0, found.as_bytes())?;
    file.sync().await?;
    disk.sync_dir("").await
}

/// Fails if a process before has found the state damaged, and was replaced.
pub(super) fn refuse_damaged(disk: &dyn Disk) -> Result<()> {
    let read = || {
        let file = disk.open(NOTE, OpenMode::Read)?;
        let mut found = vec![0; usize::try_from(file.len()?.min(NOTE_BYTES_MAX)).unwrap_or_default()];
        let length = file.read_at(0, &mut found)?;
        io::Result::Ok(String::from_utf8_lossy(&found[..length]).into_owned())
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        found => {
            let found = found.unwrap_or_else(|error| error.to_string());
            Err(Error::Corruption(format!(
                "the state was found damaged ({found}), and other nodes replace this one; wipe the store and let the node join \
                 again, or remove the file {NOTE} to use what is left"
            )))
        }
    }
}
