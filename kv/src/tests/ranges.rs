//! Many ranges: splits, routing, and commits across them.

use std::collections::BTreeMap;

use basalt_base::keys;
use basalt_kv_api::{BatchHeader, Error, Request, Response};

use super::fixture::{Client, key, machine, put, rows_of, span, with_store};
use crate::Store;

fn assert_tiled(store: &Store) {
    let ranges = store.ranges();
    assert_eq!(ranges[0].span.start, keys::KEY_MIN);
    assert_eq!(ranges[ranges.len() - 1].span.end, keys::KEY_MAX);
    for pair in ranges.windows(2) {
        assert_eq!(pair[0].span.end, pair[1].span.start);
    }
}

#[test]
fn a_split_moves_nothing_but_the_boundary() {
    with_store(1, async |_, client: Client| {
        for name in ["a", "b", "c", "d", "e"] {
            client.put(name, name).await.unwrap();
        }
        for name in ["c", "b", "e", "c"] {
            client.split(name).await.unwrap();
        }
        assert_eq!(client.store.ranges().len(), 4);
        assert_tiled(&client.store);
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(client.get(name).await.unwrap().as_deref(), Some(name));
        }
        assert_eq!(client.rows(span("a", "z")).await.unwrap().len(), 5);
        let meta = client.split_key_below_system().await;
        assert!(matches!(meta, Err(Error::Invalid(_))), "{meta:?}");
    });
}

impl Client {
    async fn split_key_below_system(&self) -> basalt_kv_api::Result<()> {
        let request = Request::AdminSplit { key: keys::meta_key(b"x") };
        self.send(BatchHeader::default(), vec![request]).await.map(|_| ())
    }
}

#[test]
fn limits_hold_across_ranges_in_both_directions() {
    with_store(2, async |_, client: Client| {
        let names = ["a", "b", "c", "d", "e", "f"];
        for name in names {
            client.put(name, name).await.unwrap();
        }
        for name in ["b", "d", "e"] {
            client.split(name).await.unwrap();
        }
        for reverse in [false, true] {
            for rows_max in 1..=7 {
                let mut seen = Vec::new();
                let mut rest = Some(span("a", "z"));
                while let Some(span) = rest.take() {
                    let header = BatchHeader { rows_max, ..BatchHeader::default() };
                    let scan = Request::Scan { span, reverse, lock: None, program: None };
                    let response = client.send(header, vec![scan]).await.unwrap();
                    let rows = rows_of(&response.responses[0]);
                    assert!(rows.len() as u64 <= rows_max);
                    seen.extend(rows.into_iter().map(|(name, _)| name));
                    let Response::Scan { resume, .. } = &response.responses[0] else { unreachable!() };
                    rest = resume.clone();
                }
                if reverse {
                    seen.reverse();
                }
                assert_eq!(seen, names, "reverse {reverse}, {rows_max} rows");
            }
        }
    });
}

#[test]
fn a_commit_over_several_ranges_takes_two_phases() {
    with_store(3, async |_, client: Client| {
        client.split("m").await.unwrap();
        let mut txn = client.begin(1);
        client.commit(&mut txn, vec![put("a", "1", 1), put("z", "2", 2)]).await.unwrap();
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1"));
        assert_eq!(client.get("z").await.unwrap().as_deref(), Some("2"));
        assert_eq!(client.store.counts().commits_two_phase, 1);
        assert_eq!(txn.anchor, key("a"));
    });
}

#[test]
fn a_one_phase_commit_over_several_ranges_is_refused_whole() {
    let mut machine = machine(5);
    machine.config.together_ranges_max = 1;
    machine.executor.clone().run(async {
        let client = Client::new(machine.start().await);
        client.split("m").await.unwrap();
        let before = client.store.counts().proposals;
        let mut txn = client.begin(1);
        let end = Request::EndTxn { commit: true, lock_spans: vec![], one_phase: true, deadline: None };
        let refused = client.in_txn(&mut txn, vec![put("a", "1", 1), put("z", "2", 2), end]).await;
        assert!(matches!(refused, Err(Error::RangeMismatch)), "{refused:?}");
        assert!(client.rows(span("a", "zz")).await.unwrap().is_empty());
        assert_eq!(client.store.counts().proposals, before);
    });
}

