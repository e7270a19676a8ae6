//! Prepared statements and portals.

use bytes::Bytes;

use crate::harness::{Text, check, with_node};

#[test]
fn a_data_change_happens_whole_however_few_rows_are_fetched() {
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        let insert = "INSERT INTO t SELECT n FROM generate_series(1, 1000) AS n RETURNING id";
        assert_eq!(client.fetch(insert, 1).await, "1");
        assert_eq!(client.run("SELECT count(*) FROM t").await, "1000");
        assert_eq!(client.fetch("DELETE FROM t WHERE id <= 300 RETURNING id", 2).await, "1\n2");
        assert_eq!(client.run("SELECT count(*) FROM t").await, "700");
    });
}

#[test]
fn what_was_promised_of_a_prepared_statement_is_kept() {
    let changed = "ERROR 0A000: cached plan must not change result type";
    check(
        "CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'one'); \
         PREPARE whole AS SELECT * FROM t WHERE id = $1; PREPARE part AS SELECT s FROM t WHERE id = $1; \
         PREPARE put AS INSERT INTO t (id, s) VALUES ($1, $2); \
         PREPARE put_and_show AS INSERT INTO t (id, s) VALUES ($1, $2) RETURNING *",
        &[
            ("EXECUTE whole(1)", "1|one"),
            ("ALTER TABLE t ADD COLUMN more int", ""),
            ("EXECUTE whole(1)", changed),
            ("EXECUTE part(1)", "one"),
            ("EXECUTE put(2, 'two')", ""),
            ("EXECUTE put_and_show(3, 'three')", changed),
            ("ALTER TABLE t DROP COLUMN more", ""),
            ("EXECUTE whole(1)", "1|one"),
            ("EXECUTE put_and_show(3, 'three')", "3|three"),
            ("DROP TABLE t; CREATE TABLE t (s text, id int PRIMARY KEY)", ""),
            ("EXECUTE part(1)", ""),
            ("EXECUTE whole(1)", changed),
        ],
    );
}

#[test]
fn a_cursor_takes_the_parameters_of_its_statement() {
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("BEGIN").await, "");
        let declare = "DECLARE c CURSOR FOR SELECT n, $2 FROM generate_series(1, $1::int) AS n";
        let (rows, text) = (Some(Bytes::from_static(b"3")), Some(Bytes::from_static(b"x")));
        client.session.parse("", declare, &[]).await.unwrap();
        assert!(client.session.bind("", "", std::slice::from_ref(&rows), &|_| false).await.is_err());
        assert_eq!(client.run("ROLLBACK; BEGIN").await, "");
        client.session.parse("", declare, &[]).await.unwrap();
        client.session.bind("", "", &[rows, text], &|_| false).await.unwrap();
        client.session.execute("", 0, &mut Text::default()).await.unwrap();
        assert_eq!(client.run("FETCH ALL FROM c").await, "1|x\n2|x\n3|x");
        let answer = client.run("DECLARE d CURSOR FOR SELECT $1::int").await;
        assert_eq!(answer, "ERROR 42P02: there is no parameter $1");
    });
}

/// Four clients count rows and insert the count, each in transactions of one statement: serializable, so no two may
/// count the same, and every conflict is the server's to settle.
#[test]
fn a_lone_change_is_run_again_after_a_conflict() {
    const TURNS: usize = 15;
    with_node(async |node| {
        let mut first = node.client();
        assert_eq!(first.run("CREATE TABLE log (n int)").await, "");
        let clients = (0..4).map(|_| {
            let mut client = node.client();
            async move {
                client.prepare("count", "INSERT INTO log SELECT count(*) FROM log RETURNING n").await;
                for _ in 0..TURNS {
                    let session = &mut client.session;
                    session.bind("", "count", &[], &|_| false).await.unwrap();
                    session.execute_last("", &mut Text::default()).await.unwrap();
                    session.sync().await.unwrap();
                }
            }
        });
        futures::future::join_all(clients).await;
        let counted = first.run("SELECT count(*), count(DISTINCT n), max(n) FROM log").await;
        assert_eq!(counted, "60|60|59");
    });
}
