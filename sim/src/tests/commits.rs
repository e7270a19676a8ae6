//! What others see of a commit that is under way.

use std::time::Duration;

use basalt_kv_api::Request;
use basalt_txn::ReadOptions;
use bytes::Bytes;

use super::fixture::{id, key, with_cluster};

const VALUE: Bytes = Bytes::from_static(b"value");

/// Its record waits for the writes beside it, and one of those waits for another transaction.
#[test]
fn readers_do_not_wait_for_a_commit_that_waits_for_a_lock() {
    with_cluster(1, 3, |fixture| async move {
        fixture.spread(2).await;
        fixture.send(1, Request::AdminTransferLease { key: key(1), to: id(2) }).await;
        let holder = fixture.begin(3);
        holder.put(key(1), VALUE).expect("there is room");
        holder.flush_all().await.expect("nobody is in the way");
        let writer = fixture.begin(1);
        writer.put(key(0), VALUE).expect("there is room");
        writer.put(key(1), VALUE).expect("there is room");
        let others = async {
            fixture.executor.sleep(Duration::from_millis(50)).await;
            let begun = fixture.executor.now();
            let reader = fixture.begin(1);
            reader.get(&key(0), ReadOptions::default()).await.expect("it passes below the writer");
            let waited = fixture.executor.now() - begun;
            assert!(waited < Duration::from_millis(100), "{waited:?}");
            holder.commit().await.expect("nobody has aborted it");
        };
        let (committed, ()) = tokio::join!(writer.commit(), others);
        committed.expect("the holder has let go");
        let counts = fixture.node(1).with_running(|running, _| running.client.counts()).expect("it is up");
        assert_eq!(counts.staged_in_vain, 1, "the record was there, and no commit");
    });
}
