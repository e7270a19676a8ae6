//! Commits, conflicts and pushes, one at a time.

use basalt_base::Timestamp;
use basalt_kv_api::{BatchHeader, Error, IgnoredSeqs, Request, Response, TxnStatus};

use super::fixture::{Client, get, key, put, rows_of, span, value_of, with_store};

#[test]
fn a_value_that_was_put_is_read_and_scanned() {
    with_store(1, async |_, client: Client| {
        assert_eq!(client.get("a").await.unwrap(), None);
        client.put("a", "1").await.unwrap();
        client.put("b", "2").await.unwrap();
        client.put("a", "3").await.unwrap();
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("3"));
        let rows = client.rows(span("a", "z")).await.unwrap();
        assert_eq!(rows, [("a".into(), "3".into()), ("b".into(), "2".into())]);
        assert_eq!(client.store.latches_held(), 0);
    });
}

#[test]
fn a_commit_in_one_range_takes_one_phase_and_leaves_nothing_behind() {
    with_store(2, async |_, client: Client| {
        let mut txn = client.begin(1);
        let commit_ts = client.commit(&mut txn, vec![put("a", "1", 1), put("b", "2", 2)]).await.unwrap();
        assert_eq!(commit_ts, txn.read_ts);
        assert_eq!(client.get("b").await.unwrap().as_deref(), Some("2"));
        let counts = client.store.counts();
        assert_eq!((counts.commits_one_phase, counts.commits_two_phase, counts.proposals), (1, 0, 1));
    });
}

#[test]
fn a_commit_below_a_read_must_refresh_unless_it_may_move_by_itself() {
    with_store(3, async |_, client: Client| {
        let mut first = client.begin(1);
        let mut second = client.begin(2);
        client.get_in(&mut second, "a").await.unwrap();
        let refused = client.commit(&mut first, vec![put("a", "1", 1)]).await;
        let Err(Error::RefreshRequired { write_ts }) = refused else { panic!("{refused:?}") };
        assert_eq!(write_ts, second.read_ts.next());
        let refresh = Request::Refresh { span: span("x", "z"), from: first.read_ts, to: write_ts };
        client.in_txn(&mut first, vec![refresh]).await.unwrap();
        first.read_ts = write_ts;
        first.write_ts = write_ts;
        assert_eq!(client.commit(&mut first, vec![put("a", "1", 1)]).await.unwrap(), write_ts);
        // The reader still sees its own time.
        assert_eq!(client.get_in(&mut second, "a").await.unwrap(), None);

        let third = client.begin(3);
        client.get("b").await.unwrap();
        let header =
            BatchHeader { txn: Some(third.clone()), can_forward_read_ts: true, ..BatchHeader::default() };
        let end = Request::EndTxn { commit: true, lock_spans: vec![], one_phase: true, deadline: None };
        let response = client.send(header, vec![put("b", "2", 1), end]).await.unwrap();
        assert!(response.txn.unwrap().read_ts > third.read_ts);
        assert_eq!(client.store.counts().forwarded, 1);
    });
}

#[test]
fn a_write_under_a_newer_version_is_too_old() {
    with_store(4, async |_, client: Client| {
        let mut txn = client.begin(1);
        client.put("a", "1").await.unwrap();
        let refused = client.commit(&mut txn, vec![put("a", "2", 1)]).await;
        assert!(matches!(refused, Err(Error::WriteTooOld { .. })), "{refused:?}");
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1"));
    });
}

#[test]
fn a_two_phase_commit_is_visible_at_once_and_cleaned_up_later() {
    with_store(5, async |machine, client: Client| {
        let mut txn = client.begin(1);
        client.in_txn(&mut txn, vec![put("a", "1", 1), put("b", "2", 2), put("a", "3", 3)]).await.unwrap();
        txn.read_seq = 3;
        assert_eq!(client.get_in(&mut txn, "a").await.unwrap().as_deref(), Some("3"));
        txn.read_seq = 1;
        assert_eq!(client.get_in(&mut txn, "a").await.unwrap().as_deref(), Some("1"));
        txn.ignored = IgnoredSeqs(vec![(2, 3)]);
        client.end(&mut txn, true, &["a", "b"]).await.unwrap();
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1"));
        assert_eq!(client.get("b").await.unwrap().as_deref(), Some("2"));
        machine.sleep_ms(3_000).await;
        let query = Request::QueryTxn { anchor: key("a"), id: txn.id };
        let response = client.send(BatchHeader::default(), vec![query]).await.unwrap();
        assert!(matches!(&response.responses[..], [Response::QueryTxn { record: None, .. }]));
    });
}

#[test]
fn an_aborted_transaction_leaves_no_value() {
    with_store(6, async |_, client: Client| {
        client.put("a", "0").await.unwrap();
        let mut txn = client.begin(1);
        client.in_txn(&mut txn, vec![put("a", "1", 1)]).await.unwrap();
        client.end(&mut txn, false, &["a"]).await.unwrap();
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("0"));
        let again = client.end(&mut txn, true, &["a"]).await;
        assert!(matches!(again, Err(Error::TxnAborted { .. })), "{again:?}");
    });
}

