//! One-phase commits over several ranges.

use basalt_env::{Rng, sim::SimRng};
use basalt_kv_api::{LockWait, Request, Result};

use super::fixture::{Client, key, machine, put, with_store};

async fn commit(client: &Client, number: u128, writes: Vec<Request>) -> Result<()> {
    let mut txn = client.begin(number);
    txn.anchor = key("a");
    let end = Request::EndTxn { commit: true, lock_spans: vec![], one_phase: true, deadline: None };
    client.in_txn(&mut txn, writes.into_iter().chain([end]).collect()).await.map(drop)
}

#[test]
fn ranges_of_one_store_commit_in_one_phase() {
    with_store(1, async |machine, client: Client| {
        client.split("m").await.unwrap();
        client.split("q").await.unwrap();
        let before = (client.store.counts(), client.store.raft_counts());
        commit(&client, 1, vec![put("a", "1", 1), put("n", "2", 2), put("z", "3", 3)]).await.unwrap();
        for (name, value) in [("a", "1"), ("n", "2"), ("z", "3")] {
            assert_eq!(client.get(name).await.unwrap().as_deref(), Some(value));
        }
        let after = (client.store.counts(), client.store.raft_counts());
        assert_eq!(after.0.commits_together - before.0.commits_together, 1);
        assert_eq!(after.0.commits_two_phase, 0);
        assert_eq!(after.0.proposals - before.0.proposals, 3);
        assert_eq!(after.1.fsyncs - before.1.fsyncs, 1);
        // What a split has to do afterwards is done by then.
        machine.sleep_ms(100).await;
        assert_eq!(client.store.latches_held(), 0);
    });
}

/// All that such a commit changes in its anchor's range may be the record of its transaction.
#[test]
fn a_split_waits_for_a_commit_that_only_deletes_a_record_of_the_range() {
    with_store(2, async |machine, client: Client| {
        client.split("m").await.unwrap();
        let mut txn = client.begin(1);
        txn.anchor = key("a");
        client.lock(&mut txn, "a", LockWait::Block).await.unwrap();
        let beat = Request::HeartbeatTxn { anchor: key("a"), now: client.store.now().unwrap() };
        client.in_txn(&mut txn, vec![beat]).await.unwrap();
        let before = client.store.counts();
        let end = Request::EndTxn { commit: true, lock_spans: vec![], one_phase: true, deadline: None };
        let commit = client.in_txn(&mut txn, vec![put("z", "1", 1), end]);
        let (committed, split) = futures::join!(commit, client.split("c"));
        committed.unwrap();
        split.unwrap();
        let after = client.store.counts();
        assert_eq!(after.commits_together - before.commits_together, 1);
        assert_eq!(after.rejections, before.rejections);
        assert_eq!(client.get("z").await.unwrap().as_deref(), Some("1"));
        // Its lock has gone with it.
        let mut next = client.begin(2);
        client.lock(&mut next, "a", LockWait::Error).await.unwrap();
        // What a split has to do afterwards is done by then.
        machine.sleep_ms(100).await;
        assert_eq!(client.store.latches_held(), 0);
    });
}

/// Whenever the process dies and whatever the disk keeps, the ranges keep the same transactions.
#[test]
fn a_crash_keeps_all_of_a_commit_or_nothing() {
    let mut kept_more = 0;
    for seed in 0..150 {
        let machine = machine(seed);
        let rng = SimRng::new(seed);
        machine.executor.clone().run(async {
            let store = machine.start().await;
            let client = Client::new(store);
            client.split("m").await.unwrap();
            let writer = client.clone();
            let acknowledged = machine.spawn(async move {
                for turn in 1_u32..=40 {
                    let value = turn.to_string();
                    if commit(&writer, u128::from(turn), vec![put("a", &value, 1), put("z", &value, 2)])
                        .await
                        .is_err()
                    {
                        return turn - 1;
                    }
                }
                40
            });
            machine.executor.sleep(std::time::Duration::from_micros(rng.next_u64() % 30_000)).await;
            machine.crash(&rng);
            machine.sleep_ms(10_000).await;
            let client = Client::new(machine.start().await);
            let (left, right) = (client.get("a").await.unwrap(), client.get("z").await.unwrap());
            assert_eq!(left, right, "seed {seed}");
            let found: u32 = left.map_or(0, |value| value.parse().unwrap());
            if let Some(acknowledged) = *acknowledged.lock() {
                assert!(found >= acknowledged, "seed {seed}: {found} of {acknowledged}");
            }
            kept_more += u32::from(found > 0);
        });
    }
    assert!(kept_more > 50, "only {kept_more} runs got anywhere");
}
