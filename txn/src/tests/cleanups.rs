//! Locks at the end of a transaction.

use basalt_base::Span;
use basalt_kv_api::LockStrength;

use super::*;
use crate::ScanRequest;

fn locking() -> ReadOptions {
    ReadOptions::locking(LockStrength::Exclusive)
}

#[tokio::test]
async fn locks_in_memory_are_released_before_the_answer_however_many() {
    let fake = Fake::with_splits(&["k300"]);
    let client = client(&fake, TxnOptions { footprint_keys_max: 10_000, ..TxnOptions::default() });
    let keys: Vec<Key> = (0..600).map(|row| key(&format!("k{row:03}"))).collect();
    let txn = begin(&client);
    keys.iter().for_each(|key| txn.put(key.clone(), value("1")).unwrap());
    txn.commit().await.unwrap();
    until_no_traces(&fake).await;
    for (by_scan, commit) in [(true, true), (true, false), (false, true), (false, false)] {
        let txn = begin(&client);
        if by_scan {
            let span = Span::new(key("k000"), key("l"));
            txn.scan(ScanRequest { read: locking(), ..ScanRequest::new(span) }).await.unwrap();
        } else {
            txn.get_many(&keys, locking()).await.unwrap();
        }
        assert_eq!(fake.traces(), 600);
        match commit {
            true => drop(txn.commit().await.unwrap()),
            false => txn.rollback().await,
        }
        assert_eq!(fake.traces(), 0, "by scan {by_scan}, commit {commit}");
    }
}
