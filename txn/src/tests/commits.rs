use basalt_base::ErrorKind;
use basalt_kv_api::{Error as StoreError, LockStrength};

use super::*;
use crate::{Error, Restart};

fn in_two_phases() -> TxnOptions {
    TxnOptions { staged_commits: false, ..TxnOptions::default() }
}

#[tokio::test]
async fn writes_in_one_range_commit_in_one_batch() {
    let fake = Fake::with_splits(&["m"]);
    let client = client(&fake, TxnOptions::default());
    load(&client, &[("a", "1"), ("b", "2")]).await;
    assert_eq!(fake.take_log(), ["put*2 commit*1"]);
    assert_eq!((client.counts().commits, client.counts().one_phase), (1, 1));
    let txn = begin(&client);
    assert_eq!(get(&txn, "b").await.as_deref(), Some("2"));
    txn.commit().await.unwrap();
    assert_eq!(fake.take_log(), ["get*1"], "a read-only commit sends nothing");
}

#[tokio::test]
async fn writes_in_two_ranges_are_locked_then_ended_then_resolved() {
    let fake = Fake::with_splits(&["m"]);
    let client = client(&fake, in_two_phases());
    load(&client, &[("a", "1"), ("z", "2")]).await;
    until_no_traces(&fake).await;
    assert_eq!(fake.take_log(), ["put*2", "commit*1", "resolve*2"]);
    assert_eq!(fake.committed().len(), 2);
    assert_eq!(client.counts().one_phase, 0);
}

#[tokio::test]
async fn a_lock_in_another_range_is_released_after_a_one_phase_commit() {
    let fake = Fake::with_splits(&["m"]);
    let client = client(&fake, TxnOptions::default());
    let txn = begin(&client);
    txn.get(&key("b"), ReadOptions::locking(LockStrength::Exclusive)).await.unwrap();
    txn.get(&key("z"), ReadOptions::locking(LockStrength::Exclusive)).await.unwrap();
    txn.put(key("b"), value("1")).unwrap();
    txn.commit().await.unwrap();
    assert_eq!(client.counts().one_phase, 1);
    until_no_traces(&fake).await;
}

#[tokio::test]
async fn statements_see_earlier_statements_and_latest_sees_all() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, TxnOptions::default());
    let txn = begin(&client);
    txn.statement();
    txn.put(key("a"), value("1")).unwrap();
    assert_eq!(get(&txn, "a").await, None);
    assert!(txn.get(&key("a"), ReadOptions::LATEST).await.unwrap().is_some());
    let cursor = txn.statement();
    txn.put(key("a"), value("2")).unwrap();
    assert_eq!(get(&txn, "a").await.as_deref(), Some("1"));
    txn.statement();
    assert_eq!(get(&txn, "a").await.as_deref(), Some("2"));
    let at_cursor = ReadOptions { seq: Some(cursor), ..ReadOptions::default() };
    assert_eq!(txn.get(&key("a"), at_cursor).await.unwrap(), Some(value("1")));
    let many = txn.get_many(&[key("b"), key("a")], ReadOptions::default()).await.unwrap();
    assert_eq!(many, [None, Some(value("2"))]);
}

#[tokio::test]
async fn rolling_back_to_a_savepoint_restores_flushed_revisions() {
    let fake = Fake::with_splits(&[]);
    let options = TxnOptions { buffer_bytes_max: 1, batch_bytes_max: 1, ..TxnOptions::default() };
    let client = client(&fake, options);
    let txn = begin(&client);
    txn.put(key("k"), value("before")).unwrap();
    let savepoint = txn.savepoint();
    txn.put(key("k"), value("after")).unwrap();
    txn.put(key("l"), value("after")).unwrap();
    txn.flush_all().await.unwrap();
    assert!(fake.traces() == 2);
    txn.rollback_to(&savepoint).unwrap();
    assert_eq!(get(&txn, "k").await.as_deref(), Some("before"));
    assert_eq!(get(&txn, "l").await, None);
    txn.commit().await.unwrap();
    until_no_traces(&fake).await;
    assert_eq!(fake.committed().into_iter().collect::<Vec<_>>(), [(key("k"), value("before"))]);
}

