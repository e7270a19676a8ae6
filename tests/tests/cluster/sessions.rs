//! Clients of one node see, stop and hinder those of the others.

use std::time::Duration;

use basalt_tests::{
    binary,
    chaos::wait::until,
    cluster::{
        member::within,
        real::{Plan, RealCluster},
        status::rows,
    },
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls, error::SqlState};

use crate::NODES;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_clock_offset_is_refused_and_both_say_why() {
    const OFFSET: &str = "--max-clock-offset";
    let folder = TempDir::new().unwrap();
    let mut plan = Plan::new(&binary(), folder.path(), 2);
    plan.set(OFFSET, "500ms");
    let mut cluster = RealCluster::prepare(&plan).await.unwrap();
    cluster.start_node(0).await.unwrap();
    let set_offset = |cluster: &mut RealCluster, text: &str| {
        let flags = &mut cluster.members[1].site.flags;
        let at = flags.iter().position(|flag| flag == OFFSET).unwrap();
        flags[at + 1] = text.to_owned();
    };
    // A new one is told before it is a member.
    set_offset(&mut cluster, "300ms");
    cluster.spawn(1).unwrap();
    cluster.members[1].ends(PATIENCE).await.unwrap();
    let refusal = "the maximum clock offset of the cluster is 500ms, and this node was started with --max-clock-offset 300ms";
    assert_eq!(cluster.members[1].logged(refusal), 1, "{}", cluster.members[1].last_words());
    // A member that comes back with another value.
    set_offset(&mut cluster, "500ms");
    cluster.start_node(1).await.unwrap();
    cluster.stop(1).await.unwrap();
    set_offset(&mut cluster, "300ms");
    cluster.spawn(1).unwrap();
    let both_say_why = until("both say why", PATIENCE, async || {
        let says = |node: usize, text: &str| cluster.members[node].logged(text) > 0;
        Ok(says(0, "its maximum clock offset is 300ms, and that of node 1 is 500ms")
            && says(1, "its maximum clock offset is 500ms, and that of node 2 is 300ms"))
    });
    both_say_why.await.unwrap();
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
    until(statement, PATIENCE, async || Ok(value(client, &query).await == "1")).await.unwrap();
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
