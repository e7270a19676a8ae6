//! Each query runs on both executors, which must agree.

#[path = "../../tests/queries/harness.rs"]
#[allow(dead_code, reason = "shared with the row executor's tests")]
mod harness;

use std::sync::Arc;

use basalt_sql::SqlOptions;
use basalt_sql_analytic::{AnalyticExecutor, AnalyticOptions};
use harness::{Client, with_executor};

const TABLES: &str = "
    CREATE TABLE l (id int PRIMARY KEY, k int, n numeric, f float8, t text, c char(4), d date, ts timestamp,
        i interval, b bool, s smallint, g bigint, y bytea, a int[]);
    CREATE TABLE r (id int PRIMARY KEY, k int, n numeric(10, 2), u text);
    INSERT INTO l SELECT x, CASE WHEN x % 7 = 0 THEN NULL ELSE x % 13 END,
        CASE WHEN x % 11 = 0 THEN NULL WHEN x % 17 = 0 THEN 'NaN' ELSE (x % 5)::numeric / 4 END,
        CASE WHEN x % 9 = 0 THEN NULL WHEN x % 23 = 0 THEN 'NaN' WHEN x % 10 = 0 THEN '-0' ELSE (x % 6) * 0.5 END,
        CASE WHEN x % 8 = 0 THEN NULL ELSE 'text ' || x % 19 END,
        CASE WHEN x % 6 = 0 THEN 'a' ELSE 'ab' END,
        date '2020-01-01' + x % 31, timestamp '2020-01-01 00:00:00' + (x % 50) * interval '1 hour',
        CASE WHEN x % 2 = 0 THEN interval '1 mon' ELSE interval '30 days' END,
        CASE WHEN x % 3 = 0 THEN NULL ELSE x % 2 = 0 END, x % 100, x * 1000000007::bigint,
        decode('00ff', 'hex'), ARRAY[x % 3, NULL]
        FROM generate_series(1, 500) AS g(x);
    INSERT INTO r SELECT x, CASE WHEN x % 5 = 0 THEN NULL ELSE x % 17 END, x % 40 / 4.0, 'u' || x % 3
        FROM generate_series(1, 60) AS g(x);";

