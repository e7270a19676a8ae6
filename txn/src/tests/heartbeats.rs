use std::time::Duration;

use basalt_env::sim::{SimDisk, SimExecutor};
use basalt_kv_api::LockStrength;

use super::*;

/// More than go out at once.
const TXNS: usize = 600;

#[test]
fn a_slow_beat_holds_up_no_other_and_keeps_nobody_alive() {
    let executor = SimExecutor::new(1);
    let fake = Fake::with_splits(&[]);
    let env = executor.env(1, SimDisk::new());
    let client = TxnClient::new(env, fake.clone(), TxnOptions::default());
    executor.run(async {
        let slow = key("t000");
        fake.stick(Some(slow.clone()));
        let mut txns = Vec::new();
        for number in 0..TXNS {
            let txn = begin(&client);
            let name = key(&format!("t{number:03}"));
            txn.get(&name, ReadOptions::locking(LockStrength::Exclusive)).await.unwrap();
            txns.push(txn);
        }
        executor.sleep(Duration::from_millis(10_500)).await;
        let beats = fake.beats();
        assert_eq!((beats.len(), beats.get(&slow)), (TXNS - 1, None));
        assert!(beats.values().all(|count| (19..=21).contains(count)), "{beats:?}");
        // Its answer never comes, and yet the transaction can go.
        drop(txns.remove(0));
        executor.sleep(Duration::from_millis(1)).await;
        assert_eq!(fake.traces(), TXNS - 1);
        drop(txns);
        executor.sleep(Duration::from_secs(3)).await;
        assert_eq!(fake.traces(), 0);
        let beats = fake.beats();
        executor.sleep(Duration::from_secs(3)).await;
        assert_eq!(fake.beats(), beats, "nobody is left");
    });
}
