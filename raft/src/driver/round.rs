//! One turn: persist what the groups want persisted, send, apply.

use std::mem;

use basalt_base::RangeId;
use basalt_env::{Bug, planted};
use raft::{
    Ready,
    eraftpb::{Entry, EntryType, Message},
};

use super::{replica::Replica, run::Driver};
use crate::{
    Envelope, Error, Membership, Result,
    counts::Counters,
    handle::Shared,
    inbox::{Batch, refuse},
    log::{HardState, LogBatch, PendingSnapshot},
};

/// A group's part of a turn.
pub(super) struct Part {
    pub range_id: RangeId,
    ready: Option<Ready>,
    /// Messages that say something which is not durable yet.
    held: Vec<Message>,
    pub snapshot: Option<PendingSnapshot>,
    committed: Vec<Entry>,
}

impl Driver {
    pub(super) async fn round(&mut self) -> Result<()> {
        if self.dirty.is_empty() && self.batch.is_empty() && self.when_durable.is_empty() {
            return Ok(());
        }
        Counters::add(&self.counters.rounds, 1);
        let mut batch = mem::take(&mut self.batch);
        let mut must_sync = !self.when_durable.is_empty() || self.buries();
        let mut outgoing = Vec::new();
        let mut parts = Vec::with_capacity(self.dirty.len());
        for range_id in mem::take(&mut self.dirty) {
            parts.extend(self.collect(range_id, &mut batch, &mut must_sync, &mut outgoing)?);
        }
        self.send(&mut outgoing);
        self.flush_before_snapshots(&parts).await?;
        self.append(&mut batch).await?;
        if must_sync {
            self.log.sync().await?;
        }
        self.buried();
        for reply in self.when_durable.drain(..) {
            let _ = reply.send(Ok(()));
        }
        self.install_new(&parts)?;
        for part in &mut parts {
            self.advance(part, &mut outgoing);
        }
        self.send(&mut outgoing);
        self.make_changes_certain(&parts).await?;
        for part in &mut parts {
            self.apply(part.range_id, mem::take(&mut part.committed))?;
        }
        for part in &parts {
            self.report(part.range_id);
            self.settle_snapshots(part.range_id);
        }
        Ok(())
    }

