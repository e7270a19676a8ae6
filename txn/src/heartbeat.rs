//! Signs of life.
//!
//! Others take a transaction for abandoned when its record shows no heartbeat for two seconds. One loop per node,
//! alive while any transaction holds locks, beats for those older than half a second: short transactions never write a
//! record.
//!
//! Each beat is a round of the log, and may wait for a latch: they go out side by side, and one that is slow holds up
//! neither the others nor their next time.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::TxnId;
use basalt_kv_api::{BatchHeader, BatchRequest, Error as StoreError, Request, Response, TxnStatus};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::{
    client::Shared,
    counts::bump,
    state::{Phase, State},
    transaction::Inner,
};

/// Beats on their way at once.
const BEATS_MAX: usize = 256;

/// Younger transactions do without.
const AGE_MIN: Duration = Duration::from_millis(500);

impl Inner {
    /// Has the transaction kept alive from now on. Called when it takes its first lock.
    pub(crate) fn register(&self, state: &mut State) {
        if state.registered {
            return;
        }
        state.registered = true;
        let mut live = self.shared.live.lock();
        live.txns.insert(state.meta.id, self.me.clone());
        if !std::mem::replace(&mut live.beating, true) {
            let shared = self.shared.clone();
            self.shared.env.spawner.spawn("txn-heartbeat", Box::pin(beat(shared)));
        }
    }

    /// Has the record hear of the transaction at once, and of how far it has come.
    pub(crate) fn report(&self) {
        let (shared, id, txn) = (self.shared.clone(), self.state().meta.id, self.me.clone());
        let report = async move {
            beat_one(&shared, id, txn, Duration::ZERO).await;
        };
        self.shared.env.spawner.spawn("txn-report", Box::pin(report));
    }

    pub(crate) fn unregister(&self, state: &mut State) {
        if std::mem::replace(&mut state.registered, false) {
            self.shared.live.lock().txns.remove(&state.meta.id);
        }
    }
}

async fn beat(shared: Arc<Shared>) {
    let mut due = VecDeque::new();
    let mut busy = BTreeSet::new();
    let mut beats = FuturesUnordered::new();
    let mut pause = shared.env.spawner.sleep(shared.options.heartbeat_interval);
    loop {
        while beats.len() < BEATS_MAX
            && let Some((id, txn)) = due.pop_front()
        {
            if busy.insert(id) {
                beats.push(beat_one(&shared, id, txn, AGE_MIN));
            }
        }
        tokio::select! {
            biased;
            Some(id) = beats.next(), if !beats.is_empty() => {
                busy.remove(&id);
            }
            () = &mut pause => {
                let mut live = shared.live.lock();
                live.txns.retain(|_, txn| txn.strong_count() > 0);
                if live.txns.is_empty() {
                    live.beating = false;
                    return;
                }
                // Those of the last time that are still waiting were registered before these.
                let waiting: BTreeSet<TxnId> = due.iter().map(|(id, _)| *id).collect();
                let others = live.txns.iter().filter(|(id, _)| !busy.contains(id) && !waiting.contains(id));
                due.extend(others.map(|(id, txn)| (*id, txn.clone())));
                drop(live);
                pause = shared.env.spawner.sleep(shared.options.heartbeat_interval);
            }
        }
    }
}

/// Does not keep the transaction alive while it waits for the answer.
async fn beat_one(shared: &Shared, id: TxnId, txn: Weak<Inner>, age_min: Duration) -> TxnId {
    let meta = txn.upgrade().and_then(|txn| {
        let mut state = txn.state();
        let old = shared.env.clock.monotonic().saturating_sub(state.began) >= age_min;
        if !old || state.meta.id != id || !matches!(state.phase, Phase::Active | Phase::Committing) {
            return None;
        }
        state.record = true;
        let mut meta = state.meta.clone();
        if state.is_staging {
            // A record that hears of a later timestamp takes the staged commit for failed.
            meta.write_ts = meta.min_ts;
        }
        Some(meta)
    });
    let (Some(meta), Ok(now)) = (meta, shared.sender.now()) else { return id };
    bump(&shared.counters.heartbeats);
    let requests = vec![Request::HeartbeatTxn { anchor: meta.anchor.clone(), now }];
    let epoch = meta.epoch;
    let header = BatchHeader { txn: Some(meta), ..BatchHeader::default() };
    let aborted = match shared.sender.send(BatchRequest { header, requests }).await {
        Ok(response) => matches!(
            response.responses.first(),
            Some(Response::HeartbeatTxn { record }) if record.status == TxnStatus::Aborted
        ),
        Err(StoreError::TxnAborted { .. }) => true,
        // The next beat tries again.
        Err(_) => false,
    };
    if aborted && let Some(txn) = txn.upgrade() {
        let mut state = txn.state();
        // A commit under way learns of it from its own answer.
        if state.meta.id == id && state.meta.epoch == epoch && state.phase == Phase::Active {
            state.phase = Phase::Aborted;
        }
    }
    id
}
