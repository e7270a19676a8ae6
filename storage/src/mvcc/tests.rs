//! One script per rule. A line is `operation arguments`, and the expected answer follows `→`.
//!
//! Keys and values are single words; transactions are `t1`, `t2`; numbers are timestamps, sequence numbers as `#n`.

use basalt_base::{Key, Span, Timestamp, TxnId};
use bytes::Bytes;

use super::*;
use crate::{Engine, MemoryEngine, WriteBatch};

#[derive(Default)]
struct Script {
    engine: MemoryEngine,
    epoch: u32,
    ignored: Vec<(u32, u32)>,
}

fn number(word: &str) -> u64 {
    word.trim_start_matches(['t', '#']).parse().expect("a number")
}

impl Script {
    fn change<T>(&self, run: impl FnOnce(&MemoryEngine, &mut WriteBatch) -> crate::Result<T>) -> T {
        let mut batch = WriteBatch::new();
        let result = run(&self.engine, &mut batch).expect("the engine is sound");
        self.engine.write(batch).expect("no fault is set");
        result
    }

    /// `t1 put k v #seq write_ts read_ts`, `t1 del k #seq write_ts read_ts`, `t1 share|lock k #seq write_ts read_ts`.
    fn write(&self, words: &[&str]) -> String {
        let [txn, what, key, rest @ ..] = words else { panic!("{words:?}") };
        let (value, rest) =
            if matches!(*what, "put" | "insert") { (rest[0], &rest[1..]) } else { ("", rest) };
        let (anchor, key) = (Key::from_static(b"a"), Key::copy_from_slice(key.as_bytes()));
        let txn = WriteTxn {
            id: TxnId(u128::from(number(txn))),
            anchor: &anchor,
            epoch: self.epoch,
            min_ts: Timestamp(1),
            priority: 0,
            ignored: &self.ignored,
        };
        let context = WriteContext {
            txn,
            seq: number(rest[0]) as u32,
            write_ts: Timestamp(number(rest[1])),
            read_ts: Timestamp(number(rest[2])),
            local_ts: Timestamp(number(rest[1]) - 1),
            if_absent: *what == "insert",
        };
        let outcome = self.change(|reader, batch| match *what {
            "put" | "insert" => put(reader, batch, &key, Bytes::copy_from_slice(value.as_bytes()), &context),
            "del" => delete(reader, batch, &key, &context),
            "lock" => acquire_lock(reader, batch, &key, Strength::Exclusive, &context),
            _ => acquire_lock(reader, batch, &key, Strength::Shared, &context),
        });
        match outcome {
            WriteOutcome::Written(ts) => format!("written {}", ts.0),
            WriteOutcome::WriteTooOld(ts) => format!("too old, {}", ts.0),
            WriteOutcome::Conflict(locks) => format!("conflict t{}", locks[0].lock.txn_id.0),
            WriteOutcome::Exists => "exists".to_owned(),
            WriteOutcome::StaleEpoch => "stale".to_owned(),
            WriteOutcome::ReplayMismatch => "mismatch".to_owned(),
        }
    }

    /// `get k read_ts [t1 #seq] [limit global local]`, also as a scan in both directions.
    fn read(&self, words: &[&str]) -> String {
        let key = Key::copy_from_slice(words[0].as_bytes());
        let mut context = ReadContext::at(Timestamp(number(words[1])));
        let mut rest = &words[2..];
        if let [txn, seq, tail @ ..] = rest
            && txn.starts_with('t')
        {
            let id = TxnId(u128::from(number(txn)));
            let read_seq = number(seq) as u32;
            context = context.with_txn(OwnTxn { id, epoch: self.epoch, read_seq, ignored: &self.ignored });
            rest = tail;
        }
        if let ["limit", global, local] = rest {
            context = context.with_limits(Timestamp(number(global)), Timestamp(number(local)));
        }
        let answer = match get(&self.engine, &key, &context).expect("the engine is sound") {
            GetOutcome::Found(None) => "none".to_owned(),
            GetOutcome::Found(Some(version)) => version.value.escape_ascii().to_string(),
            GetOutcome::Conflict(found) => format!("conflict t{}", found.lock.txn_id.0),
            GetOutcome::Uncertain { ts, .. } => format!("uncertain {}", ts.0),
        };
        for reverse in [false, true] {
            let mut rows = Vec::new();
            let mut row = |_: &[u8], value: &[u8]| {
                rows.push(value.escape_ascii().to_string());
                std::ops::ControlFlow::Continue(())
            };
            let span = Span::prefix(key.clone());
            let outcome = scan(&self.engine, &span, reverse, &context, &ScanLimits::default(), &mut row)
                .expect("the engine is sound");
            let scanned = match (outcome.conflicts.first(), outcome.uncertain) {
                (Some(found), _) => format!("conflict t{}", found.lock.txn_id.0),
                (None, Some(version)) => format!("uncertain {}", version.ts.0),
                (None, None) => rows.pop().unwrap_or("none".to_owned()),
            };
            assert_eq!(scanned, answer, "scan and get of {words:?}, reverse {reverse}");
        }
        answer
    }

