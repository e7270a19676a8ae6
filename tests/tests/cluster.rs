//! Three nodes lose nothing while processes die, freeze, are cut off and are restarted; one node becomes three; and clients of
//! one node reach those of the others.

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
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls, error::SqlState};

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

/// A client of a database, whose connection says nothing when it ends.
async fn client_of(database: &str, port: u16) -> Client {
    let url = format!("postgresql://postgres@127.0.0.1:{port}/{database}");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(async move {
        let _ended = connection.await;
    });
    client
}

/// The only value that a query gives, on any node.
async fn value(client: &Client, query: &str) -> String {
    rows(client, query).await.unwrap()[0][0].clone().unwrap()
}

/// Until a session is at a statement, seen from another.
async fn until_runs(client: &Client, pid: &str, statement: &str) {
    let query = format!(
        "select count(*) from pg_stat_activity where pid = {pid} and state = 'active' and query = '{statement}'"
    );
    while value(client, &query).await != "1" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn code<T>(result: Result<T, tokio_postgres::Error>) -> Option<SqlState> {
    result.err().and_then(|error| error.code().cloned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_all_nodes_see_and_stop_each_other() {
    const WAITS: &str = "select * from t for update";
    let folder = TempDir::new().unwrap();
    let mut cluster = RealCluster::start(&Plan::new(&binary(), folder.path(), NODES)).await.unwrap();
    let ports = cluster.sql_ports();
    let (one, two) = (client_of("postgres", ports[0]).await, client_of("postgres", ports[1]).await);
    one.batch_execute("create table t (id int8 primary key); insert into t values (1)").await.unwrap();
    one.batch_execute("begin; update t set id = 2").await.unwrap();
    let pid = value(&two, "select pg_backend_pid()").await;
    let by_function = async {
        until_runs(&one, &pid, WAITS).await;
        assert_eq!(value(&one, &format!("select pg_cancel_backend({pid})")).await, "t");
    };
    let (waited, ()) = tokio::join!(two.batch_execute(WAITS), by_function);
    assert_eq!(code(waited), Some(SqlState::QUERY_CANCELED));
    // A client that lists several hosts, or one behind a balancer, may send its request to any of them.
    let by_request = async {
        until_runs(&one, &pid, WAITS).await;
        let stream = TcpStream::connect(("127.0.0.1", ports[2])).await.unwrap();
        two.cancel_token().cancel_query_raw(stream, NoTls).await.unwrap();
    };
    let (waited, ()) = tokio::join!(two.batch_execute(WAITS), by_request);
    assert_eq!(code(waited), Some(SqlState::QUERY_CANCELED));
    let terminates = async {
        until_runs(&one, &pid, WAITS).await;
        assert_eq!(value(&one, &format!("select pg_terminate_backend({pid}, 10000)")).await, "t");
        assert_eq!(value(&one, &format!("select pg_terminate_backend({pid})")).await, "f");
    };
    let (waited, ()) = tokio::join!(two.batch_execute(WAITS), terminates);
    assert_eq!(code(waited), Some(SqlState::ADMIN_SHUTDOWN));

    one.batch_execute("rollback").await.unwrap();
    one.batch_execute("create database x").await.unwrap();
    let user = client_of("x", ports[2]).await;
    let refused = one.batch_execute("drop database x").await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.code(), &SqlState::OBJECT_IN_USE);
    assert_eq!(refused.detail(), Some("There is 1 other session using the database."));
    let end = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'x'";
    assert_eq!(value(&one, end).await, "t");
    assert_eq!(code(user.batch_execute("select 1").await), None, "the connection is closed");
    one.batch_execute("drop database x").await.unwrap();

    let three = client_of("postgres", ports[2]).await;
    let pid = value(&three, "select pg_backend_pid()").await;
    cluster.kill(2).unwrap();
    let asked = within(Duration::from_secs(4), async {
        let left = format!("select count(*) from pg_stat_activity where pid = {pid}");
        Ok((value(&one, &left).await, value(&one, &format!("select pg_cancel_backend({pid})")).await))
    });
    assert_eq!(asked.await.unwrap(), ("0".to_owned(), "f".to_owned()));
}
