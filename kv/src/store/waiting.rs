//! Waiting for locks, and finding out what became of their holders.
//!
//! A waiter is woken when its turn comes. Should the holder's coordinator have died, nobody would wake it: so after a
//! delay the waiter *pushes* the holder. A push tells whether the holder is finished (then the waiter cleans the lock
//! up itself), aborts it if it has expired, and lets a reader pass below a holder that may only commit later.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use basalt_base::{Span, Timestamp, keys};
use basalt_kv_api::{
    BatchHeader, BatchRequest, Error, IgnoredSeqs, LockWait, Observed, PushType, Request, ResolvedTxn,
    Response, Result, TxnMeta, TxnRecord, TxnStatus,
};

use basalt_storage::mvcc::{FinishedTxn, FinishedTxns};

use super::Store;
use crate::{
    concurrency::{Blocked, HolderInfo, LatchGuard, QueuePlace, Want, must_give_way},
    counts::Counters,
    evaluate::{self, Conflict, PassedTxns},
};

/// The longest time between two pushes of one waiter.
const PUSH_DELAY_MAX: Duration = Duration::from_millis(250);
/// Locks resolved by one clean-up of a waiter.
const RESOLVE_KEYS_MAX: u64 = 2_000;

/// Ended transactions that one request sees through; further ones it cleans up after.
const FINISHED_MAX: usize = 1_000;

/// What a request has waited for, kept until it ends.
#[derive(Default)]
pub struct Waits {
    places: Vec<QueuePlace>,
    /// Transactions pushed above the request's read timestamp: forgotten when that moves up.
    pub passed: PassedTxns,
    /// Transactions that have ended, by their records: reads see through their locks.
    pub finished: FinishedTxns,
    /// Since when it has been waiting, of the monotonic clock.
    since: Option<Duration>,
}

impl Waits {
    pub fn order(&self) -> Option<u64> {
        self.places.first().map(QueuePlace::order)
    }
}

/// What a push found.
enum Found {
    Finished(TxnRecord),
    /// It can't commit at or below the read timestamp any more.
    Passed,
    Open,
}

impl Store {
    /// Waits until one of the conflicts may be gone. Takes the latches: nobody waits for a lock while holding them.
    pub(super) async fn wait_for_locks(
        self: &Arc<Self>,
        guard: LatchGuard,
        conflicts: Vec<Conflict>,
        header: &BatchHeader,
        requests: &[Request],
        waits: &mut Waits,
    ) -> Result<()> {
        if self.see_through(&conflicts, requests, waits) {
            return Ok(());
        }
        Counters::increment(&self.counters.lock_waits);
        for conflict in &conflicts {
            if let Some((info, strength)) = &conflict.discovered {
                self.locks.add_discovered(&conflict.key, info.clone(), *strength);
            }
        }
        let Some(first) = conflicts.first() else { return Ok(()) };
        let now = self.env.clock.monotonic();
        let since = *waits.since.get_or_insert(now);
        let refresh = matches!(requests, [Request::Refresh { .. }, ..]);
        let locking = first.want != Want::Read;
        if refresh || (locking && header.lock_wait == LockWait::Error) {
            drop(guard);
            return self.push_without_waiting(&conflicts, header, refresh, requests, waits).await;
        }
        let index = match waits.places.iter().position(|place| *place.key() == first.key) {
            Some(index) => index,
            None => {
                let txn = header.txn.as_ref().map(|txn| txn.id);
                let place =
                    self.locks.enqueue(&first.key, first.want, txn, waits.order()).inspect_err(|error| {
                        if matches!(error, Error::Deadlock { .. }) {
                            Counters::increment(&self.counters.deadlocks);
                        }
                    })?;
                waits.places.push(place);
                waits.places.len() - 1
            }
        };
        drop(guard);
        let mut delay = if self.holder_is_finished(first) {
            Duration::ZERO
        } else if locking {
            self.config.write_push_delay
        } else {
            self.config.read_push_delay
        };
        loop {
            let signal = waits.places[index].signal();
            if signal.is_fired() {
                return Ok(());
            }
            let mut pause = delay;
            if let (LockWait::Timeout(timeout), true) = (header.lock_wait, locking) {
                let waited = self.env.clock.monotonic().saturating_sub(since);
                if waited >= timeout {
                    let holder = holder_of(waits.places[index].blocked());
                    return Err(Error::LockNotAvailable { holder });
                }
                pause = pause.min(timeout - waited);
            }
            let sleep = self.env.spawner.sleep(pause);
            tokio::select! {
                biased;
                () = signal.wait() => return Ok(()),
                () = sleep => {}
            }
            if let Some(holder) = waits.places[index].find_deadlock().filter(|_| locking) {
                Counters::increment(&self.counters.deadlocks);
                return Err(Error::Deadlock { holder });
            }
            let blocked = waits.places[index].blocked();
            let Some(blocked) = blocked else { return Ok(()) };
            if matches!(blocked, Blocked::Claimed) {
                // Only to find out whether the waits go round: those whose claims they are clean up themselves.
                for holder in waits.places[index].holders_behind_claims() {
                    self.push_holder(&holder, header, None).await?;
                }
            }
            if self.push_all(&conflicts, &blocked, header, requests, waits).await? {
                return Ok(());
            }
            delay = (delay * 2).clamp(self.config.read_push_delay, PUSH_DELAY_MAX);
        }
    }

