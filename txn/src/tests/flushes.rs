//! Flushes that meet a lock.

use std::time::Duration;

use basalt_kv_api::{Error as StoreError, LockStrength};

use super::*;
use crate::{Error, Restart};

/// A transaction that holds two locks and flushes a write that waits for somebody else's.
async fn stuck(client: &TxnClient, fake: &Fake) -> Txn {
    let txn = begin(client);
    txn.get(&key("q"), ReadOptions::locking(LockStrength::Exclusive)).await.unwrap();
    txn.put(key("a"), value("1")).unwrap();
    txn.flush_all().await.unwrap();
    fake.stick(Some(key("k")));
    txn.put(key("k"), value("1")).unwrap();
    txn.flush_if_needed().await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(txn.inner.serial.try_lock().is_err(), "the flush waits");
    assert_eq!(fake.traces(), 2);
    txn
}

fn small() -> TxnOptions {
    TxnOptions { buffer_bytes_max: 1, ..TxnOptions::default() }
}

fn is_lock_timeout(error: &Error) -> bool {
    matches!(error, Error::Store(StoreError::LockNotAvailable { .. }))
}

#[tokio::test]
async fn whoever_ends_the_transaction_does_not_wait_for_a_flush() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, small());
    let txn = stuck(&client, &fake).await;
    soon(txn.rollback()).await;
    until_no_traces(&fake).await;
    for how in [Restart::Epoch, Restart::NewTransaction] {
        let txn = stuck(&client, &fake).await;
        soon(txn.restart(how)).await.unwrap();
        txn.put(key("b"), value("1")).unwrap();
        soon(txn.commit()).await.unwrap();
        until_no_traces(&fake).await;
    }
    assert_eq!(fake.committed().into_keys().collect::<Vec<_>>(), [key("b")]);
    let txn = stuck(&client, &fake).await;
    let other = txn.clone();
    drop((txn, other));
    until_no_traces(&fake).await;
}

#[tokio::test]
async fn a_flush_in_line_begins_no_more_before_a_rollback() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, small());
    let txn = stuck(&client, &fake).await;
    // It waits for the flush under way, and begins another one before the rollback gets its turn.
    let mut next = Box::pin(txn.flush_if_needed());
    txn.put(key("l"), value("1")).unwrap();
    txn.inner.state().flushing_bytes = 0;
    assert!(next.as_mut().now_or_never().is_none());
    soon(async { tokio::join!(txn.rollback(), next).1 }).await.unwrap();
    until_no_traces(&fake).await;
}

#[tokio::test]
async fn a_rolled_back_write_holds_up_no_commit() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, small());
    let txn = begin(&client);
    txn.put(key("b"), value("1")).unwrap();
    let savepoint = txn.savepoint();
    fake.stick(Some(key("k")));
    txn.put(key("k"), value("1")).unwrap();
    txn.flush_if_needed().await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    txn.rollback_to(&savepoint).unwrap();
    soon(txn.commit()).await.unwrap();
    until_no_traces(&fake).await;
    assert_eq!(fake.committed().into_keys().collect::<Vec<_>>(), [key("b")]);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_can_be_rolled_back_until_it_is_decided() {
    let fake = Fake::with_splits(&["b"]);
    let client = client(&fake, TxnOptions::default());
    fake.stick(Some(key("k")));
    let txn = begin(&client);
    txn.put(key("a"), value("1")).unwrap();
    txn.put(key("k"), value("1")).unwrap();
    {
        let mut commit = Box::pin(txn.commit());
        for _ in 0..100 {
            assert!(commit.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    }
    soon(txn.rollback()).await;
    until_no_traces(&fake).await;
    assert_eq!(fake.committed().len(), 0);
    assert_eq!(client.counts().ambiguous, 0);
}

#[tokio::test]
async fn a_flush_keeps_to_the_lock_timeout_and_the_next_statement_hears_of_it() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, small());
    let txn = begin(&client);
    txn.set_lock_timeout(Some(Duration::from_secs(1)));
    fake.stick(Some(key("k")));
    let savepoint = txn.savepoint();
    for told in ["flush", "flush all", "read", "scan"] {
        txn.statement();
        txn.put(key("k"), value("1")).unwrap();
        txn.flush_if_needed().await.unwrap();
        drop(soon(txn.inner.serial.lock()).await);
        assert_eq!(get(&txn, "q").await, None, "a read of the same statement goes on");
        let next = async || match told {
            "flush" => txn.flush_if_needed().await,
            "flush all" => txn.flush_all().await,
            "read" => txn.get(&key("q"), ReadOptions::default()).await.map(drop),
            _ => {
                let span = basalt_base::Span::new(key("q"), key("r"));
                txn.scan(crate::ScanRequest::new(span)).await.map(drop)
            }
        };
        txn.statement();
        assert!(is_lock_timeout(&next().await.unwrap_err()), "{told}");
        txn.rollback_to(&savepoint).unwrap();
        next().await.unwrap();
    }
    txn.put(key("k"), value("1")).unwrap();
    assert!(is_lock_timeout(&txn.commit().await.unwrap_err()), "a commit in one batch");
    soon(txn.rollback()).await;
    until_no_traces(&fake).await;
}

#[tokio::test]
async fn a_duplicate_that_was_told_of_still_exists_where_the_transaction_commits() {
    for deleted in [true, false] {
        let fake = Fake::with_splits(&[]);
        let client = client(&fake, TxnOptions::default());
        load(&client, &[("k", "1")]).await;
        let txn = begin(&client);
        let savepoint = txn.savepoint();
        assert!(txn.insert(key("k"), value("2")).unwrap());
        let error = txn.flush_all().await.unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::KeyExists { .. })), "{error}");
        txn.rollback_to(&savepoint).unwrap();
        // Another one takes the key away, and makes this one commit later than that.
        let other = begin(&client);
        if deleted {
            other.delete(key("k")).unwrap();
        }
        other.put(key("b"), value("2")).unwrap();
        other.commit().await.unwrap();
        txn.put(key("b"), value("3")).unwrap();
        assert_eq!(txn.commit().await.is_err(), deleted);
    }
}
