//! Keeping the log short: flush the state machine, truncate behind what is durable, remove segments.

use std::mem;

use basalt_base::RangeId;
use basalt_env::{Bug, planted};
use raft::ProgressState;

use super::{replica::Replica, run::Driver};
use crate::{Error, LogIndex, Result, counts::Counters};

/// Each live entry costs memory for its place.
const ENTRIES_MAX: u64 = 1 << 20;
/// Followers that lag are given up (they get a snapshot) when the log is this many times too long.
const LAG_FACTOR: u64 = 2;

impl Driver {
    pub(super) async fn maintain(&mut self) -> Result<()> {
        self.destroy_removed()?;
        self.install_again()?;
        if self.truncated && self.batch.is_empty() {
            self.truncated = false;
            if self.log.has_reclaimable() {
                // The truncations must be durable before what they refer to is gone.
                self.log.sync().await?;
                self.log.reclaim().await?;
            }
            for reply in self.when_truncated.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        if self.log_is_long() && self.env.clock.monotonic() >= self.flush_not_before {
            self.start_flush();
        }
        Ok(())
    }

    fn log_is_long(&self) -> bool {
        self.log.live_bytes() > self.options.log_bytes_max || self.log.live_entries() > ENTRIES_MAX
    }

    /// Asks for a flush because space is short.
    pub(super) fn want_flush(&mut self) {
        if self.log.live_bytes() > 0 && self.env.clock.monotonic() >= self.flush_not_before {
            self.start_flush();
        }
    }

    pub(super) fn start_flush(&mut self) {
        if !self.flush_running {
            self.flush_running = true;
            self.flush_started += 1;
            self.flushing_for = mem::take(&mut self.when_flushed);
            self.flush_wanted.notify_one();
        }
    }

    /// The flusher is done: what it made durable is not needed in the log.
    pub(super) fn flushed(&mut self, result: Result<()>) -> Result<()> {
        self.flush_running = false;
        let waiting = mem::take(&mut self.flushing_for);
        // Not at once again when this one does not help: somebody may hold the log.
        self.flush_not_before = self.env.clock.monotonic() + self.options.disk_full_retry;
        match result {
            Ok(()) => {
                Counters::add(&self.counters.flushes, 1);
                self.flush_done = self.flush_started;
                self.splits.retain(|_, flush| *flush > self.flush_done);
                self.truncate();
                self.when_truncated.extend(waiting);
            }
            Err(Error::DiskFull) => {
                tracing::warn!("no space left to flush the state machine");
                self.retry_at = self.flush_not_before;
                for reply in waiting {
                    let _ = reply.send(Err(Error::DiskFull));
                }
            }
            Err(error) => return Err(error),
        }
        if !self.when_flushed.is_empty() || self.wants_flush() {
            self.start_flush();
        }
        Ok(())
    }

    /// Truncates each group's log up to its own durable state: a replicated truncation could delete entries above it.
    pub(super) fn truncate(&mut self) {
        let wait_for_followers = self.log.live_bytes() <= LAG_FACTOR * self.options.log_bytes_max;
        let ranges: Vec<RangeId> = self.replicas.keys().copied().collect();
        for range_id in ranges {
            let Some(replica) = self.replicas.get(&range_id) else { continue };
            // What the state machine remembers of a flush may be about a replica that was here before.
            if replica.born_at_flush >= self.flush_done && self.flush_done > 0 {
                continue;
            }
            let mut index = self.state_machine.durable_applied(range_id).min(replica.applied);
            if planted(Bug::TruncatePastFlushed) {
                index = replica.applied;
            }
            if wait_for_followers {
                index = index.min(needed_by_followers(replica));
            }
            let log = replica.log.lock();
            if index > log.truncated_index
                && let Some(term) = log.term(index)
            {
                drop(log);
                self.batch.truncate(range_id, index, term);
            }
        }
        self.truncated = true;
    }

    /// The clean end: everything durable, the clock exact.
    pub(super) async fn stop(&mut self) -> Result<Stopped> {
        match self.state_machine.flush() {
            Ok(()) => self.truncate(),
            // The log has it all.
            Err(Error::DiskFull) => {}
            Err(error) => return Err(error),
        }
        if let Some((Some(clock), _)) = &self.shutdown {
            self.batch.clock_bound(*clock, true);
        }
        self.log.append(&mut self.batch).await?;
        self.log.sync().await?;
        self.log.mark()?;
        Ok(Stopped)
    }
}

/// The loop ended because it was asked to.
pub(super) struct Stopped;

/// The last index that no follower wants any more.
fn needed_by_followers(replica: &Replica) -> LogIndex {
    if !replica.is_leader() {
        return LogIndex::MAX;
    }
    let progress = replica.node.raft.prs().iter();
    let others = progress.filter(|(id, _)| **id != replica.replica_id.0);
    let wanted = others.map(|(_, progress)| match progress.state {
        ProgressState::Snapshot => progress.pending_snapshot,
        // Nothing is known of a silent one: it may need a snapshot anyway.
        _ if progress.matched == 0 && !progress.recent_active => LogIndex::MAX,
        _ => progress.matched,
    });
    wanted.min().unwrap_or(LogIndex::MAX)
}
