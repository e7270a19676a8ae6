//! What a medium damages is never served, and the node that has it is replaced.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use basalt_tests::{
    binary,
    cluster::{
        member::within,
        real::{Plan, RealCluster},
        status::rows,
    },
};
use tempfile::TempDir;

use super::NODES;

const ROWS: i64 = 8_000;
const PAD: i64 = 1_024;
/// A replica takes its time to learn that it may answer for the past.
const PAST: &str = "as of system time '-6s'";

/// The files of the state engine, the largest last.
fn tables(store: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(store.join("state")).unwrap().map(|entry| entry.unwrap().path());
    let mut tables: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "sst")).collect();
    tables.sort_by_key(|path| fs::metadata(path).unwrap().len());
    tables
}

/// Flips a bit every few blocks in the middle of a file: before it is what every start needs, behind it are index and filter.
fn damage(path: &Path) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    for offset in (length / 4..length / 2).step_by(16 << 10) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 16], offset).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_state_is_damaged_leaves_and_nobody_reads_the_damage() {
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::start(&Plan::new(&binary(), folder.path(), NODES)).await.unwrap();
    let client = cluster.members[0].connect().await.unwrap();
    client.batch_execute("create table t (id int8 primary key, pad text not null)").await.unwrap();
    let fill = format!(
        "insert into t select i, (select string_agg(md5((i * 100 + j)::text), '') from generate_series(1, 32) as h(j)) \
         from generate_series(1, {ROWS}) as g(i)"
    );
    client.batch_execute(&fill).await.unwrap();
    cluster.whole(NODES, Duration::from_secs(60)).await.unwrap();
    // A start writes into files what the log of the engine has.
    for _ in 0..2 {
        cluster.stop(2).await.unwrap();
        cluster.start_node(2).await.unwrap();
    }
    cluster.stop(2).await.unwrap();
    let tables = tables(&cluster.members[2].site.store);
    let largest = tables.last().unwrap();
    assert!(fs::metadata(largest).unwrap().len() > 1 << 20, "{tables:?}");
    damage(largest);
    // It may meet the damage at once, when it applies what is in its log.
    cluster.spawn(2).unwrap();

    let expected = [vec![Some(ROWS.to_string()), Some((ROWS * PAD).to_string())]];
    let left = within(Duration::from_secs(90), async {
        // Its own replicas answer for the past.
        let query = format!("select count(*), sum(length(pad)) from t {PAST}");
        while cluster.members[2].ended()?.is_none() {
            let Ok(client) = cluster.members[2].connect().await else { continue };
            match rows(&client, &query).await {
                Ok(found) => assert_eq!(found, expected),
                Err(error) => println!("the damaged node: {error:?}"),
            }
        }
        Ok(())
    });
    left.await.unwrap();
    assert!(cluster.members[2].logged("block checksum mismatch") > 0, "{}", cluster.members[2].last_words());
    cluster.spawn(2).unwrap();
    cluster.members[2].ends(Duration::from_secs(30)).await.unwrap();
    assert!(cluster.members[2].last_words().contains("found damaged"), "{}", cluster.members[2].last_words());
    for node in [0, 1] {
        let client = cluster.members[node].connect().await.unwrap();
        let found = rows(&client, "select count(*), sum(length(pad)) from t").await.unwrap();
        assert_eq!(found, expected, "node {}", node + 1);
    }
}
