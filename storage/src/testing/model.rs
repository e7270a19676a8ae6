//! The naive truth: per key a map of versions and a list of locks.

use std::collections::BTreeMap;

use basalt_base::{Key, Span, Timestamp, TxnId};
use bytes::Bytes;

use crate::mvcc::{
    GetOutcome, ReadContext, Resolution, ResolveStatus, Strength, Version, WriteContext, WriteOutcome,
    ignores,
};

#[derive(Clone, Debug)]
pub(super) struct ModelLock {
    pub txn: TxnId,
    pub strength: Strength,
    pub epoch: u32,
    pub write_ts: Timestamp,
    /// Nothing of it commits below.
    pub first_ts: Timestamp,
    pub local_ts: Timestamp,
    /// Ascending by sequence number; a lock without value has one entry.
    pub values: Vec<(u32, Option<Bytes>)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ModelKey {
    /// Value and local timestamp by timestamp.
    pub versions: BTreeMap<Timestamp, (Option<Bytes>, Timestamp)>,
    pub locks: Vec<ModelLock>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub keys: BTreeMap<Key, ModelKey>,
}

/// A read's result in a form both sides can be brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Value(Option<(Bytes, Timestamp)>),
    Conflict(TxnId),
    Uncertain(Timestamp),
}

impl From<GetOutcome> for Seen {
    fn from(outcome: GetOutcome) -> Self {
        match outcome {
            GetOutcome::Found(version) => Self::Value(version.map(|Version { value, ts }| (value, ts))),
            GetOutcome::Conflict(found) => Self::Conflict(found.lock.txn_id),
            GetOutcome::Uncertain { ts, .. } => Self::Uncertain(ts),
        }
    }
}

impl Model {
    pub fn get(&self, key: &Key, context: &ReadContext<'_>) -> Seen {
        let Some(state) = self.keys.get(key) else { return Seen::Value(None) };
        let uncertain = |ts: Timestamp, local: Timestamp| {
            context.read_ts < ts && ts <= context.global_limit && local <= context.local_limit
        };
        for lock in state.locks.iter().filter(|lock| lock.strength == Strength::Intent) {
            match context.txn.filter(|own| own.id == lock.txn) {
                Some(own) if own.epoch == lock.epoch => {
                    let mut visible = lock.values.iter().rev();
                    let seen = visible.find(|(seq, _)| *seq <= own.read_seq && !ignores(own.ignored, *seq));
                    if let Some((_, value)) = seen {
                        return Seen::Value(value.clone().map(|value| (value, lock.write_ts)));
                    }
                }
                Some(_) => {}
                None if lock.first_ts <= context.read_ts || uncertain(lock.first_ts, lock.local_ts) => {
                    return Seen::Conflict(lock.txn);
                }
                None => {}
            }
        }
        if let Some((ts, _)) = state.versions.iter().rev().find(|(ts, (_, local))| uncertain(**ts, *local)) {
            return Seen::Uncertain(*ts);
        }
        let newest = state.versions.range(..=context.read_ts).next_back();
        Seen::Value(newest.and_then(|(ts, (value, _))| value.clone().map(|value| (value, *ts))))
    }

    pub fn newest(&self, key: &Key) -> Option<Timestamp> {
        self.keys.get(key)?.versions.keys().next_back().copied()
    }

    /// The transactions whose locks keep `txn` from taking `strength`.
    fn blockers(&self, key: &Key, txn: Option<TxnId>, strength: Strength) -> bool {
        let locks = self.keys.get(key).map_or(&[][..], |state| &state.locks);
        let shared = |lock: &ModelLock| lock.strength == Strength::Shared && strength == Strength::Shared;
        locks.iter().any(|lock| Some(lock.txn) != txn && !shared(lock))
    }

    pub fn write(&mut self, key: &Key, value: Option<Bytes>, context: &WriteContext<'_>) -> WriteOutcome {
        let txn = context.txn;
        if self.blockers(key, Some(txn.id), Strength::Intent) {
            return WriteOutcome::Conflict(Vec::new());
        }
        let newest = self.newest(key);
        let state = self.keys.entry(key.clone()).or_default();
        if state.locks.iter().any(|lock| lock.txn == txn.id && lock.epoch > txn.epoch) {
            return WriteOutcome::StaleEpoch;
        }
        let own = state.locks.iter().position(|lock| lock.txn == txn.id && lock.strength == Strength::Intent);
        let current = own.map(|at| state.locks[at].clone());
        if let Some(lock) = current.as_ref().filter(|lock| lock.epoch == txn.epoch)
            && lock.values.last().is_some_and(|(seq, _)| *seq >= context.seq)
        {
            let same = lock.values.iter().any(|entry| *entry == (context.seq, value.clone()));
            return if same { WriteOutcome::Written(lock.write_ts) } else { WriteOutcome::ReplayMismatch };
        }
        if let Some(newest) = newest.filter(|&ts| ts > context.read_ts || ts >= context.write_ts) {
            return WriteOutcome::WriteTooOld(newest.next());
        }
        let mut values = Vec::new();
        let write_ts = current.as_ref().map_or(context.write_ts, |lock| context.write_ts.max(lock.write_ts));
        let (mut first_ts, mut local_ts) = (write_ts, context.local_ts);
        if let Some(lock) = current.filter(|lock| lock.epoch == txn.epoch) {
            values = lock.values;
            values.retain(|(seq, _)| !ignores(txn.ignored, *seq));
            if !values.is_empty() {
                (first_ts, local_ts) = (first_ts.min(lock.first_ts), local_ts.min(lock.local_ts));
            }
        }
        values.push((context.seq, value));
        let lock = ModelLock {
            txn: txn.id,
            strength: Strength::Intent,
            epoch: txn.epoch,
            write_ts,
            first_ts,
            local_ts,
            values,
        };
        match own {
            Some(at) => state.locks[at] = lock,
            None => state.locks.push(lock),
        }
        WriteOutcome::Written(write_ts)
    }

