//! Waiting, waking, giving up.

use std::{future::Future, task::Poll, time::Duration};

use basalt_kv_api::{
    BatchHeader, Error, IgnoredSeqs, LockStrength, LockWait, Request, ResolvedTxn, TxnPriority, TxnStatus,
};

use super::fixture::{Client, get, put, rows_of, span, with_store};

#[test]
fn waiters_get_the_lock_in_order_and_see_what_was_committed() {
    with_store(1, async |machine, client: Client| {
        client.put("a", "0").await.unwrap();
        let mut first = client.begin(1);
        client.lock(&mut first, "a", LockWait::Block).await.unwrap();
        let mut waiting = Vec::new();
        for id in 2..5_u128 {
            let client = client.clone();
            let txn = client.begin(id);
            waiting.push(machine.spawn(async move {
                let header =
                    BatchHeader { txn: Some(txn), can_forward_read_ts: true, ..BatchHeader::default() };
                let lock =
                    Request::Get { key: super::fixture::key("a"), lock: Some(LockStrength::Exclusive) };
                let response = client.send(header, vec![lock]).await?;
                let mut txn = response.txn.expect("the answer carries the transaction");
                let seen = super::fixture::value_of(&response.responses[0]).unwrap_or_default();
                let value = format!("{seen}{id}");
                client.commit(&mut txn, vec![put("a", &value, 1)]).await
            }));
            machine.sleep_ms(20).await;
        }
        assert!(waiting.iter().all(|slot| slot.lock().is_none()));
        client.commit(&mut first, vec![put("a", "1", 1)]).await.unwrap();
        machine.sleep_ms(1_000).await;
        for slot in waiting {
            assert!(matches!(*slot.lock(), Some(Ok(_))), "{:?}", slot.lock());
        }
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1234"));
        assert_eq!(client.store.latches_held(), 0);
    });
}

#[test]
fn nowait_timeout_and_skip_do_not_wait() {
    with_store(2, async |machine, client: Client| {
        client.put("a", "1").await.unwrap();
        client.put("b", "2").await.unwrap();
        let mut holder = client.begin(1);
        client.lock(&mut holder, "a", LockWait::Block).await.unwrap();
        let mut other = client.begin(2);
        let refused = client.lock(&mut other, "a", LockWait::Error).await;
        assert!(matches!(refused, Err(Error::LockNotAvailable { holder: Some(id) }) if id == holder.id));
        let before = machine.executor.now();
        let timeout = LockWait::Timeout(Duration::from_millis(250));
        let refused = client.lock(&mut other, "a", timeout).await;
        assert!(matches!(refused, Err(Error::LockNotAvailable { .. })), "{refused:?}");
        assert_eq!((machine.executor.now() - before).as_millis(), 250);
        let header =
            BatchHeader { txn: Some(other.clone()), lock_wait: LockWait::Skip, ..BatchHeader::default() };
        let scan = Request::Scan {
            span: span("a", "z"),
            reverse: false,
            lock: Some(LockStrength::Exclusive),
            program: None,
        };
        let response = client.send(header, vec![scan]).await.unwrap();
        assert_eq!(rows_of(&response.responses[0]), [("b".into(), "2".into())]);
    });
}

#[test]
fn locks_of_ended_transactions_are_not_skipped() {
    with_store(14, async |_, client: Client| {
        client.split("m").await.unwrap();
        let mut ended = client.begin(1);
        client.in_txn(&mut ended, vec![put("a", "1", 1)]).await.unwrap();
        client.in_txn(&mut ended, vec![put("x", "2", 2)]).await.unwrap();
        client.in_txn(&mut ended, vec![put("y", "3", 3)]).await.unwrap();
        // Its coordinator dies before it resolves the locks on the other range.
        client.end(&mut ended, true, &["a", "x", "y"]).await.unwrap();
        let other = client.begin(2);
        let header = BatchHeader { txn: Some(other), lock_wait: LockWait::Skip, ..BatchHeader::default() };
        let strength = Some(LockStrength::Exclusive);
        let scan = Request::Scan { span: span("m", "z"), reverse: false, lock: strength, program: None };
        let response = client.send(header.clone(), vec![scan]).await.unwrap();
        assert_eq!(rows_of(&response.responses[0]), [("x".into(), "2".into()), ("y".into(), "3".into())]);
        let read = Request::Get { key: super::fixture::key("a"), lock: strength };
        let response = client.send(header, vec![read]).await.unwrap();
        assert_eq!(super::fixture::value_of(&response.responses[0]).as_deref(), Some("1"));
    });
}

