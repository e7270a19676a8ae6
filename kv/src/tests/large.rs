//! Transactions of many locks: what they cost others, while they are open and when they have ended.

use basalt_base::{Span, TxnId};
use basalt_kv_api::{BatchHeader, Error, IgnoredSeqs, Request, ResolvedTxn, Response, TxnMeta, TxnStatus};
use basalt_storage::{Engine, MemoryEngine};
use bytes::Bytes;

use super::fixture::{Client, Machine, key, machine, put, span, with_store};

fn name(row: usize) -> String {
    format!("k{row:05}")
}

/// Writes rows as locks, many to a batch.
async fn write_locks(client: &Client, txn: &mut TxnMeta, rows: std::ops::Range<usize>, value: &str) {
    let rows: Vec<usize> = rows.collect();
    for rows in rows.chunks(100) {
        let puts = rows.iter().map(|&row| put(&name(row), value, 1)).collect();
        client.in_txn(txn, puts).await.unwrap();
    }
}

fn fate(txn: &TxnMeta, status: TxnStatus) -> ResolvedTxn {
    ResolvedTxn { id: txn.id, epoch: 0, status, timestamp: txn.write_ts, ignored: IgnoredSeqs::default() }
}

/// Resolves `span` in pieces; how many there were.
async fn resolve(client: &Client, span: Span, txn: &ResolvedTxn, keys_max: u64) -> usize {
    let (mut rest, mut pieces) = (Some(span), 0);
    while let Some(span) = rest.take() {
        let request = Request::ResolveLockRange { span, txn: txn.clone(), keys_max };
        let answer = client.send(BatchHeader::default(), vec![request]).await.unwrap();
        let Response::ResolveLockRange { resume } = &answer.responses[0] else { panic!("{answer:?}") };
        rest = resume.clone();
        pieces += 1;
    }
    pieces
}

fn moves(engine: &MemoryEngine) -> u64 {
    let counts = engine.counts();
    counts.seeks + counts.steps + engine.skips()
}

#[test]
fn resolving_and_reading_afterwards_cost_in_proportion_to_the_locks() {
    with_store(1, async |machine: Machine, client: Client| {
        const ROWS: usize = 2_000;
        let mut txn = client.begin(1);
        write_locks(&client, &mut txn, 0..ROWS, "v").await;
        client.end(&mut txn, true, &[]).await.unwrap();
        // Another transaction's lock keeps the shortcut of a range without any lock from hiding what is measured.
        let mut other = client.begin(2);
        client.in_txn(&mut other, vec![put("z", "v", 1)]).await.unwrap();
        let engine = machine.engine();
        let before = moves(&engine);
        let pieces = resolve(&client, span("k", "l"), &fate(&txn, TxnStatus::Committed), 100).await;
        assert_eq!(pieces, ROWS / 100);
        let resolving = moves(&engine) - before;
        assert!(resolving <= 6 * ROWS as u64, "{resolving} moves");

        let before = moves(&engine);
        assert_eq!(client.get(&name(ROWS / 2)).await.unwrap().as_deref(), Some("v"));
        assert!(moves(&engine) - before <= 6, "{} moves", moves(&engine) - before);

        let before = moves(&engine);
        let (mut rest, mut rows) = (Some(span("k", "l")), 0);
        while let Some(span) = rest.take() {
            let header = BatchHeader { rows_max: 50, ..BatchHeader::default() };
            let scan = Request::Scan { span, reverse: false, lock: None, program: None };
            let answer = client.send(header, vec![scan]).await.unwrap();
            rows += super::fixture::rows_of(&answer.responses[0]).len();
            let Response::Scan { resume, .. } = &answer.responses[0] else { panic!("{answer:?}") };
            rest = resume.clone();
        }
        assert_eq!(rows, ROWS);
        let scanning = moves(&engine) - before;
        assert!(scanning <= (ROWS / 50 * 260 + 8 * ROWS) as u64, "{scanning} moves");
    });
}

