//! Statements that change data: what they answer, the rows they leave, and whether every index agrees with the rows.

use basalt_sql::SqlOptions;

use crate::harness::{Node, with_node, with_options};

const SETUP: &str = "DROP TABLE IF EXISTS m;
    CREATE TABLE m (id int PRIMARY KEY, v int UNIQUE, w int CHECK (w < 1000));
    CREATE INDEX ON m (w);
    INSERT INTO m SELECT i, i, i FROM generate_series(1, 6) i";
const ROWS: &str =
    "SELECT string_agg(id || '/' || coalesce(v::text, '~') || '/' || w, ' ' ORDER BY id) FROM m";

/// Runs each statement on the same few rows; compares its answer and the rows that it leaves.
async fn check_changes(node: Node, cases: &[(&str, &str, &str)]) {
    let mut client = node.client();
    let mut wrong = Vec::new();
    for (sql, answer, rows) in cases {
        assert_eq!(client.run(SETUP).await, "");
        let got = (client.run(sql).await, client.run(ROWS).await);
        if (&got.0[..], &got.1[..]) != (answer, rows) {
            wrong.push(format!("{sql}\n  expected {:?}\n  got      {got:?}", (answer, rows)));
            continue;
        }
        node.check_indexes("m", sql).await;
    }
    assert!(wrong.is_empty(), "{} of {} answers differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Answers of PostgreSQL 15.
const CASES: &[(&str, &str, &str)] = &[
    (
        "UPDATE m SET w = x.w FROM (VALUES (6, -1), (6, -2)) x (id, w) WHERE m.id = x.id RETURNING m.*, x.w",
        "6|6|-1|-1",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/-1",
    ),
    (
        "UPDATE m SET id = x.v, v = x.v FROM (VALUES (6, 100), (6, 200)) x (id, v) WHERE m.id = x.id",
        "",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 100/100/6",
    ),
    (
        "UPDATE m SET id = m.id + 100 FROM (VALUES (1), (2)) x (n) WHERE m.id = 6 RETURNING m.id",
        "106",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 106/6/6",
    ),
    (
        "UPDATE m SET w = 1 / x.w FROM (VALUES (6, 1), (6, 0)) x (id, w) WHERE m.id = x.id",
        "ERROR 22012: division by zero",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "UPDATE m SET w = x.w FROM (VALUES (6, 1), (6, 5000)) x (id, w) WHERE m.id = x.id",
        "ERROR 23514: new row for relation \"m\" violates check constraint \"m_w_check\"",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "UPDATE m SET w = -1 FROM m other WHERE other.id < 4 AND m.id < 3",
        "",
        "1/1/-1 2/2/-1 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "DELETE FROM m USING (VALUES (1), (1), (2)) x (id) WHERE m.id = x.id RETURNING m.id",
        "1\n2",
        "3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH u AS (UPDATE m SET v = v + 100, w = w + 100 WHERE id = 2 RETURNING *) UPDATE m SET v = 200, w = 200 WHERE id = 2",
        "",
        "1/1/1 2/200/200 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH u AS (UPDATE m SET w = 400 WHERE id = 4 RETURNING *) DELETE FROM m WHERE id = 4",
        "",
        "1/1/1 2/2/2 3/3/3 5/5/5 6/6/6",
    ),
    (
        "WITH u AS (UPDATE m SET id = 50 WHERE id = 5 RETURNING *) UPDATE m SET w = 500 WHERE id = 5",
        "",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/500 6/6/6",
    ),
    (
        "WITH d AS (DELETE FROM m WHERE id = 6) INSERT INTO m VALUES (6, 60, 60)",
        "ERROR 23505: duplicate key value violates unique constraint \"m_pkey\"",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH d AS (DELETE FROM m WHERE id = 6 RETURNING *) INSERT INTO m SELECT id, v, w + 10 FROM d RETURNING *",
        "6|6|16",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/16",
    ),
    (
        "WITH d AS (DELETE FROM m WHERE id = 3) INSERT INTO m VALUES (3, 70, 70) ON CONFLICT (id) DO UPDATE SET w = 7 RETURNING *",
        "3|3|7",
        "1/1/1 2/2/2 3/3/7 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH u AS (UPDATE m SET w = 8 WHERE id = 3 RETURNING *) INSERT INTO m SELECT id, v, 0 FROM u ON CONFLICT (id) DO UPDATE SET w = 7",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH u AS (UPDATE m SET w = 8 WHERE id = 3 RETURNING *) INSERT INTO m SELECT id, v, 0 FROM u ON CONFLICT (id) DO NOTHING RETURNING *",
        "",
        "1/1/1 2/2/2 3/3/8 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH u AS (UPDATE m SET id = 8 WHERE id = 3 RETURNING *) INSERT INTO m SELECT 8, 30, 0 FROM u ON CONFLICT (id) DO UPDATE SET w = 7",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH a AS (UPDATE m SET w = 11 WHERE id = 3), b AS (UPDATE m SET w = 22 WHERE id = 3) SELECT 1",
        "1",
        "1/1/1 2/2/2 3/3/22 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH a AS (UPDATE m SET w = 11 WHERE id = 3 RETURNING *), b AS (UPDATE m SET w = 22 WHERE id = 3 RETURNING *) SELECT a.w, b.w FROM a FULL JOIN b USING (id)",
        "~|22",
        "1/1/1 2/2/2 3/3/22 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH a AS (INSERT INTO m VALUES (9, 9, 9) RETURNING *) INSERT INTO m SELECT id, 91, 92 FROM a ON CONFLICT (id) DO UPDATE SET w = 5",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH a AS (INSERT INTO m VALUES (9, 9, 9)) INSERT INTO m VALUES (9, 90, 90)",
        "ERROR 23505: duplicate key value violates unique constraint \"m_pkey\"",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH a AS (DELETE FROM m WHERE id = 3 RETURNING *), b AS (DELETE FROM m WHERE id = 3 RETURNING *) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)",
        "1|0",
        "1/1/1 2/2/2 4/4/4 5/5/5 6/6/6",
    ),
    ("WITH a AS (DELETE FROM m WHERE id <= 3 RETURNING *) SELECT 1 LIMIT 0", "", "4/4/4 5/5/5 6/6/6"),
    (
        "WITH a AS (DELETE FROM m WHERE id <= 3 RETURNING *) SELECT id FROM a LIMIT 1",
        "1",
        "4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH a AS (DELETE FROM m WHERE id <= 2 RETURNING *), b AS (INSERT INTO m SELECT id, v + 100, w FROM a RETURNING *) SELECT count(*) FROM m",
        "6",
        "1/101/1 2/102/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "WITH a AS (UPDATE m SET w = w + 1), b AS (UPDATE m SET w = w + 10) SELECT count(*) FROM m",
        "6",
        "1/1/11 2/2/12 3/3/13 4/4/14 5/5/15 6/6/16",
    ),
    (
        "WITH a AS (UPDATE m SET v = 10 WHERE id = 1 RETURNING *) UPDATE m SET v = 10 WHERE id = 2",
        "ERROR 23505: duplicate key value violates unique constraint \"m_v_key\"",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (1, 10, 0), (1, 11, 0) ON CONFLICT (id) DO UPDATE SET w = excluded.v + m.w RETURNING *",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (7, 10, 0), (7, 11, 0) ON CONFLICT (id) DO UPDATE SET w = excluded.v + m.w RETURNING *",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (7, 10, 0), (7, 11, 0) ON CONFLICT (id) DO UPDATE SET w = 0 WHERE false",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (1, 10, 0), (1, 11, 0) ON CONFLICT (id) DO UPDATE SET w = 0 WHERE false RETURNING *",
        "",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (1, 10, 0), (1, 11, 0) ON CONFLICT (id) DO UPDATE SET w = excluded.v WHERE excluded.v > 10 RETURNING *",
        "1|1|11",
        "1/1/11 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (1, 10, 0), (1, 11, 0) ON CONFLICT (id) DO UPDATE SET w = excluded.v WHERE excluded.v < 11 RETURNING *",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (7, 10, 0), (7, 11, 0) ON CONFLICT DO NOTHING RETURNING *",
        "7|10|0",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6 7/10/0",
    ),
    (
        "INSERT INTO m VALUES (1, 10, 0), (1, 11, 12) ON CONFLICT (id) DO UPDATE SET id = 20 RETURNING *",
        "20|1|1\n1|11|12",
        "1/11/12 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6 20/1/1",
    ),
    (
        "INSERT INTO m VALUES (1, 10, 0), (20, 11, 12) ON CONFLICT (id) DO UPDATE SET id = 20 RETURNING *",
        "ERROR 21000: ON CONFLICT DO UPDATE command cannot affect row a second time",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (1, 2, 0) ON CONFLICT (v) DO UPDATE SET w = m.w + 50 RETURNING *",
        "2|2|52",
        "1/1/1 2/2/52 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    ("INSERT INTO m VALUES (1, 2, 0) ON CONFLICT (v) DO NOTHING", "", "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6"),
    (
        "INSERT INTO m VALUES (1, 20, 0) ON CONFLICT (v) DO NOTHING",
        "ERROR 23505: duplicate key value violates unique constraint \"m_pkey\"",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (1, 2, 0) ON CONFLICT (id) DO UPDATE SET w = m.w + 50 RETURNING *",
        "1|1|51",
        "1/1/51 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (7, 2, 0) ON CONFLICT (id) DO NOTHING",
        "ERROR 23505: duplicate key value violates unique constraint \"m_v_key\"",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
    (
        "INSERT INTO m VALUES (7, NULL, 0), (8, NULL, 0) ON CONFLICT (v) DO UPDATE SET w = 1 RETURNING *",
        "7|~|0\n8|~|0",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6 7/~/0 8/~/0",
    ),
    (
        "INSERT INTO m VALUES (7, 2, 0), (8, 8, 8) ON CONFLICT DO NOTHING RETURNING *",
        "8|8|8",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6 8/8/8",
    ),
    (
        "INSERT INTO m VALUES (1, 10, 0) ON CONFLICT (id) DO UPDATE SET v = 2",
        "ERROR 23505: duplicate key value violates unique constraint \"m_v_key\"",
        "1/1/1 2/2/2 3/3/3 4/4/4 5/5/5 6/6/6",
    ),
];

#[test]
fn a_row_changes_once_per_statement() {
    with_node(|node| check_changes(node, CASES));
}

#[test]
fn many_rows_change_once_per_statement() {
    with_node(async |node| {
        let mut client = node.client();
        let setup = "CREATE TABLE m (id int PRIMARY KEY, v int UNIQUE, w int);
            CREATE INDEX ON m (w);
            INSERT INTO m SELECT i, i, i FROM generate_series(1, 1200) i";
        assert_eq!(client.run(setup).await, "");
        let cases = [
            "UPDATE m SET id = -m.id, w = m.w + 1 FROM (SELECT generate_series(1, 2) AS n) x WHERE m.id % 2 = 0",
            "WITH u AS (UPDATE m SET w = 0, v = v + 10000) UPDATE m SET v = v + 20000 WHERE id < 0",
            "WITH d AS (DELETE FROM m WHERE id < -600) UPDATE m SET w = 7 WHERE id < -900",
            "WITH d AS (DELETE FROM m RETURNING *) INSERT INTO m SELECT id, v, w + 1 FROM d",
        ];
        for sql in cases {
            assert_eq!(client.run(sql).await, "", "{sql}");
            node.check_indexes("m", sql).await;
        }
        // So many that new keys are written without a look at what is there.
        let many = "CREATE TABLE n (id int PRIMARY KEY, v int);
            INSERT INTO n SELECT i, i FROM generate_series(1, 5000) i;
            WITH d AS (DELETE FROM n RETURNING *) INSERT INTO n SELECT id, v + 1 FROM d";
        assert_eq!(client.run(many).await, "");
        assert_eq!(client.run("SELECT count(*), sum(v - id) FROM n").await, "5000|5000");
        node.check_indexes("n", many).await;
        let sums = client.run("SELECT count(*), sum(id), sum(v), sum(w) FROM m").await;
        assert_eq!(sums, "1050|112050|15607950|92700");
    });
}

#[test]
fn keys_may_move_around_in_one_update() {
    with_node(async |node| {
        let mut client = node.client();
        let setup = "CREATE TABLE m (id int PRIMARY KEY, v int UNIQUE, w text);
            INSERT INTO m SELECT i, i, 'row ' || i FROM generate_series(1, 1200) i";
        assert_eq!(client.run(setup).await, "");
        let taken =
            |key: &str| format!("ERROR 23505: duplicate key value violates unique constraint \"m_{key}\"");
        let cases = [
            ("UPDATE m SET v = v + 1", String::new()),
            ("UPDATE m SET v = 1202 - v", String::new()),
            ("UPDATE m SET v = v - 1, id = 1201 - id", String::new()),
            ("UPDATE m SET id = id + 600 WHERE id <= 600", taken("pkey")),
            ("UPDATE m SET id = CASE WHEN id > 1 THEN id - 1 ELSE 1199 END", taken("pkey")),
            ("UPDATE m SET v = CASE WHEN v > 1 THEN v - 1 ELSE 800 END", taken("v_key")),
            ("UPDATE m SET v = v + 700 WHERE v BETWEEN 200 AND 700", taken("v_key")),
            ("UPDATE m SET v = v % 1199", taken("v_key")),
            ("UPDATE m SET v = nullif(v, 1199) + 1", String::new()),
        ];
        for (sql, answer) in cases {
            assert_eq!(client.run(sql).await, answer, "{sql}");
            node.check_indexes("m", sql).await;
        }
        let rows = "SELECT count(*), count(v), min(v), max(v) FROM m WHERE id = 1201 - substr(w, 5)::int";
        assert_eq!(client.run(rows).await, "1200|1199|1|1199");
    });
}

#[test]
fn foreign_keys_are_seen_to_when_the_whole_statement_is_done() {
    with_node(async |node| {
        let mut client = node.client();
        let setup = "CREATE TABLE p (id int PRIMARY KEY);
            CREATE TABLE c (id int PRIMARY KEY, r int REFERENCES p ON DELETE CASCADE, s int);
            CREATE INDEX ON c (r);
            INSERT INTO p VALUES (1), (2);
            INSERT INTO c VALUES (10, 1, 0), (20, 2, 0)";
        assert_eq!(client.run(setup).await, "");
        let rows = "SELECT string_agg(id || '/' || r || '/' || s, ' ' ORDER BY id) FROM c";
        let missing =
            "ERROR 23503: insert or update on table \"c\" violates foreign key constraint \"c_r_fkey\"";
        let cases = [
            ("WITH d AS (DELETE FROM p WHERE id = 1) UPDATE c SET s = 5 WHERE id = 10", "", "20/2/0"),
            (
                "WITH d AS (DELETE FROM p WHERE id = 2 RETURNING id) UPDATE c SET s = 5 FROM d WHERE r = d.id \
                 RETURNING c.*",
                "20|2|5",
                "~",
            ),
            ("WITH d AS (INSERT INTO p VALUES (3)) INSERT INTO c VALUES (30, 3, 0)", "", "30/3/0"),
            ("WITH d AS (INSERT INTO c VALUES (40, 4, 0)) INSERT INTO p VALUES (4)", "", "30/3/0 40/4/0"),
            ("WITH d AS (INSERT INTO c VALUES (50, 5, 0)) SELECT 1", missing, "30/3/0 40/4/0"),
        ];
        for (sql, answer, left) in cases {
            assert_eq!((&client.run(sql).await[..], &client.run(rows).await[..]), (answer, left), "{sql}");
            node.check_indexes("c", sql).await;
        }
    });
}

#[test]
fn what_a_statement_has_changed_is_within_its_memory() {
    let options = SqlOptions { statement_memory_bytes: 128 << 10, ..SqlOptions::default() };
    with_options(options, async |node| {
        let mut client = node.client();
        let setup = "CREATE TABLE m (id int PRIMARY KEY, v int);
            INSERT INTO m SELECT i, i FROM generate_series(1, 2000) i";
        assert_eq!(client.run(setup).await, "");
        let hungry = [
            "UPDATE m SET v = -1 FROM (VALUES (1)) x (n)",
            "DELETE FROM m USING (VALUES (1)) x (n)",
            "WITH u AS (UPDATE m SET v = -1) DELETE FROM m",
            "INSERT INTO m SELECT i, i FROM generate_series(1, 2000) i ON CONFLICT (id) DO UPDATE SET v = -1",
        ];
        for sql in hungry {
            assert_eq!(client.run(sql).await, "ERROR 53200: out of memory", "{sql}");
        }
        // Where a row cannot come again, nothing is kept.
        for sql in [
            "UPDATE m SET v = v - 1",
            "UPDATE m SET v = v - 1 WHERE id IN (SELECT 2 * n FROM generate_series(1, 2) n)",
            "INSERT INTO m SELECT i, i FROM generate_series(1, 4000) i ON CONFLICT (id) DO NOTHING",
            "WITH i AS (INSERT INTO m SELECT i, i FROM generate_series(5001, 7000) i) SELECT 1 LIMIT 0",
            "DELETE FROM m",
        ] {
            assert_eq!(client.run(sql).await, "", "{sql}");
        }
    });
}

#[test]
fn an_index_has_the_rows_that_were_committed_after_its_transaction_began() {
    with_node(async |node| {
        let (mut client, mut other) = (node.client(), node.client());
        let setup = "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE u (id int)";
        assert_eq!(client.run(setup).await, "");
        assert_eq!(client.run("BEGIN; SELECT * FROM u").await, "");
        assert_eq!(other.run("INSERT INTO t VALUES (1, 10)").await, "");
        assert_eq!(client.run("CREATE INDEX t_n ON t (n); COMMIT").await, "");
        node.check_indexes("t", "a change in a transaction that began before").await;
        // What the transaction itself has read may not have changed.
        assert_eq!(client.run("BEGIN; SELECT * FROM t").await, "1|10");
        assert_eq!(client.run("SELECT 1").await, "1");
        assert_eq!(client.run("CREATE INDEX t_m ON t (n DESC); COMMIT").await, "");
        node.check_indexes("t", "a change of a table that was read").await;
    });
}

#[test]
fn a_transaction_with_its_own_changes_uses_no_replaced_descriptor() {
    with_node(async |node| {
        let (mut client, mut other) = (node.client(), node.client());
        assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await, "");
        assert_eq!(client.run("BEGIN; CREATE TABLE u (id int)").await, "");
        assert_eq!(other.run("CREATE INDEX t_n ON t (n)").await, "");
        let inserted = client.run("INSERT INTO t VALUES (1, 10)").await;
        assert!(inserted.is_empty() || inserted.starts_with("ERROR 40001"), "{inserted}");
        client.run("COMMIT").await;
        node.check_indexes("t", "an index made by another transaction meanwhile").await;
    });
}
