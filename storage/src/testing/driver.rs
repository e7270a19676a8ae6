//! Random operations on an engine and on the model, compared one by one.

use std::ops::ControlFlow;

use basalt_base::keys::prefix_end;
use basalt_base::{Key, Span, Timestamp, TxnId};
use bytes::Bytes;

use super::Random;
use super::model::{Model, Seen};
use crate::mvcc::{
    self, FinishedTxn, FinishedTxns, OwnTxn, ReadContext, Resolution, ResolveStatus, ScanLimits, Strength,
    WriteContext, WriteOutcome, WriteTxn,
};
use crate::{Engine, OpenBatch, Reader, WriteBatch};

const KEYS: u64 = 8;
const TXNS: usize = 4;

/// A transaction of the test.
#[derive(Clone, Debug)]
struct Txn {
    id: TxnId,
    anchor: Key,
    epoch: u32,
    seq: u32,
    read_ts: Timestamp,
    write_ts: Timestamp,
    ignored: Vec<(u32, u32)>,
}

/// Runs `steps` operations drawn from `seed` on an engine whose `\x10` keys are empty, and panics at a difference.
pub fn run_model(engine: &dyn Engine, seed: u64, steps: usize) {
    let mut driver = Driver {
        engine,
        open: OpenBatch::new(),
        model: Model::default(),
        random: Random(seed),
        clock: 100,
        gc_threshold: Timestamp::ZERO,
        txns: Vec::new(),
        ended: FinishedTxns::new(),
        finished: Vec::new(),
        provisional_bytes: 0,
        seed,
    };
    for _ in 0..TXNS {
        driver.begin();
    }
    for step in 0..steps {
        driver.step();
        driver.random_read(step, true);
    }
    driver.compare_everything();
}

struct Driver<'e> {
    engine: &'e dyn Engine,
    /// Writes gather here for a while, so that half the reads go through an overlay.
    open: OpenBatch,
    model: Model,
    random: Random,
    clock: u64,
    gc_threshold: Timestamp,
    txns: Vec<Txn>,
    ended: FinishedTxns,
    /// Resolutions to be repeated.
    finished: Vec<(Txn, ResolveStatus, Timestamp)>,
    /// What the operations said of the values of open transactions.
    provisional_bytes: i64,
    seed: u64,
}

