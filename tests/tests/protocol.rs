//! A real driver, and clients with bad manners.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use basalt_tests::{Node, PATIENCE};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, pin_mut};
use tokio_postgres::{SimpleQueryMessage, error::SqlState};

#[tokio::test]
async fn types_travel_in_binary_and_in_text() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, b bool, i2 smallint, i8 bigint, f4 real, f8 float8, s text, \
             v varchar(9), y bytea)",
        )
        .await
        .unwrap();
    let insert = "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let bytes: &[u8] = &[0, 1, 255];
    client
        .execute(
            insert,
            &[&1_i32, &true, &-2_i16, &(1_i64 << 60), &1.5_f32, &0.1_f64, &"ä€", &"nine", &bytes],
        )
        .await
        .unwrap();
    let none: Option<&str> = None;
    client.execute("INSERT INTO t (id, s) VALUES ($1, $2)", &[&2_i32, &none]).await.unwrap();
    let row = client.query_one("SELECT * FROM t WHERE id = $1", &[&1_i32]).await.unwrap();
    assert!(row.get::<_, bool>("b"));
    assert_eq!(row.get::<_, i16>("i2"), -2);
    assert_eq!(row.get::<_, i64>("i8"), 1 << 60);
    assert_eq!(row.get::<_, f32>("f4"), 1.5);
    assert_eq!(row.get::<_, f64>("f8"), 0.1);
    assert_eq!(row.get::<_, &str>("s"), "ä€");
    assert_eq!(row.get::<_, &str>("v"), "nine");
    assert_eq!(row.get::<_, &[u8]>("y"), bytes);
    let row = client.query_one("SELECT s, b FROM t WHERE id = 2", &[]).await.unwrap();
    assert_eq!(row.get::<_, Option<&str>>(0), None);
    let text = client.simple_query("SELECT b, i2, i8, f4, f8, s, y FROM t WHERE id = 1").await.unwrap();
    let row = text.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.expect("one row");
    let values: Vec<_> = (0..row.len()).map(|column| row.get(column).unwrap()).collect();
    assert_eq!(values, ["t", "-2", "1152921504606846976", "1.5", "0.1", "ä€", "\\x0001ff"]);
}

#[tokio::test]
async fn statements_are_prepared_once_and_pipelined() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int)").await.unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $1 * 2)").await.unwrap();
    let sent = (0..100_i32).map(|id| {
        let (client, insert) = (&client, &insert);
        async move { client.execute(insert, &[&id]).await.unwrap() }
    });
    assert_eq!(futures::future::join_all(sent).await.iter().sum::<u64>(), 100);
    let select = client.prepare("SELECT n FROM t WHERE id = $1").await.unwrap();
    for id in [0, 50, 99] {
        assert_eq!(client.query_one(&select, &[&id]).await.unwrap().get::<_, i32>(0), id * 2);
    }
}

#[tokio::test]
async fn transactions_commit_roll_back_and_fail() {
    let node = Node::start(&[]);
    let mut client = node.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let mut transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    let savepoint = transaction.transaction().await.unwrap();
    let error = savepoint.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
    let error = savepoint.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    savepoint.rollback().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (3)", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    let rows = client.query("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [1, 3]);
}

#[tokio::test]
async fn copy_loads_and_unloads() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, s text)").await.unwrap();
    let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    pin_mut!(sink);
    // Cut where no line ends.
    for piece in ["1\tone\n2\tt", "wo\\tx\n3\t\\N", "\n"] {
        sink.send(Bytes::from(piece)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 3);
    let unloaded = client.copy_out("COPY t TO STDOUT").await.unwrap();
    pin_mut!(unloaded);
    let mut text = Vec::new();
    while let Some(piece) = unloaded.next().await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(String::from_utf8(text).unwrap(), "1\tone\n2\ttwo\\tx\n3\t\\N\n");
    let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(Bytes::from("4\tfour\nx\tbad\n")).await.unwrap();
    let error = sink.finish().await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::INVALID_TEXT_REPRESENTATION));
    assert_eq!(client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 3);
}

#[tokio::test]
async fn a_running_statement_is_cancelled() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    let token = client.cancel_token();
    let endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let running = tokio::spawn(async move { client.query(endless, &[]).await.map(|_| ()) });
    // A request that arrives before the statement stops nothing, so ask until it has stopped.
    let asking = async {
        loop {
            token.cancel_query(tokio_postgres::NoTls).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let ended = async {
        tokio::select! {
            ended = running => ended.unwrap(),
            () = asking => Ok(()),
        }
    };
    let error = tokio::time::timeout(PATIENCE, ended).await.expect("it stops").unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
}

#[tokio::test]
async fn large_values_travel() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, s text)").await.unwrap();
    let large = "x".repeat(1 << 20);
    client.execute("INSERT INTO t VALUES (1, $1)", &[&large]).await.unwrap();
    assert_eq!(client.query_one("SELECT s FROM t", &[]).await.unwrap().get::<_, String>(0), large);
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0, 0, 0, 3], &[0x7f, 0xff, 0xff, 0xff], &[0, 0]]
    {
        let mut stream = TcpStream::connect(("127.0.0.1", node.port())).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A reset is an end too.
        let _reset = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

#[tokio::test]
async fn a_vanished_client_leaves_no_locks() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0)")
        .await
        .unwrap();
    let vanishing = node.connect().await;
    vanishing.batch_execute("BEGIN; UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
    drop(vanishing);
    let update = client.execute("UPDATE t SET n = n + 10 WHERE id = 1", &[]);
    tokio::time::timeout(PATIENCE, update).await.expect("the lock goes with its client").unwrap();
    assert_eq!(client.query_one("SELECT n FROM t", &[]).await.unwrap().get::<_, i32>(0), 10);
}

