//! One group's Raft node and who waits for its entries.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::RangeBounds,
    sync::Arc,
};

use basalt_base::{RangeId, ReplicaId};
use basalt_env::Rng;
use parking_lot::Mutex;
use raft::{
    Config, ProgressState, RawNode, StateRole,
    eraftpb::{Entry, EntryType, Message, MessageType},
};
use slog::Logger;

use tokio::sync::oneshot;

use crate::{
    Error, LogEntry, LogIndex, Membership, Options, Progress, Result, Role, Status, Term,
    inbox::Answer,
    log::{GroupLog, PendingSnapshot},
    storage::GroupStorage,
};

/// A proposal in the log whose outcome is open.
pub(super) struct Waiting {
    pub index: LogIndex,
    pub term: Term,
    /// In the entry's context: what Raft put at `index` may be something else of the same term.
    pub id: u64,
    pub reply: oneshot::Sender<Answer>,
    /// The proposer was told that the outcome is unknown for now.
    pub late: bool,
}

/// A committed entry and the id of the proposal that it came from.
pub(super) struct Committed {
    pub entry: LogEntry,
    pub id: Option<u64>,
}

/// Bytes of the proposal id at the start of an entry's context.
pub(super) const ID_BYTES: usize = 8;

/// Election timeouts that a replica waits which leaves elections to others: by then each of them has called one.
const RELUCTANCE: usize = 3;

/// How often a successor is asked, once a tick.
const SUCCESSOR_ASKED_MAX: u32 = 3;

/// Whom a leader that was removed asks to take over.
struct Successor {
    next: ReplicaId,
    /// In which it led.
    term: Term,
    asked: u32,
}

pub(super) struct Replica {
    pub range_id: RangeId,
    pub replica_id: ReplicaId,
    pub node: RawNode<GroupStorage>,
    pub log: Arc<Mutex<GroupLog>>,
    pub membership: Membership,
    pub applied: LogIndex,
    /// A snapshot in the log that the state machine could not install yet. Nothing is applied before it.
    pub installing: Option<PendingSnapshot>,
    /// Does not tick, because its group is idle.
    pub is_quiescent: bool,
    /// Ticks since there was something to do.
    pub idle_ticks: u64,
    /// Ticks in all.
    ticks: u64,
    successor: Option<Successor>,
    /// When, in ticks, a message of another replica came last.
    heard: BTreeMap<ReplicaId, u64>,
    /// The number of the last flush that began before the replica was here.
    pub born_at_flush: u64,
    /// In order of index.
    pub waiting: VecDeque<Waiting>,
    /// Committed entries that the state machine had no room for.
    pub unapplied: Vec<Committed>,
    /// Term and role for which the election timeout was drawn.
    timeout_for: (Term, StateRole),
    /// The leadership last reported: term, leader, whether it is this replica.
    pub reported: (Term, u64, bool),
    election_ticks: usize,
    /// It leaves elections to others.
    is_reluctant: bool,
}

