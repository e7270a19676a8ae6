//! Statements within a memory limit.

use basalt_sql::SqlOptions;

use crate::harness::with_options;

#[test]
fn a_statement_fails_alone() {
    let options = SqlOptions { statement_memory_bytes: 1 << 20, ..SqlOptions::default() };
    with_options(options, async |node| {
        let mut client = node.client();
        let hungry = [
            "SELECT x FROM generate_series(1, 20000) x ORDER BY -x",
            "SELECT count(*) FROM (SELECT DISTINCT x FROM generate_series(1, 20000) x) s",
            "SELECT count(*) FROM (SELECT x, sum(x) FROM generate_series(1, 20000) x GROUP BY x) s",
            "SELECT count(*) FROM (SELECT row_number() OVER () FROM generate_series(1, 20000)) s",
            "SELECT array_agg(x ORDER BY x) FROM generate_series(1, 20000) x",
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION SELECT i + 1 FROM n) SELECT max(i) FROM n",
            "SELECT count(*) FROM generate_series(1, 20000) a JOIN generate_series(1, 20000) b ON a = b",
        ];
        for sql in hungry {
            assert_eq!(client.run(sql).await, "ERROR 53200: out of memory", "{sql}");
        }
        // What streams, or keeps little, needs no memory; and everything was given back.
        assert_eq!(
            client.run("SELECT x FROM generate_series(1, 20000) x ORDER BY -x LIMIT 2").await,
            "20000\n19999"
        );
        assert_eq!(client.run("SELECT sum(x) FROM generate_series(1, 20000) x").await, "200010000");
        assert_eq!(
            client
                .run("SELECT count(*) FROM (SELECT DISTINCT x % 9 FROM generate_series(1, 20000) x) s")
                .await,
            "9"
        );
    });
}