    /// Notes which holders have ended. True if the request can go on because all that it met has, and it only reads.
    fn see_through(&self, conflicts: &[Conflict], requests: &[Request], waits: &mut Waits) -> bool {
        if !requests.iter().all(is_plain_read) {
            return false;
        }
        let mut ended = FinishedTxns::new();
        for conflict in conflicts {
            let (Some(_), Blocked::Held(info)) = (&conflict.discovered, &conflict.blocked) else {
                return false;
            };
            if ended.contains_key(&info.id) {
                continue;
            }
            let record = evaluate::record::load(&*self.states.engine, &info.anchor, info.id);
            let Ok(Some(record)) = record else { return false };
            let commit_ts = match record.status {
                TxnStatus::Committed => Some(record.write_ts),
                TxnStatus::Aborted => None,
                TxnStatus::Pending | TxnStatus::Staging => return false,
            };
            let finished = FinishedTxn { epoch: record.epoch, commit_ts, ignored: record.ignored.0 };
            ended.insert(info.id, finished);
        }
        // Those that were known before have not been seen through.
        let is_new = ended.keys().all(|id| !waits.finished.contains_key(id));
        waits.finished.append(&mut ended);
        is_new && waits.finished.len() <= FINISHED_MAX
    }

    /// Whether a holder found in the lock family is known to have ended: otherwise the delay is waited for.
    fn holder_is_finished(&self, conflict: &Conflict) -> bool {
        let (Some(_), Blocked::Held(info)) = (&conflict.discovered, &conflict.blocked) else { return false };
        evaluate::record::has_ended(&*self.states.engine, info)
    }

    /// NOWAIT and refreshes: only what nobody owns any more is cleared away.
    async fn push_without_waiting(
        self: &Arc<Self>,
        conflicts: &[Conflict],
        header: &BatchHeader,
        refresh: bool,
        requests: &[Request],
        waits: &mut Waits,
    ) -> Result<()> {
        let blocked = conflicts[0].blocked.clone();
        if self.push_all(conflicts, &blocked, header, requests, waits).await? {
            return Ok(());
        }
        if refresh {
            return Err(Error::RefreshFailed {
                reason: "a concurrent transaction has written what was read".into(),
            });
        }
        Err(Error::LockNotAvailable { holder: holder_of(Some(blocked)) })
    }