#[tokio::test]
async fn a_pushed_writer_refreshes_what_it_read_and_commits() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, TxnOptions::default());
    load(&client, &[("a", "1")]).await;
    let txn = begin(&client);
    assert_eq!(get(&txn, "a").await.as_deref(), Some("1"));
    load(&client, &[("b", "other")]).await;
    txn.put(key("b"), value("mine")).unwrap();
    let before = txn.read_timestamp();
    assert!(txn.commit().await.unwrap() > before);
    assert_eq!((client.counts().refreshes, client.counts().batch_retries), (1, 1));
    assert_eq!(fake.committed()[&key("b")], value("mine"));
}

#[tokio::test]
async fn write_skew_does_not_commit() {
    for splits in [&[][..], &["b"][..]] {
        let fake = Fake::with_splits(splits);
        let client = client(&fake, TxnOptions::default());
        load(&client, &[("a", "1")]).await;
        load(&client, &[("b", "1")]).await;
        let (first, second) = (begin(&client), begin(&client));
        for txn in [&first, &second] {
            get(txn, "a").await;
            get(txn, "b").await;
        }
        first.put(key("a"), value("0")).unwrap();
        second.put(key("b"), value("0")).unwrap();
        first.commit().await.unwrap();
        let error = second.commit().await.unwrap_err();
        assert_eq!((error.kind(), error.restart()), (ErrorKind::Retry, Some(Restart::Epoch)));
        second.restart(Restart::Epoch).await.unwrap();
        assert_eq!(get(&second, "a").await.as_deref(), Some("0"));
        second.rollback().await;
        until_no_traces(&fake).await;
    }
}

#[tokio::test]
async fn a_lost_answer_to_the_commit_is_ambiguous_for_ever() {
    let lost = || StoreError::Ambiguous { reason: "lost".into() };
    let contradiction = || StoreError::Internal("a part was rejected".into());
    let cases = [
        (&[][..], 1, lost()),
        (&["m"][..], 2, lost()),
        (&[], 1, contradiction()),
        (&["m"], 2, contradiction()),
    ];
    for (splits, sent, answer) in cases {
        let fake = Fake::with_splits(splits);
        let client = client(&fake, in_two_phases());
        fake.fail_next("commit", answer);
        let txn = begin(&client);
        txn.put(key("a"), value("1")).unwrap();
        txn.put(key("z"), value("1")).unwrap();
        let error = txn.commit().await.unwrap_err();
        assert_eq!((error.kind(), error.restart()), (ErrorKind::Ambiguous, None));
        assert!(matches!(txn.commit().await, Err(Error::Ended(_))));
        assert!(txn.restart(Restart::Epoch).await.is_err());
        txn.rollback().await;
        // Neither a second commit nor an abort may follow.
        assert_eq!(fake.take_log().len(), sent);
    }
}

#[tokio::test]
async fn a_store_that_contradicts_itself_before_the_decision_leaves_nothing_unknown() {
    let fake = Fake::with_splits(&["m"]);
    let client = client(&fake, in_two_phases());
    fake.fail_next("put", StoreError::Internal("test".into()));
    let txn = begin(&client);
    txn.put(key("a"), value("1")).unwrap();
    txn.put(key("z"), value("1")).unwrap();
    let error = txn.commit().await.unwrap_err();
    assert_eq!((error.kind(), client.counts().ambiguous), (ErrorKind::Internal, 0));
    txn.rollback().await;
    until_no_traces(&fake).await;
    assert_eq!(fake.take_log(), ["put*2", "abort*1", "resolve*2"]);
}

