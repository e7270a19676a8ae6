//! What was acknowledged is there after a kill.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use basalt_tests::{Node, PATIENCE};

const WRITERS: i64 = 4;
const ROUNDS: i64 = 2;
/// Acknowledged rows before each kill.
const ROWS_MIN: u64 = 300;

#[tokio::test]
async fn acknowledged_rows_survive_kills_under_load() {
    // Small ranges, so that some split under the load.
    let mut node = Node::start(&["--range-max-bytes", "1MiB"]);
    node.connect().await.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY, pad text)").await.unwrap();
    let mut acknowledged: Vec<i64> = Vec::new();
    for round in 0..ROUNDS {
        let count = Arc::new(AtomicU64::new(0));
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let client = node.connect().await;
            let count = count.clone();
            writers.push(tokio::spawn(async move {
                let insert = client.prepare("INSERT INTO t VALUES ($1, repeat('x', 1000))").await.unwrap();
                let mut ids = Vec::new();
                for n in 0.. {
                    let id = (round * WRITERS + writer) * 1_000_000 + n;
                    if client.execute(&insert, &[&id]).await.is_err() {
                        break;
                    }
                    ids.push(id);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                ids
            }));
        }
        let wait = async {
            while count.load(Ordering::Relaxed) < ROWS_MIN {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("rows are written");
        node.kill();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        node.restart();
    }
    let rows = node.connect().await.query("SELECT id FROM t", &[]).await.unwrap();
    let stored: std::collections::BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id)).collect();
    assert!(acknowledged.len() as u64 >= ROWS_MIN * ROUNDS as u64);
    assert!(lost.is_empty(), "{} of {} acknowledged rows are lost: {lost:?}", lost.len(), acknowledged.len());
    // At most the row that each writer had under way may be there besides.
    assert!(stored.len() <= acknowledged.len() + (WRITERS * ROUNDS) as usize);
}

#[tokio::test]
async fn a_clean_stop_keeps_everything() {
    let mut node = Node::start(&[]);
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await.unwrap();
    drop(client);
    assert!(node.stop());
    node.restart();
    let rows = node.connect().await.query("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [1, 2]);
}
