//! The loop's state and its life.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use basalt_base::{RangeId, Timestamp};
use basalt_env::{Bug, Env, planted};
use slog::Logger;
use tokio::sync::Notify;

use super::{maintenance::Stopped, removal::Removal, replica::Replica};
use crate::{
    Envelope, Error, Observer, Options, Result, StateMachine, Transport,
    counts::Counters,
    handle::Shared,
    inbox::{Control, Reply, refuse},
    log::{LogBatch, LogStore},
    snapshot_slots::SnapshotSlots,
};

/// What a loop is made of.
pub(crate) struct Start {
    pub env: Env,
    pub options: Options,
    pub log: LogStore,
    pub shared: Arc<Shared>,
    pub state_machine: Arc<dyn StateMachine>,
    pub transport: Arc<dyn Transport>,
    pub observer: Arc<dyn Observer>,
}

pub(crate) struct Driver {
    pub(super) env: Env,
    pub(super) options: Options,
    pub(super) log: LogStore,
    pub(super) shared: Arc<Shared>,
    pub(super) counters: Arc<Counters>,
    pub(super) state_machine: Arc<dyn StateMachine>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) logger: Logger,
    pub(super) replicas: BTreeMap<RangeId, Replica>,
    /// Groups that may have something to do.
    pub(super) dirty: BTreeSet<RangeId>,
    /// Groups to which time matters.
    pub(super) ticking: BTreeSet<RangeId>,
    pub(super) next_tick: Duration,
    /// Records of this turn that belong to no Ready.
    pub(super) batch: LogBatch,
    /// Whom to tell when this turn's batch is durable; its presence forces a sync.
    pub(super) when_durable: Vec<Reply<()>>,
    pub(super) next_proposal: u64,
    /// Wakes the flusher.
    pub(super) flush_wanted: Arc<Notify>,
    pub(super) flush_running: bool,
    /// No automatic flush before this time: the last one failed, or freed nothing.
    pub(super) flush_not_before: Duration,
    /// Whom to tell when the next flush, the running one, and the truncation after it are done.
    pub(super) when_flushed: Vec<Reply<()>>,
    pub(super) flushing_for: Vec<Reply<()>>,
    pub(super) when_truncated: Vec<Reply<()>>,
    /// Truncations were added to the batch: segments may be removable when they are durable.
    pub(super) truncated: bool,
    /// Came while the loop waited for room and could not act.
    pub(super) deferred: Vec<Control>,
    /// Groups whose committed entries the state machine had no room for, and when to try again.
    pub(super) stalled: BTreeSet<RangeId>,
    pub(super) retry_at: Duration,
    /// Groups whose snapshots the state machine could not install yet.
    pub(super) installing: BTreeSet<RangeId>,
    /// Snapshots that came in a turn that had one already.
    pub(super) waiting_snapshots: VecDeque<Envelope>,
    /// Of snapshots on their way to others.
    pub(super) slots: Arc<SnapshotSlots>,
    /// Groups in the log whose state comes when the log of the range that they were split from is replayed. As long as
    /// there are any, no log of a replica with state may go.
    pub(super) awaiting_split: BTreeSet<RangeId>,
    /// Replicas on their way out.
    pub(super) removing: Vec<Removal>,
    /// Ranges that were split, and the flush that makes the right sides durable.
    pub(super) splits: BTreeMap<RangeId, u64>,
    /// The number of the last flush begun, and of the last one that succeeded.
    pub(super) flush_started: u64,
    pub(super) flush_done: u64,
    pub(super) shutdown: Option<(Option<Timestamp>, Reply<()>)>,
    /// The replicas here leave elections to others.
    pub(super) is_reluctant: bool,
    /// When the log is to say that its last batch was synced, unless a later one has said it by then.
    mark_at: Option<Duration>,
}

