//! What the rest of the node holds of a running store.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use basalt_base::{RangeId, ReplicaId, Timestamp};
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::oneshot;

use crate::{
    Envelope, Error, GroupDescriptor, Membership, MembershipChange, Outcome, Progress, RaftCounts, Result,
    Status, StoreIdent,
    counts::Counters,
    inbox::{self, Answer, Control, Inbox, Proposal},
};

/// What the loop shares with its handles.
pub(crate) struct Shared {
    pub inbox: Inbox,
    pub counters: Arc<Counters>,
    pub status: RwLock<BTreeMap<RangeId, Status>>,
    /// Of the groups led here that have other members.
    pub progress: RwLock<BTreeMap<RangeId, Vec<Progress>>>,
    pub ident: StoreIdent,
    pub incarnation: u64,
    pub command_bytes_max: usize,
    pub is_reluctant: AtomicBool,
    /// When the loop's turn began, in nanoseconds of the monotonic clock; 0 while it waits for work.
    pub turn_began: AtomicU64,
}

impl Shared {
    /// The loop has something to do from `now` on.
    pub fn turn_begins(&self, now: Duration) {
        self.turn_began.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
    }

    pub fn turn_ends(&self) {
        self.turn_began.store(0, Ordering::Relaxed);
    }
}

/// A running store. Cheap to clone.
#[derive(Clone)]
pub struct RaftHandle {
    pub(crate) shared: Arc<Shared>,
}

/// Resolves when the command was applied here, or is known not to be.
pub struct ProposalFuture {
    answer: oneshot::Receiver<Answer>,
    late: Option<oneshot::Receiver<Answer>>,
}

impl ProposalFuture {
    fn new(answer: oneshot::Receiver<Answer>) -> Self {
        Self { answer, late: None }
    }

    /// After [`Error::Ambiguous`]: resolves when the outcome is known after all (a committed command waits for room on
    /// the disk), if there is anything to wait for.
    pub fn late(&mut self) -> Option<Self> {
        self.late.take().map(Self::new)
    }
}

impl Future for ProposalFuture {
    type Output = Result<Outcome>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| match answer {
            Ok(Answer::Done(outcome)) => outcome,
            Ok(Answer::Late { why, outcome }) => {
                self.late = Some(outcome);
                Err(Error::Ambiguous(why))
            }
            Err(_) => Err(Error::Ambiguous("the store loop ended".to_owned())),
        })
    }
}

