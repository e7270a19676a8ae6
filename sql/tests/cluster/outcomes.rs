//! Commits whose answers come late, or never, or to nobody.

use std::time::Duration;

use basalt_base::Timestamp;
use basalt_sql::catalog::Descriptor;
use futures::future::{Either, join, select};

use crate::{
    harness::Client,
    world::{FENCED_AFTER, Fate, Member, Sent, World, with_world},
};

const SECOND: Duration = Duration::from_secs(1);

fn descriptor(member: &Member, table: &str) -> (Descriptor, Timestamp) {
    let catalog = &member.node.services.catalog;
    let snapshot = catalog.current();
    let table = snapshot.tables.values().find(|known| known.name == table).expect("the table is there");
    (Descriptor::Table(table.clone()), catalog.changed_at(table.id))
}

#[test]
fn an_answer_that_comes_late_brings_nothing_back() {
    with_world(50, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        a.link.disturb(Sent::CommitOfSchema, Fate { answers: SECOND, ..Fate::default() });
        let change = async {
            world.sleep(Duration::from_millis(300)).await;
            on_b.run("ALTER TABLE t ADD n int DEFAULT 7").await
        };
        let done = join(on_a.run("CREATE TABLE t (id int PRIMARY KEY)"), change).await;
        assert_eq!(done, (String::new(), String::new()));
        assert_eq!(on_a.run("INSERT INTO t VALUES (1); SELECT * FROM t").await, "1|7");
    });
}

#[test]
fn what_was_published_gives_way_to_nothing_older() {
    with_world(51, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        assert_eq!(a.client().run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        for changes in [&a, &b] {
            let (old, at) = descriptor(&a, "t");
            assert_eq!(
                changes.client().run("ALTER TABLE t ADD COLUMN n int; ALTER TABLE t DROP n").await,
                ""
            );
            let (new, since) = descriptor(&a, "t");
            assert!(since > at);
            a.node.services.catalog.publish(&[(old.id(), Some(old))], at);
            let (now, still_since) = descriptor(&a, "t");
            assert_eq!(still_since, since);
            let (Descriptor::Table(now), Descriptor::Table(new)) = (now, new) else { panic!("no tables") };
            assert_eq!(now.version, new.version);
        }
    });
}

/// Runs it for a client that goes away after a while.
async fn run_and_leave(world: &World, mut client: Client, sql: &str) {
    let leaves = std::pin::pin!(world.sleep(SECOND / 4));
    let run = std::pin::pin!(client.run(sql));
    assert!(matches!(select(run, leaves).await, Either::Right(_)), "{sql} was done at once");
}

#[test]
fn a_change_of_unknown_outcome_keeps_its_table_until_it_is_known() {
    with_world(52, async |world| {
        let a = world.join(1).await;
        let (mut on_a, mut other) = (a.client(), a.client());
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await, "");
        let lost = Fate { arrives: SECOND / 10, is_lost: true, ..Fate::default() };
        a.link.disturb(Sent::CommitOfSchema, lost);
        assert!(on_a.run("CREATE INDEX t_n ON t (n)").await.starts_with("ERROR 40003"));
        a.link.cut(false);
        assert_eq!(other.run("INSERT INTO t VALUES (1, 1)").await, "");
        assert_eq!(on_a.run("INSERT INTO t VALUES (2, 2)").await, "");
        let b = world.join(2).await;
        b.node.check_indexes("t", "an index of unknown outcome").await;
        let names = "SELECT indexname FROM pg_indexes WHERE tablename = 't' ORDER BY 1";
        assert_eq!(b.client().run(names).await, "t_n\nt_pkey", "the change had taken effect");
    });
}

#[test]
fn a_change_that_never_arrived_gives_its_table_back() {
    with_world(53, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await, "");
        let never = Fate { arrives: 1_000 * SECOND, is_lost: true, ..Fate::default() };
        a.link.disturb(Sent::CommitOfSchema, never);
        assert!(on_a.run("CREATE INDEX t_n ON t (n)").await.starts_with("ERROR 40003"));
        a.link.cut(false);
        let both = join(on_a.run("INSERT INTO t VALUES (1, 1)"), on_b.run("INSERT INTO t VALUES (2, 2)"));
        let (done, took) = world.timed(both).await;
        assert_eq!(done, (String::new(), String::new()));
        assert!(took < FENCED_AFTER, "{took:?}");
        assert_eq!(on_b.run("CREATE INDEX t_n ON t (n)").await, "");
        a.node.check_indexes("t", "another attempt").await;
    });
}

#[test]
fn a_change_is_published_when_its_client_is_gone() {
    with_world(54, async |world| {
        let a = world.join(1).await;
        assert_eq!(a.client().run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        a.link.disturb(Sent::CommitOfSchema, Fate { answers: SECOND, ..Fate::default() });
        run_and_leave(&world, a.client(), "ALTER TABLE t ADD n int DEFAULT 7").await;
        assert_eq!(a.client().run("INSERT INTO t VALUES (1); SELECT * FROM t").await, "1|7");
        world.sleep(2 * SECOND).await;
        assert_eq!(a.client().run("SELECT * FROM t").await, "1|7");
    });
}

#[test]
fn rows_on_their_way_keep_their_table_when_nobody_waits_for_them() {
    for (seed, is_lost) in [(55, false), (56, true)] {
        with_world(seed, async |world| {
            let a = world.join(1).await;
            // Its rows are written without reading anything, so that they may be committed whenever they come.
            assert_eq!(a.client().run("CREATE TABLE t (n int)").await, "");
            let late = Fate { arrives: 2 * SECOND, is_lost, ..Fate::default() };
            a.link.disturb(Sent::CommitOfRows, late);
            let insert = "INSERT INTO t VALUES (1)";
            if is_lost {
                assert!(a.client().run(insert).await.starts_with("ERROR 40003"));
                a.link.cut(false);
            } else {
                run_and_leave(&world, a.client(), insert).await;
            }
            let (made, took) = world.timed(a.client().run("CREATE INDEX t_n ON t (n)")).await;
            assert_eq!(made, "");
            assert!(took < FENCED_AFTER, "{took:?}");
            world.sleep(3 * SECOND).await;
            a.node.check_indexes("t", "rows that came late").await;
        });
    }
}

#[test]
fn a_clean_stop_waits_for_commits() {
    with_world(57, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await, "");
        b.link.disturb(Sent::CommitOfRows, Fate { arrives: 2 * SECOND, ..Fate::default() });
        let stop = async {
            world.sleep(SECOND / 2).await;
            b.node.services.close().await;
        };
        let change = async {
            world.sleep(SECOND).await;
            world.timed(on_a.run("CREATE INDEX t_n ON t (n)")).await
        };
        let insert = on_b.run("INSERT INTO t VALUES (1, 1)");
        let ((inserted, ()), (changed, took)) = join(join(insert, stop), change).await;
        assert_eq!((inserted.as_str(), changed.as_str()), ("", ""));
        assert!(took < 2 * SECOND, "{took:?}");
        a.node.check_indexes("t", "a commit of a node that was stopping").await;
    });
}
