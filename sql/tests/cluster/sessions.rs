//! Nodes that come, go, and are cut off.

use std::time::Duration;

use basalt_kv_api::LockStrength;
use basalt_sql::cluster::rows::{self, Rows};
use basalt_txn::{ReadOptions, TxnConfig};
use futures::future::{join, join3};

use crate::world::{FENCED_AFTER, Fate, Sent, with_world};

#[test]
fn nodes_that_begin_at_once_make_one_catalog() {
    for seed in 20..26 {
        with_world(seed, async |world| {
            let (a, b, c) = join3(world.join(1), world.join(2), world.join(3)).await;
            let (mut on_a, mut on_b, mut on_c) = (a.client(), b.client(), c.client());
            assert_eq!(on_a.run("CREATE TABLE t (id int)").await, "");
            assert_eq!(on_b.run("INSERT INTO t VALUES (1)").await, "");
            assert_eq!(on_c.run("SELECT * FROM t").await, "1");
            let databases = "SELECT count(*) FROM pg_database";
            assert_eq!(on_a.run(databases).await, on_c.run(databases).await);
        });
    }
}

#[test]
fn a_node_does_not_begin_in_the_middle_of_a_change_that_knows_nothing_of_it() {
    with_world(30, async |world| {
        let a = world.join(1).await;
        let mut on_a = a.client();
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await, "");
        assert_eq!(on_a.run("BEGIN; CREATE INDEX t_n ON t (n)").await, "");
        let joins = async { world.timed(world.join(2)).await };
        let commits = async {
            world.sleep(Duration::from_secs(12)).await;
            on_a.run("COMMIT").await
        };
        let ((b, took), committed) = join(joins, commits).await;
        assert_eq!(committed, "");
        assert!(took >= Duration::from_secs(12), "{took:?}");
        assert_eq!(b.client().run("INSERT INTO t VALUES (1, 1)").await, "");
        b.node.check_indexes("t", "the index of a node that was alone").await;
        // With two there, a third need not wait.
        assert_eq!(on_a.run("BEGIN; CREATE INDEX t_m ON t (n DESC)").await, "");
        let (c, took) = world.timed(world.join(3)).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        let insert = async { c.client().run("INSERT INTO t VALUES (2, 2)").await };
        let commit = async {
            world.sleep(Duration::from_secs(1)).await;
            on_a.run("COMMIT").await
        };
        assert_eq!(join(insert, commit).await, (String::new(), String::new()));
        c.node.check_indexes("t", "an index made while the node began").await;
    });
}

#[test]
fn a_node_that_is_cut_off_commits_nothing_after_it_was_given_up() {
    with_world(31, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b, mut reads_b) = (a.client(), b.client(), b.client());
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await, "");
        assert_eq!(on_b.run("BEGIN; INSERT INTO t VALUES (1, 1)").await, "");
        assert_eq!(reads_b.run("BEGIN; SELECT * FROM t").await, "");
        // Its commit, sent in time, stays on the way.
        let mut held = b.client();
        b.link.hold_commits(true);
        let late = held.run("BEGIN; INSERT INTO t VALUES (2, 2); COMMIT");
        let change = async {
            world.sleep(Duration::from_millis(100)).await;
            b.link.cut(true);
            let changed = world.timed(on_a.run("CREATE INDEX t_n ON t (n)")).await;
            assert!(reads_b.run("SELECT * FROM t").await.starts_with("ERROR "), "nothing may be read");
            // Nothing but its deadline is in its way now.
            b.link.cut(false);
            b.link.hold_commits(false);
            changed
        };
        let (late, (changed, took)) = join(late, change).await;
        assert_eq!(changed, "");
        assert!(took > Duration::from_secs(5) && took < FENCED_AFTER, "{took:?}");
        assert!(late.starts_with("ERROR "), "{late}");
        a.node.check_indexes("t", "a commit that came too late").await;
        assert!(on_b.run("COMMIT").await.starts_with("ERROR 40001"), "the block was given up");
        reads_b.run("ROLLBACK").await;
        world.sleep(Duration::from_secs(5)).await;
        // The node begins anew by itself.
        assert_eq!(on_b.run("INSERT INTO t VALUES (3, 3)").await, "");
        a.node.check_indexes("t", "an insert of the node that came back").await;
        assert_eq!(on_a.run("SELECT id FROM t WHERE n > 0 ORDER BY n").await, "3");
        assert_eq!(on_a.run("ALTER TABLE t ADD m int").await, "");
        assert_eq!(on_b.run("SELECT * FROM t").await, "3|3|~");
    });
}

#[test]
fn a_short_cut_costs_a_wait_and_no_session() {
    with_world(32, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        assert_eq!(on_b.run("BEGIN; INSERT INTO t VALUES (1)").await, "");
        b.link.cut(true);
        world.sleep(Duration::from_secs(4)).await;
        b.link.cut(false);
        world.sleep(Duration::from_secs(20)).await;
        assert_eq!(on_b.run("COMMIT").await, "", "long after the expiration at the beginning");
        assert_eq!(on_a.run("SELECT * FROM t").await, "1");
    });
}

