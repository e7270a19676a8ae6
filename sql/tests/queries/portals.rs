//! What the client is told of statements and portals, message by message, compared with PostgreSQL 15's answers.

use basalt_types::Result;
use bytes::Bytes;

use crate::harness::{Client, Text, check, with_node};

fn answer<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("{}: {}", error.sqlstate(), error.message()),
    }
}

/// Executes the unnamed portal once for each limit: what each answered.
async fn executions(client: &mut Client, sql: &str, limits: &[u32]) -> Vec<String> {
    client.session.parse("", sql, &[]).await.expect("the statement is right");
    client.session.bind("", "", &[], &|_| false).await.expect("there are no parameters");
    let mut answers = Vec::new();
    for limit in limits {
        let mut out = Text::recording();
        let result = client.session.execute("", *limit, &mut out).await;
        let last = out.messages.unwrap_or_default().pop().unwrap_or_default();
        answers.push(if result.is_ok() { last } else { answer(result) });
    }
    client.session.sync().await.expect("it commits");
    answers
}

#[test]
fn a_tag_counts_the_rows_of_its_execution() {
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("CREATE TABLE t (a int)").await, "");
        let cases: &[(&str, &[u32], &[&str])] = &[
            (
                "SELECT generate_series(1, 5)",
                &[2, 2, 0, 0],
                &["suspended", "suspended", "SELECT 1", "SELECT 0"],
            ),
            ("SELECT generate_series(1, 4)", &[2, 2, 2], &["suspended", "suspended", "SELECT 0"]),
            (
                "INSERT INTO t SELECT generate_series(1, 5) RETURNING a",
                &[2, 2, 0, 0],
                &["suspended", "suspended", "INSERT 0 1", "INSERT 0 0"],
            ),
            ("UPDATE t SET a = a + 1 RETURNING a", &[0, 0], &["UPDATE 5", "UPDATE 0"]),
            (
                "WITH x AS (INSERT INTO t VALUES (1), (2), (3) RETURNING a) SELECT a FROM x",
                &[2, 0, 0],
                &["suspended", "SELECT 1", "SELECT 0"],
            ),
            (
                "INSERT INTO t SELECT generate_series(1, 5)",
                &[2, 0],
                &["INSERT 0 5", "55000: portal \"\" cannot be run"],
            ),
        ];
        for (sql, limits, expected) in cases {
            assert_eq!(executions(&mut client, sql, limits).await, *expected, "{sql}");
        }
    });
}

/// The lone SELECT waits for a row that another transaction has changed, and then has to begin again.
#[test]
fn columns_are_described_once_however_often_a_statement_runs() {
    with_node(async |node| {
        let (mut writer, mut reader) = (node.client(), node.client());
        let setup = "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE INDEX ON t (v); \
                     INSERT INTO t SELECT n, n FROM generate_series(1, 50) AS n";
        assert_eq!(writer.run(setup).await, "");
        assert_eq!(writer.run("BEGIN; UPDATE t SET v = v + 1 WHERE id = 50").await, "");
        let mut out = Text::recording();
        let (read, ()) = futures::future::join(
            reader.session.simple_query("SELECT id FROM t ORDER BY v DESC LIMIT 1 FOR UPDATE", &mut out),
            async {
                node.executor.sleep(std::time::Duration::from_millis(10)).await;
                assert_eq!(writer.run("INSERT INTO t VALUES (-5, 500); COMMIT").await, "");
            },
        )
        .await;
        assert_eq!(answer(read), "ok");
        assert_eq!(out.text, "-5", "it began again");
        assert_eq!(out.messages.unwrap_or_default(), ["columns", "row", "SELECT 1"]);
    });
}

#[test]
fn a_text_parameter_holds_no_zero_byte() {
    with_node(async |node| {
        let mut client = node.client();
        for (ty, value, shown) in [
            ("text", &b"x\0y"[..], "0x00"),
            ("regclass", b"pg_class\0", "0x00"),
            ("text", b"x\xffy", "0xff"),
            ("text", b"\xe2\x82y", "0xe2 0x82 0x79"),
        ] {
            client.session.parse("", &format!("SELECT $1::{ty}"), &[]).await.expect("it parses");
            let value = [Some(Bytes::copy_from_slice(value))];
            let bound = client.session.bind("", "", &value, &|_| false).await;
            let expected = format!("22021: invalid byte sequence for encoding \"UTF8\": {shown}");
            assert_eq!(answer(bound), expected);
            client.session.sync().await.expect("nothing to commit");
        }
        for (encoding, value, shown) in
            [("UTF8", "\\x610062", "0x00"), ("LATIN1", "\\x610062", "0x00"), ("UTF8", "\\x61c3", "0xc3")]
        {
            let converted = client.run(&format!("SELECT convert_from('{value}', '{encoding}')")).await;
            let expected = format!("ERROR 22021: invalid byte sequence for encoding \"{encoding}\": {shown}");
            assert_eq!(converted, expected);
        }
    });
}

