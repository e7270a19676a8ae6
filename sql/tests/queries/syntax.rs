//! What the grammar makes of operators, literals and the rarer forms of statements.

use crate::harness::check;

#[test]
fn operators_bind_as_in_postgresql() {
    check(
        "CREATE TABLE n (a int); INSERT INTO n VALUES (2);",
        &[
            ("SELECT -2^2, -a^2, 2^-a, - - a FROM n", "4|4|0.25|2"),
            ("SELECT ~1+1, @ -5+2, |/ 4+5", "-3|3|3"),
            ("SELECT 'abc' ~ 'a' || 'b'", "trueb"),
            ("SELECT 1 < 2 < 3", "ERROR 42601: syntax error at or near \"<\""),
            ("SELECT 1 == 1", "ERROR 42883: operator does not exist: integer == integer"),
            ("SELECT 1 ISNULL, NULL ISNULL, 1 NOTNULL", "f|t|t"),
            ("SELECT 2 OPERATOR(pg_catalog.+) 3 * 4", "14"),
            ("SELECT regclass 'pg_class', oid '5' = 5", "1259|t"),
        ],
    );
}

#[test]
fn string_constants() {
    check(
        "",
        &[
            ("SELECT 'a'\n 'b' -- and\n\t'c' AS x", "abc"),
            ("SELECT E'\\x41'\n'\\x42', U&'\\0041\\+01F600' U", "AB|A\u{1f600}"),
            ("SELECT U&'d!0061t!+000061' UESCAPE '!', U&'\\D83D\\DE00'", "data|\u{1f600}"),
            ("SELECT U&\"\\0061\" FROM (SELECT 1 a) s", "1"),
            ("SELECT E'\\xc3\\xa9\\303\\251', 'after'", "éé|after"),
            ("SELECT 'a' 'b'", "ERROR 42601: syntax error at or near \"'b'\""),
            ("SELECT 'a' /* \n */ 'b'", "ERROR 42601: syntax error at or near \"'b'\""),
            ("SELECT 1 AS 'b'", "ERROR 42601: syntax error at or near \"'b'\""),
            ("SELECT 1 FROM (SELECT 1) 'b'", "ERROR 42601: syntax error at or near \"'b'\""),
            ("SELECT E'\\x00'", "ERROR 22021: invalid byte sequence for encoding \"UTF8\": 0x00"),
            ("SELECT 'ok', E'\\xff'", "ERROR 22021: invalid byte sequence for encoding \"UTF8\": 0xff"),
            ("SELECT E'\\u00'", "ERROR 22025: invalid Unicode escape"),
            ("SELECT U&'\\00'", "ERROR 42601: invalid Unicode escape"),
            ("SELECT U&'\\D83D'", "ERROR 42601: invalid Unicode surrogate pair"),
            ("SELECT E'open", "ERROR 42601: unterminated quoted string at or near \"E'open\""),
        ],
    );
}

#[test]
fn shorter_ways_to_say_it() {
    check(
        "CREATE TABLE m (a int PRIMARY KEY, b int, c text); INSERT INTO m VALUES (1, 2, 'x'), (2, 3, 'y');",
        &[
            ("TABLE m", "1|2|x\n2|3|y"),
            ("WITH q AS (TABLE m) TABLE q UNION ALL TABLE m LIMIT 1", "1|2|x"),
            ("SELECT a FROM m ORDER BY a FOR UPDATE LIMIT 1", "1"),
            ("SELECT a FROM m ORDER BY a DESC FOR UPDATE OF m NOWAIT OFFSET 1 LIMIT 1", "1"),
            ("SELECT a FROM (SELECT a FROM m ORDER BY a FOR SHARE LIMIT 1) s", "1"),
            ("SELECT count(*) FROM ONLY m, ONLY (m) n WHERE m.a = n.a", "2"),
            ("UPDATE ONLY m SET b = 4 WHERE a = 2 RETURNING b", "4"),
            ("SELECT a FROM m ORDER BY a FETCH FIRST 1 ROW ONLY", "1"),
            ("SELECT (m).* FROM m WHERE (m).a = 2", "2|4|y"),
            ("SELECT count(m.*), row_to_json(m.*)->>'c' FROM m WHERE a = 1 GROUP BY m", "1|x"),
            ("SELECT a FROM m ORDER BY a USING >", "2\n1"),
            (
                "INSERT INTO m VALUES (1, 9, 'z') ON CONFLICT (a) WHERE a > 0 DO UPDATE SET (b, c) = (SELECT excluded.b, 'q' || m.b) WHERE m.a = 1 RETURNING *",
                "1|9|q2",
            ),
            ("INSERT INTO m VALUES (1, 9, 'z') ON CONFLICT (a) WHERE true DO NOTHING RETURNING a", ""),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT 1; COMMIT", "1"),
            ("BEGIN DEFERRABLE, READ ONLY; SELECT 1; COMMIT", "1"),
            ("BEGIN READ ONLY, NOT DEFERRABLE; SELECT 1; COMMIT", "1"),
            ("SELECT (json_each('{}')).*", "ERROR 0A000: the expansion of a row by .* is not supported"),
            (
                "ALTER TABLE m ALTER COLUMN a DROP IDENTITY",
                "ERROR 0A000: ALTER COLUMN DROP IDENTITY is not supported",
            ),
            (
                "ALTER TABLE m ALTER COLUMN a RESTART WITH 5",
                "ERROR 0A000: ALTER COLUMN RESTART is not supported",
            ),
            (
                "CREATE TABLE f (a int, b int REFERENCES m ON DELETE SET NULL (b))",
                "ERROR 0A000: a list of columns after ON DELETE SET NULL or SET DEFAULT is not supported",
            ),
            ("DO $$ BEGIN END $$", "ERROR 0A000: DO is not supported"),
        ],
    );
}