impl Driver<'_> {
    fn begin(&mut self) {
        let now = self.tick();
        let id = TxnId(u128::from(self.random.draw()) << 64 | u128::from(self.clock));
        let anchor = self.key();
        self.txns.push(Txn {
            id,
            anchor,
            epoch: 0,
            seq: 0,
            read_ts: now,
            write_ts: now,
            ignored: Vec::new(),
        });
    }

    fn tick(&mut self) -> Timestamp {
        self.clock += 1 + self.random.below(3);
        Timestamp(self.clock)
    }

    fn key(&mut self) -> Key {
        Key::from(vec![0x10, b'k', self.random.below(KEYS) as u8 * 16])
    }

    fn span(&mut self) -> Span {
        let (a, b) = (self.key(), self.key());
        Span::new(a.clone().min(b.clone()), prefix_end(&a.max(b)))
    }

    fn value(&mut self) -> Bytes {
        Bytes::from(format!("v{}", self.random.below(1000)))
    }

    /// Runs a change against engine-plus-batch, and adds what it wrote to the batch.
    fn change<T>(&mut self, run: impl FnOnce(&dyn Reader, &mut WriteBatch) -> crate::Result<T>) -> T {
        let mut batch = WriteBatch::new();
        let outcome = run(&self.open.over(self.engine), &mut batch).expect("the engine is sound");
        self.provisional_bytes += batch.provisional_bytes;
        self.open.append(batch);
        if self.random.one_in(3) {
            self.engine.write(self.open.take()).expect("the engine is sound");
        }
        outcome
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..9 => self.write(),
            9 => self.acquire(),
            10 => self.one_phase(),
            11 => self.savepoint_rollback(),
            12 => self.restart(),
            13 | 14 => self.finish(),
            15 => self.push(),
            16 => self.repeat_resolution(),
            17 => self.refresh(),
            18 if self.random.one_in(3) => self.gc(),
            _ => drop(self.tick()),
        }
    }

    fn agree(&self, what: &str, actual: WriteOutcome, expected: &WriteOutcome) {
        // Which locks conflict is compared by the reads; here it is enough that some do.
        let actual = match actual {
            WriteOutcome::Conflict(locks) => {
                assert!(!locks.is_empty());
                WriteOutcome::Conflict(Vec::new())
            }
            other => other,
        };
        assert_eq!(&actual, expected, "{what}, seed {}", self.seed);
    }

    fn write(&mut self) {
        let at = self.random.below(TXNS as u64) as usize;
        let replay = self.random.one_in(8);
        let txn = &mut self.txns[at];
        if !replay {
            txn.seq += 1;
        }
        let mut txn = txn.clone();
        if self.random.one_in(16) {
            txn.epoch = txn.epoch.saturating_sub(1);
        }
        let key = self.key();
        let value = (!self.random.one_in(4)).then(|| self.value());
        let local_ts = Timestamp(self.clock - self.random.below(8));
        let context = write_context(&txn, local_ts);
        let expected = self.model.write(&key, value.clone(), &context);
        let actual = self.change(|reader, batch| match value {
            Some(value) => mvcc::put(reader, batch, &key, value, &context),
            None => mvcc::delete(reader, batch, &key, &context),
        });
        self.agree("write", actual, &expected);
        if let WriteOutcome::WriteTooOld(ts) = expected {
            let txn = &mut self.txns[at];
            txn.write_ts = txn.write_ts.max(ts);
            txn.read_ts = txn.read_ts.max(ts);
        }
    }

    fn acquire(&mut self) {
        let at = self.random.below(TXNS as u64) as usize;
        self.txns[at].seq += 1;
        let txn = self.txns[at].clone();
        let strength = if self.random.one_in(2) { Strength::Shared } else { Strength::Exclusive };
        let key = self.key();
        let context = write_context(&txn, Timestamp(self.clock));
        let expected = self.model.lock(&key, strength, &context);
        let actual = self.change(|reader, batch| mvcc::acquire_lock(reader, batch, &key, strength, &context));
        self.agree("lock", actual, &expected);
    }

    fn one_phase(&mut self) {
        let (key, value) = (self.key(), (!self.random.one_in(4)).then(|| self.value()));
        let read_ts = Timestamp(self.clock - self.random.below(4));
        let ts = self.tick();
        let local = Timestamp(self.clock - self.random.below(6));
        let expected = self.model.put_committed(&key, value.clone(), ts, read_ts, local);
        let actual = self.change(|reader, batch| {
            mvcc::put_committed(reader, batch, &key, value.as_deref(), None, ts, read_ts, local, false)
        });
        self.agree("one-phase commit", actual, &expected);
    }

    fn savepoint_rollback(&mut self) {
        let at = self.random.below(TXNS as u64) as usize;
        let txn = &mut self.txns[at];
        let lowest = txn.ignored.last().map_or(0, |(_, to)| *to);
        let from = lowest + self.random.below(u64::from(txn.seq - lowest) + 1) as u32;
        if from < txn.seq {
            txn.ignored.push((from, txn.seq));
        }
    }

    fn restart(&mut self) {
        let now = self.tick();
        let at = self.random.below(TXNS as u64) as usize;
        let txn = &mut self.txns[at];
        txn.epoch += 1;
        txn.read_ts = txn.read_ts.max(now);
        txn.write_ts = txn.write_ts.max(now);
    }

    fn finish(&mut self) {
        let at = self.random.below(TXNS as u64) as usize;
        let mut txn = self.txns.swap_remove(at);
        self.begin();
        // A commit is at or above every lock of the transaction.
        let locks = self.model.keys.values().flat_map(|state| &state.locks);
        let highest = locks.filter(|lock| lock.txn == txn.id).map(|lock| lock.write_ts).max();
        txn.write_ts = highest.unwrap_or(txn.write_ts).max(self.tick());
        let status = if self.random.one_in(3) { ResolveStatus::Aborted } else { ResolveStatus::Committed };
        let ts = txn.write_ts;
        self.resolve_all(&txn, status, ts);
        self.finished.push((txn, status, ts));
    }

    fn push(&mut self) {
        let now = self.tick();
        let at = self.random.below(TXNS as u64) as usize;
        let mut txn = self.txns[at].clone();
        if self.random.one_in(4) {
            txn.epoch = txn.epoch.saturating_sub(1);
        }
        let key = self.key();
        self.resolve_one(&key, &txn, ResolveStatus::Pending, now);
    }

    fn repeat_resolution(&mut self) {
        if self.finished.is_empty() {
            return;
        }
        let at = self.random.below(self.finished.len() as u64) as usize;
        let (txn, status, ts) = self.finished[at].clone();
        let key = self.key();
        self.resolve_one(&key, &txn, status, ts);
    }

    fn resolve_one(&mut self, key: &Key, txn: &Txn, status: ResolveStatus, ts: Timestamp) {
        let resolution = resolution(txn, status, ts);
        self.model.resolve(key, &resolution);
        self.change(|reader, batch| mvcc::resolve(reader, batch, key, &resolution));
    }

    /// Resolves everywhere, key by key in a random order or by ranges in small pieces.
    fn resolve_all(&mut self, txn: &Txn, status: ResolveStatus, ts: Timestamp) {
        if self.random.one_in(2) {
            for _ in 0..3 {
                let key = self.key();
                self.resolve_one(&key, txn, status, ts);
            }
        }
        let resolution = resolution(txn, status, ts);
        let keys: Vec<Key> = self.model.keys.keys().cloned().collect();
        for key in keys {
            self.model.resolve(&key, &resolution);
        }
        // Until its locks are resolved, readers see through them.
        let commit_ts = (status == ResolveStatus::Committed).then_some(ts);
        let end = FinishedTxn { epoch: txn.epoch, commit_ts, ignored: txn.ignored.clone() };
        self.ended.insert(txn.id, end);
        for step in 0..4 {
            self.random_read(step, false);
        }
        let mut span = Span::prefix(Key::from_static(&[0x10]));
        let max = 1 + self.random.below(3) as usize;
        loop {
            let outcome =
                self.change(|reader, batch| mvcc::resolve_range(reader, batch, &span, &resolution, max));
            match outcome.resume {
                Some(resume) => span.start = resume,
                None => return,
            }
        }
    }

    fn refresh(&mut self) {
        let span = self.span();
        let from = Timestamp(self.clock.saturating_sub(self.random.below(60)));
        let to = Timestamp(from.0 + self.random.below(40));
        let at = self.random.below(TXNS as u64) as usize;
        let own = Some(self.txns[at].id);
        let actual = mvcc::has_foreign_change(&self.open.over(self.engine), &span, from, to, own);
        let found = actual.expect("the engine is sound");
        let expected = self.model.has_foreign_change(&span, from, to, own);
        assert_eq!(
            found.is_some(),
            expected,
            "refresh of {span:?} from {from} to {to}: {found:?}, seed {}",
            self.seed
        );
    }

    fn gc(&mut self) {
        let mut span = self.span();
        let threshold = Timestamp(self.clock.saturating_sub(40)).max(self.gc_threshold);
        self.gc_threshold = threshold;
        self.model.gc(&span, threshold);
        let max = 1 + self.random.below(4) as usize;
        loop {
            let outcome = self.change(|reader, batch| mvcc::gc(reader, batch, &span, threshold, max));
            match outcome.resume {
                Some(resume) => span.start = resume,
                None => return,
            }
        }
    }

    /// `resolved`: no ended transaction has locks left, which writers do not see through.
    fn random_read(&mut self, step: usize, resolved: bool) {
        let at = self.random.below(TXNS as u64) as usize;
        let txn = self.txns[at].clone();
        let newest = self.clock.saturating_sub(self.random.below(30)).max(self.gc_threshold.0);
        let ended = self.ended.clone();
        let mut context = ReadContext::at(Timestamp(newest)).with_finished(&ended);
        if self.random.one_in(2) {
            let read_seq = txn.seq - self.random.below(u64::from(txn.seq.min(4)) + 1) as u32;
            context =
                context.with_txn(OwnTxn { id: txn.id, epoch: txn.epoch, read_seq, ignored: &txn.ignored });
        }
        if self.random.one_in(3) {
            let global = Timestamp(newest + self.random.below(30));
            context = context.with_limits(global, Timestamp(newest + self.random.below(30)));
        }
        let key = self.key();
        let span = self.span();
        let limits = ScanLimits {
            rows: if self.random.one_in(3) { 1 + self.random.below(4) as usize } else { usize::MAX },
            steps: if self.random.one_in(4) { 1 + self.random.below(8) } else { u64::MAX },
            bytes: if self.random.one_in(4) { 1 + self.random.below(20) as usize } else { usize::MAX },
            conflicts: 1 + self.random.below(3) as usize,
            lock_skips: self.random.below(4),
        };
        let reverse = step % 2 == 1;
        let overlay = self.open.over(self.engine);
        let seen = Seen::from(mvcc::get(&overlay, &key, &context).expect("the engine is sound"));
        assert_eq!(seen, self.model.get(&key, &context), "get {key:?} {context:?}, seed {}", self.seed);
        let newest = mvcc::newest_version_ts(&overlay, &key).expect("the engine is sound");
        if resolved {
            assert_eq!(newest, self.model.newest(&key), "newest version of {key:?}, seed {}", self.seed);
        }
        let actual = scan_all(&overlay, span.clone(), reverse, &context, &limits);
        let expected = self.expected_scan(&span, reverse, &context);
        assert_eq!(
            actual, expected,
            "scan {span:?} reverse {reverse} {context:?} {limits:?}, seed {}",
            self.seed
        );
    }

    /// Rows up to the first obstacle, and the obstacle.
    fn expected_scan(&self, span: &Span, reverse: bool, context: &ReadContext<'_>) -> Scanned {
        let mut keys: Vec<&Key> =
            self.model.keys.range(span.start.clone()..span.end.clone()).map(|(k, _)| k).collect();
        if reverse {
            keys.reverse();
        }
        let mut rows = Vec::new();
        for key in keys {
            match self.model.get(key, context) {
                Seen::Value(None) => {}
                Seen::Value(Some((value, _))) => rows.push((key.clone(), value)),
                obstacle => return (rows, Some((key.clone(), obstacle))),
            }
        }
        (rows, None)
    }

    fn compare_everything(&mut self) {
        let batch = self.open.take();
        self.engine.write(batch).expect("the engine is sound");
        let span = Span::prefix(Key::from_static(&[0x10]));
        for ts in self.gc_threshold.0..=self.clock + 1 {
            let context = ReadContext::at(Timestamp(ts));
            for reverse in [false, true] {
                let actual = scan_all(self.engine, span.clone(), reverse, &context, &ScanLimits::default());
                assert_eq!(
                    actual,
                    self.expected_scan(&span, reverse, &context),
                    "at {ts}, seed {}",
                    self.seed
                );
            }
        }
        let locks = mvcc::scan_locks(self.engine, &span, usize::MAX).expect("the engine is sound");
        let bytes: i64 = locks.iter().map(|found| found.lock.provisional_bytes(&found.key)).sum();
        assert_eq!(self.provisional_bytes, bytes, "provisional bytes, seed {}", self.seed);
        let mut stored: Vec<_> = locks
            .into_iter()
            .map(|found| {
                let mut values = found.lock.history;
                values.push((found.lock.seq, found.lock.value));
                (
                    found.key,
                    found.lock.strength,
                    found.lock.txn_id.0,
                    found.lock.epoch,
                    [found.lock.write_ts, found.lock.first_ts, found.lock.local_ts],
                    values,
                )
            })
            .collect();
        stored.sort();
        let mut expected: Vec<_> = Vec::new();
        for (key, state) in &self.model.keys {
            for lock in &state.locks {
                let values = lock.values.clone();
                let times = [lock.write_ts, lock.first_ts, lock.local_ts];
                expected.push((key.clone(), lock.strength, lock.txn.0, lock.epoch, times, values));
            }
        }
        expected.sort();
        assert_eq!(stored, expected, "locks, seed {}", self.seed);
    }
}

