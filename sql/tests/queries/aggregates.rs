//! Aggregation, sorting and DISTINCT.

use crate::harness::check;

const TABLE: &str = "
    CREATE TABLE t (id int PRIMARY KEY, g text, v int, n numeric);
    INSERT INTO t VALUES (1, 'a', 1, 1.0), (2, 'a', 2, 1.00), (3, 'b', NULL, 2), (4, NULL, 4, NULL),
        (5, 'b', 5, 2.5), (6, 'a', 2, 3);";

#[test]
fn groups() {
    check(
        TABLE,
        &[
            (
                "SELECT count(*), count(v), sum(v), avg(v), min(g), max(n) FROM t",
                "6|5|14|2.8000000000000000|a|3",
            ),
            ("SELECT count(*), sum(v), max(v) FROM t WHERE false", "0|~|~"),
            ("SELECT g, sum(v) FROM t WHERE false GROUP BY g", ""),
            ("SELECT g, count(*), sum(v) FROM t GROUP BY g ORDER BY g", "a|3|5\nb|2|5\n~|1|4"),
            ("SELECT g, sum(v) FROM t GROUP BY g HAVING count(*) > 1 ORDER BY g DESC", "b|5\na|5"),
            ("SELECT n, count(*) FROM t GROUP BY n ORDER BY n", "1.0|2\n2|1\n2.5|1\n3|1\n~|1"),
            ("SELECT v % 2 AS odd, count(*) FROM t GROUP BY 1 ORDER BY 1 NULLS FIRST", "~|1\n0|3\n1|2"),
            ("SELECT count(DISTINCT v), sum(DISTINCT v), count(DISTINCT n) FROM t", "4|12|4"),
            ("SELECT array_agg(DISTINCT v) FROM t", "{1,2,4,5,NULL}"),
            ("SELECT array_agg(DISTINCT v ORDER BY v DESC) FROM t", "{NULL,5,4,2,1}"),
            ("SELECT array_agg(v ORDER BY v DESC NULLS LAST, id) FROM t", "{5,4,2,2,1,NULL}"),
            ("SELECT string_agg(g, ',' ORDER BY id DESC) FROM t", "a,b,b,a,a"),
            ("SELECT count(*) FILTER (WHERE v > 1), sum(v) FILTER (WHERE g = 'a') FROM t", "4|5"),
            ("SELECT sum(1 / v) FILTER (WHERE v <> 0) FROM (VALUES (0), (1)) s(v)", "1"),
            ("SELECT bool_and(v > 0), bool_or(v > 4) FROM t", "t|t"),
            ("SELECT v FROM t", "1\n2\n~\n4\n5\n2"),
            (
                "SELECT g FROM t GROUP BY v",
                "ERROR 42803: column \"t.g\" must appear in the GROUP BY clause or be used in an aggregate function",
            ),
            // Functionally dependent on the primary key.
            ("SELECT id, g FROM t GROUP BY id ORDER BY id LIMIT 2", "1|a\n2|a"),
            (
                "SELECT c, count(*) FROM (VALUES ('x'::char(2)), ('x '), ('y')) s(c) GROUP BY c ORDER BY c",
                "x |2\ny|1",
            ),
        ],
    );
}

#[test]
fn grouping_sets() {
    check(
        TABLE,
        &[
            (
                "SELECT g, v, count(*), grouping(g, v) FROM t WHERE id < 4 GROUP BY ROLLUP (g, v) ORDER BY 4, 1, 2",
                "a|1|1|0\na|2|1|0\nb|~|1|0\na|~|2|1\nb|~|1|1\n~|~|3|3",
            ),
            (
                "SELECT g, v, sum(id) FROM t WHERE id < 4 GROUP BY CUBE (g, v) ORDER BY grouping(g), grouping(v), 1, 2",
                "a|1|1\na|2|2\nb|~|3\na|~|3\nb|~|3\n~|1|1\n~|2|2\n~|~|3\n~|~|6",
            ),
            (
                "SELECT g, count(*) FROM t GROUP BY GROUPING SETS ((g), (g), ()) ORDER BY 2, 1",
                "~|1\n~|1\nb|2\nb|2\na|3\na|3\n~|6",
            ),
            ("SELECT g, count(*) FROM t WHERE false GROUP BY ROLLUP (g)", "~|0"),
        ],
    );
}

#[test]
fn sorts_and_distinct() {
    check(
        TABLE,
        &[
            ("SELECT v FROM t ORDER BY v", "1\n2\n2\n4\n5\n~"),
            ("SELECT v FROM t ORDER BY v DESC", "~\n5\n4\n2\n2\n1"),
            ("SELECT v FROM t ORDER BY v DESC NULLS LAST LIMIT 2", "5\n4"),
            ("SELECT id FROM t ORDER BY v NULLS FIRST, id DESC LIMIT 3 OFFSET 1", "1\n6\n2"),
            ("SELECT id FROM t ORDER BY -id LIMIT 2", "6\n5"),
            ("SELECT id FROM t ORDER BY g || 'x', id", "1\n2\n6\n3\n5\n4"),
            ("SELECT DISTINCT g FROM t ORDER BY g", "a\nb\n~"),
            ("SELECT DISTINCT n FROM t ORDER BY n", "1.0\n2\n2.5\n3\n~"),
            ("SELECT DISTINCT ON (g) g, v FROM t ORDER BY g, v DESC", "a|2\nb|~\n~|4"),
            ("SELECT id FROM t ORDER BY id LIMIT 0", ""),
            ("SELECT id FROM t ORDER BY id LIMIT NULL OFFSET 5", "6"),
            ("SELECT id FROM t LIMIT -1", "ERROR 2201W: LIMIT must not be negative"),
            (
                "SELECT string_agg(x::text, ',') FROM (SELECT x FROM generate_series(1, 3000) x ORDER BY x % 1000 DESC, x LIMIT 5) s",
                "999,1999,2999,998,1998",
            ),
            (
                "SELECT count(*), sum(x) FROM (SELECT DISTINCT x % 700 AS x FROM generate_series(1, 5000) x) s",
                "700|244650",
            ),
        ],
    );
}

#[test]
fn ordered_sets_and_distinct_keys() {
    check(
        "CREATE TABLE v (g int, x int, s varchar);
         INSERT INTO v VALUES (1, 1, 'a'), (1, 4, 'b'), (1, 2, 'a'), (2, 9, 'c');",
        &[
            (
                "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x), percentile_disc(0.5) WITHIN GROUP (ORDER BY x DESC), mode() WITHIN GROUP (ORDER BY s) FROM v",
                "3|4|a",
            ),
            (
                "SELECT g, percentile_disc(array[0, 1]) WITHIN GROUP (ORDER BY x), percentile_cont(NULL) WITHIN GROUP (ORDER BY x) FROM v GROUP BY g ORDER BY g",
                "1|{1,4}|~\n2|{9,9}|~",
            ),
            (
                "SELECT percentile_cont(0.5) FROM v",
                "ERROR 42809: WITHIN GROUP is required for ordered-set aggregate percentile_cont",
            ),
            (
                "SELECT sum(x) WITHIN GROUP (ORDER BY x) FROM v",
                "ERROR 42809: sum is not an ordered-set aggregate, so it cannot have WITHIN GROUP",
            ),
            ("SELECT string_agg(DISTINCT s, ',' ORDER BY s DESC) FROM v", "c,b,a"),
        ],
    );
}
