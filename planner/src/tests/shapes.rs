//! Shapes of plans, as EXPLAIN shows them.

use super::catalog::plan;
use crate::{PlannedBody, explain_json, explain_text, statement::ExplainOptions};

fn explain(sql: &str) -> String {
    let planned = plan(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let (PlannedBody::Query(plan) | PlannedBody::Dml { plan, .. }) = planned.body else {
        panic!("{sql} has no plan")
    };
    explain_text(&plan, &ExplainOptions::default()).join("\n")
}

/// A query, and its plan with the same lines.
fn check(sql: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let found = explain(sql);
    let lines: Vec<&str> = found.lines().map(str::trim).collect();
    assert_eq!(lines, expected, "{sql}\n{found}");
}

#[test]
fn access_paths() {
    check("SELECT a FROM t WHERE id = 5", "Index Scan using t_pkey on t\nIndex Cond: (id = 5)");
    check("SELECT a FROM t WHERE id = $1", "Index Scan using t_pkey on t\nIndex Cond: (id = $1)");
    check("SELECT a FROM t WHERE 5::bigint = id", "Index Scan using t_pkey on t\nIndex Cond: (id = 5)");
    check(
        "SELECT a FROM t WHERE id IN (1, 2)",
        "Index Scan using t_pkey on t\nIndex Cond: (id = ANY (ARRAY[1, 2]))",
    );
    check("SELECT a FROM t WHERE id = ANY($1)", "Index Scan using t_pkey on t\nIndex Cond: (id = ANY ($1))");
    check(
        "SELECT a FROM t WHERE id BETWEEN 1 AND 2 + 3 AND n > 1",
        "Index Scan using t_pkey on t\nIndex Cond: ((id >= 1) AND (id <= 5))\nFilter: (n > '1'::numeric)",
    );
    check(
        "SELECT 1 FROM t WHERE b = 'x' AND a > 3",
        "Index Scan using t_b_a on t\nIndex Cond: ((b = 'x'::text) AND (a > 3))\nFilter: (a > 3)",
    );
    check(
        "SELECT 1 FROM t WHERE b LIKE 'ab%'",
        "Index Scan using t_b_a on t\nIndex Cond: ((b >= 'ab'::text) AND (b < 'ac'::text))\nFilter: (b ~~ 'ab%'::text)",
    );
    check("SELECT 1 FROM t WHERE b IS NULL", "Index Scan using t_b_a on t\nIndex Cond: (b IS NULL)");
    check(
        "SELECT a FROM t WHERE id = 1 OR id = $1",
        "Index Scan using t_pkey on t\nIndex Cond: (id = ANY (ARRAY[1, $1]))",
    );
    check("SELECT 1 FROM t WHERE a = 1", "Seq Scan on t\nFilter: (a = 1)");
    check(
        "SELECT 1 FROM (SELECT id + 0 AS k, id FROM t) s WHERE s.id = 7",
        "Index Scan using t_pkey on t\nIndex Cond: (id = 7)",
    );
}

#[test]
fn order_and_limit() {
    check("SELECT id FROM t ORDER BY id", "Seq Scan on t");
    check("SELECT a FROM t ORDER BY id DESC LIMIT 3", "Limit\n->  Index Scan Backward using t_pkey on t");
    check(
        "SELECT a FROM t WHERE b = 'x' ORDER BY a LIMIT 3",
        "Limit\n->  Index Scan using t_b_a on t\nIndex Cond: (b = 'x'::text)",
    );
    check("SELECT a FROM t ORDER BY a LIMIT 3", "Limit\n->  Sort\nSort Key: a\n->  Seq Scan on t");
}

#[test]
fn joins() {
    check(
        "SELECT u.v FROM t, u WHERE t.id = 3 AND u.t_id = t.id",
        "Lookup Join using u_t_id on u\nIndex Cond: (t_id = t.id)\n->  Index Scan using t_pkey on t\nIndex Cond: (id = 3)",
    );
    check(
        "SELECT u.v FROM t JOIN u ON u.t_id = t.id WHERE t.a > u.id",
        "Hash Join\nHash Cond: (u.t_id = t.id)\nJoin Filter: (t.a > u.id)\n->  Seq Scan on u\n->  Seq Scan on t",
    );
    check(
        "SELECT 1 FROM t LEFT JOIN u ON u.t_id = t.id AND u.id = 4",
        "Hash Left Join\nHash Cond: (t.id = u.t_id)\n->  Seq Scan on t\n->  Index Scan using u_pkey on u\nIndex Cond: (id = 4)",
    );
    // A condition that no NULL-extended row passes makes the join inner.
    let inner = explain("SELECT 1 FROM t LEFT JOIN u ON u.t_id = t.id WHERE u.v > 1");
    assert!(!inner.contains("Left"), "{inner}");
    let outer = explain("SELECT 1 FROM t LEFT JOIN u ON u.t_id = t.id WHERE u.v IS NULL");
    assert!(outer.contains("Left"), "{outer}");
}

#[test]
fn many_relations_are_never_crossed() {
    let tables: Vec<String> = (1..=20).map(|number| format!("t{number}")).collect();
    let mut conditions: Vec<String> = (1..20).map(|number| format!("a{number} = b{}", number + 1)).collect();
    conditions.push("a20 = 7".into());
    conditions.reverse();
    let sql = format!("SELECT 1 FROM {} WHERE {}", tables.join(", "), conditions.join(" AND "));
    let text = explain(&sql);
    assert!(!text.contains("Nested Loop"), "{text}");
}

#[test]
fn subqueries_become_joins() {
    let exists = explain("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.t_id = t.id AND u.v > 1)");
    assert!(exists.starts_with("Hash Semi Join\n  Hash Cond: (t.id = u.t_id)"), "{exists}");
    let anti = explain("SELECT a FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.t_id = t.id)");
    assert!(anti.starts_with("Hash Anti Join"), "{anti}");
    let inside = explain("SELECT a FROM t WHERE id IN (SELECT t_id FROM u)");
    assert!(inside.starts_with("Hash Semi Join"), "{inside}");
    let not_in = explain("SELECT a FROM t WHERE id NOT IN (SELECT t_id FROM u)");
    assert!(not_in.contains("SubPlan"), "{not_in}");
    let scalar = explain("SELECT (SELECT max(v) FROM u WHERE t_id = t.id) FROM t");
    assert!(scalar.contains("SubPlan") && scalar.contains("Index Cond: (t_id = t.id)"), "{scalar}");
}

#[test]
fn constants_that_fail_fail_the_plan() {
    check("SELECT CASE WHEN true THEN 1 ELSE 1 / 0 END FROM t", "Seq Scan on t");
    check("SELECT coalesce(1, 1 / 0), true OR 1 / 0 = 1 FROM t", "Seq Scan on t");
    check("SELECT 1 FROM t WHERE id = 2 + 3 AND true", "Index Scan using t_pkey on t\nIndex Cond: (id = 5)");
    for sql in ["SELECT 1 / 0 WHERE false", "SELECT CASE WHEN id > 0 THEN 1 ELSE 1 / 0 END FROM t"] {
        assert_eq!(plan(sql).expect_err(sql).message(), "division by zero");
    }
}

#[test]
fn conditions_stay_where_they_mean_the_same() {
    // Below a limit other rows would pass.
    let limited = explain("SELECT * FROM (SELECT id FROM t LIMIT 5) s WHERE id = 3");
    assert!(limited.starts_with("Filter") && limited.contains("Limit"), "{limited}");
    let windowed = explain("SELECT * FROM (SELECT id, row_number() OVER () AS r FROM t) s WHERE id = 3");
    assert!(windowed.starts_with("Filter") && windowed.contains("Seq Scan"), "{windowed}");
    // The optional side of an outer join may not lose rows before the join.
    let optional = explain("SELECT 1 FROM t LEFT JOIN u ON u.t_id = t.id WHERE coalesce(u.v, 0) = 0");
    assert!(optional.starts_with("Filter") && optional.contains("Hash Left Join"), "{optional}");
    // ALL of an empty array is true even for NULL.
    let all = explain("SELECT 1 FROM t LEFT JOIN u ON u.t_id = t.id WHERE u.id = ALL($1)");
    assert!(all.contains("Hash Left Join"), "{all}");
    let grouped = explain("SELECT b, count(*) FROM t GROUP BY b HAVING b = 'x' AND count(*) > 1");
    assert!(grouped.contains("Index Cond: (b = 'x'::text)"), "{grouped}");
    let union = explain("SELECT * FROM (SELECT id FROM t UNION ALL SELECT id FROM u) s WHERE id = 3");
    assert_eq!(union.matches("Index Cond: (id = 3)").count(), 2, "{union}");
}

#[test]
fn changes() {
    check(
        "UPDATE t SET a = a + 1 WHERE id = 3",
        "Update on t\n->  Index Scan using t_pkey on t\nIndex Cond: (id = 3)",
    );
    check(
        "DELETE FROM t WHERE id = 3",
        "Delete on t\n->  Index Scan using t_pkey on t\nIndex Cond: (id = 3)",
    );
    check("INSERT INTO t (id) VALUES (1)", "Insert on t\n->  Result");
}

#[test]
fn json() {
    let planned = plan("SELECT a FROM t WHERE id = 5").expect("a plan");
    let PlannedBody::Query(plan) = planned.body else { panic!("no query") };
    let json = explain_json(&plan, &ExplainOptions::default());
    assert!(json.contains("\"Node Type\": \"Index Scan\""), "{json}");
    assert!(json.contains("\"Index Cond\": \"(id = 5)\""), "{json}");
}