/// Ordered by the test where the query does not say.
const QUERIES: &[&str] = &[
    "SELECT id, k, n, f, t, c, d, ts, i, b, s, g, y, a FROM l ORDER BY id",
    "SELECT id FROM l WHERE k > 3 AND n < 1 OR t LIKE '%1%' ORDER BY id DESC",
    "SELECT id, n, f FROM l ORDER BY n DESC NULLS LAST, f NULLS FIRST, id LIMIT 40 OFFSET 5",
    "SELECT id, c, i, b FROM l ORDER BY c, i DESC, b DESC, id",
    "SELECT count(*), count(k), sum(k), avg(k), min(k), max(k) FROM l",
    "SELECT count(*), sum(k), avg(n), min(t) FROM l WHERE id < 0",
    "SELECT k, count(*), sum(s), sum(g), avg(g), sum(n), avg(n), min(t), max(d), min(ts) FROM l GROUP BY k",
    "SELECT k, sum(n) FILTER (WHERE n <> 'NaN'), count(*) FILTER (WHERE b) FROM l GROUP BY k",
    "SELECT c, count(*) FROM l GROUP BY c",
    "SELECT i = interval '1 mon', count(*) FROM l GROUP BY i",
    "SELECT n, count(*) FROM l GROUP BY n",
    "SELECT f + 0, count(*) FROM l GROUP BY f",
    "SELECT t, d, count(*) FROM l GROUP BY t, d HAVING count(*) > 1",
    "SELECT count(DISTINCT k), sum(DISTINCT s), count(DISTINCT n), count(DISTINCT c) FROM l",
    "SELECT b, string_agg(t, ',' ORDER BY t DESC, id), array_agg(k ORDER BY id) FROM l WHERE id < 60 GROUP BY b",
    "SELECT stddev(k), variance(n) FILTER (WHERE n <> 'NaN'), bool_and(b), bool_or(b), max(f), min(f) FROM l",
    "SELECT DISTINCT k, b FROM l",
    "SELECT DISTINCT n FROM l",
    "SELECT l.id, r.id FROM l JOIN r ON l.k = r.k",
    "SELECT l.id, r.id FROM l LEFT JOIN r ON l.k = r.k AND l.id < r.id",
    "SELECT l.id, r.id FROM l RIGHT JOIN r ON l.k = r.k AND l.id > 400",
    "SELECT l.id, r.id FROM l FULL JOIN r ON l.k = r.k AND l.s < r.id",
    "SELECT l.id, r.id FROM l JOIN r ON l.n = r.n",
    "SELECT l.id, r.id FROM l JOIN r ON l.g = r.id",
    "SELECT l.id, r.id FROM l JOIN r ON l.id + r.id < 12",
    "SELECT l.id, r.id FROM l LEFT JOIN r ON l.id * 100 < r.id",
    "SELECT count(*) FROM l, r",
    "SELECT id FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k)",
    "SELECT id FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = l.k)",
    "SELECT id FROM l WHERE k IN (SELECT k FROM r)",
    "SELECT id FROM l WHERE k IN (1, 3, NULL) OR c IN ('a', 'b')",
    "SELECT k FROM l UNION ALL SELECT id FROM r",
    "SELECT k FROM l UNION SELECT id FROM r",
    "SELECT k FROM l INTERSECT SELECT id FROM r",
    "SELECT k FROM l EXCEPT SELECT id FROM r",
    "WITH w AS MATERIALIZED (SELECT k, count(*) AS c FROM l GROUP BY k) SELECT x.k, y.c FROM w x JOIN w y ON x.k = y.k",
    "SELECT k, row_number() OVER (ORDER BY id), sum(k) OVER (PARTITION BY b ORDER BY id) FROM l ORDER BY id",
    "SELECT CASE WHEN k <> 0 THEN 10 / k ELSE -1 END, count(*) FROM l GROUP BY 1",
    "SELECT id FROM l WHERE k <> 0 AND 10 / k > 2 ORDER BY id",
    "SELECT sum(10 / k) FROM l",
    "SELECT sum(k * 2000000000) FROM l",
    "SELECT sum(s::int2 + 32700::int2) FROM l",
    "SELECT max(id) FROM l WHERE d BETWEEN '2020-01-05' AND '2020-01-09' AND ts < '2020-01-02'",
    "SELECT k, count(*) FROM l GROUP BY k ORDER BY 2 DESC, 1 NULLS FIRST LIMIT 3",
    "SELECT count(*) FROM l LIMIT -1",
    "SELECT id FROM l ORDER BY id LIMIT 0",
    "SELECT upper(t), length(c), n * 2, g % 7 FROM l ORDER BY id",
    "SELECT b, k, grouping(b), count(*) FROM l GROUP BY ROLLUP (b, k)",
    "SELECT id, (SELECT max(u) FROM r WHERE r.k = l.k) FROM l ORDER BY id",
    "SELECT id, rank() OVER w, dense_rank() OVER w, percent_rank() OVER w, cume_dist() OVER w FROM l
        WINDOW w AS (PARTITION BY b ORDER BY k DESC NULLS LAST) ORDER BY id",
    "SELECT id, ntile(7) OVER (ORDER BY n, id), lag(t, 2, 'none') OVER (PARTITION BY c ORDER BY id) FROM l ORDER BY id",
    "SELECT id, first_value(t) OVER w, last_value(n) OVER w, nth_value(f, 3) OVER w FROM l
        WINDOW w AS (PARTITION BY k ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) ORDER BY id",
    "SELECT id, sum(n) OVER (ORDER BY k RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM l ORDER BY id",
    "SELECT id, count(*) OVER (ORDER BY n DESC RANGE BETWEEN 0.25 PRECEDING AND 0.5 FOLLOWING) FROM l ORDER BY id",
    "SELECT id, count(*) OVER (ORDER BY d RANGE BETWEEN interval '3 days' PRECEDING AND CURRENT ROW),
        sum(g) OVER (PARTITION BY b ORDER BY d GROUPS BETWEEN 1 PRECEDING AND 2 FOLLOWING) FROM l ORDER BY id",
    "SELECT id, count(*) FILTER (WHERE b) OVER (ORDER BY f RANGE 0.5 PRECEDING), avg(k) OVER (PARTITION BY i) FROM l ORDER BY id",
    "SELECT k, sum(sum(s)) OVER (ORDER BY k), rank() OVER (ORDER BY count(*) DESC) FROM l GROUP BY k ORDER BY k",
    "SELECT id, sum(10 / k) FILTER (WHERE k <> 0) OVER (ORDER BY id) FROM l ORDER BY id",
    "SELECT id, sum(10 / k) OVER (ORDER BY id) FROM l ORDER BY id",
    "SELECT id, ntile(0) OVER (ORDER BY id) FROM l ORDER BY id",
    "SELECT id, sum(k) OVER (ORDER BY id ROWS -1 PRECEDING) FROM l ORDER BY id",
    "SELECT k, n FROM l INTERSECT ALL SELECT k, n FROM r",
    "SELECT k FROM l EXCEPT ALL SELECT k FROM r",
    "SELECT n, c FROM l EXCEPT SELECT n, u::char(4) FROM r",
    "SELECT f FROM l INTERSECT SELECT k * 0.5::float8 FROM r",
    "SELECT id FROM l WHERE s > (SELECT avg(k) FROM r) ORDER BY id",
    "SELECT id, (SELECT count(*) FROM r), EXISTS (SELECT 1 FROM r WHERE id > 100) FROM l WHERE id < 9 ORDER BY id",
    "SELECT id FROM l WHERE k NOT IN (SELECT k FROM r) ORDER BY id",
    "SELECT id FROM l WHERE k NOT IN (SELECT k FROM r WHERE k IS NOT NULL) ORDER BY id",
    "SELECT id FROM l WHERE k NOT IN (SELECT k FROM r WHERE k < 0) OR s = 4 ORDER BY id",
    "SELECT id, n IN (SELECT n FROM r), coalesce((SELECT max(id) FROM r), 0) + id FROM l ORDER BY id",
    "SELECT id FROM l WHERE k = (SELECT id FROM r) ORDER BY id",
    "SELECT id FROM l WHERE id < 0 AND k = (SELECT id FROM r) ORDER BY id",
    "SELECT CASE WHEN id < 0 THEN (SELECT 1 / (id - id) FROM r WHERE id = 1) ELSE 2 END, count(*) FROM l GROUP BY 1",
    "SELECT k, array_length(ARRAY(SELECT id FROM r WHERE id < 7), 1), count(*) FROM l GROUP BY k",
    "SELECT l.id, r.id FROM l LEFT JOIN r ON l.k = r.k AND l.s < (SELECT max(id) FROM r)",
    "SELECT k, count(*) FROM l GROUP BY k HAVING count(*) > (SELECT count(*) / 10 FROM l)",
    "SELECT id FROM l ORDER BY k = (SELECT max(k) FROM r) DESC NULLS LAST, id LIMIT 9",
];

