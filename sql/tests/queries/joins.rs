//! Joins of every kind, over stored tables and values.

use crate::harness::{check, with_node};

const TABLES: &str = "
    CREATE TABLE l (id int PRIMARY KEY, k int, t text);
    CREATE TABLE r (id int PRIMARY KEY, k int, u text);
    INSERT INTO l VALUES (1, 10, 'a'), (2, 20, 'b'), (3, NULL, 'c'), (4, 20, 'd');
    INSERT INTO r VALUES (1, 20, 'x'), (2, 30, 'y'), (3, NULL, 'z'), (5, 20, 'w');
    CREATE INDEX r_k ON r (k);";

#[test]
fn equality_joins() {
    check(
        TABLES,
        &[
            ("SELECT t, u FROM l JOIN r ON l.k = r.k ORDER BY 1, 2", "b|w\nb|x\nd|w\nd|x"),
            ("SELECT t, u FROM l LEFT JOIN r ON l.k = r.k ORDER BY 1, 2", "a|~\nb|w\nb|x\nc|~\nd|w\nd|x"),
            ("SELECT t, u FROM l RIGHT JOIN r ON l.k = r.k ORDER BY 1, 2", "b|w\nb|x\nd|w\nd|x\n~|y\n~|z"),
            (
                "SELECT t, u FROM l FULL JOIN r ON l.k = r.k ORDER BY 1, 2",
                "a|~\nb|w\nb|x\nc|~\nd|w\nd|x\n~|y\n~|z",
            ),
            ("SELECT t, u FROM l JOIN r USING (id) ORDER BY 1", "a|x\nb|y\nc|z"),
            ("SELECT * FROM l NATURAL JOIN r", ""),
            ("SELECT id FROM l FULL JOIN r USING (id) ORDER BY id", "1\n2\n3\n4\n5"),
            ("SELECT t, u FROM l JOIN r ON l.id = r.id AND r.u <> 'y' ORDER BY 1", "a|x\nc|z"),
            ("SELECT t, u FROM l LEFT JOIN r ON l.id = r.id AND l.t = 'a' ORDER BY 1", "a|x\nb|~\nc|~\nd|~"),
            (
                "SELECT t, u FROM l FULL JOIN r ON l.k = r.k AND u = 'x' ORDER BY 1, 2",
                "a|~\nb|x\nc|~\nd|x\n~|w\n~|y\n~|z",
            ),
            ("SELECT count(*) FROM l, r", "16"),
            ("SELECT count(*) FROM l CROSS JOIN r WHERE l.id < r.id", "7"),
            (
                "SELECT t, u FROM l LEFT JOIN r ON l.id > r.id AND r.k > 25 ORDER BY 1, 2",
                "a|~\nb|~\nc|y\nd|y",
            ),
            (
                "SELECT t, u FROM l RIGHT JOIN r ON l.id > r.id AND r.k > 25 ORDER BY 1, 2",
                "c|y\nd|y\n~|w\n~|x\n~|z",
            ),
            ("SELECT t, u FROM l LEFT JOIN r ON false ORDER BY 1", "a|~\nb|~\nc|~\nd|~"),
            // The filter above an outer join is not the join's condition.
            ("SELECT t FROM l LEFT JOIN r ON l.k = r.k WHERE r.k IS NULL ORDER BY 1", "a\nc"),
        ],
    );
}

#[test]
fn values_of_two_types() {
    check(
        "",
        &[
            (
                "SELECT a, b FROM (VALUES (1::int2), (2)) l(a) JOIN (VALUES (2::int8), (3)) r(b) ON a = b",
                "2|2",
            ),
            (
                "SELECT a, b FROM (VALUES (1::int4), (2)) l(a) JOIN (VALUES (2::numeric), (3)) r(b) ON a = b",
                "2|2",
            ),
            (
                "SELECT a, b FROM (VALUES (0.5::float4)) l(a) JOIN (VALUES (0.5::float8)) r(b) ON a = b",
                "0.5|0.5",
            ),
            (
                "SELECT a, b FROM (VALUES (1.0), (2.00)) l(a) JOIN (VALUES (1.000), (2)) r(b) ON a = b ORDER BY 1",
                "1.0|1.000\n2.00|2",
            ),
            (
                "SELECT a, b FROM (VALUES (date '2020-01-02')) l(a) JOIN (VALUES (timestamp '2020-01-02 00:00')) r(b) ON a = b",
                "2020-01-02|2020-01-02 00:00:00",
            ),
            (
                "SELECT a || '!', b FROM (VALUES ('x'::char(3))) l(a) JOIN (VALUES ('x'::char(5))) r(b) ON a = b",
                "x!|x    ",
            ),
            (
                "SELECT a FROM (VALUES ('NaN'::float8)) l(a) JOIN (VALUES ('NaN'::float8)) r(b) ON a = b",
                "NaN",
            ),
        ],
    );
}

