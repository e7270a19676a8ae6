use basalt_base::{ErrorKind, Timestamp};
use basalt_kv_api::Error as StoreError;

use super::*;
use crate::{Error, Restart};

/// A transaction with a write in each of two ranges.
fn over_two_ranges(options: TxnOptions) -> (Arc<Fake>, TxnClient, Txn) {
    let fake = Fake::with_splits(&["m"]);
    let client = client(&fake, options);
    let txn = begin(&client);
    txn.put(key("a"), value("1")).unwrap();
    txn.put(key("z"), value("2")).unwrap();
    (fake, client, txn)
}

#[tokio::test]
async fn the_record_goes_beside_the_writes_and_says_so_afterwards() {
    let (fake, client, txn) = over_two_ranges(TxnOptions::default());
    txn.commit().await.unwrap();
    assert_eq!(fake.take_log(), ["put*2 stage*1"], "one round");
    until_no_traces(&fake).await;
    assert_eq!(fake.take_log(), ["commit*1", "resolve*2"]);
    assert_eq!(fake.committed().len(), 2);
    assert_eq!((client.counts().commits, client.counts().staged), (1, 1));
}

#[tokio::test]
async fn a_refusal_leads_to_a_refresh_and_the_ordinary_way() {
    let (fake, client, txn) = over_two_ranges(TxnOptions::default());
    fake.fail_next("stage", StoreError::RefreshRequired { write_ts: Timestamp(500_000) });
    assert_eq!(txn.commit().await.unwrap(), Timestamp(500_000));
    assert_eq!(fake.take_log(), ["put*2 stage*1", "put*2", "commit*1"]);
    assert_eq!(client.counts().staged, 0);
    until_no_traces(&fake).await;
}

#[tokio::test]
async fn a_write_that_was_refused_sends_the_commit_on_above() {
    let staged_at = Timestamp(700_000);
    for cause in [
        StoreError::LockNotAvailable { holder: None },
        StoreError::WriteTooOld { existing: Timestamp(600_000) },
        StoreError::KeyExists { key: key("z") },
    ] {
        let (fake, client, txn) = over_two_ranges(TxnOptions::default());
        let waits = matches!(cause, StoreError::LockNotAvailable { .. });
        fake.fail_next("stage", StoreError::Unproven { staged_at, cause: Box::new(cause) });
        assert!(txn.commit().await.unwrap() > staged_at);
        let mut log = fake.take_log();
        // Who will wait for a lock says at once that the record is no commit.
        let reports = log.extract_if(.., |entry| *entry == "heartbeat*1").count();
        assert_eq!(reports, usize::from(waits));
        assert_eq!(log, ["put*2 stage*1", "put*2", "commit*1"]);
        assert_eq!((client.counts().staged, client.counts().staged_in_vain), (0, 1));
        until_no_traces(&fake).await;
        assert_eq!(fake.committed().len(), 2);
    }
}

/// The refusal of a write that is sent again says nothing: it may have been done before.
#[tokio::test]
async fn what_may_have_been_sent_is_not_staged() {
    let options = TxnOptions { buffer_bytes_max: 1, ..TxnOptions::default() };
    let (fake, client, txn) = over_two_ranges(options);
    fake.fail_next("put", StoreError::Unavailable("nobody answers".into()));
    txn.flush_all().await.unwrap_err();
    txn.commit().await.unwrap();
    assert_eq!(fake.take_log(), ["put*2", "put*2", "commit*1"]);
    until_no_traces(&fake).await;
    // What is new is staged; so is everything of another attempt.
    let txn = begin(&client);
    txn.put(key("a"), value("1")).unwrap();
    txn.flush_all().await.unwrap();
    txn.put(key("z"), value("2")).unwrap();
    fake.fail_next("stage", StoreError::RefreshFailed { reason: "changed".into() });
    fake.fail_next("put", StoreError::RefreshFailed { reason: "changed".into() });
    txn.commit().await.unwrap_err();
    txn.restart(Restart::Epoch).await.unwrap();
    txn.put(key("a"), value("3")).unwrap();
    txn.put(key("z"), value("4")).unwrap();
    txn.commit().await.unwrap();
    assert_eq!(client.counts().staged, 1);
    until_no_traces(&fake).await;
}

#[tokio::test]
async fn what_became_of_it_is_asked_for_when_an_answer_is_lost() {
    for answer in [
        StoreError::Ambiguous { reason: "lost".into() },
        StoreError::Unavailable("nobody answers".into()),
        StoreError::Internal("contradiction".into()),
    ] {
        // Nothing is known any more.
        let (fake, client, txn) = over_two_ranges(TxnOptions::default());
        fake.fail_next("stage", answer.clone());
        let error = txn.commit().await.unwrap_err();
        assert_eq!((error.kind(), error.restart()), (ErrorKind::Ambiguous, None));
        assert!(txn.restart(Restart::Epoch).await.is_err());
        txn.rollback().await;
        assert_eq!(fake.take_log(), ["put*2 stage*1", "push*1"], "neither a commit nor an abort follows");
        assert_eq!(client.counts().ambiguous, 1);

        // Others have aborted it.
        let (fake, client, txn) = over_two_ranges(TxnOptions::default());
        fake.abort(txn.id());
        fake.fail_next("stage", answer);
        let error = txn.commit().await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Ambiguous);
        assert_eq!(client.counts().found_aborted, 1);
        assert!(matches!(txn.commit().await, Err(Error::Store(StoreError::TxnAborted { .. }))));
        txn.restart(Restart::NewTransaction).await.unwrap();
        txn.put(key("a"), value("1")).unwrap();
        txn.commit().await.unwrap();
    }
}

#[tokio::test]
async fn it_is_committed_if_all_writes_are_found() {
    let (fake, client, txn) = over_two_ranges(TxnOptions::default());
    fake.lose_next("stage");
    txn.commit().await.unwrap();
    assert_eq!(client.counts().found_committed, 1);
    until_no_traces(&fake).await;
    assert_eq!(fake.take_log(), ["put*2 stage*1", "push*1", "resolve*2"]);
    assert_eq!(fake.committed().len(), 2);
}

#[tokio::test]
async fn too_much_for_one_round_takes_the_ordinary_way() {
    let options = TxnOptions { batch_bytes_max: 100, ..TxnOptions::default() };
    let (fake, client, txn) = over_two_ranges(options);
    txn.commit().await.unwrap();
    assert_eq!(client.counts().staged, 0);
    until_no_traces(&fake).await;
    assert_eq!(fake.committed().len(), 2);
}