impl RaftHandle {
    /// For how long the loop has been at one turn: milliseconds, unless the disk does not answer. `now` is the monotonic
    /// clock's.
    pub fn held_up_for(&self, now: Duration) -> Duration {
        match self.shared.turn_began.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            began => now.saturating_sub(Duration::from_nanos(began)),
        }
    }

    /// Proposes `command` (not empty). It is queued before this returns, in call order; the future need not be polled.
    pub fn propose(&self, range_id: RangeId, command: Bytes) -> ProposalFuture {
        self.enqueue(range_id, command, Vec::new(), None)
    }

    /// Proposes commands of different groups that take effect together or not at all, whatever happens to the store:
    /// they are one batch of the log, which a crash keeps or loses as a whole. All of the groups must have their only
    /// member here; otherwise, or when one of them can't take its command, all are refused with one error.
    pub fn propose_together(&self, commands: Vec<(RangeId, Bytes)>) -> Vec<ProposalFuture> {
        let mut proposals = Vec::with_capacity(commands.len());
        let mut futures = Vec::with_capacity(commands.len());
        let bytes: usize = commands.iter().map(|(_, command)| command.len()).sum();
        for (range_id, command) in commands {
            let (reply, answer) = oneshot::channel();
            proposals.push(Proposal { range_id, command, changes: Vec::new(), from: None, reply });
            futures.push(ProposalFuture::new(answer));
        }
        if bytes > self.shared.command_bytes_max {
            let limit = self.shared.command_bytes_max;
            let error = Error::Invalid(format!("commands of {bytes} bytes exceed the limit of {limit}"));
            inbox::refuse(proposals, &error);
        } else {
            self.shared.inbox.propose_together(proposals);
        }
        futures
    }

    /// Proposes a change of membership; `command` travels with it and reaches the state machine at apply.
    /// Several changes at once go through a joint configuration, which the leader leaves by itself.
    pub fn change_membership(
        &self,
        range_id: RangeId,
        changes: Vec<MembershipChange>,
        command: Bytes,
    ) -> ProposalFuture {
        if changes.is_empty() {
            let (reply, answer) = oneshot::channel();
            let _ = reply
                .send(Answer::Done(Err(Error::Invalid("a change of membership without changes".to_owned()))));
            return ProposalFuture::new(answer);
        }
        self.enqueue(range_id, command, changes, None)
    }

    /// As [`RaftHandle::change_membership`], but refused ([`Error::Unavailable`]) unless the members are `from` still: an
    /// earlier change, given up by whoever waited for it, may have happened meanwhile. Since changes happen one after the
    /// other, none comes between either.
    pub fn change_membership_from(
        &self,
        range_id: RangeId,
        from: Membership,
        changes: Vec<MembershipChange>,
        command: Bytes,
    ) -> ProposalFuture {
        self.enqueue(range_id, command, changes, Some(from))
    }

    fn enqueue(
        &self,
        range_id: RangeId,
        command: Bytes,
        changes: Vec<MembershipChange>,
        from: Option<Membership>,
    ) -> ProposalFuture {
        let (reply, answer) = oneshot::channel();
        if command.len() > self.shared.command_bytes_max {
            let _ = reply.send(Answer::Done(Err(Error::Invalid(format!(
                "a command of {} bytes exceeds the limit of {}",
                command.len(),
                self.shared.command_bytes_max
            )))));
        } else {
            self.shared.inbox.propose(Proposal { range_id, command, changes, from, reply });
        }
        ProposalFuture::new(answer)
    }

    /// Adds a replica: one whose initial state is in the engine and flushed, or a blank one that waits for a snapshot.
    /// Its existence is durable when the future resolves. Adding one that exists is not an error, but for a blank one
    /// in whose place its state comes. A replica that was removed here answers [`Error::ReplicaTooOld`]; one newer than
    /// that which is here, [`Error::Invalid`] (remove the old one first).
    pub async fn create_group(&self, descriptor: GroupDescriptor) -> Result<()> {
        self.request(|reply| Control::CreateGroup(descriptor, reply)).await
    }

    /// Removes the replica here, for good: replicas of the range with an id below `next_replica_id`, which must be above
    /// that of the replica here, can't exist here any more. Who waits for its commands hears that their outcome is
    /// unknown. When the future resolves, this is durable, the log is gone and so is the state
    /// ([`crate::StateMachine::destroy`]); after a crash in between the replica is there as a whole or not at all.
    /// Without a replica here, only the rule remains.
    pub async fn remove_group(&self, range_id: RangeId, next_replica_id: ReplicaId) -> Result<()> {
        self.request(|reply| Control::RemoveGroup(range_id, next_replica_id, reply)).await
    }

    /// The members of a group that is led here, this replica included, in order of their ids.
    /// `None` when the replica does not lead, or has no other members.
    pub fn progress(&self, range_id: RangeId) -> Option<Vec<Progress>> {
        self.shared.progress.read().get(&range_id).cloned()
    }

    /// Ends the sleep of an idle group, if it sleeps: a request wants its leader, or the store of a member died or
    /// came back. A follower tells its leader. No election follows before a whole timeout has passed.
    pub fn wake(&self, range_id: RangeId) {
        // A store that stopped has no use for it.
        let _ = self.shared.inbox.control(Control::Wake(range_id));
    }

    /// The replica as of the last turn of the loop.
    pub fn status(&self, range_id: RangeId) -> Option<Status> {
        self.shared.status.read().get(&range_id).copied()
    }

    /// All replicas here.
    pub fn statuses(&self) -> BTreeMap<RangeId, Status> {
        self.shared.status.read().clone()
    }

    /// The node of `peer` has been silent for longer than an election timeout: if it leads the group, and the replica here
    /// sleeps, the next leader is elected without waiting as long again.
    pub fn doubt_leader(&self, range_id: RangeId, peer: ReplicaId) {
        let _ = self.shared.inbox.control(Control::DoubtLeader(range_id, peer));
    }

    /// Starts an election, if the replica may vote.
    pub fn campaign(&self, range_id: RangeId) -> Result<()> {
        self.shared.inbox.control(Control::Campaign(range_id))
    }

    /// Has the replicas here leave elections to others, as long as there are others who call them. For a store that is about
    /// to stop, or whose disk is full.
    pub fn set_reluctant(&self, is_reluctant: bool) {
        if self.shared.is_reluctant.swap(is_reluctant, Ordering::Relaxed) != is_reluctant {
            // A store that stopped calls none.
            let _ = self.shared.inbox.control(Control::SetReluctant(is_reluctant));
        }
    }

    /// Whether the disk has room for commands, and the state machine for what they bring about.
    pub async fn has_room(&self) -> Result<bool> {
        self.request(Control::HasRoom).await
    }

    /// Asks the leader here to hand over to `target`.
    pub fn transfer_leader(&self, range_id: RangeId, target: ReplicaId) -> Result<()> {
        self.shared.inbox.control(Control::TransferLeader(range_id, target))
    }

    /// Delivers messages from peers. False if not all of them were taken: too many are waiting, or the store has ended.
    pub fn step(&self, messages: Vec<Envelope>) -> bool {
        self.shared.inbox.step(messages)
    }

    /// Tells that a message to `peer` could not be sent.
    pub fn report_unreachable(&self, range_id: RangeId, peer: ReplicaId) {
        // A store that stopped has no use for the hint.
        let _ = self.shared.inbox.control(Control::ReportUnreachable(range_id, peer));
    }

    /// Tells the fate of a snapshot sent to `peer`.
    pub fn report_snapshot(&self, range_id: RangeId, peer: ReplicaId, arrived: bool) {
        let _ = self.shared.inbox.control(Control::ReportSnapshot(range_id, peer, arrived));
    }

    /// Makes `bound` durable with the next sync of the log: the clock may then read up to it.
    /// Bounds only rise; a lower one is not an error.
    pub async fn persist_clock_bound(&self, bound: Timestamp) -> Result<()> {
        self.request(|reply| Control::ClockBound(bound, reply)).await
    }

    /// Flushes the state machine and truncates the log behind it, as the loop does by itself when the log is long.
    pub async fn truncate_log(&self) -> Result<()> {
        self.request(Control::Truncate).await
    }

    pub fn ident(&self) -> StoreIdent {
        self.shared.ident
    }

    /// How many times this store was opened, this time included.
    pub fn incarnation(&self) -> u64 {
        self.shared.incarnation
    }

    pub fn counts(&self) -> RaftCounts {
        self.shared.counters.snapshot()
    }

    /// Why the store stopped, when it did.
    pub fn stopped(&self) -> Option<Error> {
        self.shared.inbox.closed()
    }

    /// Waits until the store has stopped; says why, as [`RaftHandle::stopped`] does.
    pub async fn until_stopped(&self) -> Error {
        self.shared.inbox.until_closed().await
    }

    /// Stops cleanly: answers what is queued, flushes the state machine, and records the exact clock, so that the next
    /// start need not wait for the bound to pass. `clock` must be at or above every reading given.
    pub async fn shutdown(&self, clock: Option<Timestamp>) -> Result<()> {
        self.request(|reply| Control::Shutdown(clock, reply)).await
    }

    async fn request<T>(&self, control: impl FnOnce(oneshot::Sender<Result<T>>) -> Control) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.control(control(reply))?;
        answer.await.unwrap_or(Err(Error::Stopped))
    }
}
