//! The path of a batch on one range: latches, locks, evaluation, proposal, release.
//!
//! A batch that must wait for a lock gives up its latches, keeps its place in the lock's queue, and begins again.
//! Nothing is written before the last evaluation, so beginning again is harmless.

use std::{pin::pin, sync::Arc, time::Duration};

use basalt_base::{NodeId, Timestamp};
use basalt_env::{Bug, planted};
use basalt_kv_api::{
    BatchHeader, BatchRequest, BatchResponse, Error, LockStrength, Request, Response, Result, TxnStatus,
};
use basalt_storage::{OpenBatch, Reader};

use super::{
    Store,
    detach::Detach,
    latching::{is_addressed_to, latch_spans, reads_at_a_timestamp},
    lease::highest_timestamp,
    proposal::{Proposed, Tail},
    resolving::is_resolved_in_pieces,
    waiting::Waits,
};
use crate::{
    concurrency::{LatchGuard, Want},
    counts::Counters,
    evaluate::{self, Conflict, Effects, Evaluation, PassingReader, ReadSpan, Recovery, Shared, Stop},
    replica::{Command, Header, LeaseView, Replica, StatsDelta, Trigger},
    routing::Origin,
};

/// Evaluations of one batch, waits for locks not counted.
const ATTEMPTS_MAX: u32 = 100;

/// How often whoever waits for the log looks whether it can answer at all.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What a batch keeps from one evaluation to the next.
pub(super) struct Turns {
    pub header: BatchHeader,
    pub waits: Waits,
    attempts: u32,
    /// Times that a staged transaction was looked into.
    recoveries: u32,
    /// Latches that the last evaluation did not give up.
    held: Option<LatchGuard>,
}

impl Turns {
    pub fn new(header: BatchHeader) -> Self {
        Self { header, waits: Waits::default(), attempts: 0, recoveries: 0, held: None }
    }
}

/// The product of an evaluation.
pub(super) struct Product {
    pub responses: Vec<Response>,
    pub txn: Option<basalt_kv_api::TxnMeta>,
    pub command: Option<Command>,
    pub effects: Effects,
}

impl Store {
    pub(crate) async fn execute(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        batch: &BatchRequest,
        origin: Origin,
    ) -> Result<BatchResponse> {
        Counters::increment(&self.counters.batches);
        if origin == Origin::Peer {
            Counters::increment(&self.counters.batches_taken);
        }
        if let [Request::AdminSplit { key }] = &batch.requests[..] {
            return Box::pin(self.admin_split(replica, key)).await;
        }
        if let [Request::AdminTransferLease { key, to }] = &batch.requests[..] {
            return Box::pin(self.admin_transfer_lease(replica, key, *to)).await;
        }
        if !batch.requests.is_empty() && batch.requests.iter().all(is_resolved_in_pieces) {
            return Box::pin(self.resolve_pieces(replica, &batch.requests)).await;
        }
        if let [Request::GarbageCollect { threshold, .. }] = &batch.requests[..] {
            Box::pin(self.raise_gc_threshold(replica, *threshold)).await?;
        }
        let mut header = batch.header.clone();
        if header.txn.is_none() && header.timestamp.is_zero() {
            header.timestamp = self.now()?;
        }
        if origin == Origin::Peer
            && let Some(txn) = header.txn.as_mut().filter(|txn| txn.global_limit > txn.read_ts)
        {
            txn.observed.note(self.ident.node_id, self.now()?);
        }
        let mut turns = Turns::new(header);
        loop {
            let turn = self.begin_turn(&mut turns, &batch.requests);
            let guard = self.patiently(replica, turn, "the range's log does not answer").await??;
            let Turns { header, waits, .. } = &turns;
            let view = self.lease_view(replica, highest_timestamp(header, &batch.requests))?;
            replica.note_request();
            self.note_for_split(replica, &batch.requests);
            let addressed = |request| is_addressed_to(&view.descriptor, header, request);
            if !batch.requests.iter().all(addressed) {
                return Err(Error::RangeMismatch);
            }
            match self.evaluate(replica, &view, header, &batch.requests, waits, origin) {
                Ok(mut product) => {
                    if origin == Origin::Peer {
                        entomb_one_phase(&mut product, batch);
                    }
                    if let Some(recovery) = product.effects.recovery.take()
                        && turns.recoveries < recoveries_max(&recovery)
                    {
                        turns.recoveries += 1;
                        drop(guard);
                        match Box::pin(self.recover(&recovery)).await {
                            Ok(()) => continue,
                            // The push has not got its way: it will be repeated.
                            Err(_) if !recovery.prevent => {}
                            Err(error) => return Err(error),
                        }
                        return self.answer(product.responses, product.txn);
                    }
                    let Some(command) = product.command else {
                        self.take_effect(&product.effects, &[]);
                        drop(guard);
                        return self.answer(product.responses, product.txn);
                    };
                    let proposal = self.propose(replica, command, guard, product.effects);
                    let proposed = self.patiently(replica, proposal, "the range does not decide").await;
                    let proposed = proposed.map_err(|error| match error {
                        Error::Unavailable(reason) if decides(batch) => Error::Ambiguous { reason },
                        error => error,
                    });
                    match proposed?? {
                        Proposed::Applied => return self.answer(product.responses, product.txn),
                        Proposed::Again => {}
                    }
                }
                Err(stop) => {
                    // Boxed, so that the common path stays small.
                    Box::pin(self.after_stop(stop, guard, &mut turns, &batch.requests)).await?;
                }
            }
        }
    }