#[test]
fn tokens_end_where_postgresql_ends_them() {
    check(
        "",
        &[
            ("SELECT '[1,2]'::jsonb->-1, 2*-3, 1=-1, 1<-1, 5<>-5, 1>=+1", "2|-6|f|f|t|t"),
            ("SELECT 1a", "ERROR 42601: trailing junk after numeric literal at or near \"1a\""),
            ("SELECT 1_000", "ERROR 42601: trailing junk after numeric literal at or near \"1_000\""),
            ("SELECT 0x1F", "ERROR 42601: trailing junk after numeric literal at or near \"0x1F\""),
            ("SELECT 1.e5, .5, 5., 1 AS a", "100000|0.5|5|1"),
            ("SELECT * form", "ERROR 42601: syntax error at or near \"form\""),
            (
                "SELECT sum(row_number() OVER ()) FROM (SELECT 1) s",
                "ERROR 42803: aggregate function calls cannot contain window function calls",
            ),
            ("SELECT substr('abc', '2'), substring('abc', 'b')", "bc|b"),
        ],
    );
}

#[test]
fn limits_of_values() {
    check(
        "",
        &[
            (
                "SELECT '[2147483647:2147483647]={1}'::int[]",
                "ERROR 54000: array lower bound is too large: 2147483647",
            ),
            (
                "SELECT array_append('[2147483646:2147483646]={1}'::int[], 2)",
                "ERROR 54000: array lower bound is too large: 2147483646",
            ),
            ("SELECT '[2147483646:2147483646]={1}'::int[]", "[2147483646:2147483646]={1}"),
            (
                "SELECT array_fill(1, ARRAY[2], ARRAY[2147483646])",
                "ERROR 54000: array lower bound is too large: 2147483646",
            ),
            (
                "SELECT interval '2562047788:00:54.775807', interval '04:05.5'",
                "2562047788:00:54.775807|00:04:05.5",
            ),
            (
                "SELECT interval '2562047788:00:54.775808'",
                "ERROR 22015: interval field value out of range: \"2562047788:00:54.775808\"",
            ),
            (
                "SELECT interval '3000000000:05.5'",
                "ERROR 22015: interval field value out of range: \"3000000000:05.5\"",
            ),
            (
                "SELECT 'a' COLLATE \"C\" < 'B' COLLATE \"POSIX\"",
                "ERROR 42P21: collation mismatch between explicit collations \"C\" and \"POSIX\"",
            ),
        ],
    );
}

#[test]
fn privileges_of_what_there_is() {
    check(
        "CREATE TABLE t (a int); CREATE SEQUENCE s;",
        &[
            (
                "SELECT has_table_privilege('t', 'select, INSERT WITH GRANT OPTION'), has_table_privilege('public', 't', 'select'), has_table_privilege(1::oid, 'select')",
                "t|t|~",
            ),
            ("SELECT has_table_privilege('nope', 'select')", "ERROR 42P01: relation \"nope\" does not exist"),
            ("SELECT has_table_privilege('x.t', 'select')", "ERROR 3F000: schema \"x\" does not exist"),
            (
                "SELECT has_table_privilege('t', 'selec')",
                "ERROR 22023: unrecognized privilege type: \"selec\"",
            ),
            ("SELECT has_table_privilege('r9', 't', 'select')", "ERROR 42704: role \"r9\" does not exist"),
            (
                "SELECT has_column_privilege('t', 'b', 'select')",
                "ERROR 42703: column \"b\" of relation \"t\" does not exist",
            ),
            (
                "SELECT has_column_privilege('t', 'a', 'select'), has_any_column_privilege('t', 'update')",
                "t|t",
            ),
            (
                "SELECT has_any_column_privilege('t', 'delete')",
                "ERROR 22023: unrecognized privilege type: \"delete\"",
            ),
            ("SELECT has_schema_privilege('nope', 'usage')", "ERROR 3F000: schema \"nope\" does not exist"),
            ("SELECT has_schema_privilege('public', 'create'), has_sequence_privilege('s', 'usage')", "t|t"),
            ("SELECT has_sequence_privilege('t', 'usage')", "ERROR 42809: \"t\" is not a sequence"),
            (
                "SELECT has_database_privilege('nope', 'connect')",
                "ERROR 3D000: database \"nope\" does not exist",
            ),
            (
                "SELECT has_function_privilege('abs(int)', 'execute'), has_type_privilege('int4', 'usage')",
                "t|t",
            ),
            (
                "SELECT has_function_privilege('nope(int)', 'execute')",
                "ERROR 42883: function \"nope(int)\" does not exist",
            ),
            ("SELECT has_type_privilege('nope', 'usage')", "ERROR 42704: type \"nope\" does not exist"),
            (
                "SELECT has_language_privilege('nope', 'usage')",
                "ERROR 42704: language \"nope\" does not exist",
            ),
            ("SELECT pg_has_role('nope', 'member')", "ERROR 42704: role \"nope\" does not exist"),
            ("SELECT pg_has_role('postgres', 'member')", "t"),
        ],
    );
}
