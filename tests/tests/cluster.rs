//! Three nodes lose nothing while processes die, freeze, are cut off and are restarted; and one node becomes three.

use std::time::Duration;

use basalt_tests::{
    binary,
    cluster::{
        campaign::describe,
        member::within,
        nemesis::Nemesis,
        real::{Plan, RealCluster},
        run::{Setting, run},
        session::Session,
        status::rows,
        workload::Kind,
    },
};
use tempfile::TempDir;

const NODES: usize = 3;

async fn survives(nemesis: Nemesis, workload: Kind) {
    let folder = TempDir::new().unwrap();
    let plan = Plan::new(&binary(), folder.path(), NODES);
    let setting = Setting {
        workload,
        nemesis,
        time: Duration::from_secs(35),
        clients: 8,
        hold: Duration::from_secs(5),
        acknowledged_min: 1_000,
    };
    let report = run(&plan, &setting).await.unwrap();
    let told = describe(0, &report);
    println!("{told}");
    assert!(report.violations.is_empty(), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_kept_when_leaseholders_are_killed() {
    survives(Nemesis::KillOne, Kind::Bank).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_stay_serializable_when_leaseholders_freeze() {
    survives(Nemesis::Freeze, Kind::ListAppend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_stay_linearizable_when_one_direction_is_cut() {
    survives(Nemesis::OneWay, Kind::Register).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_and_their_index_stay_whole_through_rolling_restarts() {
    survives(Nemesis::RollingRestart, Kind::Set).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_becomes_three_and_its_data_outlives_it() {
    const ROWS: i64 = 3_000;
    let patience = Duration::from_secs(60);
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::prepare(&Plan::new(&binary(), folder.path(), NODES)).await.unwrap();
    cluster.start_node(0).await.unwrap();
    let client = cluster.members[0].connect().await.unwrap();
    client.batch_execute("create table t (id int8 primary key, pad text not null)").await.unwrap();
    // More than one range, at the size that the plan sets.
    let fill = format!("insert into t select i, repeat('x', 1000) from generate_series(1, {ROWS}) as g(i)");
    client.batch_execute(&fill).await.unwrap();
    cluster.start_node(1).await.unwrap();
    cluster.start_node(2).await.unwrap();
    cluster.whole(NODES, patience).await.unwrap();
    client.batch_execute("insert into t values (0, 'by three')").await.unwrap();
    let ranges = cluster.ranges().await.unwrap();
    assert!(ranges.len() > 1, "{ranges:?}");
    cluster.kill(0).unwrap();
    for node in [1, 2] {
        let mut session = Session::new(&[cluster.members[node].site.sql_port], 0);
        let count = within(patience, async {
            loop {
                // The leases have to expire first.
                let counted = rows(session.client().await?, "select count(*), sum(length(pad)) from t").await;
                match counted {
                    Ok(counted) => return Ok(counted),
                    Err(error) => println!("node {}: {error:?}", node + 1),
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let expected = vec![Some((ROWS + 1).to_string()), Some((ROWS * 1_000 + 8).to_string())];
        assert_eq!(count.await.unwrap(), [expected]);
    }
}