    /// Waits for what the log of a range with several replicas may hold up for ever: a bounded time.
    pub(super) async fn patiently<T>(
        &self,
        replica: &Replica,
        work: impl Future<Output = T>,
        why: &str,
    ) -> Result<T> {
        if replica.is_alone() {
            return Ok(work.await);
        }
        let done = self.in_time(replica, self.config.proposal_patience, work).await;
        done.ok_or_else(|| Error::Unavailable(why.to_owned()))
    }

    /// Waits for so long; much less, if most of the range's nodes are known to be out of reach.
    pub(super) async fn in_time<T>(
        &self,
        replica: &Replica,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        // Twice in a row: this node may have stood still itself, and hear the others in a moment.
        let (mut waited, mut was_cut_off) = (Duration::ZERO, false);
        while waited < patience {
            let pause = LOOK_INTERVAL.min(patience - waited);
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = self.env.spawner.sleep(pause) => waited += pause,
            }
            let is_cut_off = self.is_cut_off(Some(&replica.descriptor()));
            if was_cut_off && is_cut_off {
                return None;
            }
            was_cut_off = is_cut_off;
        }
        None
    }

    /// The latches for the next evaluation: those of the last one, if it has kept them.
    pub(super) async fn begin_turn(&self, turns: &mut Turns, requests: &[Request]) -> Result<LatchGuard> {
        turns.attempts += 1;
        if turns.attempts > ATTEMPTS_MAX {
            return Err(Error::Unavailable("the request met too many conflicts".to_owned()));
        }
        match turns.held.take() {
            Some(guard) => Ok(guard),
            None => Ok(self.latch(&turns.header, requests).await),
        }
    }

    /// Makes way for another evaluation: waits or moves the timestamps.
    pub(super) async fn after_stop(
        self: &Arc<Self>,
        stop: Stop,
        guard: LatchGuard,
        turns: &mut Turns,
        requests: &[Request],
    ) -> Result<()> {
        match stop {
            Stop::Forward(to) => {
                self.forward(&mut turns.header, to)?;
                // They were pushed above the timestamp that the batch has read at until now.
                turns.waits.passed.clear();
                // Latches of writes hold for later timestamps, too; keeping them keeps the turn.
                turns.held = (!requests.iter().any(reads_at_a_timestamp)).then_some(guard);
                Ok(())
            }
            Stop::Conflicts(conflicts) => {
                // Waiting is bounded by the lock timeout, not by the number of times one has to.
                turns.attempts = 0;
                self.wait_for_locks(guard, conflicts, &turns.header, requests, &mut turns.waits).await
            }
            Stop::Error(error) => {
                let error = self.unless_damaged(error);
                if matches!(error, Error::WriteTooOld { .. }) {
                    Counters::increment(&self.counters.write_too_old);
                }
                Err(error)
            }
        }
    }

    async fn latch(&self, header: &BatchHeader, requests: &[Request]) -> LatchGuard {
        let mut guard = self.latches.acquire(latch_spans(header, requests));
        if guard.must_wait() {
            Counters::increment(&self.counters.latch_waits);
            guard.wait().await;
        }
        guard
    }

    pub(super) fn answer(
        &self,
        responses: Vec<Response>,
        txn: Option<basalt_kv_api::TxnMeta>,
    ) -> Result<BatchResponse> {
        // What was applied is done, whether or not the clock can be read (it stops at a clean stop).
        let now = self.now().unwrap_or_default();
        Ok(BatchResponse { responses, txn, now })
    }

    /// Moves the batch's timestamps up, straight to now: what is in the way at `to` tends to have company.
    fn forward(&self, header: &mut BatchHeader, to: Timestamp) -> Result<()> {
        Counters::increment(&self.counters.forwarded);
        let to = to.max(self.now()?);
        match &mut header.txn {
            Some(txn) => {
                txn.read_ts = txn.read_ts.max(to);
                txn.write_ts = txn.write_ts.max(txn.read_ts);
            }
            None => header.timestamp = to,
        }
        Ok(())
    }

    pub(super) fn evaluate(
        &self,
        replica: &Replica,
        view: &LeaseView,
        header: &BatchHeader,
        requests: &[Request],
        waits: &Waits,
        origin: Origin,
    ) -> Result<Product, Stop> {
        self.check_locks(header, requests, waits)?;
        // The latches keep away everything that could change what this batch reads, so no snapshot is needed.
        let base: &dyn Reader = &*self.states.engine;
        let passing = PassingReader { base, passed: &waits.passed };
        let now = self.now()?;
        let visible = if waits.passed.is_empty() { base } else { &passing };
        let mut eval = Evaluation {
            shared: Shared {
                locks: &self.locks,
                reads: &self.reads,
                markers: &self.markers,
                dependents: &self.dependents,
                since_start: self.env.clock.monotonic(),
                txn_expiry_ms: u64::try_from(self.config.txn_expiry.as_millis()).unwrap_or(u64::MAX),
                gc_threshold: replica.gc_threshold(),
                marks: &view.marks,
                promised: view.promised,
                now,
                uncertain_reads: &self.counters.uncertain_reads,
            },
            descriptor: &view.descriptor,
            header,
            base,
            visible,
            finished: &waits.finished,
            txn: header.txn.clone(),
            order: waits.order(),
            now,
            local_ts: now.min(view.until),
            rows_left: header.rows_max,
            bytes_left: header.bytes_max,
            exhausted: false,
            open: OpenBatch::new(),
            resolves: Vec::new(),
            trigger: Trigger::None,
            stats: StatsDelta::default(),
            lowest_write: Timestamp::ZERO,
            reads: Vec::new(),
            effects: Effects::default(),
            one_phase: false,
            observed: observed(header, self.ident.node_id, origin),
        };
        let responses = evaluate::evaluate(&mut eval, requests)?;
        // Asked for after reading: versions go only after the threshold was raised.
        let (read_ts, threshold) = (eval.read_ts(), replica.gc_threshold());
        if read_ts <= threshold && !eval.reads.is_empty() {
            return Err(Error::BelowGcThreshold { read_ts, threshold }.into());
        }
        // The latches keep nothing away that the next leaseholder has done, and its commands may have been applied meanwhile.
        if !eval.reads.is_empty() && (replica.lease().sequence != view.sequence || replica.is_revoked()) {
            return Err(Error::NotLeaseholder.into());
        }
        let batch = eval.open.take();
        // Before this batch's own reads are noted, which may forget others.
        self.check_writes(base, &batch, eval.txn_id(), eval.lowest_write, view.marks.reads)?;
        for read in &eval.reads {
            match read {
                ReadSpan::Point(key) => self.reads.add_point(key, read_ts, eval.txn_id()),
                ReadSpan::Span(span) => self.reads.add_span(span, read_ts, eval.txn_id()),
                ReadSpan::Refreshed(span, to) => self.reads.add_span(span, *to, eval.txn_id()),
            }
        }
        self.count(requests, &responses);
        let writes = !batch.is_empty() || !eval.resolves.is_empty();
        let command = writes.then(|| Command {
            header: Header {
                lease_sequence: view.sequence,
                generation: view.descriptor.generation,
                write_ts: eval.lowest_write,
                closed_ts: self.close(replica),
            },
            stats: eval.stats,
            batch,
            resolves: eval.resolves,
            trigger: eval.trigger,
        });
        Ok(Product { responses, txn: eval.txn, command, effects: eval.effects })
    }

    /// Writes must not pass locks that exist in memory only, nor overtake those who wait for them.
    fn check_locks(&self, header: &BatchHeader, requests: &[Request], waits: &Waits) -> Result<(), Stop> {
        if self.locks.is_empty() {
            return Ok(());
        }
        let want = Want::Lock(LockStrength::Exclusive);
        let txn = header.txn.as_ref().map(|txn| txn.id);
        for request in requests {
            if let Request::Put { key, .. }
            | Request::Delete { key, .. }
            | Request::Increment { key, .. }
            | Request::PutMeta { key, .. } = request
                && let Some(blocked) = self.locks.check(key, want, txn, waits.order())
            {
                let conflict = Conflict { key: key.clone(), want, discovered: None, blocked };
                return Err(Stop::Conflicts(vec![conflict]));
            }
        }
        Ok(())
    }

    async fn propose(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        command: Command,
        guard: LatchGuard,
        effects: Effects,
    ) -> Result<Proposed> {
        Counters::increment(&self.counters.proposals);
        let future = self.raft().propose(replica.range_id, command.encode());
        let tail = Tail { store: Arc::clone(self), replica: Arc::clone(replica), future, guard, effects };
        let task = Detach::new(&self.env.spawner, Box::pin(tail.finish()));
        if planted(Bug::AckBeforeMajority) && self.leads(replica) {
            // Who drops the task leaves it to the spawner.
            return Ok(Proposed::Applied);
        }
        task.await
    }

    fn count(&self, requests: &[Request], responses: &[Response]) {
        let counters = &self.counters;
        for request in requests {
            Counters::increment(match request {
                Request::Get { .. } => &counters.gets,
                Request::Scan { .. } => &counters.scans,
                Request::Put { .. } => &counters.puts,
                Request::Delete { .. } => &counters.deletes,
                Request::EndTxn { .. } => &counters.end_txns,
                Request::PushTxn { .. } => &counters.pushes,
                Request::ResolveLock { .. } | Request::ResolveLockRange { .. } => &counters.resolves,
                Request::Refresh { .. } => &counters.refreshes,
                _ => &counters.others,
            });
        }
        for (request, response) in requests.iter().zip(responses) {
            match (request, response) {
                (_, Response::StageTxn { committed: false, .. }) => Counters::increment(&counters.stagings),
                (_, Response::PushTxn { record, .. }) if record.status == TxnStatus::Staging => {
                    Counters::increment(&counters.staging_pushes);
                }
                (Request::EndTxn { commit: false, .. }, _) => Counters::increment(&counters.aborts),
                (_, Response::EndTxn { one_phase: true, .. }) => {
                    Counters::increment(&counters.commits_one_phase);
                }
                (_, Response::EndTxn { .. }) => Counters::increment(&counters.commits_two_phase),
                _ => {}
            }
        }
    }
}

