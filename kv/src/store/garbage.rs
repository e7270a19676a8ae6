//! Collection of old versions.
//!
//! Versions stay readable for a time to live. How many have outlived it is estimated from the bytes written: what was
//! written before now − TTL and since the last collection *may* have replaced something. A range is scanned when that
//! is more than a fifth of its size, so that the cost of scanning is bounded by the cost of writing, and a store
//! where nothing changes does nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use basalt_base::{RangeId, Timestamp};
use basalt_env::Env;
use basalt_kv_api::{BatchHeader, BatchRequest, Error, Request, Response, Result};

use super::{
    Store,
    open::alive,
    proposal::{Proposed, Tail},
};
use crate::{
    counts::Counters,
    evaluate::Effects,
    replica::{Command, Header, Replica, StatsDelta, Trigger},
};

/// Versions deleted by one command.
const VERSIONS_MAX: u64 = 10_000;
/// Readings of one range's garbage that are kept.
const SAMPLES_MAX: usize = 128;
/// Share of a range's bytes that makes a collection worth while.
const SHARE: i64 = 5;

/// What a range had written at past times.
#[derive(Default)]
struct History {
    samples: VecDeque<(Duration, i64)>,
}

impl History {
    fn add(&mut self, now: Duration, garbage: i64, spacing: Duration) {
        let recent = self.samples.back().is_some_and(|(at, _)| now.saturating_sub(*at) < spacing);
        if !recent {
            self.samples.push_back((now, garbage));
        }
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }

    /// The garbage that was there `ttl` ago.
    fn older_than(&self, now: Duration, ttl: Duration) -> i64 {
        let old = self.samples.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= ttl);
        old.map_or(0, |(_, garbage)| *garbage)
    }
}

impl Store {
    pub(super) async fn run_garbage(store: Weak<Self>, env: Env) {
        let mut histories: BTreeMap<RangeId, History> = BTreeMap::new();
        let Some(interval) = alive(&store).map(|store| store.config.gc_interval) else { return };
        loop {
            env.spawner.sleep(interval).await;
            let Some(store) = alive(&store) else { return };
            for replica in store.states.ranges.all() {
                if !store.serves(&replica) {
                    histories.remove(&replica.range_id);
                    continue;
                }
                let history = histories.entry(replica.range_id).or_default();
                if let Err(error) = store.collect_if_due(&replica, history).await {
                    tracing::debug!(range_id = %replica.range_id, %error, "old versions were not collected");
                }
            }
        }
    }

    async fn collect_if_due(self: &Arc<Self>, replica: &Arc<Replica>, history: &mut History) -> Result<()> {
        let ttl = self.config.version_ttl;
        let now = self.env.clock.monotonic();
        let applied = replica.applied();
        if applied.garbage == 0 {
            return Ok(());
        }
        history.add(now, applied.garbage, ttl / (SAMPLES_MAX as u32 / 2));
        let old = history.older_than(now, ttl);
        let least = i64::try_from(self.config.garbage_bytes_min).unwrap_or(i64::MAX);
        if old < least.max(applied.bytes / SHARE) {
            return Ok(());
        }
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let threshold = Timestamp::from_parts(self.now()?.physical_ms().saturating_sub(ttl_ms), 0);
        self.collect_range(replica, threshold).await?;
        history.samples.iter_mut().for_each(|(_, garbage)| *garbage -= old);
        let forget = StatsDelta { garbage: -old, ..StatsDelta::default() };
        self.propose_alone(replica, Trigger::None, forget).await
    }

    /// Deletes what no read above `threshold` needs.
    async fn collect_range(self: &Arc<Self>, replica: &Arc<Replica>, threshold: Timestamp) -> Result<()> {
        Counters::increment(&self.counters.gc_runs);
        let mut next = Some(replica.descriptor().span.clone());
        while let Some(span) = next.take() {
            let request = Request::GarbageCollect { span, threshold, keys_max: VERSIONS_MAX };
            let batch = BatchRequest { header: BatchHeader::default(), requests: vec![request] };
            let response = Box::pin(self.route(batch)).await?;
            match response.responses.into_iter().next() {
                Some(Response::GarbageCollect { resume }) => next = resume,
                _ => return Err(Error::Internal("a collection was answered by something else".to_owned())),
            }
        }
        Ok(())
    }

    /// Reads at or below `threshold` end before anything that they need goes.
    pub(super) async fn raise_gc_threshold(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        threshold: Timestamp,
    ) -> Result<()> {
        if threshold <= replica.gc_threshold() {
            return Ok(());
        }
        self.propose_alone(replica, Trigger::GcThreshold(threshold), StatsDelta::default()).await
    }

    /// Proposes a command that touches no key.
    pub(super) async fn propose_alone(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        trigger: Trigger,
        stats: StatsDelta,
    ) -> Result<()> {
        loop {
            let view = self.lease_view(replica, Timestamp::ZERO)?;
            let header = Header {
                lease_sequence: view.sequence,
                generation: view.descriptor.generation,
                closed_ts: self.close(replica),
                ..Header::default()
            };
            let command = Command { header, stats, trigger: trigger.clone(), ..Command::default() };
            let tail = Tail {
                store: Arc::clone(self),
                replica: Arc::clone(replica),
                future: self.raft().propose(replica.range_id, command.encode()),
                guard: self.latches.acquire(Vec::new()),
                effects: Effects::default(),
            };
            if let Proposed::Applied = self.decided(tail).await? {
                return Ok(());
            }
        }
    }
}