    /// Pushes everybody in the way. True if something changed.
    async fn push_all(
        self: &Arc<Self>,
        conflicts: &[Conflict],
        blocked: &Blocked,
        header: &BatchHeader,
        requests: &[Request],
        waits: &mut Waits,
    ) -> Result<bool> {
        let mut holders: BTreeMap<_, (HolderInfo, Vec<&Conflict>)> = BTreeMap::new();
        if let Blocked::Held(info) = blocked {
            holders.insert(info.id, (info.clone(), Vec::new()));
        }
        for conflict in conflicts.iter().filter(|conflict| conflict.discovered.is_some()) {
            if let Blocked::Held(info) = &conflict.blocked {
                holders.entry(info.id).or_insert_with(|| (info.clone(), Vec::new())).1.push(conflict);
            }
        }
        let read_ts = requests.iter().fold(read_timestamp(header), |read_ts, request| match request {
            Request::Refresh { to, .. } => read_ts.max(*to),
            _ => read_ts,
        });
        let is_read = conflicts[0].want == Want::Read;
        let mut changed = false;
        for (info, met) in holders.into_values() {
            match self.push_holder(&info, header, is_read.then_some(read_ts)).await? {
                Found::Open => {}
                Found::Passed => {
                    waits.passed.insert(info.id);
                    changed = true;
                }
                Found::Finished(record) => {
                    changed = true;
                    if is_seen_through(&info, &record, requests, waits) {
                        self.locks.release_txn(info.id);
                    } else {
                        self.clean_up(&info, &record, &met, conflicts, requests).await?;
                    }
                }
            }
        }
        Ok(changed)
    }

    async fn push_holder(
        self: &Arc<Self>,
        holder: &HolderInfo,
        header: &BatchHeader,
        read_ts: Option<Timestamp>,
    ) -> Result<Found> {
        let pushee = TxnMeta {
            id: holder.id,
            anchor: holder.anchor.clone(),
            epoch: holder.epoch,
            read_ts: holder.acquired,
            write_ts: holder.write_ts,
            min_ts: holder.min_ts,
            global_limit: holder.write_ts,
            priority: holder.priority,
            read_seq: 0,
            ignored: IgnoredSeqs::default(),
            observed: Observed::default(),
        };
        let push_to = read_ts.map_or(Timestamp::ZERO, Timestamp::next);
        let push_type = if read_ts.is_some() { PushType::Timestamp } else { PushType::Abort };
        let dependents = if read_ts.is_some() { Vec::new() } else { self.dependents_of(header).await };
        if let Some(own) = &header.txn
            && must_give_way(own.id, holder.id, &dependents)
        {
            Counters::increment(&self.counters.deadlocks);
            return Err(Error::Deadlock { holder: holder.id });
        }
        let request = Request::PushTxn { pushee, push_type, push_to, force: false, dependents };
        let header =
            BatchHeader { txn: header.txn.clone(), timestamp: header.timestamp, ..BatchHeader::default() };
        let response = self.send_to_holder(header, request).await?;
        let Response::PushTxn { record, .. } = response else {
            return Err(Error::Internal("a push was answered by something else".to_owned()));
        };
        Ok(match record.status {
            TxnStatus::Committed | TxnStatus::Aborted => Found::Finished(record),
            TxnStatus::Pending if read_ts.is_some_and(|read_ts| record.write_ts > read_ts) => Found::Passed,
            TxnStatus::Pending | TxnStatus::Staging => Found::Open,
        })
    }

    /// Who waits for the waiter, as the range of its record knows. On a store without peers the lock table knows, and has
    /// looked already.
    async fn dependents_of(self: &Arc<Self>, header: &BatchHeader) -> Vec<basalt_base::TxnId> {
        let Some(txn) = header.txn.as_ref().filter(|txn| !txn.anchor.is_empty()) else { return Vec::new() };
        if self.other_nodes().is_empty() {
            return Vec::new();
        }
        let request = Request::QueryTxn { anchor: txn.anchor.clone(), id: txn.id };
        match self.send_to_holder(BatchHeader::default(), request).await {
            Ok(Response::QueryTxn { dependents, .. }) => dependents,
            // The next push asks again.
            _ => Vec::new(),
        }
    }

