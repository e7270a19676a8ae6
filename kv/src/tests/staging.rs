//! Staged commits: what decides them, and who finds out.

use basalt_base::{Span, Timestamp};
use basalt_kv_api::{
    BatchHeader, Error, LockWait, PushType, Request, Response, Result, TxnMeta, TxnRecord, TxnStatus,
};

use super::fixture::{Client, Machine, key, put, with_store};

fn stage(names: &[(&str, u32)]) -> Request {
    Request::StageTxn {
        lock_spans: names.iter().map(|(name, _)| Span::prefix(key(name))).collect(),
        in_flight: names.iter().map(|(name, seq)| (key(name), *seq)).collect(),
        deadline: None,
    }
}

/// A transaction anchored at "a" that has written there and staged a commit that depends on "z", too.
async fn staged(client: &Client, id: u128) -> TxnMeta {
    let mut txn = client.begin(id);
    txn.anchor = key("a");
    client.in_txn(&mut txn, vec![put("a", "1", 1), stage(&[("a", 1), ("z", 2)])]).await.unwrap();
    txn
}

async fn push(client: &Client, pushee: &TxnMeta, force: bool) -> (TxnRecord, bool) {
    let request = Request::PushTxn {
        pushee: pushee.clone(),
        push_type: PushType::Timestamp,
        push_to: client.store.now().unwrap(),
        force,
        dependents: vec![],
    };
    let answer = client.send(BatchHeader::default(), vec![request]).await.unwrap();
    match &answer.responses[..] {
        [Response::PushTxn { record, known }] => (record.clone(), *known),
        other => panic!("{other:?}"),
    }
}

async fn write_late(client: &Client, txn: &TxnMeta) -> Result<Timestamp> {
    let mut late = txn.clone();
    client.in_txn(&mut late, vec![put("z", "2", 2)]).await.map(|_| late.write_ts)
}

/// Two ranges: [.., m) and [m, ..).
fn with_two_ranges<F: Future<Output = ()>>(test: impl FnOnce(Machine, Client) -> F) {
    with_store(1, async |machine, client: Client| {
        client.split("m").await.unwrap();
        test(machine, client).await;
    });
}

#[test]
fn writes_and_record_go_side_by_side_and_anybody_sees_that_they_are_all_there() {
    with_two_ranges(async |_machine, client| {
        let mut txn = client.begin(1);
        let requests = vec![put("a", "1", 1), put("z", "2", 2), stage(&[("a", 1), ("z", 2)])];
        let answers = client.in_txn(&mut txn, requests).await.unwrap();
        let Some(Response::StageTxn { staged_at, committed: false }) = answers.last() else {
            panic!("{answers:?}");
        };
        assert_eq!(*staged_at, txn.write_ts);
        // Nobody has said so, and its owner has just given a sign of life.
        let (record, _) = push(&client, &txn, false).await;
        assert_eq!((record.status, record.write_ts), (TxnStatus::Committed, *staged_at));
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1"));
        assert_eq!(client.get("z").await.unwrap().as_deref(), Some("2"));
        assert_eq!(client.store.counts().recovered_commits, 1);
    });
}

#[test]
fn all_in_the_range_of_the_record_is_committed_at_once() {
    with_two_ranges(async |_machine, client| {
        let mut txn = client.begin(1);
        let requests = vec![put("a", "1", 1), put("b", "2", 2), stage(&[("a", 1), ("b", 2)])];
        let answers = client.in_txn(&mut txn, requests).await.unwrap();
        assert!(matches!(answers.last(), Some(Response::StageTxn { committed: true, .. })));
        assert_eq!(client.get("b").await.unwrap().as_deref(), Some("2"));
    });
}

/// Its owner may not have heard of it, and asks, or the commit itself comes a second time.
#[test]
fn a_commit_without_a_record_any_more_is_not_taken_for_one_that_never_was() {
    with_two_ranges(async |machine, client| {
        let begun = TxnMeta { anchor: key("a"), ..client.begin(1) };
        let commit = || vec![put("a", "1", 1), put("b", "2", 2), stage(&[("a", 1), ("b", 2)])];
        client.in_txn(&mut begun.clone(), commit()).await.unwrap();
        client.put("a", "3").await.unwrap();
        machine.sleep_ms(3_000).await;
        let (record, known) = push(&client, &begun, true).await;
        assert_eq!((record.status, known), (TxnStatus::Aborted, false));
        // Stepping over what it meets, as its owner does not know that it has done.
        let at = client.store.now().unwrap();
        let again = TxnMeta { read_ts: at, write_ts: at, ..begun };
        let error = client.in_txn(&mut again.clone(), commit()).await.unwrap_err();
        assert!(matches!(error, Error::TxnAborted { .. }), "{error}");
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("3"));
    });
}

#[test]
fn a_living_owner_is_not_disturbed() {
    with_two_ranges(async |_machine, client| {
        let txn = staged(&client, 1).await;
        let (record, known) = push(&client, &txn, false).await;
        assert_eq!((record.status, record.write_ts, known), (TxnStatus::Staging, txn.write_ts, true));
        // The write that was missing comes, where the record wants it.
        assert_eq!(write_late(&client, &txn).await.unwrap(), txn.write_ts);
        let (record, _) = push(&client, &txn, false).await;
        assert_eq!((record.status, record.write_ts), (TxnStatus::Committed, txn.write_ts));
    });
}

