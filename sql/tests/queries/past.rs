//! AS OF SYSTEM TIME.

use std::time::Duration;

use crate::harness::with_node;

#[test]
fn a_query_reads_the_state_of_a_moment_in_the_past() {
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY, v int)").await, "");
        assert_eq!(client.run("INSERT INTO t VALUES (1, 10), (2, 20)").await, "");
        node.services.env.spawner.sleep(Duration::from_secs(10)).await;
        assert_eq!(client.run("UPDATE t SET v = 11 WHERE id = 1; DELETE FROM t WHERE id = 2").await, "");
        let now = "SELECT string_agg(id || '=' || v, ' ' ORDER BY id) FROM t";
        let then = &format!("{now} AS OF SYSTEM TIME '-5s'");
        assert_eq!(client.run(now).await, "1=11");
        assert_eq!(client.run(then).await, "1=10 2=20");
        assert_eq!(client.run("SELECT v FROM t AS OF SYSTEM TIME '-5 seconds' WHERE id = 2").await, "20");
        // A transaction as a whole, which sees one state and changes nothing.
        assert_eq!(client.run("BEGIN AS OF SYSTEM TIME '-5s'").await, "");
        assert_eq!(client.run(now).await, "1=10 2=20");
        let answer = client.run("INSERT INTO t VALUES (3, 3)").await;
        assert!(answer.starts_with("ERROR 25006"), "{answer}");
        client.run("ROLLBACK").await;
        assert_eq!(client.run("BEGIN").await, "");
        assert_eq!(client.run(now).await, "1=11");
        assert!(client.run(then).await.starts_with("ERROR 25001"));
        client.run("ROLLBACK").await;
        for (moment, state) in
            [("10s", "22023"), ("2999-01-01", "22023"), ("1800-01-01", "22023"), ("soon", "22007")]
        {
            let answer = client.run(&format!("{now} AS OF SYSTEM TIME '{moment}'")).await;
            assert!(answer.starts_with(&format!("ERROR {state}")), "{moment}: {answer}");
        }
    });
}

#[test]
fn a_table_that_was_changed_since_is_not_read_by_its_new_shape() {
    with_node(async |node| {
        let mut client = node.client();
        assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY, v int)").await, "");
        assert_eq!(client.run("INSERT INTO t VALUES (1, 10)").await, "");
        node.services.env.spawner.sleep(Duration::from_secs(10)).await;
        assert_eq!(client.run("CREATE INDEX ON t (v)").await, "");
        // The index has no entries of five seconds ago.
        let answer = client.run("SELECT id FROM t AS OF SYSTEM TIME '-5s' WHERE v = 10").await;
        assert!(answer.starts_with("ERROR 55000"), "{answer}");
        node.services.env.spawner.sleep(Duration::from_secs(10)).await;
        assert_eq!(client.run("SELECT id FROM t AS OF SYSTEM TIME '-5s' WHERE v = 10").await, "1");
        // It was not there.
        assert!(client.run("SELECT id FROM t AS OF SYSTEM TIME '-1h'").await.starts_with("ERROR 55000"));
    });
}
