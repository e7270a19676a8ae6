//! Signs of life.
//!
//! Others take a transaction for abandoned when its record shows no heartbeat for five seconds. One loop per node,
//! alive while any transaction holds locks, beats for those older than a second: short transactions never write a
//! record.

use std::{sync::Arc, time::Duration};

use basalt_base::TxnId;
use basalt_kv_api::{BatchHeader, BatchRequest, Error as StoreError, Request, Response, TxnStatus};

use crate::{
    client::Shared,
    counts::bump,
    state::{Phase, State},
    transaction::Inner,
};

/// Younger transactions do without.
const AGE_MIN: Duration = Duration::from_secs(1);

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

    pub(crate) fn unregister(&self, state: &mut State) {
        if std::mem::replace(&mut state.registered, false) {
            self.shared.live.lock().txns.remove(&state.meta.id);
        }
    }
}

async fn beat(shared: Arc<Shared>) {
    loop {
        shared.env.spawner.sleep(shared.options.heartbeat_interval).await;
        let txns: Vec<(TxnId, Arc<Inner>)> = {
            let mut live = shared.live.lock();
            live.txns.retain(|_, txn| txn.strong_count() > 0);
            if live.txns.is_empty() {
                live.beating = false;
                return;
            }
            live.txns.iter().filter_map(|(id, txn)| Some((*id, txn.upgrade()?))).collect()
        };
        for (id, txn) in txns {
            beat_one(&shared, id, &txn).await;
        }
    }
}

async fn beat_one(shared: &Shared, id: TxnId, txn: &Inner) {
    let Ok(now) = shared.sender.now() else { return };
    let meta = {
        let mut state = txn.state();
        let old = shared.env.clock.monotonic().saturating_sub(state.began) >= AGE_MIN;
        if !old || state.meta.id != id || !matches!(state.phase, Phase::Active | Phase::Committing) {
            return;
        }
        state.record = true;
        state.meta.clone()
    };
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
    if aborted {
        let mut state = txn.state();
        // A commit under way learns of it from its own answer.
        if state.meta.id == id && state.meta.epoch == epoch && state.phase == Phase::Active {
            state.phase = Phase::Aborted;
        }
    }
}