#[test]
fn blind_writers_of_one_key_all_come_through() {
    with_store(6, async |machine, client: Client| {
        let writers: Vec<_> = (0..50)
            .map(|writer| {
                let client = client.clone();
                machine.spawn(async move { client.put("hot", &writer.to_string()).await })
            })
            .collect();
        machine.sleep_ms(100).await;
        assert!(writers.iter().all(|writer| matches!(*writer.lock(), Some(Ok(())))));
        assert_eq!(client.store.latches_held(), 0);
    });
}

#[test]
fn transfers_under_random_splits_keep_the_sum_and_the_tiling() {
    const ACCOUNTS: u32 = 20;
    for seed in 0..10 {
        let machine = machine(seed);
        machine.executor.clone().run(async move {
            let client = Client::new(machine.start().await);
            for account in 0..ACCOUNTS {
                client.put(&format!("{account:03}"), "100").await.unwrap();
            }
            let workers: Vec<_> = (0..6_u64)
                .map(|worker| {
                    let (client, machine) = (client.clone(), machine.clone());
                    machine.clone().spawn(async move {
                        let mut done = 0;
                        for turn in 0..30 {
                            let rng = machine.executor.rng();
                            let from = format!("{:03}", rng.below(ACCOUNTS as usize));
                            let to = format!("{:03}", rng.below(ACCOUNTS as usize));
                            if worker == 0 {
                                client.split(&to).await.unwrap();
                            }
                            let id = (u128::from(worker) << 64) | (turn + 1);
                            done += u32::from(transfer(&client, id, &from, &to).await);
                        }
                        done
                    })
                })
                .collect();
            while workers.iter().any(|worker| worker.lock().is_none()) {
                machine.sleep_ms(100).await;
                assert_tiled(&client.store);
            }
            let done: u32 = workers.iter().map(|worker| worker.lock().unwrap_or(0)).sum();
            assert!(done > 20, "only {done} transfers came through");
            let rows: BTreeMap<_, _> = client.rows(span("0", "9")).await.unwrap().into_iter().collect();
            let sum: i64 = rows.values().map(|value| value.parse::<i64>().unwrap()).sum();
            assert_eq!((rows.len() as u32, sum), (ACCOUNTS, i64::from(ACCOUNTS) * 100), "seed {seed}");
            assert!(client.store.counts().splits > 3);
            // What goes on in the background ends.
            machine.sleep_ms(1000).await;
            assert_eq!(client.store.latches_held(), 0);
        });
    }
}

/// True if it committed; a conflict gives it up.
async fn transfer(client: &Client, id: u128, from: &str, to: &str) -> bool {
    let mut txn = client.begin(id);
    let read = async |txn: &mut _, name: &str| {
        client.get_in(txn, name).await.map(|value| value.unwrap().parse::<i64>().unwrap())
    };
    let (Ok(source), Ok(target)) = (read(&mut txn, from).await, read(&mut txn, to).await) else {
        return false;
    };
    let writes = if from == to {
        vec![put(from, &source.to_string(), 1)]
    } else {
        vec![put(from, &(source - 1).to_string(), 1), put(to, &(target + 1).to_string(), 2)]
    };
    let names = [from, to];
    match client.commit(&mut txn, writes).await {
        Ok(_) => true,
        Err(Error::Ambiguous { reason }) => panic!("{reason}"),
        Err(_) => {
            client.end(&mut txn, false, &names).await.unwrap();
            false
        }
    }
}

#[test]
fn a_range_that_grows_splits_by_itself_again_and_again() {
    let mut machine = machine(4);
    machine.config.range_bytes_max = 1 << 20;
    machine.executor.clone().run(async move {
        let client = Client::new(machine.start().await);
        let value = "x".repeat(4_000);
        for index in 0..1_500 {
            client.put(&format!("{index:05}"), &value).await.unwrap();
        }
        machine.sleep_ms(1_000).await;
        let ranges = client.store.ranges();
        assert!((6..=16).contains(&ranges.len()), "{} ranges", ranges.len());
        assert!(ranges.iter().all(|range| range.bytes <= 1 << 20));
        assert_tiled(&client.store);
        assert_eq!(client.rows(span("0", "9")).await.unwrap().len(), 1_500);
    });
}
