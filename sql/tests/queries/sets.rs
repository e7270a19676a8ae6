//! Set operations, WITH, set-returning functions, row locks.

use crate::harness::{check, with_node};

#[test]
fn set_operations() {
    const TABLES: &str = "
        CREATE TABLE a (x int); CREATE TABLE b (x int);
        INSERT INTO a VALUES (1), (1), (1), (2), (3), (NULL), (NULL);
        INSERT INTO b VALUES (1), (1), (3), (4), (NULL);";
    check(
        TABLES,
        &[
            ("SELECT x FROM a UNION SELECT x FROM b ORDER BY x", "1\n2\n3\n4\n~"),
            ("SELECT count(*) FROM (SELECT x FROM a UNION ALL SELECT x FROM b) s", "12"),
            ("SELECT x FROM a INTERSECT SELECT x FROM b ORDER BY x", "1\n3\n~"),
            ("SELECT x FROM a INTERSECT ALL SELECT x FROM b ORDER BY x", "1\n1\n3\n~"),
            ("SELECT x FROM a EXCEPT SELECT x FROM b ORDER BY x", "2"),
            ("SELECT x FROM a EXCEPT ALL SELECT x FROM b ORDER BY x", "1\n2\n~"),
            ("SELECT 1 UNION SELECT 1.0 UNION SELECT 2 ORDER BY 1", "1\n2"),
            ("SELECT 1, 'a' UNION ALL VALUES (2, 'b') ORDER BY 1 DESC", "2|b\n1|a"),
        ],
    );
}

#[test]
fn common_table_expressions() {
    check(
        "CREATE TABLE t (id int PRIMARY KEY, parent int); INSERT INTO t VALUES (1, NULL), (2, 1), (3, 1), (4, 3);",
        &[
            ("WITH c AS (SELECT id FROM t) SELECT count(*) FROM c a, c b", "16"),
            ("WITH c AS (SELECT random() AS r) SELECT a.r = b.r FROM c a, c b", "t"),
            (
                "WITH RECURSIVE f(a, b) AS (VALUES (0, 1) UNION ALL SELECT b, a + b FROM f WHERE b < 50) SELECT string_agg(a::text, ',') FROM f",
                "0,1,1,2,3,5,8,13,21,34",
            ),
            (
                "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 3",
                "1\n2\n3",
            ),
            (
                "WITH RECURSIVE n AS (SELECT 1 AS i UNION SELECT (i * 2) % 7 FROM n) SELECT i FROM n ORDER BY i",
                "1\n2\n4",
            ),
            (
                "WITH RECURSIVE d AS (SELECT id, 0 AS depth FROM t WHERE parent IS NULL UNION ALL SELECT t.id, depth + 1 FROM t JOIN d ON t.parent = d.id) SELECT id, depth FROM d ORDER BY id",
                "1|0\n2|1\n3|1\n4|2",
            ),
            // A definition within a correlated subquery is run again for each outer row.
            (
                "SELECT id, (WITH c AS MATERIALIZED (SELECT t.id * 2 AS x) SELECT sum(a.x + b.x) FROM c a, c b) FROM t ORDER BY id",
                "1|4\n2|8\n3|12\n4|16",
            ),
        ],
    );
}

#[test]
fn set_returning_functions() {
    check(
        "",
        &[
            ("SELECT * FROM generate_series(1, 3)", "1\n2\n3"),
            ("SELECT * FROM unnest(ARRAY['a', NULL, 'c']) WITH ORDINALITY AS u(v, n)", "a|1\n~|2\nc|3"),
            ("SELECT generate_series(1, 3), generate_series(1, 2)", "1|1\n2|2\n3|~"),
            ("SELECT x, generate_series(1, x) FROM (VALUES (0), (2), (1)) s(x)", "2|1\n2|2\n1|1"),
            ("SELECT count(*) FROM generate_series(1, 10000)", "10000"),
            ("SELECT generate_series(1, 5) LIMIT 2", "1\n2"),
            ("SELECT upper(x) FROM lower('AbC') x", "ABC"),
        ],
    );
}

#[test]
fn row_locks() {
    with_node(async |node| {
        let (mut one, mut two) = (node.client(), node.client());
        one.run("CREATE TABLE jobs (id int PRIMARY KEY, done bool)").await;
        one.run("INSERT INTO jobs VALUES (1, false), (2, false), (3, false)").await;
        one.run("BEGIN").await;
        assert_eq!(one.run("SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE").await, "1");
        assert_eq!(one.run("UPDATE jobs SET done = true WHERE id = 1").await, "");
        assert_eq!(two.run("SELECT id FROM jobs WHERE id > 1 ORDER BY id FOR SHARE").await, "2\n3");
        one.run("COMMIT").await;
        assert_eq!(two.run("SELECT id FROM jobs WHERE NOT done ORDER BY id FOR UPDATE").await, "2\n3");
    });
}
