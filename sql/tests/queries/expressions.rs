//! Data changes and expressions around them.

use crate::harness::check;

#[test]
fn data_changes() {
    check(
        "CREATE TABLE t (id int PRIMARY KEY, v int CHECK (v > 0), s text DEFAULT 'none');",
        &[
            ("INSERT INTO t (id, v) VALUES (1, 10), (2, 20) RETURNING id, v, s", "1|10|none\n2|20|none"),
            (
                "INSERT INTO t (id, v) VALUES (2, 30) ON CONFLICT (id) DO UPDATE SET v = t.v + excluded.v RETURNING v",
                "50",
            ),
            ("INSERT INTO t (id, v) VALUES (2, 30) ON CONFLICT DO NOTHING RETURNING v", ""),
            (
                "INSERT INTO t (id, v) VALUES (2, 30)",
                "ERROR 23505: duplicate key value violates unique constraint \"t_pkey\"",
            ),
            (
                "INSERT INTO t (id, v) VALUES (3, 0)",
                "ERROR 23514: new row for relation \"t\" violates check constraint \"t_v_check\"",
            ),
            ("UPDATE t SET v = v + 1, s = s || '!' WHERE id = 1 RETURNING *", "1|11|none!"),
            (
                "UPDATE t SET v = x.v FROM (VALUES (1, 7), (2, 8)) x(id, v) WHERE t.id = x.id RETURNING t.id, t.v",
                "1|7\n2|8",
            ),
            ("DELETE FROM t USING (VALUES (1)) x(id) WHERE t.id = x.id RETURNING t.id", "1"),
            ("SELECT id, v FROM t", "2|8"),
        ],
    );
}

#[test]
fn laziness_and_nulls() {
    check(
        "",
        &[
            ("SELECT CASE WHEN x = 0 THEN 0 ELSE 1 / x END FROM (VALUES (0), (1)) s(x)", "0\n1"),
            ("SELECT coalesce(x, 1 / (x - x)) FROM (VALUES (2)) s(x)", "2"),
            (
                "SELECT NULL = NULL, NULL IS NULL, 1 IN (2, NULL), 1 NOT IN (2, NULL), 1 IN (1, NULL)",
                "~|t|~|~|t",
            ),
            ("SELECT (NULL AND false), (NULL OR true), NOT NULL::bool", "f|t|~"),
            ("SELECT x::text, (SELECT x::text) FROM (VALUES (1.0), (1.00)) s(x)", "1.0|1.0\n1.00|1.00"),
            ("SELECT greatest(1, NULL, 3), least(NULL, 2), nullif(1, 1)", "3|2|~"),
        ],
    );
}

#[test]
fn casts_within_one_representation_and_of_arrays() {
    check(
        "CREATE TABLE a (i int[], s smallint[], n int);
         INSERT INTO a VALUES ('{1,2}', '{3}', 23);",
        &[
            ("SELECT format_type(23, NULL), format_type(n, NULL) FROM a", "integer|integer"),
            ("SELECT 5::oid = 5, n::oid, n::oid::int FROM a", "t|23|23"),
            ("SELECT i || s, i::bigint[] || 4::bigint, 0::bigint || s FROM a", "{1,2,3}|{1,2,4}|{0,3}"),
            ("SELECT i::oid[], '{1,2}'::int[]::text[], i::numeric[] FROM a", "{1,2}|{1,2}|{1,2}"),
        ],
    );
}