    pub fn lock(&mut self, key: &Key, strength: Strength, context: &WriteContext<'_>) -> WriteOutcome {
        let txn = context.txn;
        if self.blockers(key, Some(txn.id), strength) {
            return WriteOutcome::Conflict(Vec::new());
        }
        let newest = self.newest(key);
        let state = self.keys.entry(key.clone()).or_default();
        if state.locks.iter().any(|lock| lock.txn == txn.id && lock.epoch > txn.epoch) {
            return WriteOutcome::StaleEpoch;
        }
        let mut enough: Vec<&ModelLock> = state.locks.iter().collect();
        enough.retain(|lock| {
            let since = lock.values.first().map_or(0, |(seq, _)| *seq);
            lock.txn == txn.id && lock.epoch == txn.epoch && lock.strength <= strength && since <= context.seq
        });
        if let Some(lock) = enough.iter().min_by_key(|lock| lock.strength) {
            return WriteOutcome::Written(lock.write_ts);
        }
        if let Some(newest) = newest.filter(|&ts| ts > context.read_ts) {
            return WriteOutcome::WriteTooOld(newest.next());
        }
        let own = state.locks.iter().position(|lock| lock.txn == txn.id && lock.strength == strength);
        let write_ts = own.map_or(context.write_ts, |at| context.write_ts.max(state.locks[at].write_ts));
        let values = vec![(context.seq, None)];
        let lock = ModelLock {
            txn: txn.id,
            strength,
            epoch: txn.epoch,
            write_ts,
            first_ts: write_ts,
            local_ts: context.local_ts,
            values,
        };
        match own {
            Some(at) => state.locks[at] = lock,
            None => state.locks.push(lock),
        }
        WriteOutcome::Written(write_ts)
    }

    pub fn put_committed(
        &mut self,
        key: &Key,
        value: Option<Bytes>,
        commit_ts: Timestamp,
        read_ts: Timestamp,
        local_ts: Timestamp,
    ) -> WriteOutcome {
        if self.blockers(key, None, Strength::Intent) {
            return WriteOutcome::Conflict(Vec::new());
        }
        if let Some(newest) = self.newest(key).filter(|&ts| ts > read_ts || ts >= commit_ts) {
            return WriteOutcome::WriteTooOld(newest.next());
        }
        let state = self.keys.entry(key.clone()).or_default();
        state.versions.insert(commit_ts, (value, local_ts.min(commit_ts)));
        WriteOutcome::Written(commit_ts)
    }

    pub fn resolve(&mut self, key: &Key, resolution: &Resolution<'_>) {
        let Some(state) = self.keys.get_mut(key) else { return };
        let versions = &mut state.versions;
        state.locks.retain_mut(|lock| {
            if lock.txn != resolution.txn_id {
                return true;
            }
            if resolution.status == ResolveStatus::Aborted || lock.epoch < resolution.epoch {
                return false;
            }
            if lock.epoch > resolution.epoch {
                return true;
            }
            lock.values.retain(|(seq, _)| !ignores(resolution.ignored, *seq));
            if resolution.status == ResolveStatus::Pending {
                lock.write_ts = lock.write_ts.max(resolution.ts);
                lock.first_ts = lock.first_ts.max(resolution.ts);
                return !lock.values.is_empty();
            }
            let newest = versions.keys().next_back();
            let is_late =
                lock.write_ts > resolution.ts && newest.is_some_and(|newest| *newest >= resolution.ts);
            if let (Some((_, value)), Strength::Intent, false) = (lock.values.last(), lock.strength, is_late)
            {
                versions.insert(resolution.ts, (value.clone(), lock.local_ts.min(resolution.ts)));
            }
            false
        });
    }

    pub fn has_foreign_change(
        &self,
        span: &Span,
        from: Timestamp,
        to: Timestamp,
        own: Option<TxnId>,
    ) -> bool {
        self.keys.range(span.start.clone()..span.end.clone()).any(|(_, state)| {
            let intent = |lock: &ModelLock| {
                lock.strength == Strength::Intent && Some(lock.txn) != own && lock.first_ts <= to
            };
            state.versions.keys().any(|ts| *ts > from && *ts <= to) || state.locks.iter().any(intent)
        })
    }

    pub fn gc(&mut self, span: &Span, threshold: Timestamp) {
        for (_, state) in self.keys.range_mut(span.start.clone()..span.end.clone()) {
            let newest =
                state.versions.range(..=threshold).next_back().map(|(ts, (value, _))| (*ts, value.is_some()));
            if let Some((newest, live)) = newest {
                state.versions.retain(|ts, _| *ts > newest || (*ts == newest && live));
            }
        }
    }
}
