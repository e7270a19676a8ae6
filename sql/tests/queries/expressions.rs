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

#[test]
fn names_and_forms() {
    check(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);
         CREATE VIEW w AS SELECT id FROM t;",
        &[
            (
                "SELECT trim(both from '  x '), trim(from 'abxba', 'ba'), trim(leading from 'aax', 'a')",
                "x|x|x",
            ),
            ("SELECT trim(trailing 'a' from 'baa'), trim('  b ')", "b|b"),
            ("SELECT public.w.id FROM public.w", "1"),
            ("SELECT a.id FROM t a JOIN t b USING (a.id)", "ERROR 42601: syntax error at or near \".\""),
            (
                "SELECT t.tableoid = 't'::regclass, x, n.tableoid::regclass FROM t LEFT JOIN (SELECT 2 x) y ON x = 3 LEFT JOIN t n ON n.id = 7",
                "t|~|~",
            ),
            ("SELECT * FROM t", "1"),
            ("SELECT id FROM t WHERE NOT id * 2147483647 * 2 BETWEEN NULL AND NULL", ""),
            ("SELECT relname FROM pg_class WHERE tableoid = 1259 AND relname = 't'", "t"),
            (
                "SELECT array_ndims(NULL)",
                "ERROR 42804: could not determine polymorphic type because input has type unknown",
            ),
            ("SELECT count(*) FROM pg_foreign_data_wrapper", "0"),
            ("SELECT relkind FROM pg_class WHERE relname IN ('pg_tables', 'pg_proc') ORDER BY 1", "r\nv"),
            ("SELECT format_type(1042, NULL), format_type(1042, -1)", "character|bpchar"),
            (
                "SELECT pg_get_indexdef('t_pkey'::regclass, 0, true), pg_get_indexdef('t_pkey'::regclass)",
                "CREATE UNIQUE INDEX t_pkey ON t USING btree (id)|CREATE UNIQUE INDEX t_pkey ON public.t USING btree (id)",
            ),
            (
                "SELECT has_table_privilege('t', 'select'), has_database_privilege('postgres', 'connect')",
                "t|t",
            ),
        ],
    );
}

#[test]
fn no_width_makes_a_text_too_long() {
    let too_long = "ERROR 54000: requested length too large";
    check(
        "",
        &[
            ("SELECT format('%2147483647s', 'x')", too_long),
            ("SELECT format('%1073741000s%1073741000s', 'x', 'y')", too_long),
            ("SELECT format('%*s', -2000000000, 'x')", too_long),
            ("SELECT length(format('%-1000s|', 'x'))", "1001"),
        ],
    );
}

#[test]
fn a_read_only_transaction_leaves_sequences_as_they_are() {
    let refused = |name: &str| format!("ERROR 25006: cannot execute {name}() in a read-only transaction");
    check(
        "CREATE SEQUENCE s; CREATE TEMPORARY SEQUENCE own",
        &[
            ("BEGIN READ ONLY; SELECT nextval('own'), setval('own', 7)", "1|7"),
            ("SELECT nextval('s')", &refused("nextval")),
            ("ROLLBACK; BEGIN READ ONLY; SELECT setval('s', 9)", &refused("setval")),
            ("ROLLBACK; BEGIN; SET TRANSACTION READ ONLY; SELECT nextval('s')", &refused("nextval")),
            ("ROLLBACK; SELECT nextval('s')", "1"),
        ],
    );
}

#[test]
fn texts_end_at_the_size_that_they_end_at_elsewhere() {
    let too_long = "ERROR 54000: requested length too large";
    check(
        "",
        &[
            ("SELECT length(rtrim(bpchar('x'::char(3), 2147483647, true)))", too_long),
            ("SELECT length(bpchar('x'::char(3), 9, true)::text || '.')", "2"),
            ("SELECT length(replace(repeat('a', 100000), 'a', repeat('b', 100000)))", too_long),
        ],
    );
}