#[test]
fn an_open_transaction_splits_the_ranges_that_it_fills() {
    let mut machine = machine(3);
    machine.config.range_bytes_max = 1 << 20;
    machine.executor.clone().run(async move {
        let client = Client::new(machine.start().await);
        let mut txn = client.begin(1);
        let value = "x".repeat(2_000);
        write_locks(&client, &mut txn, 0..2_000, &value).await;
        machine.sleep_ms(2_000).await;
        let ranges = client.store.ranges();
        assert!(ranges.len() >= 4, "{} ranges", ranges.len());
        assert!(ranges.iter().all(|range| range.bytes <= 1 << 20), "{ranges:?}");
        // The same bytes are counted once when they become versions.
        let bytes = |client: &Client| client.store.ranges().iter().map(|range| range.bytes).sum::<u64>();
        let before = bytes(&client);
        client.end(&mut txn, true, &[]).await.unwrap();
        resolve(&client, span("k", "l"), &fate(&txn, TxnStatus::Committed), 300).await;
        let after = bytes(&client);
        assert!(before.abs_diff(after) <= before / 100, "{before} and {after}");
    });
}

#[test]
fn reads_see_through_the_locks_of_ended_transactions() {
    with_store(4, async |_, client: Client| {
        client.put("k00001", "old").await.unwrap();
        for (id, commit) in [(1, false), (2, true)] {
            let mut before = client.begin(10 + id);
            let mut txn = client.begin(id);
            write_locks(&client, &mut txn, 0..300, "new").await;
            client.end(&mut txn, commit, &["k00000"]).await.unwrap();
            let resolves = client.store.counts().resolves;
            let expected = if commit { Some("new") } else { Some("old") };
            assert_eq!(client.get("k00001").await.unwrap().as_deref(), expected);
            assert_eq!(client.rows(span("k", "l")).await.unwrap().len(), if commit { 300 } else { 1 });
            // A transaction that began earlier reads below the commit.
            assert_eq!(client.get_in(&mut before, "k00001").await.unwrap().as_deref(), Some("old"));
            assert_eq!(client.store.counts().resolves, resolves, "nobody had to clean up");
            let status = if commit { TxnStatus::Committed } else { TxnStatus::Aborted };
            resolve(&client, span("k", "l"), &fate(&txn, status), 100).await;
            assert_eq!(client.get("k00001").await.unwrap().as_deref(), expected);
        }
    });
}

#[test]
fn an_insert_is_refused_where_there_is_a_value() {
    with_store(5, async |_, client: Client| {
        client.put("a", "1").await.unwrap();
        let insert = |name: &str, seq| Request::Put {
            key: key(name),
            value: Bytes::from_static(b"2"),
            seq,
            if_absent: true,
        };
        for one_phase in [false, true] {
            let mut txn = client.begin(if one_phase { 1 } else { 2 });
            let mut requests = vec![insert("a", 1)];
            if one_phase {
                let end =
                    Request::EndTxn { commit: true, lock_spans: vec![], one_phase: true, deadline: None };
                requests.push(end);
            }
            let refused = client.in_txn(&mut txn, requests).await;
            assert!(
                matches!(&refused, Err(Error::KeyExists { key: there }) if *there == key("a")),
                "{refused:?}"
            );
        }
        // What came into being after the transaction's start must be looked at later.
        let mut old = client.begin(3);
        client.put("b", "1").await.unwrap();
        let refused = client.in_txn(&mut old, vec![insert("b", 1)]).await;
        assert!(matches!(refused, Err(Error::WriteTooOld { .. })), "{refused:?}");
        let mut txn = client.begin(4);
        client
            .in_txn(&mut txn, vec![insert("c", 1), Request::Delete { key: key("a"), seq: 2 }])
            .await
            .unwrap();
        client.in_txn(&mut txn, vec![insert("a", 3)]).await.unwrap();
        let again = client.in_txn(&mut txn, vec![insert("c", 4)]).await;
        assert!(matches!(again, Err(Error::KeyExists { .. })), "{again:?}");
        assert_eq!(txn.id, TxnId(4));
    });
}