#[test]
fn semi_and_anti_joins() {
    check(
        TABLES,
        &[
            ("SELECT t FROM l WHERE EXISTS (SELECT FROM r WHERE r.k = l.k) ORDER BY 1", "b\nd"),
            ("SELECT t FROM l WHERE NOT EXISTS (SELECT FROM r WHERE r.k = l.k) ORDER BY 1", "a\nc"),
            ("SELECT t FROM l WHERE k IN (SELECT k FROM r) ORDER BY 1", "b\nd"),
            // A NULL among the values: nothing is certainly absent.
            ("SELECT t FROM l WHERE k NOT IN (SELECT k FROM r) ORDER BY 1", ""),
            ("SELECT t FROM l WHERE k NOT IN (SELECT k FROM r WHERE k IS NOT NULL) ORDER BY 1", "a"),
            ("SELECT t FROM l WHERE k NOT IN (SELECT k FROM r WHERE false) ORDER BY 1", "a\nb\nc\nd"),
            ("SELECT t FROM l WHERE id IN (SELECT id FROM r WHERE u > 'x') ORDER BY 1", "b\nc"),
            ("SELECT t, k > ALL (SELECT k FROM r WHERE k < 25) FROM l ORDER BY 1", "a|f\nb|f\nc|~\nd|f"),
            ("SELECT t, k = ANY (SELECT k FROM r) FROM l ORDER BY 1", "a|~\nb|t\nc|~\nd|t"),
        ],
    );
}

#[test]
fn lateral_joins_and_subqueries() {
    check(
        TABLES,
        &[
            ("SELECT t, n FROM l, LATERAL generate_series(1, l.id - 2) n ORDER BY 1, 2", "c|1\nd|1\nd|2"),
            (
                "SELECT t, u FROM l LEFT JOIN LATERAL (SELECT u FROM r WHERE r.k = l.k ORDER BY u LIMIT 1) s ON true ORDER BY 1",
                "a|~\nb|w\nc|~\nd|w",
            ),
            ("SELECT t, (SELECT max(u) FROM r WHERE r.k = l.k) FROM l ORDER BY 1", "a|~\nb|x\nc|~\nd|x"),
            (
                "SELECT (SELECT u FROM r)",
                "ERROR 21000: more than one row returned by a subquery used as an expression",
            ),
            ("SELECT (SELECT u FROM r WHERE false)", "~"),
            ("SELECT ARRAY(SELECT id FROM r ORDER BY id DESC)", "{5,3,2,1}"),
            ("SELECT t FROM l WHERE id = (SELECT max(id) FROM r WHERE r.id < l.id + 1 AND r.k IS NULL)", "c"),
        ],
    );
}

/// A few rows against a large indexed table: found by looking up, in every kind of join.
#[test]
fn lookups() {
    check(
        "CREATE TABLE few (k int, t text);
         INSERT INTO few VALUES (1, 'a'), (1500, 'b'), (5000, 'c'), (NULL, 'd'), (1, 'e');
         CREATE TABLE many (id int PRIMARY KEY, g int, u text);
         INSERT INTO many SELECT x, x % 500, 'u' || x FROM generate_series(1, 2000) x;
         CREATE INDEX many_g ON many (g);
         ANALYZE;",
        &[
            ("SELECT t, u FROM few JOIN many ON many.id = k ORDER BY t", "a|u1\nb|u1500\ne|u1"),
            (
                "SELECT t, u FROM few LEFT JOIN many ON many.id = k ORDER BY t",
                "a|u1\nb|u1500\nc|~\nd|~\ne|u1",
            ),
            (
                "SELECT t, u FROM few LEFT JOIN many ON many.id = k AND g > 0 ORDER BY t",
                "a|u1\nb|~\nc|~\nd|~\ne|u1",
            ),
            (
                "SELECT t, count(u), min(id) FROM few LEFT JOIN many ON g = k GROUP BY t ORDER BY t",
                "a|4|1\nb|0|~\nc|0|~\nd|0|~\ne|4|1",
            ),
            ("SELECT t FROM few WHERE EXISTS (SELECT FROM many WHERE id = k) ORDER BY t", "a\nb\ne"),
            ("SELECT t FROM few WHERE NOT EXISTS (SELECT FROM many WHERE id = k) ORDER BY t", "c\nd"),
            (
                "SELECT t FROM few WHERE EXISTS (SELECT FROM many WHERE g = k AND id > 1500) ORDER BY t",
                "a\ne",
            ),
            ("SELECT count(*), sum(id) FROM many WHERE id IN (3, 4, 3, 9999) OR false", "2|7"),
            ("SELECT id FROM many WHERE g = 7 AND id > 600 ORDER BY id", "1007\n1507"),
        ],
    );
}

#[test]
fn lookups_are_planned() {
    with_node(async |node| {
        let mut client = node.client();
        client.run("CREATE TABLE few (k int); INSERT INTO few VALUES (1), (2)").await;
        client.run("CREATE TABLE many (id int PRIMARY KEY, u text)").await;
        client.run("INSERT INTO many SELECT x, 'u' FROM generate_series(1, 2000) x").await;
        client.run("ANALYZE").await;
        let plan = client.run("EXPLAIN SELECT u FROM few JOIN many ON id = k").await;
        assert!(plan.contains("Lookup") || plan.contains("Index Cond"), "{plan}");
    });
}