/// Who was pushed above a read may still commit below a later one.
#[test]
fn a_read_that_moves_up_pushes_again_whom_it_has_passed() {
    with_store(15, async |machine, client: Client| {
        let mut reader = client.begin(1);
        let mut writer = client.begin(2);
        client.in_txn(&mut writer, vec![put("a", "1", 1)]).await.unwrap();
        // The reader began above the lock, and as if another node had written `b` before that, at a later timestamp.
        machine.sleep_ms(10).await;
        reader.read_ts = client.store.now().unwrap();
        reader.write_ts = reader.read_ts;
        client.put("b", "2").await.unwrap();
        machine.sleep_ms(10).await;
        reader.min_ts = client.store.now().unwrap();
        reader.global_limit = reader.min_ts;
        let header = BatchHeader { txn: Some(reader), can_forward_read_ts: true, ..BatchHeader::default() };
        let response = client.send(header, vec![get("a"), get("b")]).await.unwrap();
        let reader = response.txn.expect("the answer carries the transaction");
        assert_eq!(super::fixture::value_of(&response.responses[0]), None);
        assert_eq!(super::fixture::value_of(&response.responses[1]).as_deref(), Some("2"));
        let refused = client.end(&mut writer, true, &["a"]).await;
        let Err(Error::RefreshRequired { write_ts }) = refused else { panic!("{refused:?}") };
        assert!(write_ts > reader.read_ts, "it would commit at {write_ts}, below {}", reader.read_ts);
    });
}

/// A lock that its holder has given up says nothing about where the holder commits.
#[test]
fn a_reader_passes_nobody_because_of_a_lock_that_was_rolled_back() {
    with_store(15, async |machine, client: Client| {
        let mut reader = client.begin(1);
        let mut writer = client.begin(2);
        client.in_txn(&mut writer, vec![put("b", "1", 1)]).await.unwrap();
        machine.sleep_ms(10).await;
        reader.read_ts = client.store.now().unwrap();
        reader.write_ts = reader.read_ts;
        machine.sleep_ms(10).await;
        // Written above the reader, in a request whose answer the writer has not awaited.
        let mut lost = writer.clone();
        lost.write_ts = client.store.now().unwrap();
        client.in_txn(&mut lost, vec![put("a", "2", 2)]).await.unwrap();
        assert!(writer.write_ts < reader.read_ts && reader.read_ts < lost.write_ts);
        machine.sleep_ms(10).await;
        reader.min_ts = client.store.now().unwrap();
        reader.global_limit = reader.min_ts;
        let header = BatchHeader { txn: Some(reader), ..BatchHeader::default() };
        let response = client.send(header, vec![get("a"), get("b")]).await.unwrap();
        let reader = response.txn.expect("the answer carries the transaction");
        assert_eq!(super::fixture::value_of(&response.responses[1]), None);
        let refused = client.end(&mut writer, true, &["a", "b"]).await;
        let Err(Error::RefreshRequired { write_ts }) = refused else { panic!("{refused:?}") };
        assert!(write_ts > reader.read_ts, "it would commit at {write_ts}, below {}", reader.read_ts);
    });
}

/// Who skips locks is in nobody's way, whatever its priority.
#[test]
fn a_scan_that_skips_locks_pushes_nobody_who_lives() {
    with_store(16, async |_, client: Client| {
        client.split("m").await.unwrap();
        let mut ended = client.begin(1);
        client.in_txn(&mut ended, vec![put("a", "1", 1)]).await.unwrap();
        client.in_txn(&mut ended, vec![put("x", "2", 2)]).await.unwrap();
        client.end(&mut ended, true, &["a", "x"]).await.unwrap();
        let mut alive = client.begin(2);
        client.in_txn(&mut alive, vec![put("y", "3", 1)]).await.unwrap();
        let mut other = client.begin(3);
        other.priority = TxnPriority(2);
        let header = BatchHeader { txn: Some(other), lock_wait: LockWait::Skip, ..BatchHeader::default() };
        let lock = Some(LockStrength::Exclusive);
        let scan = Request::Scan { span: span("m", "z"), reverse: false, lock, program: None };
        let response = client.send(header, vec![scan]).await.unwrap();
        assert_eq!(rows_of(&response.responses[0]), [("x".into(), "2".into())]);
        client.end(&mut alive, true, &["y"]).await.unwrap();
        assert_eq!(client.get("y").await.unwrap().as_deref(), Some("3"));
    });
}

