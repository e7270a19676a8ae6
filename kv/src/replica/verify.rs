//! Invariants of what is stored. They are looked for in simulations only ([`crate::StoreConfig::verify`]), because they
//! read once more what was read before.

use basalt_base::Timestamp;
use basalt_raft::Result;
use basalt_storage::{
    Family, Op, Reader, WriteBatch,
    mvcc::{self, LockRecord, Resolution, ResolveStatus, Strength, key::decode_key, lock::decode_lock_key},
};

/// What is wrong with what `resolution` makes of the state that `reader` shows.
///
/// A transaction commits at one timestamp, at or above that of each of its provisional values, and its versions are then
/// the newest of their keys.
pub(super) fn resolved(
    reader: &dyn Reader,
    batch: &WriteBatch,
    resolution: &Resolution<'_>,
) -> Result<Option<String>> {
    if resolution.status != ResolveStatus::Committed {
        return Ok(None);
    }
    for op in &batch.ops {
        let Op::Put { family: Family::Data, key, .. } = op else { continue };
        let (user_key, ts) = decode_key(key)?;
        let user_key = key.slice(..user_key.len());
        if ts != resolution.ts {
            return Ok(Some(format!("a value of a commit at {} is put at {ts}", resolution.ts)));
        }
        if let Some(newest) = mvcc::newest_version_ts(reader, &user_key)?
            && newest >= ts
        {
            return Ok(Some(format!("{user_key:02x?} gets a version at {ts} below the one at {newest}")));
        }
        // What was rolled back may have been written late and above: it leaves nothing, or an earlier value.
        if let Some(lock) = mvcc::intent_of(reader, &user_key, resolution.txn_id)?
            && lock.first_ts > ts
        {
            return Ok(Some(format!(
                "transaction {} commits at {ts}, below its write {} of {user_key:02x?} at {}",
                resolution.txn_id, lock.seq, lock.first_ts
            )));
        }
    }
    Ok(None)
}

/// What is wrong with a batch that a leaseholder is about to propose: every version and provisional value in it must lie
/// above what others have read, as `may_write(key, timestamp, owner)` says, and above what is stored.
pub fn written(
    reader: &dyn Reader,
    batch: &WriteBatch,
    own: Option<basalt_base::TxnId>,
    may_write: impl Fn(&[u8], Timestamp, Option<basalt_base::TxnId>) -> bool,
) -> basalt_storage::Result<Option<String>> {
    for op in &batch.ops {
        let Op::Put { family, key, value } = op else { continue };
        let (user_key, ts, owner) = match family {
            Family::Data => {
                let (user_key, ts) = decode_key(key)?;
                (user_key, ts, own)
            }
            Family::Lock => {
                let (user_key, strength, id) = decode_lock_key(key)?;
                if strength != Strength::Intent {
                    continue;
                }
                (user_key, LockRecord::decode_header(id, strength, value)?.write_ts, Some(id))
            }
            Family::Local => continue,
        };
        let user_key = key.slice(..user_key.len());
        if !may_write(&user_key, ts, owner) {
            return Ok(Some(format!("{user_key:02x?} is written at {ts}, where it was read")));
        }
        if let Some(newest) = mvcc::newest_version_ts(reader, &user_key)?
            && newest >= ts
        {
            return Ok(Some(format!("{user_key:02x?} is written at {ts}, below its version at {newest}")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use basalt_base::{Key, TxnId};
    use basalt_storage::{
        Engine, MemoryEngine,
        mvcc::{WriteContext, WriteTxn},
    };
    use bytes::Bytes;

    use super::*;

    const KEY: Key = Key::from_static(b"key\0");

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_parts(ms, 0)
    }

    fn put_version(engine: &MemoryEngine, ts: Timestamp) {
        let mut batch = WriteBatch::new();
        mvcc::put_committed(engine, &mut batch, &KEY, Some(b"old"), Some(TxnId(7)), ts, ts, ts, false)
            .unwrap();
        engine.write(batch).unwrap();
    }

    fn intent(engine: &MemoryEngine, ts: Timestamp) -> WriteBatch {
        let anchor = KEY;
        let txn = WriteTxn { id: TxnId(7), anchor: &anchor, epoch: 0, min_ts: ts, priority: 1, ignored: &[] };
        let context = WriteContext { txn, seq: 1, write_ts: ts, read_ts: ts, local_ts: ts, if_absent: false };
        let mut batch = WriteBatch::new();
        mvcc::put(engine, &mut batch, &KEY, Bytes::from_static(b"new"), &context).unwrap();
        batch
    }

    #[test]
    fn a_commit_below_its_own_write_or_below_a_newer_version_is_found() {
        for (written, committed, version, word) in [
            (20, 20, None, ""),
            (20, 30, None, ""),
            (20, 19, None, "below its write"),
            (20, 35, Some(40), "below the one at"),
        ] {
            let engine = MemoryEngine::new();
            put_version(&engine, at(10));
            engine.write(intent(&engine, at(written))).unwrap();
            let resolution = Resolution {
                txn_id: TxnId(7),
                epoch: 0,
                status: ResolveStatus::Committed,
                ts: at(committed),
                ignored: &[],
            };
            let mut batch = WriteBatch::new();
            mvcc::resolve(&engine, &mut batch, &KEY, &resolution).unwrap();
            // While the resolution is on its way.
            if let Some(version) = version {
                put_version(&engine, at(version));
            }
            let found = resolved(&engine, &batch, &resolution).unwrap().unwrap_or_default();
            assert!(found.contains(word) && found.is_empty() == word.is_empty(), "{found}");
        }
    }

    #[test]
    fn a_write_at_or_below_a_read_or_a_version_is_found() {
        let engine = MemoryEngine::new();
        let batch = intent(&engine, at(20));
        let check = |read: u64| {
            written(&engine, &batch, None, |key, ts, owner| {
                assert_eq!((key, owner), (&KEY[..], Some(TxnId(7))));
                ts > at(read)
            })
            .unwrap()
        };
        assert_eq!(check(19), None);
        assert!(check(20).is_some_and(|found| found.contains("where it was read")));
        put_version(&engine, at(25));
        assert!(check(19).is_some_and(|found| found.contains("below its version")));
    }
}
