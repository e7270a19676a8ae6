//! Without a majority a node answers all the same, and says that it cannot serve; with one it serves again by itself.

use std::time::{Duration, Instant};

use basalt_tests::{
    binary,
    chaos::wait::until,
    cluster::{
        real::{Plan, RealCluster},
        status::rows,
    },
};
use tempfile::TempDir;
use tokio_postgres::{Client, error::SqlState};

use crate::NODES;

const WHOLE_PATIENCE: Duration = Duration::from_secs(60);
/// Two seconds of silence tell a dead node from a slow one; the rest is for a busy machine. Well below the ten seconds for which
/// a request looks for somebody who serves its range.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// From the start of the others to a statement that succeeds.
const RETURN_MAX: Duration = Duration::from_secs(30);
/// What the node holds a lease for it reads until the lease has run out.
const LEASES_END: Duration = Duration::from_secs(20);
const SURVIVOR: usize = NODES - 1;

/// What a client is told instead of an answer.
///
/// # Panics
/// When nothing is said in time, or not by the node.
async fn refusal(client: &Client, statement: &str) -> Option<SqlState> {
    let begun = Instant::now();
    let answer = tokio::time::timeout(ANSWER_MAX, rows(client, statement)).await;
    let Ok(answer) = answer else { panic!("no answer within {ANSWER_MAX:?}: {statement}") };
    let error = answer.err()?;
    println!("{statement}: {error} after {:.1} s", begun.elapsed().as_secs_f64());
    let code = error.code().unwrap_or_else(|| panic!("{statement}: {error:?}"));
    Some(code.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_three_nodes_says_that_it_cannot_serve_until_the_others_are_back() {
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::start(&Plan::new(&binary(), folder.path(), NODES)).await.unwrap();
    let client = cluster.members[SURVIVOR].connect().await.unwrap();
    client.batch_execute("create table t (id int8 primary key); insert into t values (0)").await.unwrap();
    cluster.whole(NODES, WHOLE_PATIENCE).await.unwrap();
    let holder = cluster.members[SURVIVOR].connect().await.unwrap();
    holder.batch_execute("begin; insert into t values (100)").await.unwrap();

    for node in (0..NODES).filter(|node| *node != SURVIVOR) {
        cluster.kill(node).unwrap();
    }
    // Nobody can agree to it any more. That it may yet come to be is an answer, too.
    let unknown = SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN;
    let committed = refusal(&holder, "commit").await.expect("a commit without a majority");
    let told = [SqlState::CANNOT_CONNECT_NOW, unknown.clone(), SqlState::T_R_SERIALIZATION_FAILURE];
    assert!(told.contains(&committed), "{committed:?}");
    let mut refused = Vec::new();
    for id in 1..=3 {
        let insert = format!("insert into t values ({id})");
        let code = refusal(&client, &insert).await.expect("a write without a majority");
        assert!([SqlState::CANNOT_CONNECT_NOW, unknown.clone()].contains(&code), "{code:?}");
        if code == SqlState::CANNOT_CONNECT_NOW {
            refused.push(id);
        }
    }
    let read = "select id from t";
    let reads_end = async || Ok(refusal(&client, read).await.is_some());
    until("leases that nobody renews have run out", LEASES_END, reads_end).await.unwrap();
    for _ in 0..3 {
        assert_eq!(refusal(&client, read).await, Some(SqlState::CANNOT_CONNECT_NOW));
    }
    // Whoever comes now is told the same, at the door or inside.
    let late =
        tokio::time::timeout(ANSWER_MAX, cluster.members[SURVIVOR].connect()).await.expect("an answer");
    let told = match late {
        Ok(late) => refusal(&late, read).await,
        Err(error) => error.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.code().cloned()),
    };
    assert_eq!(told, Some(SqlState::CANNOT_CONNECT_NOW));

    let begun = Instant::now();
    for node in (0..NODES).filter(|node| *node != SURVIVOR) {
        cluster.spawn(node).unwrap();
    }
    // On the connection that was there all the time: nothing of the survivor is begun anew.
    let write = "insert into t values (4) on conflict (id) do nothing";
    let writes = async || Ok(refusal(&client, write).await.is_none());
    until("a statement succeeds again", RETURN_MAX, writes).await.unwrap();
    assert!(begun.elapsed() < RETURN_MAX, "{:?}", begun.elapsed());
    println!("a statement succeeds {:.1} s after the others were started", begun.elapsed().as_secs_f64());
    cluster.whole(NODES, WHOLE_PATIENCE).await.unwrap();
    assert_eq!(cluster.members[SURVIVOR].starts, 1);
    assert!(cluster.members[SURVIVOR].is_running());

    for member in &cluster.members {
        let found = rows(&member.connect().await.unwrap(), read).await.unwrap();
        let found: Vec<i64> = found.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
        assert!(found.contains(&0) && found.contains(&4), "{found:?}");
        assert!(!refused.iter().any(|id| found.contains(id)), "{refused:?} were refused: {found:?}");
    }
}
