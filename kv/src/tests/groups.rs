//! What finished transactions leave is seen to in groups.

use basalt_base::{Key, Span, keys};
use basalt_kv_api::{BatchHeader, Request, ResolvedTxn, TxnMeta, TxnStatus};
use basalt_storage::{Family, IterOptions, mvcc};
use futures::future::join_all;

use super::fixture::{Client, key, put, with_store};

const COUNT: u128 = 40;

/// A committed transaction with a record and a lock in "a…" and a lock in "z…", which is another range.
async fn committed(client: &Client, id: u128) -> TxnMeta {
    let (first, second) = (format!("a{id:02}"), format!("z{id:02}"));
    let mut txn = client.begin(id);
    txn.anchor = key(&first);
    client.in_txn(&mut txn, vec![put(&first, "1", 1)]).await.unwrap();
    client.in_txn(&mut txn, vec![put(&second, "2", 2)]).await.unwrap();
    let lock_spans = [&first, &second].map(|name| Span::prefix(key(name))).to_vec();
    let end = Request::EndTxn { commit: true, lock_spans, one_phase: false, deadline: None };
    client.in_txn(&mut txn, vec![end]).await.unwrap();
    txn
}

fn records(client: &Client) -> usize {
    let Span { start, end } = keys::range_local_span(&Span::new(Key::new(), Key::from_static(b"\xff")));
    let options = IterOptions { lower: Some(start.clone()), upper: Some(end), ..IterOptions::default() };
    let mut iter = client.store.states.engine.iter(Family::Local, options).unwrap();
    iter.seek(&start).unwrap();
    let mut count = 0;
    while iter.valid() {
        count += 1;
        iter.next().unwrap();
    }
    count
}

fn locks(client: &Client) -> usize {
    let everything = Span::new(key(""), key("~"));
    mvcc::scan_locks(&*client.store.states.engine, &everything, usize::MAX).unwrap().len()
}

#[test]
fn records_of_a_range_go_with_one_command() {
    with_store(1, async |machine, client: Client| {
        client.split("m").await.unwrap();
        for id in 1..=COUNT {
            committed(&client, id).await;
        }
        // Nobody has resolved what is in the other range.
        assert_eq!((records(&client), locks(&client)), (COUNT as usize, COUNT as usize));
        let before = client.store.raft_counts().entries;
        machine.sleep_ms(3_000).await;
        assert_eq!((records(&client), locks(&client)), (0, 0));
        // One for each lock, which was a dead coordinator's, and few for all records.
        let entries = client.store.raft_counts().entries - before;
        assert!(entries <= COUNT as u64 + 4, "{entries}");
        let rows = client.rows(Span::new(key("a"), key("zz"))).await.unwrap();
        assert_eq!(rows.len(), 2 * COUNT as usize);
    });
}

#[test]
fn locks_resolved_at_the_same_time_share_commands() {
    with_store(1, async |_machine, client: Client| {
        client.split("m").await.unwrap();
        let mut txns = Vec::new();
        for id in 1..=COUNT {
            txns.push(committed(&client, id).await);
        }
        let before = client.store.raft_counts().entries;
        let resolves = txns.iter().map(|txn| {
            let name = format!("z{:02}", txn.id.0);
            let status = TxnStatus::Committed;
            let (id, epoch, timestamp, ignored) = (txn.id, txn.epoch, txn.write_ts, txn.ignored.clone());
            let txn = ResolvedTxn { id, epoch, status, timestamp, ignored };
            client.send(BatchHeader::default(), vec![Request::ResolveLock { key: key(&name), txn }])
        });
        for answer in join_all(resolves).await {
            assert_eq!(answer.unwrap().responses.len(), 1);
        }
        assert_eq!(locks(&client), 0);
        let entries = client.store.raft_counts().entries - before;
        assert!((1..=4).contains(&entries), "{entries}");
    });
}