#[test]
fn statements_are_described_and_bound_as_they_would_run() {
    const ABORTED: &str =
        "25P02: current transaction is aborted, commands ignored until end of transaction block";
    const CHANGED: &str = "0A000: cached plan must not change result type";
    const MISSING: &str = "42P01: relation \"t\" does not exist";
    // Statement, then what Describe and Bind answer.
    let phases: [(&str, [(&str, &str, &str); 4]); 5] = [
        (
            "BEGIN; SELECT 1/0",
            [
                ("read", ABORTED, ABORTED),
                ("write", "ok", ABORTED),
                ("end", "ok", "ok"),
                ("nope", "26000: prepared statement \"nope\" does not exist", ""),
            ],
        ),
        ("ROLLBACK", [("read", "ok", "ok"), ("write", "ok", "ok"), ("end", "ok", "ok"), ("one", "ok", "ok")]),
        (
            "ALTER TABLE t ADD b int",
            [("read", CHANGED, CHANGED), ("write", "ok", "ok"), ("end", "ok", "ok"), ("one", "ok", "ok")],
        ),
        (
            "DROP TABLE t",
            [("read", MISSING, MISSING), ("write", "ok", MISSING), ("end", "ok", "ok"), ("one", "ok", "ok")],
        ),
        (
            "CREATE TABLE t (a int)",
            [("read", "ok", "ok"), ("write", "ok", "ok"), ("end", "ok", "ok"), ("one", "ok", "ok")],
        ),
    ];
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("CREATE TABLE t (a int)").await, "");
        client.prepare("read", "SELECT * FROM t").await;
        client.prepare("write", "INSERT INTO t VALUES (1)").await;
        client.prepare("end", "ROLLBACK").await;
        client.prepare("one", "SELECT 1 AS one").await;
        for (change, cases) in phases {
            client.run(change).await;
            for (name, described, bound) in cases {
                assert_eq!(
                    answer(client.session.describe(name)),
                    described,
                    "describe {name} after {change}"
                );
                if !bound.is_empty() {
                    let answered = answer(client.session.bind("", name, &[], &|_| false).await);
                    assert_eq!(answered, bound, "bind {name} after {change}");
                    client.session.sync().await.expect("nothing to commit");
                }
            }
        }
    });
}

/// Without SCROLL, as PostgreSQL: over plans that it reads backwards, too, but here only as far as the rows are few.
#[test]
fn a_plain_cursor_over_a_simple_query_goes_back() {
    const FORWARD: &str = "ERROR 55000: cursor can only scan forward";
    let open = |cursor: &str| format!("ROLLBACK; BEGIN; DECLARE {cursor}");
    let steps = [
        (open("c CURSOR FOR SELECT a FROM q"), ""),
        ("FETCH 2 FROM c".to_owned(), "1\n2"),
        ("FETCH BACKWARD 1 FROM c".to_owned(), "1"),
        ("FETCH BACKWARD 1 FROM c".to_owned(), ""),
        ("FETCH 1 FROM c".to_owned(), "1"),
        ("FETCH ALL FROM c".to_owned(), "2\n3\n4\n5"),
        ("FETCH PRIOR FROM c".to_owned(), "5"),
        ("FETCH FIRST FROM c; FETCH LAST FROM c".to_owned(), "1\n5"),
        ("FETCH ABSOLUTE 2 FROM c; FETCH RELATIVE 2 FROM c; FETCH 0 FROM c".to_owned(), "2\n4\n4"),
        ("MOVE BACKWARD ALL IN c; FETCH NEXT FROM c".to_owned(), "1"),
        (open("c CURSOR FOR SELECT a FROM q ORDER BY a DESC LIMIT 3; FETCH 2 FROM c"), "5\n4"),
        ("FETCH BACKWARD 1 FROM c".to_owned(), "5"),
        (
            open("c CURSOR FOR SELECT * FROM generate_series(1, 4); FETCH LAST FROM c; FETCH PRIOR FROM c"),
            "4\n3",
        ),
        (open("c NO SCROLL CURSOR FOR SELECT a FROM q; FETCH 2 FROM c; FETCH PRIOR FROM c"), FORWARD),
        (open("c CURSOR FOR SELECT count(*) FROM q; FETCH 2 FROM c; FETCH PRIOR FROM c"), FORWARD),
        (open("c CURSOR FOR SELECT a FROM q FOR UPDATE; FETCH 2 FROM c; FETCH PRIOR FROM c"), FORWARD),
        // More rows than are kept for one who never asked.
        (
            open(
                "c CURSOR FOR SELECT a FROM generate_series(1, 100000) AS a; MOVE 99000 IN c; FETCH 2 FROM c",
            ),
            "99001\n99002",
        ),
        ("FETCH PRIOR FROM c".to_owned(), FORWARD),
        (
            open(
                "c CURSOR FOR SELECT a FROM generate_series(1, 100000) AS a; FETCH 3 FROM c; FETCH PRIOR FROM c",
            ),
            "1\n2\n3\n2",
        ),
        ("MOVE 99997 IN c; FETCH ALL FROM c".to_owned(), "100000"),
    ];
    let steps: Vec<(&str, &str)> = steps.iter().map(|(sql, rows)| (sql.as_str(), *rows)).collect();
    check("CREATE TABLE q (a int PRIMARY KEY); INSERT INTO q SELECT generate_series(1, 5)", &steps);
}