async fn answer(client: &mut Client, executor: &str, sql: &str) -> String {
    client.run(&format!("SET basalt.executor = '{executor}'")).await;
    let text = client.run(sql).await;
    if sql.contains("ORDER BY") && !sql.contains("_agg") {
        return text;
    }
    let mut rows: Vec<&str> = text.split('\n').collect();
    rows.sort_unstable();
    rows.join("\n")
}

/// Those that do not run vectorised as a whole.
const ON_ROWS: &[&str] = &[
    "SELECT b, k, grouping(b), count(*) FROM l GROUP BY ROLLUP (b, k)",
    "SELECT id, (SELECT max(u) FROM r WHERE r.k = l.k) FROM l ORDER BY id",
];

async fn compare(client: &mut Client, wrong: &mut Vec<String>) -> Vec<&'static str> {
    let mut on_rows = Vec::new();
    for sql in QUERIES {
        let rows = answer(client, "row", sql).await;
        let batches = answer(client, "vectorized", sql).await;
        if rows != batches {
            let difference = rows.lines().zip(batches.lines()).find(|(a, b)| a != b);
            wrong.push(format!(
                "{sql}\n  {} / {} lines, {difference:?}",
                rows.lines().count(),
                batches.lines().count()
            ));
        }
        let plan = client.run(&format!("EXPLAIN {sql}")).await;
        let whole = plan.contains("Executor: vectorized") && !plan.contains("Row Executor For");
        if !whole && !plan.starts_with("ERROR") {
            on_rows.push(*sql);
        }
    }
    on_rows
}

fn agree(options: AnalyticOptions) {
    let executor = Arc::new(AnalyticExecutor::new(options));
    with_executor(SqlOptions::default(), Some(executor), async |node| {
        let mut client = node.client();
        assert_eq!(client.run(TABLES).await, "", "setup");
        let mut wrong = Vec::new();
        let rows = compare(&mut client, &mut wrong).await;
        // Once more over a transaction's own writes.
        client.run("BEGIN; DELETE FROM l WHERE id % 4 = 0; UPDATE l SET k = 5 WHERE id % 9 = 1;").await;
        for sql in &QUERIES[..8] {
            let rows = answer(&mut client, "row", sql).await;
            if rows != answer(&mut client, "vectorized", sql).await {
                wrong.push(format!("in a transaction: {sql}"));
            }
        }
        assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(rows, ON_ROWS, "queries that did not run vectorised as a whole");
    });
}

#[test]
fn executors_agree() {
    agree(AnalyticOptions::default());
}

#[test]
fn executors_agree_on_partitions() {
    agree(AnalyticOptions {
        partitions: 3,
        partition_rows_min: 0.0,
        batch_rows: 50,
        ..AnalyticOptions::default()
    });
}
