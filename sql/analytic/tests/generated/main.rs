//! Random queries run on both executors, which must agree. A seed makes the same tables and queries again.

mod expression;
#[path = "../../../tests/queries/harness.rs"]
#[allow(dead_code, reason = "shared with the row executor's tests")]
mod harness;
mod query;

use std::sync::Arc;

use basalt_sql::SqlOptions;
use basalt_sql_analytic::{AnalyticExecutor, AnalyticOptions};
use expression::Random;
use harness::{Client, with_executor};

const QUERIES: usize = 160;
const ROWS: usize = 60;

async fn answer(client: &mut Client, executor: &str, sql: &str) -> String {
    client.run(&format!("SET basalt.executor = '{executor}'")).await;
    let text = client.run(sql).await;
    if sql.contains(" LIMIT ") || sql.contains(" OFFSET ") {
        return text;
    }
    let mut rows: Vec<&str> = text.split('\n').collect();
    rows.sort_unstable();
    rows.join("\n")
}

fn agree(seed: u64, options: AnalyticOptions) {
    let executor = Arc::new(AnalyticExecutor::new(options));
    with_executor(SqlOptions::default(), Some(executor), async |node| {
        let mut random = Random::new(seed);
        let mut client = node.client();
        for statement in query::tables(&mut random, ROWS) {
            assert_eq!(client.run(&statement).await, "", "{statement}");
        }
        let (mut wrong, mut failed) = (Vec::new(), 0);
        for _ in 0..QUERIES {
            let sql = query::query(&mut random);
            let rows = answer(&mut client, "row", &sql).await;
            let batches = answer(&mut client, "vectorized", &sql).await;
            failed += usize::from(rows.starts_with("ERROR"));
            // A query with two errors to raise may raise either.
            let both_fail = rows.starts_with("ERROR 22") && batches.starts_with("ERROR 22");
            if rows != batches && !both_fail {
                let difference = rows.lines().zip(batches.lines()).find(|(a, b)| a != b);
                let counts = (rows.lines().count(), batches.lines().count());
                wrong.push(format!("{sql}\n  {counts:?} lines, {difference:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
        assert!(failed < QUERIES / 5, "{failed} of {QUERIES} queries fail");
    });
}

#[test]
fn random_queries_agree() {
    agree(1, AnalyticOptions::default());
}

#[test]
fn random_queries_agree_on_partitions() {
    let (partitions, partition_rows_min, batch_rows) = (3, 0.0, 16);
    agree(2, AnalyticOptions { partitions, partition_rows_min, batch_rows, ..AnalyticOptions::default() });
}