    /// Before a change of membership takes effect, that it is committed must be durable.
    ///
    /// A restarted replica counts votes by the membership that it has applied. What was applied can be lost in a crash,
    /// and the commit index too, since it is written without a sync. If both are, the replica goes on with a membership
    /// that may be several changes old, and whose majority need not meet that of today: a member that once was alone would
    /// lead alone again. With the commit index it applies the changes first; Raft starts no election before that.
    async fn make_changes_certain(&mut self, parts: &[Part]) -> Result<()> {
        let mut batch = LogBatch::default();
        for part in parts {
            let changes = |entry: &Entry| entry.get_entry_type() != EntryType::EntryNormal;
            let (true, Some(replica)) =
                (part.committed.iter().any(changes), self.replicas.get(&part.range_id))
            else {
                continue;
            };
            let state = replica.node.raft.hard_state();
            batch.hard_state(
                part.range_id,
                HardState { term: state.term, vote: state.vote, commit: state.commit },
            );
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.append(&mut batch).await?;
        self.log.sync().await
    }

    /// Takes a group's Ready apart into the batch.
    fn collect(
        &mut self,
        range_id: RangeId,
        batch: &mut LogBatch,
        must_sync: &mut bool,
        outgoing: &mut Vec<Envelope>,
    ) -> Result<Option<Part>> {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return Ok(None) };
        let mut part =
            Part { range_id, ready: None, held: Vec::new(), snapshot: None, committed: Vec::new() };
        if !replica.node.has_ready() {
            return Ok(Some(part));
        }
        let mut ready = replica.node.ready();
        *must_sync |= ready.must_sync();
        let before = replica.log.lock().hard_state;
        let mut promises = false;
        if let Some(state) = ready.hs() {
            let backward = state.term < before.term
                || (state.term == before.term && before.vote != 0 && state.vote != before.vote);
            if backward {
                return Err(Error::Corruption(format!(
                    "range {range_id}: a promise would be taken back: {before:?}, then {state:?}"
                )));
            }
            promises = state.term != before.term || state.vote != before.vote;
            let (term, vote) =
                if planted(Bug::ForgetVote) { (before.term, before.vote) } else { (state.term, state.vote) };
            batch.hard_state(range_id, HardState { term, vote, commit: state.commit });
        }
        // A leader's messages may leave before its entries are durable, but not before its term is: a sole voter
        // with a learner could otherwise lead the same term twice.
        let messages = ready.take_messages();
        if promises {
            part.held = messages;
        } else {
            outgoing.extend(messages.into_iter().map(|message| Envelope::new(range_id, &message)));
        }
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            let snapshot = PendingSnapshot {
                index: metadata.index,
                term: metadata.term,
                membership: Membership::from_conf_state(metadata.get_conf_state()),
                bytes: ready.snapshot().data.clone(),
            };
            batch.snapshot_pending(range_id, snapshot.clone());
            part.snapshot = Some(snapshot);
        }
        batch.append_entries(range_id, ready.take_entries());
        part.committed = ready.take_committed_entries();
        part.ready = Some(ready);
        Ok(Some(part))
    }

    /// Appends the batch. Room was made sure of for commands, and there is a reserve for the rest; if that is used up
    /// too, the loop waits for room: what the groups have decided can't be taken back. Reads go on meanwhile.
    async fn append(&mut self, batch: &mut LogBatch) -> Result<()> {
        loop {
            match self.log.append(batch).await {
                Err(Error::DiskFull) => {}
                other => return other,
            }
            tracing::warn!("no space left for the log; waiting");
            self.wait_for_room().await;
        }
    }

    /// Lets time pass in the middle of a turn that can't go on.
    pub(super) async fn wait_for_room(&mut self) {
        self.env.spawner.sleep(self.options.disk_full_retry).await;
        let Batch { proposals, together, messages: _, controls } = self.shared.inbox.drain();
        refuse(proposals.into_iter().chain(together.into_iter().flatten()), &Error::DiskFull);
        self.deferred.extend(controls);
    }

    /// Tells Raft that its Ready is durable, and takes what follows from that.
    fn advance(&mut self, part: &mut Part, outgoing: &mut Vec<Envelope>) {
        let Some(replica) = self.replicas.get_mut(&part.range_id) else { return };
        let Some(mut ready) = part.ready.take() else { return };
        let mut messages = mem::take(&mut part.held);
        messages.append(&mut ready.take_persisted_messages());
        let mut light = replica.node.advance_append(ready);
        messages.append(&mut light.take_messages());
        part.committed.append(&mut light.take_committed_entries());
        if let Some(snapshot) = &part.snapshot {
            // To Raft the entries in it are applied: it must not ask for them when it campaigns.
            replica.node.advance_apply_to(snapshot.index);
        }
        outgoing.extend(messages.iter().map(|message| Envelope::new(part.range_id, message)));
        if replica.node.has_ready() {
            self.dirty.insert(part.range_id);
        }
    }

    pub(super) fn send(&self, outgoing: &mut Vec<Envelope>) {
        if !outgoing.is_empty() {
            Counters::add(&self.counters.messages, outgoing.len() as u64);
            self.transport.send(mem::take(outgoing));
        }
    }

    /// Publishes a group's status and tells the observer when its leader changed.
    fn report(&mut self, range_id: RangeId) {
        let Some(replica) = self.replicas.get_mut(&range_id) else { return };
        self.shared.status.write().insert(range_id, replica.status());
        show_progress(&self.shared, replica);
        let leader = replica.leader();
        let now = (replica.node.raft.term, leader.map_or(0, |leader| leader.0), replica.is_leader());
        if now != replica.reported {
            let (led_before, leads) = (replica.reported.2, now.2);
            replica.reported = now;
            if leads && !led_before {
                Counters::add(&self.counters.leader_changes, 1);
            }
            self.observer.on_leader_change(range_id, now.0, leader, leads);
        }
    }
}

/// Only leaders with other members have something to show.
fn show_progress(shared: &Shared, replica: &Replica) {
    match replica.progress() {
        Some(progress) => drop(shared.progress.write().insert(replica.range_id, progress)),
        None if shared.progress.read().contains_key(&replica.range_id) => {
            shared.progress.write().remove(&replica.range_id);
        }
        None => {}
    }
}