type Scanned = (Vec<(Key, Bytes)>, Option<(Key, Seen)>);

/// Scans to the end or the first obstacle, resuming as often as the limits stop it.
fn scan_all(
    reader: &dyn Reader,
    mut span: Span,
    reverse: bool,
    context: &ReadContext<'_>,
    limits: &ScanLimits,
) -> Scanned {
    let mut rows = Vec::new();
    loop {
        let mut row = |key: &[u8], value: &[u8]| {
            rows.push((Key::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Continue(())
        };
        let outcome =
            mvcc::scan(reader, &span, reverse, context, limits, &mut row).expect("the engine is sound");
        assert!(outcome.conflicts.len() <= limits.conflicts);
        if let Some(found) = outcome.conflicts.into_iter().next() {
            return (rows, Some((found.key, Seen::Conflict(found.lock.txn_id))));
        }
        if let Some(version) = outcome.uncertain {
            return (rows, Some((version.key, Seen::Uncertain(version.ts))));
        }
        match outcome.resume {
            None => return (rows, None),
            Some(resume) if reverse => span.end = resume,
            Some(resume) => span.start = resume,
        }
    }
}

fn write_context<'a>(txn: &'a Txn, local_ts: Timestamp) -> WriteContext<'a> {
    WriteContext {
        txn: WriteTxn {
            id: txn.id,
            anchor: &txn.anchor,
            epoch: txn.epoch,
            min_ts: txn.read_ts,
            priority: 1,
            ignored: &txn.ignored,
        },
        seq: txn.seq,
        write_ts: txn.write_ts,
        read_ts: txn.read_ts,
        local_ts,
        if_absent: false,
    }
}

fn resolution<'a>(txn: &'a Txn, status: ResolveStatus, ts: Timestamp) -> Resolution<'a> {
    Resolution { txn_id: txn.id, epoch: txn.epoch, status, ts, ignored: &txn.ignored }
}
