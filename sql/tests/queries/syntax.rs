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
