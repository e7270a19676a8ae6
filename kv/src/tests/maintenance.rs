//! Garbage collection and removal of spans.

use std::time::Duration;

use basalt_kv_api::{BatchHeader, Error, LockWait, Request, TxnMeta};
use basalt_storage::{Family, IterOptions, Reader};

use super::fixture::{Client, Machine, get, machine, put, span, with_store};

fn versions(machine: &Machine) -> usize {
    let engine = machine.engine();
    let span = span("a", "z");
    let options = IterOptions::within(&span);
    let mut iter = engine.iter(Family::Data, options).unwrap();
    iter.seek_to_first().unwrap();
    let mut count = 0;
    while iter.valid() {
        count += 1;
        iter.next().unwrap();
    }
    count
}

#[test]
fn old_versions_of_a_hot_key_go_and_old_reads_are_refused() {
    let mut machine = machine(1);
    machine.config.version_ttl = Duration::from_secs(60);
    machine.config.garbage_bytes_min = 1_000;
    machine.executor.clone().run(async move {
        let client = Client::new(machine.start().await);
        let old: TxnMeta = client.begin(1);
        for turn in 0..200 {
            client.put("a", &turn.to_string()).await.unwrap();
        }
        assert_eq!(versions(&machine), 200);
        machine.sleep_ms(50_000).await;
        assert_eq!(versions(&machine), 200);
        machine.sleep_ms(60_000).await;
        assert_eq!(versions(&machine), 1);
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("199"));
        let header = BatchHeader { txn: Some(old), ..BatchHeader::default() };
        let refused = client.send(header, vec![get("a")]).await;
        assert!(matches!(refused, Err(Error::BelowGcThreshold { .. })), "{refused:?}");
        // Nothing changes any more, so nothing is done any more.
        let proposals = client.store.raft_counts().proposals;
        machine.sleep_ms(600_000).await;
        assert_eq!(client.store.raft_counts().proposals, proposals);
    });
}

#[test]
fn a_cleared_span_is_gone() {
    with_store(2, async |machine, client: Client| {
        for name in ["a", "b", "c"] {
            client.put(name, name).await.unwrap();
        }
        client.split("b").await.unwrap();
        let clear = Request::ClearRange { span: span("a", "c") };
        client.send(BatchHeader::default(), vec![clear]).await.unwrap();
        assert_eq!(client.rows(span("a", "z")).await.unwrap(), [("c".into(), "c".into())]);
        assert_eq!(versions(&machine), 1);
    });
}

#[test]
fn a_commit_outlives_the_rows_at_its_anchor() {
    with_store(4, async |machine, client: Client| {
        client.split("m").await.unwrap();
        let mut ended = client.begin(1);
        client.in_txn(&mut ended, vec![put("a", "1", 1)]).await.unwrap();
        client.in_txn(&mut ended, vec![put("x", "2", 2)]).await.unwrap();
        client.end(&mut ended, true, &["a", "x"]).await.unwrap();
        // Its lock on the other range has not been resolved when the table of its anchor is dropped.
        let clear = Request::ClearRange { span: span("a", "b") };
        client.send(BatchHeader::default(), vec![clear]).await.unwrap();
        assert_eq!(client.get("a").await.unwrap(), None);
        assert_eq!(client.get("x").await.unwrap().as_deref(), Some("2"));
        machine.sleep_ms(20_000).await;
        assert_eq!(client.get("x").await.unwrap().as_deref(), Some("2"));
    });
}

#[test]
fn nobody_waits_for_a_lock_that_was_cleared_away() {
    with_store(3, async |_, client: Client| {
        let mut holder = client.begin(1);
        client.in_txn(&mut holder, vec![put("b", "1", 1)]).await.unwrap();
        client.lock(&mut holder, "c", LockWait::Block).await.unwrap();
        let mut other = client.begin(2);
        let refused = client.lock(&mut other, "b", LockWait::Error).await;
        assert!(matches!(refused, Err(Error::LockNotAvailable { .. })), "{refused:?}");
        let clear = Request::ClearRange { span: span("a", "d") };
        client.send(BatchHeader::default(), vec![clear]).await.unwrap();
        client.lock(&mut other, "b", LockWait::Error).await.unwrap();
        // A lock that is not in the engine can't be cleared from it.
        let refused = client.lock(&mut other, "c", LockWait::Error).await;
        assert!(matches!(refused, Err(Error::LockNotAvailable { .. })), "{refused:?}");
    });
}