impl Driver {
    /// Builds the groups from the state machine and the log, and repairs what a crash left half done.
    pub async fn new(start: Start) -> Result<Self> {
        let Start { env, options, log, shared, state_machine, transport, observer } = start;
        let next_proposal = shared.incarnation << 40;
        let pause = options.tick_interval * u32::try_from(options.election_ticks).unwrap_or(u32::MAX);
        let slots = Arc::new(SnapshotSlots::new(options.snapshots_in_flight_max, pause));
        let mut driver = Self {
            counters: shared.counters.clone(),
            next_tick: env.clock.monotonic(),
            env,
            options,
            log,
            shared,
            state_machine,
            transport,
            observer,
            logger: crate::logger::raft_logger(),
            replicas: BTreeMap::new(),
            dirty: BTreeSet::new(),
            ticking: BTreeSet::new(),
            batch: LogBatch::default(),
            when_durable: Vec::new(),
            next_proposal,
            flush_wanted: Arc::new(Notify::new()),
            flush_running: false,
            flush_not_before: Duration::ZERO,
            when_flushed: Vec::new(),
            flushing_for: Vec::new(),
            when_truncated: Vec::new(),
            truncated: false,
            deferred: Vec::new(),
            stalled: BTreeSet::new(),
            retry_at: Duration::ZERO,
            installing: BTreeSet::new(),
            waiting_snapshots: VecDeque::new(),
            slots,
            awaiting_split: BTreeSet::new(),
            removing: Vec::new(),
            splits: BTreeMap::new(),
            flush_started: 0,
            flush_done: 0,
            shutdown: None,
            is_reluctant: false,
            mark_at: None,
        };
        driver.restore().await?;
        driver.publish();
        Ok(driver)
    }

    /// The first tick comes at a random moment. One message wakes all members of a range, and if they ticked together from
    /// then on, two whose timeouts are of as many ticks would call elections at the same time, and neither would win.
    pub(super) fn start_ticking(&mut self, range_id: RangeId) {
        if self.ticking.is_empty() {
            let interval = u64::try_from(self.options.tick_interval.as_nanos()).unwrap_or(u64::MAX).max(1);
            let phase = Duration::from_nanos(1 + self.env.rng.next_u64() % interval);
            self.next_tick = self.env.clock.monotonic() + phase;
        }
        self.ticking.insert(range_id);
    }

    /// Runs until shutdown or a fatal error.
    pub async fn run(mut self) {
        let guard = CloseOnDrop { shared: self.shared.clone(), observer: self.observer.clone() };
        let reason = match self.turns().await {
            Ok(Stopped) => Error::Stopped,
            Err(error) => error,
        };
        self.shared.turn_ends();
        let left = self.shared.inbox.close(match &reason {
            Error::Stopped => Error::Stopped,
            error => Error::Poisoned(error.to_string()),
        });
        refuse(left.all_proposals(), &self.shared.inbox.closed().unwrap_or(Error::Stopped));
        for replica in self.replicas.values_mut() {
            replica.give_up_waiting(.., &reason.to_string());
        }
        // Whoever waits for durability or a flush hears from the dropped channel.
        if reason != Error::Stopped {
            tracing::error!(error = %reason, "replication stopped");
            self.observer.on_fatal(&reason);
        } else {
            // The lock is released before the caller of the shutdown goes on.
            let reply = self.shutdown.take().map(|(_, reply)| reply);
            self.flush_wanted.notify_one();
            self.slots.close();
            drop(self);
            if let Some(reply) = reply {
                let _ = reply.send(Ok(()));
            }
        }
        drop(guard);
    }

    async fn turns(&mut self) -> Result<Stopped> {
        loop {
            if self.is_idle() {
                if self.shutdown.is_some() && !self.flush_running {
                    return self.stop().await;
                }
                self.shared.turn_ends();
                self.wait().await;
                self.shared.turn_begins(self.env.clock.monotonic());
                self.mark()?;
            } else {
                self.shared.turn_begins(self.env.clock.monotonic());
            }
            self.take_inbox().await?;
            self.bury();
            self.tick();
            self.round().await?;
            self.maintain().await?;
        }
    }