    /// Removes the locks of a finished transaction that the request met.
    async fn clean_up(
        self: &Arc<Self>,
        holder: &HolderInfo,
        record: &TxnRecord,
        met: &[&Conflict],
        conflicts: &[Conflict],
        requests: &[Request],
    ) -> Result<()> {
        self.locks.release_txn(holder.id);
        let txn = ResolvedTxn {
            id: record.id,
            epoch: record.epoch,
            status: record.status,
            timestamp: record.write_ts,
            ignored: record.ignored.clone(),
        };
        let keys: Vec<_> = if met.is_empty() {
            vec![&conflicts[0].key]
        } else {
            met.iter().map(|conflict| &conflict.key).collect()
        };
        let request = match (keys.iter().min(), keys.iter().max()) {
            (Some(low), Some(high)) if low != high => {
                let mut span = Span::new((**low).clone(), keys::prefix_end(high));
                if met.len() >= evaluate::CONFLICTS_MAX {
                    span = widened(span, requests);
                }
                Request::ResolveLockRange { span, txn, keys_max: RESOLVE_KEYS_MAX }
            }
            _ => Request::ResolveLock { key: keys[0].clone(), txn },
        };
        self.send_to_holder(BatchHeader::default(), request).await.map(|_| ())
    }

    async fn send_to_holder(self: &Arc<Self>, header: BatchHeader, request: Request) -> Result<Response> {
        let batch = BatchRequest { header, requests: vec![request] };
        let mut response = Box::pin(self.route(batch)).await?;
        response.responses.pop().ok_or_else(|| Error::Internal("an empty answer".to_owned()))
    }
}

fn is_plain_read(request: &Request) -> bool {
    matches!(request, Request::Get { lock: None, .. } | Request::Scan { lock: None, .. })
}

/// Whether a read can go on as if the locks of a committed transaction were resolved, so that its question was all that
/// they cost it. The record that answered lists them, so somebody will resolve them.
fn is_seen_through(holder: &HolderInfo, record: &TxnRecord, requests: &[Request], waits: &mut Waits) -> bool {
    let sees = record.status == TxnStatus::Committed
        && !record.lock_spans.is_empty()
        && requests.iter().all(is_plain_read)
        // What was known before has not been seen through.
        && !waits.finished.contains_key(&holder.id)
        && waits.finished.len() < FINISHED_MAX;
    if sees {
        let (commit_ts, ignored) = (Some(record.write_ts), record.ignored.0.clone());
        waits.finished.insert(holder.id, FinishedTxn { epoch: record.epoch, commit_ts, ignored });
    }
    sees
}

/// A scan that met as many locks as it looks for will meet more of the same holder: the rest of the scan is cleared
/// with them, or each few locks would cost it a wait and a round of the log.
fn widened(met: Span, requests: &[Request]) -> Span {
    let scan = requests.iter().find_map(|request| match request {
        Request::Scan { span, reverse, .. } if span.contains(&met.start) => Some((span, *reverse)),
        _ => None,
    });
    match scan {
        Some((scan, false)) => Span::new(met.start, met.end.max(scan.end.clone())),
        Some((scan, true)) => Span::new(met.start.min(scan.start.clone()), met.end),
        None => met,
    }
}

fn read_timestamp(header: &BatchHeader) -> Timestamp {
    header.txn.as_ref().map_or(header.timestamp, |txn| txn.read_ts)
}

fn holder_of(blocked: Option<Blocked>) -> Option<basalt_base::TxnId> {
    match blocked {
        Some(Blocked::Held(info)) => Some(info.id),
        _ => None,
    }
}