#[test]
fn a_node_that_leaves_in_good_order_is_not_waited_for() {
    with_world(33, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let mut on_a = a.client();
        b.node.services.close().await;
        drop(b);
        let (made, took) = world.timed(on_a.run("CREATE TABLE t (id int)")).await;
        assert_eq!(made, "");
        assert!(took < Duration::from_secs(1), "{took:?}");
        world.sleep(Duration::from_secs(1)).await;
        // Alone again, a change asks nobody.
        let (made, took) = world.timed(on_a.run("ALTER TABLE t ADD n int")).await;
        assert_eq!(made, "");
        assert!(took < Duration::from_millis(50), "{took:?}");
        let (c, took) = world.timed(world.join(2)).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(c.client().run("INSERT INTO t VALUES (1, 2); SELECT * FROM t").await, "1|2");
    });
}

#[test]
fn a_node_that_comes_back_after_its_death_does_not_wait_when_others_serve() {
    with_world(34, async |world| {
        let (a, b, c) = (world.join(1).await, world.join(2).await, world.join(3).await);
        assert_eq!(a.client().run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        c.link.kill();
        let (c, took) = world.timed(world.join(3)).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(c.client().run("INSERT INTO t VALUES (1)").await, "");
        let (changed, took) = world.timed(b.client().run("ALTER TABLE t ADD n int")).await;
        assert_eq!(changed, "");
        assert!(took < FENCED_AFTER, "a change may wait for the dead one: {took:?}");
        assert_eq!(c.client().run("SELECT * FROM t").await, "1|~");
    });
}

#[test]
fn a_lone_node_that_was_killed_begins_at_once() {
    with_world(35, async |world| {
        let a = world.join(1).await;
        assert_eq!(a.client().run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        a.link.kill();
        let (a, took) = world.timed(world.join(1)).await;
        assert!(took < Duration::from_millis(100), "{took:?}");
        let (changed, took) = world.timed(a.client().run("ALTER TABLE t ADD n int")).await;
        assert_eq!(changed, "");
        assert!(took < Duration::from_millis(100), "{took:?}");
    });
}

#[test]
fn what_was_read_before_the_node_was_given_up_is_not_shown_after_it() {
    with_world(36, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await, "");
        assert_eq!(on_b.run("BEGIN").await, "");
        b.link.disturb(Sent::ReadOfRows, Fate { answers: FENCED_AFTER, ..Fate::default() });
        let change = async {
            world.sleep(Duration::from_millis(100)).await;
            b.link.cut(true);
            on_a.run("UPDATE t SET id = 2; ALTER TABLE t ADD n int").await
        };
        let (read, changed) = join(on_b.run("SELECT * FROM t LIMIT 1"), change).await;
        assert_eq!(changed, "");
        assert!(read.starts_with("ERROR 40001"), "{read}");
    });
}

#[test]
fn a_node_that_cannot_follow_is_given_up() {
    with_world(37, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        world.sleep(Duration::from_secs(1)).await;
        b.link.blind(true);
        let change = async {
            tokio::select! {
                biased;
                changed = world.timed(on_a.run("CREATE TABLE t (id int PRIMARY KEY)")) => changed,
                () = world.sleep(Duration::from_secs(60)) => panic!("a change waits for ever"),
            }
        };
        let (changed, took) = change.await;
        assert_eq!(changed, "");
        assert!(took < 2 * FENCED_AFTER, "{took:?}");
        b.link.blind(false);
        world.sleep(Duration::from_secs(2)).await;
        assert_eq!(on_b.run("INSERT INTO t VALUES (1)").await, "");
        let (changed, took) = world.timed(on_a.run("ALTER TABLE t ADD n int")).await;
        assert_eq!(changed, "");
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn a_session_is_extended_while_the_remains_of_another_cannot_be_removed() {
    with_world(38, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let mut on_a = a.client();
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        b.link.kill();
        let txn = a.node.services.client.begin(TxnConfig::default()).expect("a transaction begins");
        let known = Rows::read(&txn).await.expect("the rows can be read");
        let dead = known.sessions.keys().find(|session| session.node.0 == 2).expect("it is still there");
        let locking = ReadOptions::locking(LockStrength::Exclusive);
        txn.get(&rows::session_key(*dead), locking).await.expect("nobody else has locked it");
        assert_eq!(on_a.run("BEGIN; INSERT INTO t VALUES (1)").await, "");
        world.sleep(3 * FENCED_AFTER).await;
        let (read, took) = world.timed(on_a.run("SELECT * FROM t")).await;
        assert_eq!(read, "1");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(on_a.run("COMMIT").await, "");
        txn.rollback().await;
    });
}
