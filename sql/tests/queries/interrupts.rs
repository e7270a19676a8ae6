//! Work that would not end by itself in time, and never waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_env::Clock;
use basalt_sql::SqlOptions;

use crate::harness::with_clock;

/// Every look at it takes a while: so time passes for those who look, even while the simulator's stands still.
struct SlowClock {
    inner: Arc<dyn Clock>,
    looks: AtomicU64,
}

impl Clock for SlowClock {
    fn wall_micros(&self) -> i64 {
        self.inner.wall_micros()
    }

    fn monotonic(&self) -> Duration {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        self.inner.monotonic() + looks as u32 * Duration::from_millis(20)
    }
}

#[test]
fn work_that_does_not_wait_hears_the_statement_timeout() {
    let slow = |inner| Arc::new(SlowClock { inner, looks: AtomicU64::new(0) }) as Arc<dyn Clock>;
    with_clock(
        SqlOptions::default(),
        None,
        |sender| sender,
        slow,
        async |node| {
            let mut client = node.client();
            assert_eq!(client.run("CREATE TABLE t (a text); INSERT INTO t VALUES ('a')").await, "");
            assert_eq!(client.run("SET statement_timeout = '1s'").await, "");
            let long = [
                "SELECT max(x) OVER (ORDER BY x ROWS BETWEEN 100 PRECEDING AND 100 FOLLOWING EXCLUDE TIES)
                FROM generate_series(1, 2000) AS x LIMIT 1",
                "SELECT sum(x::float8) OVER (ORDER BY x ROWS BETWEEN 100 PRECEDING AND 100 FOLLOWING)
                FROM generate_series(1, 2000) AS x LIMIT 1",
                // With constants, when the statement is planned; with columns, when it runs.
                "SELECT length(regexp_replace(repeat('a', 300000), 'a', 'bb', 'g'))",
                "SELECT length(regexp_replace(repeat(a, 300000), 'a', 'bb', 'g')) FROM t",
                "SELECT regexp_count(repeat(a, 300000), 'a') FROM t",
                "SELECT regexp_instr(repeat(a, 300000), 'a', 1, 299999) FROM t",
                "SELECT array_length(regexp_split_to_array(repeat(a, 300000), 'a'), 1) FROM t",
                "SELECT count(*) FROM t, regexp_matches(repeat(a, 300000), 'a', 'g')",
                "SELECT array_length(string_to_array(repeat(a, 300000), NULL), 1) FROM t",
                "SELECT length(array_to_string(array_fill(a, ARRAY[300000]), ',')) FROM t",
                "SELECT repeat(a, 300000) LIKE '%b%c' FROM t",
                "SELECT array_fill(a, ARRAY[2000]) <@ (array_fill('b'::text, ARRAY[2000]) || a) FROM t",
                "SELECT to_jsonb(array_fill(a, ARRAY[500])) <@ (to_jsonb(array_fill('b'::text, ARRAY[500])) || to_jsonb(a)) FROM t",
                "SELECT length(factorial(4000)::text)",
            ];
            let timed_out = "ERROR 57014: canceling statement due to statement timeout";
            for sql in long {
                assert_eq!(client.run(sql).await, timed_out, "{sql}");
                assert_eq!(client.fetch(sql, 0).await, timed_out, "{sql}");
                assert_eq!(client.run("SELECT count(*) FROM t").await, "1", "after {sql}");
            }
            // Of a statement and the one that runs it, the first timeout counts; without one there is none.
            assert_eq!(client.run("PREPARE p AS SELECT repeat(a, 300000) LIKE '%b%c' FROM t").await, "");
            assert_eq!(client.run("EXECUTE p").await, timed_out);
            assert_eq!(client.run("SET statement_timeout = 0").await, "");
            assert_eq!(client.run("EXECUTE p").await, "f");
        },
    );
}