#[test]
fn what_was_missed_never_comes_at_or_below_the_staged_timestamp() {
    with_two_ranges(async |machine, client| {
        let txn = staged(&client, 1).await;
        machine.sleep_ms(2_500).await;
        let (record, known) = push(&client, &txn, false).await;
        assert_eq!((record.status, known), (TxnStatus::Aborted, true));
        assert_eq!(client.store.counts().recovered_aborts, 1);
        // Even its own write moves.
        assert!(write_late(&client, &txn).await.is_ok_and(|written| written > txn.write_ts));
        let error = client.end(&mut txn.clone(), true, &["a", "z"]).await.unwrap_err();
        assert!(matches!(error, Error::TxnAborted { .. }), "{error}");
        assert_eq!(client.get("a").await.unwrap(), None);
        assert_eq!(client.get("z").await.unwrap(), None);
    });
}

#[test]
fn a_write_that_has_moved_or_is_of_another_epoch_does_not_count() {
    for moved in [true, false] {
        with_two_ranges(async |_machine, client| {
            let txn = staged(&client, 1).await;
            let mut late = txn.clone();
            if moved {
                late.write_ts = txn.write_ts.next();
            } else {
                late.epoch += 1;
            }
            client.in_txn(&mut late, vec![put("z", "2", 2)]).await.unwrap();
            let (record, _) = push(&client, &txn, false).await;
            assert_eq!(record.status, TxnStatus::Staging);
            let (record, _) = push(&client, &txn, true).await;
            assert_eq!(record.status, TxnStatus::Aborted);
        });
    }
}

#[test]
fn the_owner_commits_where_it_has_staged_or_above() {
    with_two_ranges(async |_machine, client| {
        let mut txn = staged(&client, 1).await;
        write_late(&client, &txn).await.unwrap();
        let staged_at = txn.write_ts;
        // Whatever was read or pushed meanwhile: the timestamp stands.
        txn.read_ts = txn.min_ts;
        assert_eq!(client.end(&mut txn, true, &["a", "z"]).await.unwrap(), staged_at);
        let mut above = staged(&client, 2).await;
        above.write_ts = above.write_ts.next();
        above.read_ts = above.write_ts;
        let expected = above.write_ts;
        assert_eq!(client.end(&mut above, true, &["a", "z"]).await.unwrap(), expected);
    });
}

#[test]
fn who_does_not_know_may_not_abort() {
    with_two_ranges(async |_machine, client| {
        let txn = staged(&client, 1).await;
        let error = client.end(&mut txn.clone(), false, &["a", "z"]).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
        let mut knows = txn.clone();
        knows.write_ts = txn.write_ts.next();
        client.end(&mut knows, false, &["a", "z"]).await.unwrap();
        let (record, _) = push(&client, &txn, false).await;
        assert_eq!(record.status, TxnStatus::Aborted);
    });
}

#[test]
fn a_heartbeat_from_above_takes_the_staging_back() {
    with_two_ranges(async |_machine, client| {
        let mut txn = staged(&client, 1).await;
        let beat = |now| Request::HeartbeatTxn { anchor: key("a"), now };
        let now = client.store.now().unwrap();
        let answers = client.in_txn(&mut txn.clone(), vec![beat(now)]).await.unwrap();
        assert!(
            matches!(&answers[..], [Response::HeartbeatTxn { record }] if record.status == TxnStatus::Staging)
        );
        txn.write_ts = txn.write_ts.next();
        client.in_txn(&mut txn.clone(), vec![beat(now)]).await.unwrap();
        let (record, _) = push(&client, &txn, false).await;
        assert_eq!(record.status, TxnStatus::Pending);
    });
}

/// NOWAIT must find the row of an acknowledged commit free, though its record does not say so yet.
#[test]
fn the_impatient_find_out_at_once() {
    with_two_ranges(async |_machine, client| {
        let mut txn = client.begin(1);
        let requests = vec![put("a", "1", 1), put("z", "2", 2), stage(&[("a", 1), ("z", 2)])];
        client.in_txn(&mut txn, requests).await.unwrap();
        for (id, name, wait) in [(2, "a", LockWait::Error), (3, "z", LockWait::Skip)] {
            let mut next = client.begin(id);
            let found = client.lock(&mut next, name, wait).await.unwrap();
            assert!(found.is_some(), "{name}");
        }
    });
}

#[test]
fn nothing_is_known_of_whom_a_restart_has_forgotten() {
    with_two_ranges(async |machine, client| {
        let mut txn = client.begin(1);
        txn.anchor = key("a");
        drop(client);
        machine.crash(&basalt_env::sim::SimRng::new(1));
        let client = Client::new(machine.start().await);
        let (record, known) = push(&client, &txn, true).await;
        assert_eq!((record.status, known), (TxnStatus::Aborted, false));
    });
}