impl Replica {
    pub fn new(
        storage: GroupStorage,
        replica_id: ReplicaId,
        membership: Membership,
        options: &Options,
        rng: &dyn Rng,
        logger: &Logger,
    ) -> Result<Self> {
        let config = Config {
            id: replica_id.0,
            election_tick: options.election_ticks,
            heartbeat_tick: options.heartbeat_ticks,
            max_election_tick: RELUCTANCE * options.election_ticks + options.election_ticks,
            applied: storage.applied,
            max_size_per_msg: options.message_bytes_max,
            max_inflight_msgs: options.inflight_max,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: options.uncommitted_bytes_max,
            max_committed_size_per_ready: options.apply_bytes_max,
            ..Config::default()
        };
        let (range_id, applied, log) = (storage.range_id, storage.applied, storage.log.clone());
        let node = RawNode::new(&config, storage, logger)
            .map_err(|error| Error::Corruption(format!("range {range_id}: {error}")))?;
        let mut replica = Self {
            range_id,
            replica_id,
            timeout_for: (0, StateRole::Follower),
            reported: (node.raft.term, 0, false),
            node,
            log,
            membership,
            applied,
            installing: None,
            is_quiescent: false,
            idle_ticks: 0,
            ticks: 0,
            successor: None,
            heard: BTreeMap::new(),
            born_at_flush: 0,
            waiting: VecDeque::new(),
            unapplied: Vec::new(),
            election_ticks: options.election_ticks,
            is_reluctant: false,
        };
        replica.draw_timeout(rng);
        Ok(replica)
    }

    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// The leader that it follows, if it does. Who can't call elections, or is no member any more, never doubts its leader
    /// in Raft; but the owner must be able to tell who was left behind.
    pub fn leader(&self) -> Option<ReplicaId> {
        let leader = Some(ReplicaId(self.node.raft.leader_id)).filter(|leader| leader.0 != 0);
        leader.filter(|_| !self.is_out() && !self.is_forsaken())
    }

    /// Whether its own state says that it is no member.
    fn is_out(&self) -> bool {
        self.membership != Membership::default() && !self.membership.contains(self.replica_id)
    }

    /// Whether a learner has heard nothing for longer than a voter would have waited.
    fn is_forsaken(&self) -> bool {
        let raft = &self.node.raft;
        raft.state == StateRole::Follower
            && !raft.promotable()
            && raft.election_elapsed > 2 * self.election_ticks
    }

    /// Whether it waits for its first state.
    pub fn is_blank(&self) -> bool {
        self.applied == 0 && self.log.lock().is_blank()
    }

    /// Says whether there is something to do.
    pub fn tick(&mut self) -> bool {
        self.ticks += 1;
        self.idle_ticks += 1;
        let forsaken = self.is_forsaken();
        let ready = self.node.tick();
        self.ask_successor();
        // When it was applied a transfer may have been under way, which lets nothing be proposed.
        self.leave_joint();
        ready || self.node.has_ready() || forsaken != self.is_forsaken()
    }