    /// `commit|abort|push t1 k ts`.
    fn resolve(&self, words: &[&str]) -> String {
        let key = Key::copy_from_slice(words[2].as_bytes());
        let status = match words[0] {
            "commit" => ResolveStatus::Committed,
            "abort" => ResolveStatus::Aborted,
            _ => ResolveStatus::Pending,
        };
        let resolution = Resolution {
            txn_id: TxnId(u128::from(number(words[1]))),
            epoch: self.epoch,
            status,
            ts: Timestamp(number(words[3])),
            ignored: &self.ignored,
        };
        let done = self.change(|reader, batch| super::resolve(reader, batch, &key, &resolution));
        format!("committed {} released {} updated {}", done.committed, done.released, done.updated)
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "get" => self.read(&words[1..]),
            "commit" | "abort" | "push" => self.resolve(&words),
            "epoch" => {
                self.epoch = number(words[1]) as u32;
                "ok".to_owned()
            }
            "ignore" => {
                self.ignored = vec![(number(words[1]) as u32, number(words[2]) as u32)];
                "ok".to_owned()
            }
            "gc" => {
                let all = Span::new(Key::from_static(b"a"), Key::from_static(b"z"));
                let threshold = Timestamp(number(words[1]));
                let outcome = self.change(|reader, batch| gc(reader, batch, &all, threshold, usize::MAX));
                format!("deleted {}", outcome.deleted)
            }
            _ => self.write(&words),
        }
    }
}

