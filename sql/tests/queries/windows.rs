//! Window functions and frames.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use basalt_env::BoxFuture;
use basalt_sql::Cancel;
use basalt_types::{Result, SqlError};

use crate::harness::{check, with_node};

const TABLE: &str = "
    CREATE TABLE w (id int PRIMARY KEY, g text, v int, d date);
    INSERT INTO w VALUES (1, 'a', 10, '2020-01-01'), (2, 'a', 20, '2020-01-02'), (3, 'a', 20, '2020-01-05'),
        (4, 'b', 5, '2020-02-01'), (5, 'b', NULL, NULL), (6, 'b', 7, '2020-02-29');";

#[test]
fn ranking_and_navigation() {
    check(
        TABLE,
        &[
            (
                "SELECT id, row_number() OVER o, rank() OVER o, dense_rank() OVER o FROM w WINDOW o AS (ORDER BY v) ORDER BY id",
                "1|3|3|3\n2|4|4|4\n3|5|4|4\n4|1|1|1\n5|6|6|5\n6|2|2|2",
            ),
            (
                "SELECT id, lag(v) OVER p, lead(v, 1, -1) OVER p, first_value(v) OVER p, last_value(v) OVER p FROM w WINDOW p AS (PARTITION BY g ORDER BY id) ORDER BY id",
                "1|~|20|10|10\n2|10|20|10|20\n3|20|-1|10|20\n4|~|~|5|5\n5|5|7|5|~\n6|~|-1|5|7",
            ),
            ("SELECT id, ntile(4) OVER (ORDER BY id) FROM w ORDER BY id", "1|1\n2|1\n3|2\n4|2\n5|3\n6|4"),
            (
                "SELECT id, percent_rank() OVER (PARTITION BY g ORDER BY v), cume_dist() OVER (PARTITION BY g ORDER BY v) FROM w WHERE g = 'a' ORDER BY id",
                "1|0|0.3333333333333333\n2|0.5|1\n3|0.5|1",
            ),
            ("SELECT id, nth_value(id, 2) OVER (ORDER BY id) FROM w ORDER BY id LIMIT 3", "1|~\n2|2\n3|2"),
            // Rows come out in the window's order.
            ("SELECT id, row_number() OVER (ORDER BY id DESC) FROM w", "6|1\n5|2\n4|3\n3|4\n2|5\n1|6"),
            ("SELECT g, sum(count(*)) OVER (ORDER BY g) FROM w GROUP BY g ORDER BY g", "a|3\nb|6"),
        ],
    );
}

#[test]
fn aggregates_over_frames() {
    check(
        TABLE,
        &[
            (
                "SELECT id, sum(v) OVER (PARTITION BY g ORDER BY id) FROM w ORDER BY id",
                "1|10\n2|30\n3|50\n4|5\n5|5\n6|12",
            ),
            // Peers are in the frame.
            ("SELECT id, sum(v) OVER (ORDER BY v) FROM w ORDER BY id", "1|22\n2|62\n3|62\n4|5\n5|62\n6|12"),
            (
                "SELECT id, count(*) OVER (), sum(v) OVER (PARTITION BY g) FROM w ORDER BY id",
                "1|6|50\n2|6|50\n3|6|50\n4|6|12\n5|6|12\n6|6|12",
            ),
            (
                "SELECT id, sum(v) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM w ORDER BY id",
                "1|30\n2|50\n3|45\n4|25\n5|12\n6|7",
            ),
            (
                "SELECT id, array_agg(id) OVER (ORDER BY id ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING) FROM w ORDER BY id",
                "1|{3,4}\n2|{4,5}\n3|{5,6}\n4|{6}\n5|~\n6|~",
            ),
            (
                "SELECT id, array_agg(id) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING) FROM w ORDER BY id",
                "1|~\n2|~\n3|{1}\n4|{1,2}\n5|{1,2,3}\n6|{1,2,3,4}",
            ),
            (
                "SELECT id, array_agg(id) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) FROM w WHERE id > 3 ORDER BY id",
                "4|{4,5,6}\n5|{5,6}\n6|{6}",
            ),
            (
                "SELECT id, array_agg(id) OVER (ORDER BY v RANGE BETWEEN 3 PRECEDING AND 5 FOLLOWING) FROM w ORDER BY id",
                "1|{6,1}\n2|{2,3}\n3|{2,3}\n4|{4,6,1}\n5|{5}\n6|{4,6,1}",
            ),
            (
                "SELECT id, array_agg(id) OVER (ORDER BY v DESC RANGE BETWEEN 3 PRECEDING AND 5 FOLLOWING) FROM w ORDER BY id",
                "1|{1,6,4}\n2|{2,3}\n3|{2,3}\n4|{6,4}\n5|{5}\n6|{1,6,4}",
            ),
            (
                "SELECT id, array_agg(id) OVER (ORDER BY d RANGE BETWEEN '3 days' PRECEDING AND '1 month' FOLLOWING) FROM w ORDER BY id",
                "1|{1,2,3,4}\n2|{1,2,3,4}\n3|{2,3,4}\n4|{4,6}\n5|{5}\n6|{6}",
            ),
            (
                "SELECT id, array_agg(id) OVER (ORDER BY v GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM w ORDER BY id",
                "1|{6,1}\n2|{1,2,3}\n3|{1,2,3}\n4|{4}\n5|{2,3,5}\n6|{4,6}",
            ),
            (
                "SELECT id, count(v) FILTER (WHERE v > 6) OVER (ORDER BY id) FROM w ORDER BY id",
                "1|1\n2|2\n3|3\n4|3\n5|3\n6|4",
            ),
            (
                "SELECT sum(v) OVER (ORDER BY id ROWS -1 PRECEDING) FROM w",
                "ERROR 22013: frame starting offset must not be negative",
            ),
            (
                "SELECT sum(v) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND NULL FOLLOWING) FROM w",
                "ERROR 22004: frame ending offset must not be null",
            ),
            (
                "SELECT sum(v) OVER (ORDER BY v RANGE -1 PRECEDING) FROM w",
                "ERROR 22013: invalid preceding or following size in window function",
            ),
        ],
    );
}

