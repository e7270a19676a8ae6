//! Window functions and frames.

use crate::harness::check;

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
