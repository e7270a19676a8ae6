//! Types and names of outputs, and errors, as PostgreSQL 15 gives them for the same tables.

use basalt_types::format_type;

use super::catalog::plan;

/// `name:type` of every output column.
fn fields(sql: &str) -> String {
    match plan(sql) {
        Ok(planned) => {
            let list: Vec<String> = planned
                .fields
                .iter()
                .map(|field| format!("{}:{}", field.name, format_type(field.ty)))
                .collect();
            list.join(" ")
        }
        Err(error) => format!(
            "{} {} @{}",
            error.sqlstate(),
            error.message(),
            error.fields().position.map_or_else(|| "-".to_owned(), |position| position.to_string())
        ),
    }
}

/// `query => output`, one a line.
fn check(cases: &str) {
    let mut wrong = Vec::new();
    for line in cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (sql, expected) = line.split_once(" =>").expect(line);
        let expected = expected.trim();
        let found = fields(sql);
        if found != expected {
            wrong.push(format!("{sql}\n   expected {expected}\n   found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn outputs() {
    check(include_str!("outputs.txt"));
}

#[test]
fn parameters() {
    for (sql, types) in [
        ("SELECT $1::int + a FROM t WHERE b = $2 AND id = ANY($3) LIMIT $4", "integer text integer[] bigint"),
        (
            "INSERT INTO t (id, c, at) VALUES ($1, $2, $3)",
            "integer character varying timestamp with time zone",
        ),
        ("UPDATE t SET a = a + $1, n = $2 WHERE id IN ($3, $4)", "integer numeric integer integer"),
        ("SELECT CASE WHEN $1 THEN 1 ELSE $2 END", "boolean integer"),
        ("SELECT coalesce($1, 5), $2 || 'x'", "integer text"),
        ("SELECT 1 UNION SELECT $1", "integer"),
        ("INSERT INTO t (id, b) SELECT $1, $2", "integer text"),
    ] {
        let planned = plan(sql).expect(sql);
        let found: Vec<String> = planned.params.iter().map(|ty| format_type(ty.bare())).collect();
        assert_eq!(found.join(" "), types, "{sql}");
    }
    let error = plan("SELECT a FROM t WHERE WHERE").expect_err("a reserved word is no column");
    assert_eq!((error.sqlstate().as_str(), error.fields().position), ("42601", Some(23)));
    let error = plan("SELECT $1 IS NULL").expect_err("nothing decides");
    assert_eq!(error.sqlstate().as_str(), "42P18");
    plan("SELECT ARRAY['a'] || ARRAY['b'], ARRAY['a'] || 'b'::text").expect("one operator each");
    let error = plan("SELECT $1 IS NULL, $3::int").expect_err("nothing decides on $2");
    assert_eq!(error.sqlstate().as_str(), "42P18");
}
