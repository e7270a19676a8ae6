//! Locks at the end of a transaction.

use basalt_base::Span;
use basalt_kv_api::{Error as StoreError, LockStrength};

use super::*;
use crate::ScanRequest;

fn locking() -> ReadOptions {
    ReadOptions::locking(LockStrength::Exclusive)
}

#[tokio::test]
async fn locks_in_memory_are_released_before_the_answer_however_many() {
    let fake = Fake::with_splits(&["k300"]);
    let client = client(&fake, TxnOptions { footprint_keys_max: 10_000, ..TxnOptions::default() });
    let keys: Vec<Key> = (0..600).map(|row| key(&format!("k{row:03}"))).collect();
    let txn = begin(&client);
    keys.iter().for_each(|key| txn.put(key.clone(), value("1")).unwrap());
    txn.commit().await.unwrap();
    until_no_traces(&fake).await;
    for (by_scan, commit) in [(true, true), (true, false), (false, true), (false, false)] {
        let txn = begin(&client);
        if by_scan {
            let span = Span::new(key("k000"), key("l"));
            txn.scan(ScanRequest { read: locking(), ..ScanRequest::new(span) }).await.unwrap();
        } else {
            txn.get_many(&keys, locking()).await.unwrap();
        }
        assert_eq!(fake.traces(), 600);
        match commit {
            true => drop(txn.commit().await.unwrap()),
            false => txn.rollback().await,
        }
        assert_eq!(fake.traces(), 0, "by scan {by_scan}, commit {commit}");
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_removed_holds_up_no_lock_and_no_answer() {
    for commit in [true, false] {
        let fake = Fake::with_splits(&[]);
        let client = client(&fake, TxnOptions::default());
        let txn = begin(&client);
        txn.get(&key("q"), locking()).await.unwrap();
        // As a heartbeat leaves it.
        txn.inner.state().record = true;
        (0..10).for_each(|_| fake.fail_next("abort", StoreError::DiskFull));
        match commit {
            true => drop(soon(txn.commit()).await.unwrap()),
            false => soon(txn.rollback()).await,
        }
        assert_eq!(fake.traces(), 0, "commit {commit}");
    }
}

#[tokio::test]
async fn locks_in_memory_do_not_wait_for_the_fate_of_others() {
    let fake = Fake::with_splits(&["m"]);
    let client = client(&fake, TxnOptions { buffer_bytes_max: 1, ..TxnOptions::default() });
    for unknown in [false, true] {
        let txn = begin(&client);
        txn.get_many(&[key("a"), key("b"), key("q")], locking()).await.unwrap();
        txn.put(key("b"), value("1")).unwrap();
        txn.flush_all().await.unwrap();
        assert_eq!(fake.traces(), 4);
        if unknown {
            fake.fail_next("commit", StoreError::Ambiguous { reason: "lost".into() });
            txn.commit().await.unwrap_err();
        } else {
            // It might have committed.
            fake.fail_next("abort", StoreError::Invalid("test".into()));
        }
        soon(txn.rollback()).await;
        assert_eq!(
            fake.traces(),
            2,
            "the written key has its lock in memory and the other one, unknown {unknown}"
        );
        let next = begin(&client);
        next.get_many(&[key("a"), key("q")], locking()).await.unwrap();
        next.rollback().await;
        fake.forget(txn.id());
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_resolution_is_asked_for_again() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, TxnOptions::default());
    load(&client, &[("a", "1"), ("b", "1")]).await;
    for failures in [1, 2] {
        let txn = begin(&client);
        txn.scan(ScanRequest { read: locking(), ..ScanRequest::new(Span::new(key("a"), key("c"))) })
            .await
            .unwrap();
        (0..failures)
            .for_each(|_| fake.fail_next("resolve", StoreError::Ambiguous { reason: "lost".into() }));
        txn.rollback().await;
        assert_eq!(fake.traces(), 0);
    }
}