    fn is_idle(&self) -> bool {
        self.dirty.is_empty()
            && self.batch.is_empty()
            && self.when_durable.is_empty()
            && self.deferred.is_empty()
            && (self.waiting_snapshots.is_empty() || !self.installing.is_empty())
            && !self.truncated
    }

    /// Until there is something to do.
    async fn wait(&mut self) {
        let mut deadline = None;
        if !self.ticking.is_empty() {
            deadline = Some(self.next_tick);
        }
        if !self.stalled.is_empty() || !self.installing.is_empty() || self.retries_removal() {
            deadline = Some(deadline.map_or(self.retry_at, |at: Duration| at.min(self.retry_at)));
        }
        if self.log.is_unmarked() {
            let at =
                *self.mark_at.get_or_insert_with(|| self.env.clock.monotonic() + self.options.tick_interval);
            deadline = Some(deadline.map_or(at, |other| other.min(at)));
        }
        match deadline {
            None => self.shared.inbox.wait().await,
            Some(deadline) => {
                let now = self.env.clock.monotonic();
                if deadline > now {
                    let sleep = self.env.spawner.sleep(deadline - now);
                    tokio::select! {
                        biased;
                        () = self.shared.inbox.wait() => {}
                        () = sleep => {}
                    }
                }
            }
        }
    }

    /// Under load the next batch comes first, so that this costs nothing.
    fn mark(&mut self) -> Result<()> {
        if self.mark_at.is_none_or(|at| self.env.clock.monotonic() < at) {
            return Ok(());
        }
        self.mark_at = None;
        self.log.mark()
    }

    fn tick(&mut self) {
        let now = self.env.clock.monotonic();
        if !self.stalled.is_empty() && now >= self.retry_at {
            self.dirty.append(&mut self.stalled);
        }
        if self.ticking.is_empty() || now < self.next_tick {
            return;
        }
        // A loop that was held up does not make up for lost ticks: that would start elections.
        self.next_tick = now + self.options.tick_interval;
        Counters::add(&self.counters.ticks, 1);
        let (mut idle, mut timeless) = (Vec::new(), Vec::new());
        for range_id in &self.ticking {
            let Some(replica) = self.replicas.get_mut(range_id) else { continue };
            if replica.tick() {
                self.dirty.insert(*range_id);
            }
            replica.settle(&*self.env.rng);
            if !replica.needs_ticks() {
                timeless.push(*range_id);
            }
            let after = self.options.quiesce_after_ticks;
            if after > 0 && replica.is_leader() && replica.idle_ticks >= after {
                idle.push(*range_id);
            }
        }
        for range_id in timeless {
            self.ticking.remove(&range_id);
        }
        self.put_to_sleep(idle);
        self.give_up_snapshots(now);
    }

    /// Shows the groups of this turn to the handles.
    pub(super) fn publish(&self) {
        let mut status = self.shared.status.write();
        for (range_id, replica) in &self.replicas {
            status.insert(*range_id, replica.status());
        }
    }

    /// Runs flushes of the state machine beside the loop.
    pub fn flusher(&self) -> impl Future<Output = ()> + Send + use<> {
        let (wanted, shared) = (self.flush_wanted.clone(), self.shared.clone());
        let state_machine = self.state_machine.clone();
        async move {
            loop {
                wanted.notified().await;
                if shared.inbox.closed().is_some() {
                    return;
                }
                let skip = planted(Bug::TruncatePastFlushed);
                let flushed = if skip { Ok(()) } else { state_machine.flush() };
                if shared.inbox.control(Control::Flushed(flushed)).is_err() {
                    return;
                }
            }
        }
    }
}

/// However the loop ends (raft-rs panics when it can't read the log), callers must not wait for it.
struct CloseOnDrop {
    shared: Arc<Shared>,
    observer: Arc<dyn Observer>,
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let died = Error::Poisoned("the store loop died".to_owned());
        let already = self.shared.inbox.closed();
        let left = self.shared.inbox.close(died.clone());
        refuse(left.all_proposals(), already.as_ref().unwrap_or(&died));
        if already.is_none() && std::thread::panicking() {
            self.observer.on_fatal(&died);
        }
    }
}
