//! Reads of the past, answered by the nearest replica.

use std::time::Duration;

use basalt_base::Timestamp;
use basalt_kv::LocalSender;
use basalt_kv_api::{BatchHeader, BatchRequest, Request, Response, Sender};

use super::fixture::{Fixture, key, with_cluster};

impl Fixture {
    /// What a row held at a moment, asked of one node; `None` if it can't tell.
    async fn read_past(&self, number: u64, at: Timestamp, row: u64) -> Option<bool> {
        let header = BatchHeader { timestamp: at, from_any_replica: true, ..BatchHeader::default() };
        let batch = BatchRequest { header, requests: vec![Request::Get { key: key(row), lock: None }] };
        let response = LocalSender::new(self.store(number)).send(batch).await.ok()?;
        let answer = response.responses.into_iter().next();
        let Some(Response::Get { value }) = answer else { panic!("a read was answered by {answer:?}") };
        Some(value.is_some())
    }

    /// So that the range is closed up to now.
    async fn work_for(&self, seconds: u64) {
        for _ in 0..5 * seconds {
            self.executor.sleep(Duration::from_millis(200)).await;
            self.put(1, 9).await;
        }
    }
}

#[test]
fn every_replica_answers_reads_of_the_past_even_when_it_is_cut_off() {
    with_cluster(9, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.put(1, 1).await;
        let then = fixture.store(1).now().unwrap();
        fixture.put(1, 2).await;
        fixture.work_for(6).await;
        for number in 1..=3 {
            let before = fixture.store(number).counts();
            assert_eq!(fixture.read_past(number, then, 1).await, Some(true));
            assert_eq!(fixture.read_past(number, then, 2).await, Some(false));
            let after = fixture.store(number).counts();
            assert_eq!(after.follower_reads - before.follower_reads, 2, "node {number}");
            assert_eq!(after.batches_sent, before.batches_sent, "node {number}");
        }
        // Too recent to be closed: the leaseholder answers.
        let now = fixture.store(1).now().unwrap();
        let before = fixture.store(3).counts();
        assert_eq!(fixture.read_past(3, now, 2).await, Some(true));
        let after = fixture.store(3).counts();
        assert_eq!(after.follower_refusals - before.follower_refusals, 1);
        assert!(after.batches_sent > before.batches_sent);
        for other in [1, 2] {
            fixture.cluster.network().block(3, other);
            fixture.cluster.network().block(other, 3);
        }
        fixture.work_for(6).await;
        assert_eq!(fixture.read_past(3, then, 1).await, Some(true));
        assert_eq!(fixture.read_past(3, then, 2).await, Some(false));
        let now = fixture.store(3).now().unwrap();
        assert_eq!(fixture.read_past(3, now, 1).await, None, "it can't know");
    });
}

#[test]
fn an_idle_range_is_closed_by_who_asks_its_leaseholder() {
    with_cluster(10, 3, |fixture| async move {
        fixture.until_replicated(3).await;
        fixture.put(1, 1).await;
        fixture.executor.sleep(Duration::from_secs(30)).await;
        let then = Timestamp::from_parts(fixture.store(1).now().unwrap().physical_ms() - 5_000, 0);
        let before = fixture.store(3).counts();
        assert_eq!(fixture.read_past(3, then, 1).await, Some(true));
        fixture.executor.sleep(Duration::from_millis(500)).await;
        assert_eq!(fixture.read_past(3, then, 1).await, Some(true));
        let after = fixture.store(3).counts();
        assert_eq!(after.follower_refusals - before.follower_refusals, 1);
        assert_eq!(after.follower_reads - before.follower_reads, 1);
    });
}