/// Each script runs on an engine of its own.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "read 1: own value, newest at the statement's sequence number that was not rolled back, else committed",
        "t1 put k c #1 10 10 → written 10
         commit t1 k 10 → committed 1 released 1 updated 0
         t2 put k v2 #2 20 20 → written 20
         t2 put k v5 #5 20 20 → written 20
         get k 20 t2 #9 → v5
         get k 20 t2 #4 → v2
         get k 20 t2 #1 → c
         ignore 4 5 → ok
         get k 20 t2 #9 → v2
         epoch 1 → ok
         get k 20 t2 #9 → c",
    ),
    (
        "read 2: a foreign intent at or below the read timestamp conflicts, above it only if uncertain",
        "t1 put k v #1 20 20 → written 20
         get k 19 → none
         get k 20 → conflict t1
         get k 19 limit 30 18 → none
         get k 19 limit 30 19 → conflict t1
         push t1 k 40 → committed 0 released 0 updated 1
         get k 30 → none
         get k 40 → conflict t1",
    ),
    (
        "read 3: the newest version at or below the timestamp; uncertain ones are reported by their local timestamp",
        "t1 put k v #1 10 10 → written 10
         commit t1 k 10 → committed 1 released 1 updated 0
         t2 put k w #1 20 20 → written 20
         commit t2 k 20 → committed 1 released 1 updated 0
         t2 del k #1 30 30 → written 30
         commit t2 k 30 → committed 1 released 1 updated 0
         get k 9 → none
         get k 19 → v
         get k 29 → w
         get k 30 → none
         get k 15 limit 25 18 → v
         get k 15 limit 25 19 → uncertain 20
         get k 15 limit 35 35 → uncertain 30",
    ),
    (
        "write 1: replays succeed if identical, later epochs replace, earlier ones are refused",
        "t1 put k v1 #1 10 10 → written 10
         t1 put k v2 #2 10 10 → written 10
         t1 put k v1 #1 10 10 → written 10
         t1 put k xx #1 10 10 → mismatch
         t1 del k #2 10 10 → mismatch
         epoch 1 → ok
         t1 put k v3 #3 12 12 → written 12
         get k 12 t1 #9 → v3
         get k 12 t1 #2 → none
         epoch 0 → ok
         t1 put k v4 #4 12 12 → stale",
    ),
    (
        "write 2: a version above the read timestamp, or not below the write timestamp, is too new",
        "t1 put k v #1 10 10 → written 10
         commit t1 k 10 → committed 1 released 1 updated 0
         t2 put k w #1 20 9 → too old, 11
         t2 put k w #1 10 10 → too old, 11
         t2 put k w #1 11 10 → written 11",
    ),
    (
        "write 3: the timestamp never regresses; rolled-back values do not enter the history",
        "t1 put k v1 #1 20 20 → written 20
         t1 put k v2 #2 15 15 → written 20
         ignore 1 2 → ok
         t1 put k v3 #3 15 15 → written 20
         ignore 2 3 → ok
         get k 20 t1 #9 → v1",
    ),
    (
        "locks: one writer, many sharers, and a version above the read timestamp is too new for both",
        "t1 share k #1 10 10 → written 10
         t2 share k #1 10 10 → written 10
         t2 lock k #2 10 10 → conflict t1
         t1 put k v #2 10 10 → conflict t2
         get k 10 → none
         abort t2 k 10 → committed 0 released 1 updated 0
         t1 put k v #2 10 10 → written 10
         t1 lock k #3 10 10 → written 10
         commit t1 k 10 → committed 1 released 2 updated 0
         t2 lock k #1 20 9 → too old, 11
         t2 lock k #1 20 10 → written 20
         t1 share k #1 30 30 → conflict t2",
    ),
    (
        "resolve: idempotent, deaf to others and to newer epochs, and late ones change nothing",
        "t1 put k v #1 10 10 → written 10
         commit t2 k 10 → committed 0 released 0 updated 0
         push t1 k 15 → committed 0 released 0 updated 1
         push t1 k 12 → committed 0 released 0 updated 0
         commit t1 k 16 → committed 1 released 1 updated 0
         commit t1 k 16 → committed 0 released 0 updated 0
         abort t1 k 16 → committed 0 released 0 updated 0
         get k 15 → none
         get k 16 → v
         epoch 2 → ok
         t2 put k w #1 20 20 → written 20
         epoch 1 → ok
         commit t2 k 20 → committed 0 released 0 updated 0
         epoch 3 → ok
         commit t2 k 20 → committed 0 released 1 updated 0
         get k 20 → v",
    ),
    (
        "read: what is rolled back may lie above the commit, so a lock counts from its earliest value on",
        "t1 put k v1 #1 10 10 → written 10
         t1 put k v2 #3 30 30 → written 30
         get k 9 → none
         get k 20 → conflict t1
         get k 5 limit 12 9 → conflict t1
         get k 5 limit 12 8 → none
         push t1 k 15 → committed 0 released 0 updated 1
         get k 14 → none
         get k 20 → conflict t1
         ignore 1 3 → ok
         commit t1 k 20 → committed 1 released 1 updated 0
         get k 20 → v1",
    ),
    (
        "resolve: rolled-back values are dropped, and the lock with the last of them",
        "t1 put k v1 #1 10 10 → written 10
         t1 put k v2 #2 10 10 → written 10
         t1 put j v3 #3 10 10 → written 10
         ignore 1 3 → ok
         commit t1 k 10 → committed 1 released 1 updated 0
         commit t1 j 10 → committed 0 released 1 updated 0
         get k 10 → v1
         get j 10 → none",
    ),
    (
        "insert: not over a row that the transaction sees, its own deletions and rolled-back values considered",
        "t1 put k v #1 10 10 → written 10
         commit t1 k 10 → committed 1 released 1 updated 0
         t2 insert k w #1 20 20 → exists
         t2 insert k w #1 20 9 → too old, 11
         t2 del k #1 20 20 → written 20
         t2 insert k w #2 20 20 → written 20
         t2 insert k w #2 20 20 → written 20
         t2 insert k x #3 20 20 → exists
         t1 insert k x #3 20 20 → conflict t2
         ignore 1 3 → ok
         t2 insert k x #4 20 20 → written 20
         ignore 0 9 → ok
         t2 insert k x #10 20 20 → exists
         commit t2 k 20 → committed 0 released 1 updated 0
         ignore 0 0 → ok
         t3 del k #1 30 30 → written 30
         commit t3 k 30 → committed 1 released 1 updated 0
         t4 insert k y #1 40 40 → written 40",
    ),
    (
        "resolve: what a committed transaction writes once more, when its lock is resolved, is nothing",
        "t1 put k old #1 10 10 → written 10
         t1 put k new #2 10 10 → written 10
         commit t1 k 10 → committed 1 released 1 updated 0
         t1 put k old #1 20 10 → written 20
         commit t1 k 10 → committed 0 released 1 updated 0
         get k 30 → new
         t2 put k w #1 30 30 → written 30
         commit t2 k 30 → committed 1 released 1 updated 0
         t1 put k old #1 40 30 → written 40
         commit t1 k 10 → committed 0 released 1 updated 0
         get k 20 → new
         get k 40 → w",
    ),
    (
        "collection: the newest version at or below the threshold stays unless it is a tombstone",
        "t1 put k v #1 10 10 → written 10
         commit t1 k 10 → committed 1 released 1 updated 0
         t1 put k w #1 20 20 → written 20
         commit t1 k 20 → committed 1 released 1 updated 0
         t1 put j v #1 10 10 → written 10
         commit t1 j 10 → committed 1 released 1 updated 0
         t1 del j #1 15 15 → written 15
         commit t1 j 15 → committed 1 released 1 updated 0
         gc 19 → deleted 2
         get k 19 → v
         get j 19 → none
         gc 20 → deleted 1
         get k 20 → w",
    ),
];

#[test]
fn every_rule_has_a_script() {
    for (rule, lines) in SCRIPTS {
        let mut script = Script::default();
        for line in lines.lines() {
            let (operation, expected) = line.split_once('→').expect("an operation and an answer");
            assert_eq!(script.run(operation), expected.trim(), "{rule}\n{line}");
        }
    }
}