    /// A member that has not applied the removal yet can't take over, so it is asked again.
    fn ask_successor(&mut self) {
        let Some(Successor { next, term, asked }) = &mut self.successor else { return };
        let raft = &mut self.node.raft;
        if *asked == SUCCESSOR_ASKED_MAX || raft.term != *term || raft.leader_id != raft::INVALID_ID {
            self.successor = None;
            return;
        }
        *asked += 1;
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgTimeoutNow);
        (message.from, message.to, message.term) = (self.replica_id.0, next.0, *term);
        raft.msgs.push(message);
    }

    /// A leader that applies its own removal, or demotion, goes at once, and the member with most of the log is asked to
    /// take over. Raft would leave it in office: it takes no proposals, its heartbeats keep the others from electing one, and
    /// the next entry that it commits makes it panic.
    pub fn hand_over_if_removed(&mut self) {
        if !self.is_leader() || self.node.raft.promotable() {
            return;
        }
        let matched = |voter: &&ReplicaId| self.node.raft.prs().get(voter.0).map(|progress| progress.matched);
        let next = self.membership.voters.iter().max_by_key(matched).copied();
        let term = self.node.raft.term;
        self.node.raft.become_follower(term, raft::INVALID_ID);
        self.successor = next.map(|next| Successor { next, term, asked: 0 });
        // Nobody tells it what becomes of its proposals.
        let committed = self.node.raft.raft_log.committed;
        self.give_up_waiting(committed + 1.., "the leader was removed from its range");
    }

    /// Notes a message from another member.
    pub fn hear(&mut self, from: ReplicaId) {
        if self.node.raft.prs().get(from.0).is_some() {
            self.heard.insert(from, self.ticks);
        }
    }

    fn is_active(&self, member: ReplicaId) -> bool {
        let heard = self.heard.get(&member);
        member == self.replica_id || heard.is_some_and(|at| self.ticks - at <= self.election_ticks as u64)
    }

    /// Starts an election, if the replica may lead. A learner's would be won by voters who don't know better.
    pub fn campaign(&mut self, rng: &dyn Rng) {
        if !self.node.raft.promotable() {
            return;
        }
        if let Err(error) = self.node.campaign() {
            tracing::debug!(range = %self.range_id, %error, "no election");
        }
        self.settle(rng);
    }

    /// Whether the passing of time matters to this replica. It does to a learner, and to one without state: either may be
    /// a voter without knowing it, and must grant its vote when the leader that it has heard of has been silent for long
    /// enough. It does not to one that has applied its own removal.
    pub fn needs_ticks(&self) -> bool {
        let is_blank = self.membership.voters.is_empty();
        let may_vote = is_blank || self.membership.contains(self.replica_id) || self.successor.is_some();
        may_vote && !self.membership.is_alone(self.replica_id)
    }

    /// To be called after whatever may have changed term or role: raft-rs has then drawn an election timeout from a
    /// random source of its own, which a simulation can't repeat.
    pub fn settle(&mut self, rng: &dyn Rng) {
        if self.timeout_for != (self.node.raft.term, self.node.raft.state) {
            self.draw_timeout(rng);
        }
    }

    pub fn set_reluctant(&mut self, is_reluctant: bool, rng: &dyn Rng) {
        if self.is_reluctant != is_reluctant {
            self.is_reluctant = is_reluctant;
            self.draw_timeout(rng);
        }
    }

    /// The next election may begin within half a timeout: not at once, because others may be about to begin one, and with a
    /// whole timeout passed, or this replica would deny them its vote.
    pub fn shorten_timeout(&mut self, rng: &dyn Rng) {
        let most = (self.election_ticks as u64 / 2).max(1);
        let left = usize::try_from(1 + rng.next_u64() % most).expect("less than a usize");
        let raft = &mut self.node.raft;
        raft.election_elapsed =
            self.election_ticks.max(raft.randomized_election_timeout().saturating_sub(left));
    }

    fn draw_timeout(&mut self, rng: &dyn Rng) {
        let spread = rng.next_u64() % self.election_ticks as u64;
        let spread = usize::try_from(spread).expect("less than a usize");
        let factor = if self.is_reluctant { RELUCTANCE } else { 1 };
        self.node.raft.set_randomized_election_timeout(factor * self.election_ticks + spread);
        self.timeout_for = (self.node.raft.term, self.node.raft.state);
        if matches!(self.node.raft.state, StateRole::PreCandidate | StateRole::Candidate)
            && !self.is_reluctant
        {
            self.hurry(rng);
        }
    }

    /// Who is about to be elected, or was about to when another was too, need not give a leader time to be heard.
    fn hurry(&mut self, rng: &dyn Rng) {
        let ticks = self.election_ticks as u64;
        let left = usize::try_from(ticks / 2 + rng.next_u64() % ticks).expect("less than a usize");
        let raft = &mut self.node.raft;
        raft.election_elapsed = raft.randomized_election_timeout().saturating_sub(left.max(1));
    }

    /// Proposes entries made of (kind, context, data), all or none. Gives the index of the first.
    ///
    /// Only a leader proposes: a follower would forward, and a command reported as refused could still execute.
    pub fn propose(&mut self, entries: Vec<(EntryType, bytes::Bytes, bytes::Bytes)>) -> Result<LogIndex> {
        if !self.is_leader() {
            return Err(Error::NotLeader { leader: self.leader() });
        }
        let before = self.node.raft.raft_log.last_index();
        let count = entries.len() as u64;
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.replica_id.0;
        let entries = entries.into_iter().map(|(kind, context, data)| {
            let mut entry = Entry::default();
            entry.set_entry_type(kind);
            entry.context = context;
            entry.data = data;
            entry
        });
        message.set_entries(entries.collect::<Vec<_>>().into());
        let stepped = self.node.raft.step(message);
        let after = self.node.raft.raft_log.last_index();
        match stepped {
            Ok(()) if after == before + count => Ok(before + 1),
            Ok(()) => Err(Error::Ambiguous(format!("the log grew from {before} to {after}, not by {count}"))),
            Err(raft::Error::ProposalDropped) if after == before => Err(Error::Unavailable(
                "the range has too much uncommitted data or is moving its leader".to_owned(),
            )),
            Err(error) => Err(Error::Ambiguous(error.to_string())),
        }
    }

    /// Notes who waits for new entries. An earlier leadership may have left waiters at the same or higher indexes.
    pub fn wait_for(&mut self, more: impl Iterator<Item = Waiting>) {
        let last = self.waiting.back().map_or(0, |waiting| waiting.index);
        let old = self.waiting.len();
        self.waiting.extend(more);
        if self.waiting.get(old).is_some_and(|first| first.index <= last) {
            self.waiting.make_contiguous().sort_by_key(|waiting| waiting.index);
        }
    }

    /// A leader ends a joint configuration that it finds, its own or a predecessor's.
    pub fn leave_joint(&mut self) {
        if self.is_leader() && self.membership.is_joint() && !self.node.raft.has_pending_conf() {
            let leave = vec![(EntryType::EntryConfChangeV2, bytes::Bytes::new(), bytes::Bytes::new())];
            if let Err(error) = self.propose(leave) {
                tracing::debug!(range = %self.range_id, %error, "can't leave the joint configuration yet");
            }
        }
    }

    /// What a leader knows of the members. `None` for others, and when nobody else is there.
    pub fn progress(&self) -> Option<Vec<Progress>> {
        if !self.is_leader() || !self.needs_ticks() {
            return None;
        }
        let learners = &self.node.raft.prs().conf().learners();
        let mut members: Vec<_> = self
            .node
            .raft
            .prs()
            .iter()
            .map(|(&id, progress)| Progress {
                replica_id: ReplicaId(id),
                matched: progress.matched,
                is_learner: learners.contains(&id),
                recently_active: self.is_active(ReplicaId(id)),
                pending_snapshot: (progress.state == ProgressState::Snapshot)
                    .then_some(progress.pending_snapshot),
            })
            .collect();
        members.sort_unstable_by_key(|member| member.replica_id);
        Some(members)
    }

    pub fn status(&self) -> Status {
        let raft = &self.node.raft;
        Status {
            replica_id: self.replica_id,
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Candidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            leader: self.leader(),
            term: raft.term,
            committed: raft.raft_log.committed,
            applied: self.applied,
            last_index: raft.raft_log.last_index(),
            first_index: self.log.lock().first_index(),
            is_quiescent: self.is_quiescent,
            is_transferring: raft.lead_transferee.is_some(),
        }
    }

    /// Tells everybody who waits for entries up to `through` that nobody here will ever know their outcome.
    pub fn fail_waiting(&mut self, through: LogIndex, why: &str) {
        let count = self.waiting.partition_point(|waiting| waiting.index <= through);
        for waiting in self.waiting.drain(..count) {
            let _ = waiting.reply.send(Answer::Done(Err(Error::Ambiguous(why.to_owned()))));
        }
    }

    /// Tells everybody who waits for these entries that the outcome is unknown for now. They still get it, late: until
    /// then, what the command will change must stay protected.
    pub fn give_up_waiting(&mut self, indexes: impl RangeBounds<LogIndex>, why: &str) {
        let given_up = |waiting: &&mut Waiting| indexes.contains(&waiting.index) && !waiting.late;
        for waiting in self.waiting.iter_mut().filter(given_up) {
            let (reply, outcome) = oneshot::channel();
            let early = std::mem::replace(&mut waiting.reply, reply);
            waiting.late = true;
            let _ = early.send(Answer::Late { why: why.to_owned(), outcome });
        }
    }
}
