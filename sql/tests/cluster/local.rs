//! What was each node's own: temporary tables, sequences, row ids, garbage.

use std::{collections::BTreeSet, time::Duration};

use basalt_sql::ddl::garbage;
use futures::future::join;

use crate::world::{FENCED_AFTER, with_world};

const TEMPORARY: &str = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg\\_temp\\_%'";

#[test]
fn temporary_tables_live_as_long_as_their_node() {
    with_world(40, async |world| {
        let a = world.join(1).await;
        let mut on_a = a.client();
        let mut same = a.client();
        assert_eq!(on_a.run("CREATE TEMP TABLE x (id int); INSERT INTO x VALUES (1)").await, "");
        let b = world.join(2).await;
        let mut on_b = b.client();
        assert_eq!(on_a.run("SELECT * FROM x").await, "1", "another node that begins leaves it alone");
        assert_eq!(on_b.run("SELECT * FROM x").await, "ERROR 42P01: relation \"x\" does not exist");
        let (made, took) = world.timed(on_b.run("CREATE TEMP TABLE x (t text) ON COMMIT DELETE ROWS")).await;
        assert_eq!(made, "");
        assert!(took < Duration::from_millis(20), "nobody else needs to know: {took:?}");
        assert_eq!(same.run("CREATE TEMP TABLE x (d date)").await, "");
        assert_eq!(on_b.run("INSERT INTO x VALUES ('b'); SELECT * FROM x").await, "b");
        assert_eq!(on_a.run("SELECT * FROM x").await, "1");
        world.sleep(Duration::from_secs(10)).await;
        assert_eq!(on_a.run("SELECT * FROM x").await, "1");
        a.link.kill();
        world.sleep(FENCED_AFTER + Duration::from_secs(4)).await;
        assert_eq!(on_b.run(TEMPORARY).await, "1", "what the dead node left is gone, the rest is there");
        assert_eq!(on_b.run("SELECT count(*) FROM x").await, "0");
        on_b.session.close().await;
        assert_eq!(b.client().run(TEMPORARY).await, "0");
    });
}

#[test]
fn sequences_give_every_value_once() {
    with_world(41, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        assert_eq!(on_a.run("CREATE SEQUENCE s").await, "");
        let mut given = BTreeSet::new();
        for _ in 0..100 {
            let (one, other) = join(on_a.run("SELECT nextval('s')"), on_b.run("SELECT nextval('s')")).await;
            assert!(given.insert(one.clone()), "{one} came twice");
            assert!(given.insert(other.clone()), "{other} came twice");
        }
        assert_eq!(on_a.run("SELECT setval('s', 5000)").await, "5000");
        assert_eq!(on_b.run("SELECT nextval('s')").await, "5001");
        assert_eq!(on_b.run("SELECT setval('s', 7000, false)").await, "7000");
        assert_eq!(on_a.run("SELECT nextval('s')").await, "7000");
    });
}

#[test]
fn rows_without_a_key_do_not_meet() {
    with_world(42, async |world| {
        let (a, b) = join(world.join(1), world.join(2)).await;
        assert_eq!(a.client().run("CREATE TABLE t (n int)").await, "");
        let (mut on_a, mut on_b) = (a.client(), b.client());
        for _ in 0..20 {
            let insert = "INSERT INTO t SELECT generate_series(1, 50)";
            let done = join(on_a.run(insert), on_b.run(insert)).await;
            assert_eq!(done, (String::new(), String::new()));
        }
        assert_eq!(on_a.run("SELECT count(*) FROM t").await, "2000");
    });
}

#[test]
fn one_node_removes_garbage_and_another_goes_on_when_it_dies() {
    with_world(43, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let mut on_b = b.client();
        let (mut of_a, mut of_b) = (BTreeSet::new(), BTreeSet::new());
        assert_eq!(on_b.run("CREATE TABLE t (id int); DROP TABLE t").await, "");
        garbage::collect(&a.node.services, &mut of_a).await.expect("a round");
        garbage::collect(&b.node.services, &mut of_b).await.expect("a round");
        assert_eq!((of_a.len(), of_b.len()), (1, 0), "the first does it, and not at once");
        a.link.kill();
        garbage::collect(&b.node.services, &mut of_b).await.expect("a round");
        assert_eq!(of_b.len(), 0, "it may still live");
        world.sleep(FENCED_AFTER + Duration::from_secs(4)).await;
        for left in [1, 1, 0] {
            garbage::collect(&b.node.services, &mut of_b).await.expect("a round");
            assert_eq!(of_b.len(), left);
        }
    });
}
