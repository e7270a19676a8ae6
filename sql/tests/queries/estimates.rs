//! How many rows a table has: known after a restart, and felt by plans that are kept.

use std::{sync::Arc, time::Duration};

use basalt_sql::{SqlOptions, SqlServices, plan_cache::is_current};

use crate::harness::{Node, with_node};

/// The estimate of a table in a catalog just read, as after a restart.
async fn reread(node: &Node, table: &str) -> Option<f64> {
    // The estimate is written behind the statement's back.
    node.services.env.spawner.sleep(Duration::from_millis(100)).await;
    let (env, client) = (node.services.env.clone(), node.services.client.clone());
    let services: Arc<SqlServices> =
        SqlServices::open(env, client, SqlOptions::default(), None, None).await.expect("the catalog opens");
    let catalog = services.catalog.current();
    let found = catalog.tables.values().find(|found| found.name == table).expect("the table is there");
    found.row_estimate
}

#[test]
fn estimates_outlive_the_process() {
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        assert_eq!(client.run("INSERT INTO t SELECT generate_series(1, 2000)").await, "");
        assert_eq!(reread(&node, "t").await, Some(2000.0));
        assert_eq!(client.run("DELETE FROM t WHERE id > 1950; ANALYZE t").await, "");
        assert_eq!(reread(&node, "t").await, Some(1950.0));
        // What was known of the rows goes with them.
        assert_eq!(client.run("TRUNCATE t").await, "");
        assert_eq!(reread(&node, "t").await, Some(0.0));
    });
}

#[test]
fn a_plan_is_made_again_when_its_table_has_grown() {
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        client.prepare("p", "SELECT count(*) FROM t").await;
        let prepared = client.session.statement("p").unwrap().clone();
        let planned =
            prepared.statement.as_ref().and_then(|plan| plan.planned.clone()).expect("a query is planned");
        let holds = || is_current(&planned, &node.services.catalog.current());
        assert_eq!(client.run("INSERT INTO t SELECT generate_series(1, 900)").await, "");
        assert!(holds(), "small tables deserve no second plan");
        assert_eq!(client.run("INSERT INTO t SELECT generate_series(1001, 9000)").await, "");
        assert!(!holds());
        assert_eq!(client.run("EXECUTE p").await, "8900");
    });
}
