//! Reads of the past, answered by whichever replica has come as far.
//!
//! A range is closed to writes up to a timestamp that travels in its commands ([`crate::replica::apply`]): what a replica
//! closed up to T holds is what a read at T sees, whatever happens elsewhere. So it needs neither the lease nor a majority,
//! nor does it look at a clock: bounds, closed timestamp, garbage-collection threshold and data come from one view of the
//! engine, and the read is answered from that view or not at all.
//!
//! Left to the leaseholder are reads above the closed timestamp, and those that meet a lock: whether its transaction is to
//! be waited for, pushed or seen through, only it can find out.
//!
//! The leaseholder closes its range up to a little behind its clock with every command that it proposes. A range that is
//! only read is closed by the extensions of its lease. One that is not used at all stays where it is, so that idle ranges
//! cost nothing: who reads it above that asks the leaseholder, and thereby has it closed again.

use std::sync::Arc;

use basalt_base::{RangeId, Timestamp};
use basalt_env::{Bug, planted};
use basalt_kv_api::{BatchHeader, BatchRequest, BatchResponse, Error, ReadConsistency, Request, Result};
use basalt_storage::{OpenBatch, Reader, mvcc::FinishedTxns};

use super::{Store, latching::is_addressed_to};
use crate::{
    concurrency::Marks,
    counts::Counters,
    evaluate::{self, Evaluation, Shared, Stop, UnlockedReader},
    replica::{Replica, StatsDelta, Trigger, state::Past},
};

impl Store {
    /// Closes the range to writes a little behind the clock: the closed timestamp for a command that is about to be
    /// proposed. Zero where nobody could use it.
    pub(super) fn close(&self, replica: &Replica) -> Timestamp {
        let lease = replica.lease();
        if !lease.expires() || !lease.is_of(self.ident.node_id, self.incarnation) {
            return Timestamp::ZERO;
        }
        let Ok(now) = self.now() else { return Timestamp::ZERO };
        let lag_ms = u64::try_from(self.config.closed_lag.as_millis()).unwrap_or(u64::MAX);
        let closed_ts = Timestamp::from_parts(now.physical_ms().saturating_sub(lag_ms), 0);
        replica.promise(closed_ts);
        closed_ts
    }

    /// Answers a batch that any replica may answer, from the replica that is here. [`Error::NotLeaseholder`] if that
    /// has not come as far, or can't tell.
    pub(crate) fn follow(self: &Arc<Self>, replica: &Replica, batch: &BatchRequest) -> Result<BatchResponse> {
        let read_ts = past_timestamp(&batch.header, &batch.requests).ok_or(Error::NotLeaseholder)?;
        // What is in memory lags behind what is in the engine.
        if replica.applied().closed_ts < read_ts && !planted(Bug::ReadAboveClosed) {
            Counters::increment(&self.counters.follower_refusals);
            return Err(Error::NotLeaseholder);
        }
        let answer = self.read_past(replica.range_id, read_ts, batch);
        Counters::increment(match answer {
            Ok(_) => &self.counters.follower_reads,
            Err(_) => &self.counters.follower_refusals,
        });
        answer
    }

    fn read_past(
        &self,
        range_id: RangeId,
        read_ts: Timestamp,
        batch: &BatchRequest,
    ) -> Result<BatchResponse> {
        let snapshot = self.states.engine.snapshot();
        let past = Past::load(&*snapshot, range_id).map_err(|error| evaluate::storage_error(error.into()))?;
        let past = past.ok_or(Error::RangeNotFound)?;
        let (header, requests) = (&batch.header, &batch.requests);
        if !requests.iter().all(|request| is_addressed_to(&past.descriptor, header, request)) {
            return Err(Error::RangeMismatch);
        }
        if past.closed_ts < read_ts && !planted(Bug::ReadAboveClosed) {
            return Err(Error::NotLeaseholder);
        }
        let threshold = past.gc_threshold;
        if read_ts <= threshold {
            return Err(Error::BelowGcThreshold { read_ts, threshold });
        }
        let (base, finished): (&dyn Reader, _) = (&*snapshot, FinishedTxns::default());
        let unlocked = UnlockedReader(base);
        let now = self.now()?;
        let mut eval = Evaluation {
            shared: Shared {
                locks: &self.locks,
                reads: &self.reads,
                markers: &self.markers,
                dependents: &self.dependents,
                since_start: self.env.clock.monotonic(),
                txn_expiry_ms: 0,
                gc_threshold: threshold,
                marks: &Marks::default(),
                promised: Timestamp::ZERO,
                now,
                uncertain_reads: &self.counters.uncertain_reads,
            },
            descriptor: &past.descriptor,
            header,
            base,
            visible: if planted(Bug::FollowPastLocks) { &unlocked } else { base },
            finished: &finished,
            txn: header.txn.clone(),
            order: None,
            now,
            local_ts: now,
            rows_left: header.rows_max,
            bytes_left: header.bytes_max,
            exhausted: false,
            open: OpenBatch::new(),
            resolves: Vec::new(),
            trigger: Trigger::None,
            stats: StatsDelta::default(),
            lowest_write: Timestamp::ZERO,
            reads: Vec::new(),
            effects: evaluate::Effects::default(),
            one_phase: false,
            observed: None,
        };
        // That it was read need not be noted: nobody writes there any more.
        match evaluate::evaluate(&mut eval, requests) {
            Ok(responses) => Ok(BatchResponse { responses, txn: eval.txn, now }),
            Err(Stop::Conflicts(_) | Stop::Forward(_)) => Err(Error::NotLeaseholder),
            Err(Stop::Error(error)) => Err(error),
        }
    }
}

/// When the batch reads, if it does nothing else, sees no uncertainty there, and has written nothing that it would see.
fn past_timestamp(header: &BatchHeader, requests: &[Request]) -> Option<Timestamp> {
    let reads = |request: &Request| {
        matches!(request, Request::Get { lock: None, .. } | Request::Scan { lock: None, .. })
    };
    let plain = header.from_any_replica
        && header.consistency == ReadConsistency::Consistent
        && requests.iter().all(reads);
    let read_ts = match &header.txn {
        Some(txn) => (txn.anchor.is_empty() && txn.global_limit <= txn.read_ts).then_some(txn.read_ts),
        None => Some(header.timestamp),
    };
    read_ts.filter(|read_ts| plain && !read_ts.is_zero())
}
