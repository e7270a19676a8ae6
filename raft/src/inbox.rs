//! The bounded queue between callers and the store loop.
//!
//! Callers push under one short lock and wake the loop once per batch; the loop takes everything at a time.
//! Commands of one caller, and so of one range's leaseholder, keep their order.

use std::{any::Any, mem, pin::pin};

use basalt_base::{RangeId, ReplicaId, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::{Envelope, Error, GroupDescriptor, Membership, MembershipChange, Options, Result};

/// What a successful proposal gives: the state machine's outcome.
pub type Outcome = Box<dyn Any + Send>;

pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What a proposer is told.
pub(crate) enum Answer {
    Done(Result<Outcome>),
    /// Unknown for now; the channel brings the outcome later.
    Late {
        why: String,
        outcome: oneshot::Receiver<Answer>,
    },
}

pub(crate) struct Proposal {
    pub range_id: RangeId,
    pub command: Bytes,
    /// Empty for an ordinary command.
    pub changes: Vec<MembershipChange>,
    /// Who the members must be for the changes to be made.
    pub from: Option<Membership>,
    pub reply: oneshot::Sender<Answer>,
}

pub(crate) enum Control {
    CreateGroup(GroupDescriptor, Reply<()>),
    /// And no replica of the range with a lower id may come back.
    RemoveGroup(RangeId, ReplicaId, Reply<()>),
    Wake(RangeId),
    DoubtLeader(RangeId, ReplicaId),
    SetReluctant(bool),
    HasRoom(Reply<bool>),
    Campaign(RangeId),
    TransferLeader(RangeId, ReplicaId),
    ReportUnreachable(RangeId, ReplicaId),
    ReportSnapshot(RangeId, ReplicaId, bool),
    ClockBound(Timestamp, Reply<()>),
    /// Flush the state machine and truncate the log behind it.
    Truncate(Reply<()>),
    Shutdown(Option<Timestamp>, Reply<()>),
    /// A snapshot for a member of the range is ready, or can't be made.
    SnapshotMade(RangeId),
    /// The flusher finished.
    Flushed(Result<()>),
}

#[derive(Default)]
pub(crate) struct Batch {
    pub proposals: Vec<Proposal>,
    /// Commands of different groups, each list all or nothing.
    pub together: Vec<Vec<Proposal>>,
    pub messages: Vec<Envelope>,
    pub controls: Vec<Control>,
}

impl Batch {
    pub fn all_proposals(self) -> impl Iterator<Item = Proposal> {
        self.proposals.into_iter().chain(self.together.into_iter().flatten())
    }
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    proposal_bytes: usize,
    message_bytes: usize,
    /// Why nothing is taken any more.
    closed: Option<Error>,
}

impl Queue {
    /// A message may be larger than the limit: one at a time has room all the same, and so has one snapshot, which does not
    /// count.
    fn has_room(&self, message: &Envelope, count_max: usize, bytes_max: usize) -> bool {
        let queued = &self.batch.messages;
        if message.is_snapshot {
            return !queued.iter().any(|queued| queued.is_snapshot);
        }
        let fits = queued.len() < count_max && self.message_bytes + message.message.len() <= bytes_max;
        fits || queued.is_empty()
    }
}

pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    notify: Notify,
    ended: Notify,
    count_max: usize,
    bytes_max: usize,
}

impl Inbox {
    pub fn new(options: &Options) -> Self {
        Self {
            queue: Mutex::default(),
            notify: Notify::new(),
            ended: Notify::new(),
            count_max: options.inbox_count_max,
            bytes_max: options.inbox_bytes_max.max(options.command_bytes_max),
        }
    }

    /// Queues a proposal or answers it at once.
    pub fn propose(&self, proposal: Proposal) {
        let mut queue = self.queue.lock();
        let bytes = proposal.command.len();
        if let Err(error) = self.admit(&queue, bytes) {
            drop(queue);
            refuse([proposal], &error);
            return;
        }
        queue.proposal_bytes += bytes;
        queue.batch.proposals.push(proposal);
        drop(queue);
        self.notify.notify_one();
    }