/// See [`Evaluation::observed`].
fn observed(header: &BatchHeader, here: NodeId, origin: Origin) -> Option<Timestamp> {
    let txn = header.txn.as_ref()?;
    match origin {
        // By this clock it began, and has moved on since.
        Origin::Here => Some(txn.min_ts.max(txn.read_ts)),
        Origin::Peer if planted(Bug::TrustEveryClock) => Some(txn.min_ts),
        Origin::Peer => txn.observed.at(here),
    }
}

/// Whether the batch decides the fate of its transaction.
pub(crate) fn decides(batch: &BatchRequest) -> bool {
    let decides = |request: &Request| {
        matches!(request, Request::EndTxn { commit: true, .. } | Request::StageTxn { .. })
    };
    batch.requests.iter().any(decides)
}

/// The second look may be needed because the first was somebody else's, who had no right to prevent.
fn recoveries_max(recovery: &Recovery) -> u32 {
    if recovery.prevent { 2 } else { 1 }
}

/// A message may come twice. A one-phase commit leaves no record that the second would find, and the second must not
/// take the first one's versions for somebody else's and step over them: so the transaction is marked as over.
fn entomb_one_phase(product: &mut Product, batch: &BatchRequest) {
    let done =
        product.responses.iter().any(|response| matches!(response, Response::EndTxn { one_phase: true, .. }));
    if let (true, Some(txn)) = (done, &batch.header.txn) {
        product.effects.entombed = Some((txn.id, txn.min_ts));
    }
}