#[tokio::test]
async fn dropping_the_last_handle_removes_the_locks() {
    let fake = Fake::with_splits(&[]);
    let options = TxnOptions { buffer_bytes_max: 1, ..TxnOptions::default() };
    let client = client(&fake, options);
    let txn = begin(&client);
    txn.get(&key("q"), ReadOptions::locking(LockStrength::Exclusive)).await.unwrap();
    txn.put(key("a"), value("1")).unwrap();
    txn.flush_all().await.unwrap();
    let other = txn.clone();
    drop(txn);
    tokio::task::yield_now().await;
    assert_eq!(fake.traces(), 2);
    drop(other);
    until_no_traces(&fake).await;
    assert!(fake.committed().is_empty());
}

#[tokio::test]
async fn an_aborted_transaction_starts_again_under_a_new_id() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, TxnOptions::default());
    let txn = begin(&client);
    let id = txn.id();
    fake.abort(id);
    txn.put(key("a"), value("1")).unwrap();
    let error = txn.commit().await.unwrap_err();
    assert_eq!(error.restart(), Some(Restart::NewTransaction));
    assert!(txn.put(key("a"), value("1")).is_err());
    txn.restart(Restart::NewTransaction).await.unwrap();
    assert_ne!(txn.id(), id);
    txn.put(key("a"), value("1")).unwrap();
    txn.commit().await.unwrap();
    assert_eq!(fake.committed().len(), 1);
}

#[tokio::test]
async fn run_retries_conflicts_and_returns_other_errors() {
    let fake = Fake::with_splits(&[]);
    let client = client(&fake, TxnOptions::default());
    fake.fail_next("commit", StoreError::TxnAborted { reason: "test".into() });
    fake.fail_next("commit", StoreError::RefreshFailed { reason: "test".into() });
    let body = |txn: Txn| async move { txn.put(key("a"), value("1")) };
    client.run::<_, Error, _, _>(TxnConfig::default(), body).await.unwrap();
    assert_eq!((client.counts().restarts, fake.committed().len()), (2, 1));
    fake.fail_next("commit", StoreError::DiskFull);
    assert!(client.run::<_, Error, _, _>(TxnConfig::default(), body).await.is_err());
    assert_eq!(client.counts().restarts, 2);
}

#[tokio::test]
async fn a_large_transaction_keeps_little_in_memory() {
    let fake = Fake::with_splits(&["k0500", "k2000"]);
    let options = TxnOptions {
        buffer_bytes_max: 8_000,
        batch_bytes_max: 1_000,
        footprint_keys_max: 100,
        ..TxnOptions::default()
    };
    let client = client(&fake, options);
    let txn = begin(&client);
    for row in 0..3_000 {
        txn.put(key(&format!("k{row:04}")), value("x")).unwrap();
        txn.flush_if_needed().await.unwrap();
        let state = txn.inner.state();
        // As much again as is being sent.
        assert!(state.buffer.bytes() < 16_000 && state.locks.len() <= 101);
    }
    assert_eq!(get(&txn, "k0007").await, None, "written by this very statement");
    txn.statement();
    assert_eq!(get(&txn, "k0007").await.as_deref(), Some("x"));
    txn.commit().await.unwrap();
    until_no_traces(&fake).await;
    assert_eq!(fake.committed().len(), 3_000);
    assert!(client.counts().flushes > 100);
}

#[tokio::test]
async fn read_only_and_deadline_are_enforced() {
    let fake = Fake::with_splits(&["m"]);
    let client = client(&fake, TxnOptions::default());
    let reader = client.begin(TxnConfig { read_only: true, ..TxnConfig::default() }).unwrap();
    assert!(matches!(reader.put(key("a"), value("1")), Err(Error::ReadOnly)));
    let lock = ReadOptions::locking(LockStrength::Shared);
    assert!(matches!(reader.get(&key("a"), lock).await, Err(Error::ReadOnly)));
    let late = begin(&client);
    late.set_deadline(basalt_base::Timestamp(1));
    late.put(key("a"), value("1")).unwrap();
    late.put(key("z"), value("1")).unwrap();
    let error = late.commit().await.unwrap_err();
    assert!(matches!(error.store(), Some(StoreError::DeadlineExceeded)));
    late.rollback().await;
    until_no_traces(&fake).await;
    assert!(fake.committed().is_empty());
}