#[tokio::test]
async fn a_data_change_happens_whole_however_few_rows_are_fetched() {
    let node = Node::start(&[]);
    let mut client = node.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let insert = "INSERT INTO t SELECT n FROM generate_series(1, 1000) AS n RETURNING id";
    let portal = transaction.bind(insert, &[]).await.unwrap();
    let fetched = transaction.query_portal(&portal, 1).await.unwrap();
    assert_eq!(fetched.len(), 1);
    transaction.commit().await.unwrap();
    let row = client.query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1000);
}

#[tokio::test]
async fn statements_that_only_compute_hold_nobody_up() {
    let node = Node::start(&[]);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b";
    let mut running = Vec::new();
    for index in 0..2 * processors {
        let client = node.connect().await;
        let executor = if index % 2 == 0 { "row" } else { "vectorized" };
        client.batch_execute(&format!("SET basalt.executor = {executor}")).await.unwrap();
        let token = client.cancel_token();
        running.push((token, tokio::spawn(async move { client.query(endless, &[]).await.map(|_| ()) })));
    }
    // New clients are let in and served, and time limits are kept.
    let others = async {
        for executor in ["row", "vectorized"] {
            let client = node.connect().await;
            assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
            let limited = format!("SET statement_timeout = 200; SET basalt.executor = {executor}");
            client.batch_execute(&limited).await.unwrap();
            let error = client.query(endless, &[]).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{executor}: {error}");
        }
    };
    tokio::time::timeout(PATIENCE, others).await.expect("others are served");
    for (token, running) in running {
        assert!(!running.is_finished());
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, running).await.expect("it stops").unwrap();
        assert_eq!(ended.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    }
}

#[tokio::test]
async fn deep_statements_are_answered_or_refused() {
    let node = Node::start(&[]);
    let client = node.connect().await;
    let list = |count: usize, separator: &str, item: &dyn Fn(usize) -> String| {
        (0..count).map(item).collect::<Vec<_>>().join(separator)
    };
    let chain = |count| {
        let item = |index| match index {
            0 => "c0 AS (SELECT 1 AS x)".to_owned(),
            index => format!("c{index} AS (SELECT x FROM c{})", index - 1),
        };
        format!("WITH {} SELECT x FROM c{}", list(count, ", ", &item), count - 1)
    };
    let from = |count| format!("SELECT count(*) FROM {}", list(count, ", ", &|n| format!("(SELECT 1) t{n}")));
    let calls = |count| {
        let item = |index| format!("generate_series(1, 1) t{index}");
        format!("SELECT count(*) FROM {}", list(count, ", ", &item))
    };
    let unions = |count| list(count, " UNION ", &|_| "SELECT 1".to_owned());
    let conditions = |count| format!("SELECT 1 WHERE {}", list(count, " AND ", &|_| "1 = 1".to_owned()));
    let nested = |count: usize| format!("SELECT {}1{}", "(".repeat(count), ")".repeat(count));
    let subqueries =
        |count: usize| format!("{}SELECT 1{}", "SELECT * FROM (".repeat(count), ") s".repeat(count));
    let calls_in_calls = |count: usize| format!("SELECT {}1{}", "abs(".repeat(count), ")".repeat(count));
    let makers: [(&str, &dyn Fn(usize) -> String); 8] = [
        ("WITH", &chain),
        ("FROM", &from),
        ("functions in FROM", &calls),
        ("UNION", &unions),
        ("AND", &conditions),
        ("parentheses", &nested),
        ("subqueries", &subqueries),
        ("calls", &calls_in_calls),
    ];
    for (name, make) in makers {
        let mut answered = 0;
        for count in [50, 120, 250, 280, 450, 650, 800, 999, 1_001, 5_000, 20_000] {
            match client.simple_query(&make(count)).await {
                Ok(_) => answered = count,
                Err(error) => {
                    let code = error.code().unwrap_or_else(|| panic!("{name} of {count}: {error}"));
                    assert_eq!(*code, SqlState::STATEMENT_TOO_COMPLEX, "{name} of {count}: {error}");
                }
            }
        }
        assert!((50..=1_000).contains(&answered), "{name}: {answered} levels were answered");
    }
    let wide = format!("SELECT {}", list(70_000, ", ", &|_| "1".to_owned()));
    let error = client.simple_query(&wide).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::TOO_MANY_COLUMNS));
}