    /// Queues proposals that go into the log together, or answers all of them at once.
    pub fn propose_together(&self, proposals: Vec<Proposal>) {
        let mut queue = self.queue.lock();
        let bytes = proposals.iter().map(|proposal| proposal.command.len()).sum();
        if let Err(error) = self.admit(&queue, bytes) {
            drop(queue);
            refuse(proposals, &error);
            return;
        }
        queue.proposal_bytes += bytes;
        queue.batch.together.push(proposals);
        drop(queue);
        self.notify.notify_one();
    }

    fn admit(&self, queue: &Queue, bytes: usize) -> Result<()> {
        if let Some(error) = &queue.closed {
            return Err(error.clone());
        }
        let waiting = queue.batch.proposals.len() + queue.batch.together.len();
        if waiting >= self.count_max || queue.proposal_bytes + bytes > self.bytes_max {
            return Err(Error::Unavailable("too many proposals are waiting".to_owned()));
        }
        Ok(())
    }

    /// Queues messages from peers; drops those that are too many (Raft sends again). Whether all were taken.
    pub fn step(&self, messages: Vec<Envelope>) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed.is_some() {
            return messages.is_empty();
        }
        let mut all = true;
        for message in messages {
            let taken = queue.has_room(&message, self.count_max, self.bytes_max);
            if taken {
                queue.message_bytes += if message.is_snapshot { 0 } else { message.message.len() };
                queue.batch.messages.push(message);
            }
            all &= taken;
        }
        drop(queue);
        self.notify.notify_one();
        all
    }

    pub fn control(&self, control: Control) -> Result<()> {
        let mut queue = self.queue.lock();
        if let Some(error) = &queue.closed {
            return Err(error.clone());
        }
        queue.batch.controls.push(control);
        drop(queue);
        self.notify.notify_one();
        Ok(())
    }

    /// Takes everything queued.
    pub fn drain(&self) -> Batch {
        let mut queue = self.queue.lock();
        queue.proposal_bytes = 0;
        queue.message_bytes = 0;
        mem::take(&mut queue.batch)
    }

    /// Waits until something was queued since the last wait.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Refuses everything from now on, and gives what was queued.
    pub fn close(&self, reason: Error) -> Batch {
        let mut queue = self.queue.lock();
        queue.closed.get_or_insert(reason);
        let left = mem::take(&mut queue.batch);
        drop(queue);
        self.ended.notify_waiters();
        left
    }

    /// Waits until nothing is taken any more; gives the reason.
    pub async fn until_closed(&self) -> Error {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Registered before looking, so that an end in between is not missed.
            ended.as_mut().enable();
            if let Some(error) = self.closed() {
                return error;
            }
            ended.await;
        }
    }

    pub fn closed(&self) -> Option<Error> {
        self.queue.lock().closed.clone()
    }
}

/// Tells proposers that their commands have no effect.
pub(crate) fn refuse(proposals: impl IntoIterator<Item = Proposal>, error: &Error) {
    for proposal in proposals {
        // The proposer may have gone; then nobody needs the answer.
        let _ = proposal.reply.send(Answer::Done(Err(error.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageKind;

    fn envelope(kind: MessageKind, bytes: usize) -> Envelope {
        Envelope {
            range_id: RangeId(1),
            from: ReplicaId(1),
            to: ReplicaId(2),
            term: 3,
            kind,
            is_snapshot: kind == MessageKind::Snapshot,
            message: vec![0; bytes].into(),
        }
    }

    #[test]
    fn one_snapshot_at_a_time_is_taken_and_the_sender_of_another_hears_that_it_was_not() {
        let options = Options { inbox_bytes_max: 1000, command_bytes_max: 1000, ..Options::default() };
        let inbox = Inbox::new(&options);
        assert!(inbox.step(vec![envelope(MessageKind::Snapshot, 5000)]));
        assert!(!inbox.step(vec![envelope(MessageKind::Snapshot, 10)]));
        // It takes no room from messages.
        assert!(inbox.step(vec![envelope(MessageKind::Append, 900)]));
        assert!(!inbox.step(vec![envelope(MessageKind::Append, 200), envelope(MessageKind::Append, 50)]));
        let sizes: Vec<_> = inbox.drain().messages.iter().map(|message| message.message.len()).collect();
        assert_eq!(sizes, [5000, 900, 50]);
        assert!(inbox.step(vec![envelope(MessageKind::Snapshot, 10)]));
        inbox.close(Error::Stopped);
        assert!(!inbox.step(vec![envelope(MessageKind::Append, 1)]));
    }
}
