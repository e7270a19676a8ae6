//! A store on the operating system's files and threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test on the real system")]

use std::{any::Any, collections::BTreeMap, sync::Arc};

use basalt_base::{NodeId, RangeId, ReplicaId, StoreId};
use basalt_env::os::os_env;
use basalt_raft::{
    Applied, GroupDescriptor, LogEntry, LogIndex, Membership, NoTransport, Options, RaftStore, Result,
    SnapshotData, StateMachine, StoreIdent,
};
use bytes::Bytes;
use parking_lot::Mutex;

/// Counts entries per range; never flushed, so that every start replays everything.
#[derive(Default)]
struct Counter(Mutex<BTreeMap<RangeId, LogIndex>>);

impl StateMachine for Counter {
    fn groups(&self) -> Result<Vec<GroupDescriptor>> {
        let initial = |range| {
            GroupDescriptor::initial(RangeId(range), ReplicaId(1), Membership::voters([ReplicaId(1)]))
        };
        Ok((1..=8).map(initial).collect())
    }

    fn apply(&self, range_id: RangeId, entries: &[LogEntry]) -> Result<Vec<Applied>> {
        let mut counts = self.0.lock();
        let count = counts.entry(range_id).or_default();
        let applied = entries.iter().map(|entry| {
            *count += u64::from(!entry.command.is_empty());
            Applied { outcome: Some(Box::new(*count) as Box<dyn Any + Send>), effects: Vec::new() }
        });
        Ok(applied.collect())
    }

    fn snapshot(&self, range_id: RangeId) -> Result<SnapshotData> {
        Err(basalt_raft::Error::RangeNotFound(range_id))
    }

    fn install_snapshot(&self, range_id: RangeId, _: ReplicaId, _: &SnapshotData) -> Result<()> {
        Err(basalt_raft::Error::RangeNotFound(range_id))
    }

    fn durable_applied(&self, _: RangeId) -> LogIndex {
        0
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_share_syncs_and_a_restart_finds_everything() {
    const WRITERS: u64 = 32;
    const WRITES: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let env = os_env(folder.path());
    let clock = env.clock.clone();
    let mut store = RaftStore::open(env, Options::default()).await.unwrap();
    let ident = StoreIdent { cluster_id: 1, node_id: NodeId(1), store_id: StoreId(1) };
    store.bootstrap(ident).await.unwrap();
    let state = Arc::new(Counter::default());
    let handle = store.start(state.clone(), Arc::new(NoTransport), Arc::new(())).await.unwrap();

    let before = handle.counts();
    let started = clock.monotonic();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let handle = handle.clone();
            tokio::spawn(async move {
                for _ in 0..WRITES {
                    let command = Bytes::from(vec![b'x'; 200]);
                    handle.propose(RangeId(writer % 8 + 1), command).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let (after, took) = (handle.counts(), clock.monotonic() - started);
    let fsyncs = after.fsyncs - before.fsyncs;
    println!(
        "{} writes in {took:?}, {fsyncs} fsyncs, {} log bytes per write",
        WRITERS * WRITES,
        (after.log_bytes - before.log_bytes) / (WRITERS * WRITES)
    );
    assert!(fsyncs < WRITERS * WRITES / 2, "{fsyncs} fsyncs");
    handle.shutdown(None).await.unwrap();

    let store = RaftStore::open(os_env(folder.path()), Options::default()).await.unwrap();
    assert_eq!((store.ident(), store.incarnation()), (Some(ident), 2));
    let state = Arc::new(Counter::default());
    let handle = store.start(state.clone(), Arc::new(NoTransport), Arc::new(())).await.unwrap();
    for range in 1..=8 {
        handle.propose(RangeId(range), Bytes::from_static(b"last")).await.unwrap();
    }
    assert!(state.0.lock().values().all(|count| *count == WRITERS / 8 * WRITES + 1));
    handle.shutdown(None).await.unwrap();
}
