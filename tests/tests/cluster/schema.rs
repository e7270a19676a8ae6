//! Work on the schema outlives the node that began it.

use std::{sync::Arc, time::Duration};

use basalt_tests::{
    binary,
    chaos::wait::until,
    cluster::{
        real::{Plan, RealCluster},
        session::Session,
        status::{number, own_id, rows},
    },
};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::NODES;

const ROWS: i64 = 20_000;
const BUILDER: usize = NODES - 1;
const WHOLE_PATIENCE: Duration = Duration::from_secs(60);
/// The session of a dead node expires, another node takes its job over, and begins where it was. Pages of the build that a
/// writer has hit are done again, so a busy machine takes long.
const BUILD_PATIENCE: Duration = Duration::from_secs(240);
/// Between two statements of the writer, so that most pages are not hit.
const PAUSE: Duration = Duration::from_millis(10);

/// Rows that come, move and go while the index is built, until `done`; how many statements were acknowledged.
async fn change_rows(mut session: Session, done: Arc<Notify>) -> usize {
    let (mut acknowledged, mut round) = (0, 0_i64);
    let mut pace = tokio::time::interval(PAUSE);
    let change = async {
        loop {
            pace.tick().await;
            round += 1;
            let id = round * 7_919 % ROWS;
            let statement = match round % 3 {
                0 => format!("delete from t where id = {id}"),
                1 => format!("insert into t values ({}, {})", ROWS + round, 10 * ROWS + round),
                _ => format!("update t set n = {} where id = {id}", 20 * ROWS + round),
            };
            let Ok(client) = session.client().await else { continue };
            match rows(client, &statement).await {
                Ok(_) => acknowledged += 1,
                // Leases of the node that was killed, and changes of the schema.
                Err(error) if error.code().is_some() => {}
                Err(_) => session.leave(),
            }
        }
    };
    tokio::select! {
        biased;
        () = done.notified() => {}
        () = change => {}
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_finished_by_another_node_when_the_one_that_builds_it_is_killed() {
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::start(&Plan::new(&binary(), folder.path(), NODES)).await.unwrap();
    let client = cluster.members[0].connect().await.unwrap();
    let table = format!(
        "create table t (id int8 primary key, n int8 not null);
         insert into t select i, i from generate_series(0, {ROWS} - 1) as g(i)"
    );
    client.batch_execute(&table).await.unwrap();
    cluster.whole(NODES, WHOLE_PATIENCE).await.unwrap();
    let builder_id = own_id(&cluster.members[BUILDER]).await.unwrap();
    let ports = cluster.sql_ports();
    let done = Arc::new(Notify::new());
    let load = tokio::spawn(change_rows(Session::new(&ports[..BUILDER], 0), Arc::clone(&done)));

    let on_builder = cluster.members[BUILDER].connect().await.unwrap();
    let build = tokio::spawn(async move {
        on_builder.batch_execute("create unique index concurrently built on t (n)").await
    });
    let running =
        format!("select count(*) from basalt_jobs where status = 'running' and node_id = {builder_id}");
    let is_running = until("the build runs", BUILD_PATIENCE, async || {
        Ok(rows(&client, &running).await?[0][0].as_deref() == Some("1"))
    });
    is_running.await.unwrap();
    cluster.kill(BUILDER).unwrap();
    assert!(build.await.unwrap().is_err(), "its node was killed before it ended");

    let (mut is_adopted, mut told, begun) = (false, String::new(), std::time::Instant::now());
    let finished = until("another node finishes the index", BUILD_PATIENCE, async || {
        // Whoever holds the leases of the node that was killed comes first.
        let job = rows(&client, "select status, node_id, rows_done, error from basalt_jobs").await;
        let job = format!("{job:?}");
        if job != told {
            println!("{:.1} s: {job}", begun.elapsed().as_secs_f64());
            told = job;
        }
        let Ok(job) = rows(&client, "select status, node_id from basalt_jobs").await else {
            return Ok(false);
        };
        let (status, node) = (job[0][0].as_deref(), number(job[0][1].as_ref()));
        is_adopted |= status == Some("running") && node.is_some_and(|node| node != builder_id);
        assert!(status == Some("running") || status == Some("succeeded"), "{job:?}");
        Ok(status == Some("succeeded"))
    });
    finished.await.unwrap();
    assert!(is_adopted, "the build had ended before its node was killed");
    done.notify_one();
    let acknowledged = load.await.unwrap();
    assert!(acknowledged > 100, "only {acknowledged} rows were changed meanwhile");

    let by_index = "select n, id from t where n >= 0 order by n";
    let plan = rows(&client, &format!("explain {by_index} limit 10")).await.unwrap();
    assert!(plan.iter().any(|line| line[0].as_ref().is_some_and(|line| line.contains("built"))), "{plan:?}");
    for node in 0..BUILDER {
        let client = cluster.members[node].connect().await.unwrap();
        let mut table = rows(&client, "select n, id from t").await.unwrap();
        let value = |row: &Vec<Option<String>>| number(row[0].as_ref());
        table.sort_by_key(value);
        let mut indexed = Vec::new();
        // Piece by piece, so that the index is what is read.
        while indexed.len() < table.len() {
            let above = indexed.last().and_then(value).unwrap_or(-1);
            let piece = format!("select n, id from t where n > {above} order by n limit 1000");
            let piece = rows(&client, &piece).await.unwrap();
            assert!(!piece.is_empty(), "the index has {} of {} rows", indexed.len(), table.len());
            indexed.extend(piece);
        }
        assert!(indexed == table, "the index says something else than the table, by node {}", node + 1);
    }
    println!("{acknowledged} rows changed meanwhile");
}