#[test]
fn a_reader_passes_below_an_open_writer_which_then_commits_above() {
    with_store(7, async |_, client: Client| {
        client.put("a", "0").await.unwrap();
        let mut writer = client.begin(1);
        client.in_txn(&mut writer, vec![put("a", "1", 1)]).await.unwrap();
        let mut reader = client.begin(2);
        assert_eq!(client.get_in(&mut reader, "a").await.unwrap().as_deref(), Some("0"));
        let rows = client
            .in_txn(
                &mut reader,
                vec![Request::Scan { span: span("a", "z"), reverse: true, lock: None, program: None }],
            )
            .await
            .unwrap();
        assert_eq!(rows_of(&rows[0]).len(), 1);
        let refused = client.end(&mut writer, true, &["a"]).await;
        let Err(Error::RefreshRequired { write_ts }) = refused else { panic!("{refused:?}") };
        assert!(write_ts > reader.read_ts);
        writer.read_ts = write_ts;
        writer.write_ts = write_ts;
        assert_eq!(client.end(&mut writer, true, &["a"]).await.unwrap(), write_ts);
        assert_eq!(client.get_in(&mut reader, "a").await.unwrap().as_deref(), Some("0"));
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1"));
    });
}

#[test]
fn an_abandoned_writer_is_aborted_after_its_expiry_and_can_not_commit_any_more() {
    with_store(8, async |machine, client: Client| {
        let mut dead = client.begin(1);
        client.in_txn(&mut dead, vec![put("a", "1", 1)]).await.unwrap();
        let before = machine.executor.now();
        client.put("a", "2").await.unwrap();
        let waited = machine.executor.now() - before;
        assert!((1_900..4_000).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("2"));
        let late = client.end(&mut dead, true, &["a"]).await;
        assert!(matches!(late, Err(Error::TxnAborted { .. })), "{late:?}");
    });
}

#[test]
fn a_heartbeat_keeps_a_transaction_alive() {
    with_store(9, async |machine, client: Client| {
        let mut alive = client.begin(1);
        client.in_txn(&mut alive, vec![put("a", "1", 1)]).await.unwrap();
        let writer = machine.spawn({
            let client = client.clone();
            async move { client.put("a", "2").await }
        });
        for _ in 0..12 {
            machine.sleep_ms(1_000).await;
            let now = client.store.now().unwrap();
            let beat = Request::HeartbeatTxn { anchor: alive.anchor.clone(), now };
            let answer = client.in_txn(&mut alive, vec![beat]).await.unwrap();
            let [Response::HeartbeatTxn { record }] = &answer[..] else { panic!("{answer:?}") };
            assert_eq!(record.status, TxnStatus::Pending);
        }
        assert!(writer.lock().is_none());
        client.end(&mut alive, true, &["a"]).await.unwrap();
        machine.sleep_ms(2_000).await;
        assert!(matches!(*writer.lock(), Some(Ok(()))));
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("2"));
    });
}

#[test]
fn a_heartbeat_that_was_held_up_counts_from_its_arrival() {
    with_store(21, async |machine, client: Client| {
        let mut alive = client.begin(1);
        client.in_txn(&mut alive, vec![put("a", "1", 1)]).await.unwrap();
        let sent = client.store.now().unwrap();
        machine.sleep_ms(6_000).await;
        let beat = Request::HeartbeatTxn { anchor: alive.anchor.clone(), now: sent };
        client.in_txn(&mut alive, vec![beat]).await.unwrap();
        let writer = machine.spawn({
            let client = client.clone();
            async move { client.put("a", "2").await }
        });
        machine.sleep_ms(1_500).await;
        assert!(writer.lock().is_none());
        client.end(&mut alive, true, &["a"]).await.unwrap();
    });
}

#[test]
fn a_commit_past_its_deadline_fails() {
    with_store(10, async |_, client: Client| {
        let mut txn = client.begin(1);
        let end = Request::EndTxn {
            commit: true,
            lock_spans: vec![],
            one_phase: true,
            deadline: Some(Timestamp(txn.read_ts.0 - 1)),
        };
        let refused = client.in_txn(&mut txn, vec![put("a", "1", 1), end]).await;
        assert!(matches!(refused, Err(Error::DeadlineExceeded)), "{refused:?}");
        assert_eq!(client.get("a").await.unwrap(), None);
    });
}

#[test]
fn a_refresh_fails_when_a_read_value_has_changed() {
    with_store(11, async |_, client: Client| {
        let mut txn = client.begin(1);
        let responses = client.in_txn(&mut txn, vec![get("a")]).await.unwrap();
        assert_eq!(value_of(&responses[0]), None);
        client.put("a", "1").await.unwrap();
        let to = client.store.now().unwrap();
        let refresh =
            |from: &str, until: &str| Request::Refresh { span: span(from, until), from: txn.read_ts, to };
        let requests = vec![refresh("b", "z")];
        let failing = vec![refresh("a", "b")];
        client.in_txn(&mut txn.clone(), requests).await.unwrap();
        let refused = client.in_txn(&mut txn, failing).await;
        assert!(matches!(refused, Err(Error::RefreshFailed { .. })), "{refused:?}");
    });
}