#[test]
fn a_deadlock_is_found_at_once() {
    with_store(3, async |machine, client: Client| {
        let (mut first, mut second) = (client.begin(1), client.begin(2));
        client.lock(&mut first, "a", LockWait::Block).await.unwrap();
        client.lock(&mut second, "b", LockWait::Block).await.unwrap();
        let waiting = machine.spawn({
            let client = client.clone();
            let mut first = first.clone();
            async move { client.lock(&mut first, "b", LockWait::Block).await }
        });
        machine.sleep_ms(1).await;
        let before = machine.executor.now();
        let refused = client.lock(&mut second, "a", LockWait::Block).await;
        assert!(matches!(refused, Err(Error::Deadlock { holder }) if holder == first.id), "{refused:?}");
        assert_eq!(machine.executor.now(), before);
        client.end(&mut second, false, &[]).await.unwrap();
        machine.sleep_ms(1).await;
        assert!(matches!(*waiting.lock(), Some(Ok(None))));
        assert_eq!(client.store.counts().deadlocks, 1);
    });
}

#[test]
fn a_cancelled_request_gives_up_latches_and_place() {
    with_store(4, async |machine, client: Client| {
        let mut holder = client.begin(1);
        client.lock(&mut holder, "a", LockWait::Block).await.unwrap();
        {
            let mut other = client.begin(2);
            let mut waiting = Box::pin(client.lock(&mut other, "a", LockWait::Block));
            let pending =
                std::future::poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending()));
            assert!(pending.await);
        }
        assert_eq!(client.store.latches_held(), 0);
        let mut third = client.begin(3);
        let waiting = machine.spawn({
            let client = client.clone();
            async move { client.lock(&mut third, "a", LockWait::Block).await }
        });
        machine.sleep_ms(1).await;
        client.end(&mut holder, false, &[]).await.unwrap();
        machine.sleep_ms(1).await;
        assert!(matches!(*waiting.lock(), Some(Ok(None))));
    });
}

#[test]
fn a_cancelled_write_runs_its_course_and_keeps_its_latches_till_then() {
    with_store(5, async |machine, client: Client| {
        {
            let mut write = Box::pin(client.put("a", "1"));
            let pending =
                std::future::poll_fn(|context| Poll::Ready(write.as_mut().poll(context).is_pending()));
            assert!(pending.await);
        }
        assert_eq!(client.store.latches_held(), 1);
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1"));
        machine.sleep_ms(10).await;
        assert_eq!(client.store.latches_held(), 0);
    });
}

#[test]
fn a_read_without_conflict_completes_on_its_first_poll() {
    with_store(6, async |machine, client: Client| {
        client.put("a", "1").await.unwrap();
        let engine = machine.engine();
        let before = basalt_storage::Engine::counts(&engine);
        let mut read = Box::pin(client.send(BatchHeader::default(), vec![get("a")]));
        let ready = std::future::poll_fn(|context| Poll::Ready(read.as_mut().poll(context).is_ready()));
        assert!(ready.await);
        let after = basalt_storage::Engine::counts(&engine);
        assert!(after.seeks - before.seeks <= 2, "{} seeks", after.seeks - before.seeks);
    });
}

#[test]
fn resolving_the_keys_of_a_rollback_releases_its_unreplicated_locks() {
    with_store(7, async |_, client: Client| {
        let mut first = client.begin(1);
        client.lock(&mut first, "a", LockWait::Block).await.unwrap();
        client.lock(&mut first, "b", LockWait::Block).await.unwrap();
        let txn = ResolvedTxn {
            id: first.id,
            epoch: 0,
            status: TxnStatus::Aborted,
            timestamp: first.write_ts,
            ignored: IgnoredSeqs::default(),
        };
        let one = Request::ResolveLock { key: super::fixture::key("a"), txn: txn.clone() };
        let range = Request::ResolveLockRange { span: span("b", "c"), txn, keys_max: 10 };
        client.send(BatchHeader::default(), vec![one]).await.unwrap();
        client.send(BatchHeader::default(), vec![range]).await.unwrap();
        // It has no record, at whose end the note of a resolution would go.
        assert_eq!(client.store.transactions_resolving(), 0);
        let mut second = client.begin(2);
        client.lock(&mut second, "a", LockWait::Error).await.unwrap();
        client.lock(&mut second, "b", LockWait::Error).await.unwrap();
    });
}
