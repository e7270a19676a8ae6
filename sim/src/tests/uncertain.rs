//! What a transaction holds for possibly earlier than itself.

use basalt_txn::{ReadOptions, Txn};

use super::fixture::{Fixture, key, with_cluster};

async fn finds(txn: &Txn, row: u64) -> bool {
    txn.get(&key(row), ReadOptions::default()).await.expect("the read succeeds").is_some()
}

impl Fixture {
    fn uncertain_reads(&self) -> u64 {
        (1..=3).map(|number| self.store(number).counts().uncertain_reads).sum()
    }
}

#[test]
fn what_a_node_writes_after_a_visit_is_certainly_later_and_before_it_is_not() {
    with_cluster(1, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.put(1, 1).await;
        assert!(fixture.store(1).replicas()[0].leads);
        // From elsewhere, and where the values are written.
        for (round, number) in [(1, 2), (2, 1)] {
            let txn = fixture.begin(number);
            assert!(finds(&txn, 1).await);
            let before = fixture.uncertain_reads();
            fixture.put(1, 10 * round).await;
            assert!(!finds(&txn, 10 * round).await, "it is later");
            assert_eq!(fixture.uncertain_reads(), before);
            txn.rollback().await;
        }
        // Without a visit nobody knows.
        let txn = fixture.begin(2);
        fixture.put(1, 30).await;
        let before = fixture.uncertain_reads();
        assert!(finds(&txn, 30).await);
        assert_eq!(fixture.uncertain_reads(), before + 1);
        // Nor does the visit count for another transaction.
        let other = fixture.begin(2);
        fixture.put(1, 31).await;
        assert!(finds(&other, 31).await);
        txn.rollback().await;
        other.rollback().await;
    });
}
