//! Crashes and restarts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use basalt_base::Timestamp;
use basalt_env::sim::SimRng;
use basalt_kv_api::Error;
use parking_lot::Mutex;

use super::fixture::{Client, machine, put, span};

#[test]
fn a_restart_finds_everything_and_the_clock_goes_on() {
    let machine = machine(1);
    machine.executor.clone().run(async move {
        let client = Client::new(machine.start().await);
        client.put("a", "1").await.unwrap();
        client.split("b").await.unwrap();
        client.split("c").await.unwrap();
        client.put("b", "2").await.unwrap();
        let mut open = client.begin(1);
        client.in_txn(&mut open, vec![put("c", "3", 1)]).await.unwrap();
        let before = client.store.now().unwrap();
        let sequences: Vec<u64> = client.store.ranges().iter().map(|range| range.lease_sequence).collect();
        machine.crash(&SimRng::new(1));
        let client = Client::new(machine.start().await);
        assert!(client.store.now().unwrap() > before);
        assert_eq!(client.get("a").await.unwrap().as_deref(), Some("1"));
        assert_eq!(client.get("b").await.unwrap().as_deref(), Some("2"));
        assert_eq!(client.store.ranges().len(), 3);
        for (range, old) in client.store.ranges().iter().zip(sequences) {
            assert!(range.lease_sequence > old);
        }
        // Its markers and tombstones are lost, so it may not commit under the new lease.
        let late = client.end(&mut open, true, &["c"]).await;
        assert!(matches!(late, Err(Error::TxnAborted { .. })), "{late:?}");
        assert_eq!(client.get("c").await.unwrap(), None);
    });
}

#[test]
fn acknowledged_writes_survive_power_cuts_and_no_commit_is_half_there() {
    let (mut acknowledged, mut checked) = (0, 0);
    for seed in 0..60 {
        let mut machine = machine(seed);
        machine.config.range_bytes_max = 1 << 20;
        machine.executor.clone().run(async {
            let rng = SimRng::new(seed);
            let pairs: Arc<Mutex<Pairs>> = Arc::default();
            for round in 0..4_u64 {
                machine.disk().stop_at_sync(rng.below(25) as u64);
                if let Ok(store) = machine.try_start().await {
                    let client = Client::new(store);
                    checked += u32::from(check(&client, &pairs).await);
                    acknowledged += write(&client, &rng, &pairs, round).await;
                }
                machine.crash(&rng);
            }
            let client = Client::new(machine.start().await);
            assert!(check(&client, &pairs).await, "a healthy store reads");
            machine.sleep_ms(100).await;
            assert_eq!(client.store.latches_held(), 0);
        });
    }
    // What is never written or never read can't be lost: about 900 and 180.
    assert!(
        acknowledged > 300 && checked > 60,
        "{acknowledged} commits, {checked} checks of a store that failed later"
    );
}

/// Pair -> the number last acknowledged or seen, and those tried since whose fate is unknown.
type Pairs = BTreeMap<usize, (u64, Vec<u64>)>;

/// Writes pairs of equal numbers, in one range and over two, until the disk stops. How many were acknowledged.
async fn write(client: &Client, rng: &SimRng, pairs: &Mutex<Pairs>, round: u64) -> u32 {
    let mut acknowledged = 0;
    for turn in 0..40_u64 {
        if rng.below(6) == 0 && client.split(&format!("{}", rng.below(20))).await.is_err() {
            return acknowledged;
        }
        let pair = rng.below(10);
        let number = round * 1_000 + turn + 1;
        pairs.lock().entry(pair).or_default().1.push(number);
        let mut txn = client.begin((u128::from(rng.below(1 << 30) as u64) << 64) | u128::from(number));
        let value = number.to_string();
        let writes = vec![put(&format!("{pair}"), &value, 1), put(&format!("x{pair}"), &value, 2)];
        match client.commit(&mut txn, writes).await {
            Ok(ts) => {
                assert!(ts > Timestamp::ZERO);
                acknowledged += 1;
                *pairs.lock().entry(pair).or_default() = (number, Vec::new());
            }
            Err(error) if error.kind() == basalt_base::ErrorKind::Retry => {
                let end = client.end(&mut txn, false, &[&format!("{pair}"), &format!("x{pair}")]).await;
                if end.is_err() {
                    return acknowledged;
                }
                pairs.lock().entry(pair).or_default().1.pop();
            }
            Err(_) => return acknowledged,
        }
    }
    acknowledged
}

/// False if the disk stopped before everything was read.
async fn check(client: &Client, pairs: &Mutex<Pairs>) -> bool {
    let Ok(rows) = client.rows(span("0", "z")).await else { return false };
    let rows: BTreeMap<String, String> = rows.into_iter().collect();
    let number = |name: &str| rows.get(name).map_or(0, |value| value.parse::<u64>().unwrap());
    for (pair, (acknowledged, tried)) in pairs.lock().iter_mut() {
        let (left, right) = (number(&format!("{pair}")), number(&format!("x{pair}")));
        assert_eq!(left, right, "half of a commit is missing");
        assert!(
            left == *acknowledged || tried.contains(&left),
            "{left} is neither {acknowledged} nor one of {tried:?}"
        );
        *acknowledged = left;
        tried.clear();
    }
    true
}

#[test]
fn a_node_that_may_have_a_peer_waits_for_its_clock_and_one_that_is_alone_does_not() {
    for (seed, has_admitted) in [(1, false), (2, true)] {
        let machine = machine(seed);
        machine.executor.clone().run(async move {
            let client = Client::new(machine.start().await);
            client.put("a", "1").await.unwrap();
            if has_admitted {
                client.store.allocate_node_id(7).await.unwrap();
            }
            machine.crash(&SimRng::new(seed));
            let begun = machine.executor.now();
            let store = machine.start().await;
            let taken = machine.executor.now() - begun;
            assert_eq!(taken > Duration::from_secs(2), has_admitted, "{taken:?}");
            // Nobody is taken in while the clock is ahead.
            assert_eq!(store.allocate_node_id(8).await.is_ok(), has_admitted);
            machine.sleep_ms(3_000).await;
            assert!(store.allocate_node_id(8).await.is_ok());
        });
    }
}
