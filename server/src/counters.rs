//! What the layers count, by name.

use std::sync::Arc;

use basalt_kv::Store;
use basalt_storage::Engine;
use basalt_txn::TxnClient;

pub struct Counters {
    engine: Arc<dyn Engine>,
    store: Arc<Store>,
    client: TxnClient,
}

impl Counters {
    pub fn new(engine: Arc<dyn Engine>, store: Arc<Store>, client: TxnClient) -> Self {
        Self { engine, store, client }
    }
}

/// Pairs of `prefix_field` and value.
macro_rules! named {
    ($prefix:literal, $counts:expr, $($field:ident),* $(,)?) => {
        [$((concat!($prefix, "_", stringify!($field)), $counts.$field)),*]
    };
}

impl Counters {
    pub fn metrics(&self) -> Vec<(String, i64)> {
        let engine = self.engine.counts();
        let raft = self.store.raft_counts();
        let kv = self.store.counts();
        let txn = self.client.counts();
        let mut all = Vec::new();
        all.extend(named!("storage", engine, gets, seeks, steps, batches, batch_bytes, flushes));
        all.extend(named!(
            "raft",
            raft,
            fsyncs,
            log_bytes,
            entries,
            rounds,
            proposals,
            applied,
            apply_batches,
            leader_changes,
            messages,
            snapshots_sent,
            snapshots_installed,
            flushes,
            segments_removed,
            cache_misses,
            ticks,
        ));
        all.extend(named!(
            "kv",
            kv,
            batches,
            gets,
            scans,
            puts,
            deletes,
            end_txns,
            pushes,
            resolves,
            refreshes,
            others,
            commits_one_phase,
            commits_two_phase,
            aborts,
            proposals,
            rejections,
            latch_waits,
            lock_waits,
            deadlocks,
            write_too_old,
            uncertain_reads,
            forwarded,
            splits,
            gc_runs,
            batches_divided,
            routing_refreshes,
            follower_reads,
            follower_refusals,
        ));
        all.extend(named!(
            "txn",
            txn,
            begins,
            commits,
            one_phase,
            rollbacks,
            refreshes,
            refresh_failures,
            batch_retries,
            restarts,
            flushes,
            ambiguous,
            heartbeats,
            resolutions_inline,
        ));
        all.push(("kv_transactions_resolving", self.store.transactions_resolving() as u64));
        all.push(("kv_ranges", self.store.ranges().len() as u64));
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), i64::try_from(value).unwrap_or(i64::MAX)))
            .collect()
    }
}
