//! Transactions that are open while the lease of a range is given away.

use basalt_kv_api::{Request, TxnPriority};
use basalt_txn::{ReadOptions, TxnConfig};
use bytes::Bytes;

use super::fixture::{Fixture, id, key, with_cluster};

const VALUE: Bytes = Bytes::from_static(b"value");

impl Fixture {
    async fn transfer(&self, to: u64) {
        self.send(1, Request::AdminTransferLease { key: key(1), to: id(to) }).await;
    }
}

#[test]
fn a_transaction_without_a_record_goes_on_under_a_lease_that_was_given_away() {
    with_cluster(1, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.put(1, 1).await;
        for to in [2, 3, 1] {
            let txn = fixture.begin(1);
            txn.get(&key(1), ReadOptions::default()).await.expect("the read succeeds");
            txn.put(key(2), VALUE).expect("there is room");
            fixture.transfer(to).await;
            txn.commit().await.expect("nobody has aborted it");
        }
    });
}

#[test]
fn a_transaction_that_was_aborted_without_a_record_stays_so_under_a_lease_that_was_given_away() {
    with_cluster(2, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.put(1, 1).await;
        for to in [2, 3, 1] {
            let txn = fixture.begin(1);
            txn.put(key(2), VALUE).expect("there is room");
            txn.flush_all().await.expect("nobody is in the way");
            let winner =
                fixture.begin_with(2, TxnConfig { priority: TxnPriority(9), ..TxnConfig::default() });
            winner.put(key(2), VALUE).expect("there is room");
            winner.commit().await.expect("it aborts the other");
            fixture.transfer(to).await;
            txn.commit().await.expect_err("it is aborted");
        }
    });
}