/// Long frames that move are put together from parts.
#[test]
fn moving_frames_hold_the_rows_that_a_subquery_finds() {
    let columns = "min(v) {over} AS a, max(v) {over} AS b, sum(v) {over} AS c, avg(v) {over} AS d, \
                   count(v) FILTER (WHERE v > 50) {over} AS e, sum(n) {over} AS f, bit_xor(v) {over} AS g, \
                   sum(n::float8) {over} AS h, avg(n) {over} AS i, bool_or(v = 7) {over} AS j";
    let names = "a, b, c, d, e, f, g, h, i, j";
    let qualified =
        |alias: &str| names.split(", ").map(|name| format!("{alias}.{name}::text")).collect::<Vec<_>>();
    let (windows, wanted) = (qualified("windows").join(", "), qualified("wanted").join(", "));
    let table = "CREATE TABLE m (id int PRIMARY KEY, v int, n numeric); \
                 INSERT INTO m SELECT i, nullif((i * 7919) % 101, 13), ((i * 31) % 17)::numeric / 8 \
                 FROM generate_series(1, 200) AS i";
    let query = |frame: &str, rows: &str| {
        format!(
            "SELECT count(*) FROM (SELECT id, {} FROM m WINDOW w AS (ORDER BY id {frame})) AS windows, \
             LATERAL (SELECT {} FROM m WHERE m.id BETWEEN {rows}) AS wanted \
             WHERE ({windows}) IS NOT DISTINCT FROM ({wanted})",
            columns.replace("{over}", "OVER w"),
            columns.replace("{over}", ""),
        )
    };
    let cases = [
        query("ROWS BETWEEN 30 PRECEDING AND 20 FOLLOWING", "windows.id - 30 AND windows.id + 20"),
        query("ROWS BETWEEN 40 PRECEDING AND 10 PRECEDING", "windows.id - 40 AND windows.id - 10"),
        query("RANGE BETWEEN 10 FOLLOWING AND 50 FOLLOWING", "windows.id + 10 AND windows.id + 50"),
        query("GROUPS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING", "windows.id AND 1000"),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|sql| (sql.as_str(), "200")).collect();
    check(table, &cases);
}

/// Counts how often a statement looks whether it should end.
#[derive(Default)]
struct Looks(AtomicUsize);

impl Cancel for Looks {
    fn check(&self) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn cancelled(&self) -> BoxFuture<'_, SqlError> {
        Box::pin(std::future::pending())
    }
}

/// 4,000 frames of 2,000 rows: six million additions, if each frame were computed by itself.
#[test]
fn moving_frames_cost_as_much_as_their_rows() {
    with_node(async |node| {
        let looks = Arc::new(Looks::default());
        let mut client = node.client_with(looks.clone());
        let sql = "SELECT sum(most) FROM (SELECT max(i) OVER (ORDER BY i ROWS BETWEEN 999 PRECEDING AND 1000 FOLLOWING) \
                   AS most FROM generate_series(1, 4000) AS i) AS frames";
        assert_eq!(client.run(sql).await, "11501500");
        let looked = looks.0.load(Ordering::Relaxed);
        assert!(looked < 500, "it looked {looked} times, once in 1,024 steps");
    });
}
