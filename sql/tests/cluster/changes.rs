//! Schema changes on one node, statements on the others.

use std::time::Duration;

use futures::future::{join, join3};

use crate::{
    harness::Client,
    world::{FENCED_AFTER, World, with_world},
};

/// What a change with nobody in its way may take: some looks of the other nodes.
const SOON: Duration = Duration::from_millis(400);

async fn run_all(client: &mut Client, statements: &[(&str, &str)]) {
    for (sql, expected) in statements {
        assert_eq!(client.run(sql).await, *expected, "{sql}");
    }
}

#[test]
fn what_one_node_makes_the_others_use_at_once() {
    with_world(1, async |world| {
        let (a, b, c) = (world.join(1).await, world.join(2).await, world.join(3).await);
        let (mut on_a, mut on_b, mut on_c) = (a.client(), b.client(), c.client());
        let (made, took) = world.timed(on_a.run("CREATE TABLE t (id int PRIMARY KEY, n int)")).await;
        assert_eq!(made, "");
        assert!(took < SOON, "{took:?}");
        run_all(&mut on_b, &[("INSERT INTO t VALUES (1, 10)", ""), ("CREATE INDEX t_n ON t (n)", "")]).await;
        run_all(
            &mut on_c,
            &[("INSERT INTO t VALUES (2, 20)", ""), ("ALTER TABLE t ADD m int DEFAULT 5", "")],
        )
        .await;
        run_all(&mut on_a, &[("SELECT * FROM t", "1|10|5\n2|20|5"), ("UPDATE t SET n = n + 1", "")]).await;
        c.node.check_indexes("t", "an index made on another node").await;
        run_all(
            &mut on_b,
            &[
                ("CREATE TABLE IF NOT EXISTS t (id int)", ""),
                ("CREATE SCHEMA s", ""),
                ("CREATE VIEW v AS SELECT n FROM t", ""),
                ("CREATE DATABASE d", ""),
            ],
        )
        .await;
        run_all(
            &mut on_c,
            &[
                ("SELECT * FROM v", "11\n21"),
                ("CREATE TABLE s.t (id int)", ""),
                ("CREATE DATABASE d", "ERROR 42P04: database \"d\" already exists"),
                ("DROP TABLE t CASCADE", ""),
            ],
        )
        .await;
        run_all(
            &mut on_a,
            &[
                ("SELECT * FROM t", "ERROR 42P01: relation \"t\" does not exist"),
                ("SELECT * FROM v", "ERROR 42P01: relation \"v\" does not exist"),
                ("SELECT * FROM s.t", ""),
                ("CREATE TABLE t (other text)", ""),
            ],
        )
        .await;
        run_all(&mut on_b, &[("INSERT INTO t VALUES ('x')", ""), ("SELECT * FROM t", "x")]).await;
    });
}

#[test]
fn a_change_waits_for_transactions_on_other_nodes() {
    with_world(2, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b, mut late) = (a.client(), b.client(), b.client());
        run_all(&mut on_a, &[("CREATE TABLE t (id int PRIMARY KEY)", "")]).await;
        run_all(&mut on_b, &[("BEGIN", ""), ("INSERT INTO t VALUES (1)", "")]).await;
        let user = async {
            world.sleep(Duration::from_secs(2)).await;
            on_b.run("INSERT INTO t VALUES (2); COMMIT").await
        };
        let newcomer = async {
            world.sleep(Duration::from_secs(1)).await;
            world.timed(late.run("SELECT * FROM t")).await
        };
        let change = world.timed(on_a.run("ALTER TABLE t ADD n int DEFAULT 7"));
        let ((changed, took), used, (seen, waited)) = join3(change, user, newcomer).await;
        assert_eq!((changed.as_str(), used.as_str(), seen.as_str()), ("", "", "1|7\n2|7"));
        assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}");
        assert!(waited >= Duration::from_secs(1), "who comes later waits: {waited:?}");
    });
}

#[test]
fn a_change_that_gives_up_leaves_nothing_behind() {
    with_world(3, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b, mut late) = (a.client(), b.client(), b.client());
        run_all(&mut on_a, &[("CREATE TABLE t (id int PRIMARY KEY)", "")]).await;
        run_all(&mut on_b, &[("BEGIN", ""), ("INSERT INTO t VALUES (1)", "")]).await;
        let impatient = "SET lock_timeout = 300; DROP TABLE t";
        let slow = "RESET ALL; SET statement_timeout = 300; DROP TABLE t";
        let canceled = "ERROR 57014: canceling statement due to statement timeout";
        let timed_out = "ERROR 55P03: canceling statement due to lock timeout";
        run_all(&mut on_a, &[(impatient, timed_out)]).await;
        run_all(&mut on_a, &[(slow, canceled)]).await;
        world.sleep(Duration::from_secs(1)).await;
        run_all(&mut late, &[("SET lock_timeout = 300; INSERT INTO t VALUES (2)", "")]).await;
        run_all(&mut on_b, &[("COMMIT", "")]).await;
        // In a block the lock goes with the block.
        run_all(&mut on_a, &[("RESET ALL; BEGIN", ""), ("LOCK TABLE t", "")]).await;
        run_all(&mut late, &[("INSERT INTO t VALUES (3)", timed_out)]).await;
        run_all(&mut on_a, &[("ROLLBACK", "")]).await;
        run_all(&mut late, &[("SET lock_timeout = 1000; INSERT INTO t VALUES (3)", "")]).await;
        run_all(&mut on_a, &[("BEGIN; LOCK TABLE t; COMMIT", ""), ("SELECT * FROM t", "1\n2\n3")]).await;
        run_all(&mut late, &[("INSERT INTO t VALUES (4)", "")]).await;
    });
}

#[test]
fn changes_of_one_table_on_two_nodes_follow_each_other() {
    with_world(4, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        run_all(&mut on_a, &[("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", "")]).await;
        for round in 0..6 {
            let (on_one, on_other) = (
                format!("ALTER TABLE t ADD a{round} int DEFAULT 1"),
                format!("ALTER TABLE t ADD b{round} int DEFAULT 2"),
            );
            let done = join(on_a.run(&on_one), on_b.run(&on_other)).await;
            assert_eq!(done, (String::new(), String::new()), "round {round}");
        }
        let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 't'";
        run_all(&mut on_a, &[(columns, "13")]).await;
        run_all(&mut on_b, &[(columns, "13")]).await;
    });
}

/// Rows come and go on two nodes while a third changes the table, step by step.
async fn change_under_load(world: &World, seed: u64) {
    let (a, b, c) = (world.join(1).await, world.join(2).await, world.join(3).await);
    let mut on_a = a.client();
    run_all(&mut on_a, &[("CREATE TABLE t (id int PRIMARY KEY, n int, note text)", "")]).await;
    run_all(&mut on_a, &[("INSERT INTO t SELECT i, i % 7, 'x' FROM generate_series(1, 60) i", "")]).await;
    let done = std::cell::Cell::new(false);
    let committed = std::cell::Cell::new(0_u64);
    let load = async |mut client: Client, worker: u64| {
        let mut round = seed.wrapping_mul(31) + worker;
        while !done.get() {
            round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let id = (round >> 33) % 80;
            let n = (round >> 20) % 9;
            let sql = match (round >> 50) % 5 {
                0 => format!("INSERT INTO t (id, n) VALUES ({id}, {n}) ON CONFLICT DO NOTHING"),
                1 => format!("UPDATE t SET n = {n} WHERE id = {id}"),
                2 => format!("DELETE FROM t WHERE id = {id}"),
                3 => format!("UPDATE t SET id = id + 100 * {worker}, n = n + 1 WHERE id = {id}"),
                _ => format!(
                    "BEGIN; UPDATE t SET n = {n} WHERE id = {id};
                     INSERT INTO t (id, n) VALUES ({id} + 1000, {n}) ON CONFLICT (id) DO UPDATE SET n = 1; COMMIT"
                ),
            };
            let answer = client.run(&sql).await;
            let fine = answer.is_empty()
                || ["40001", "23505", "40P01"]
                    .iter()
                    .any(|state| answer.starts_with(&format!("ERROR {state}")));
            assert!(fine, "{sql}: {answer}");
            if answer.is_empty() {
                committed.set(committed.get() + 1);
            } else {
                client.run("ROLLBACK").await;
            }
            world.sleep(Duration::from_millis(1 + (round >> 40) % 7)).await;
        }
    };
    let steps = async {
        let changes = [
            "CREATE INDEX t_n ON t (n)",
            "ALTER TABLE t ADD m int DEFAULT 4",
            "CREATE INDEX t_m ON t (m, n DESC)",
            "ALTER TABLE t DROP COLUMN note",
            "DROP INDEX t_n",
            "CREATE INDEX t_n ON t (n)",
            "ALTER TABLE t ALTER COLUMN n TYPE bigint",
            "TRUNCATE t",
            "ALTER TABLE t RENAME COLUMN m TO k",
        ];
        for change in changes {
            assert_eq!(retried(&mut on_a, change).await, "", "{change}");
            a.node.check_indexes("t", change).await;
            world.sleep(Duration::from_millis(60)).await;
            b.node.check_indexes("t", change).await;
        }
        done.set(true);
    };
    join3(steps, load(b.client(), 1), load(c.client(), 2)).await;
    assert!(committed.get() > 50, "the load did nothing: {}", committed.get());
    a.node.check_indexes("t", "the end").await;
}

async fn retried(client: &mut Client, sql: &str) -> String {
    let mut answer = String::new();
    for _ in 0..20 {
        answer = client.run(sql).await;
        if !answer.starts_with("ERROR 40001") {
            break;
        }
    }
    answer
}

#[test]
fn indexes_are_right_whatever_other_nodes_write_meanwhile() {
    for seed in 10..16 {
        with_world(seed, async |world| change_under_load(&world, seed).await);
    }
}

#[test]
fn a_node_that_dies_in_a_change_stops_nobody_for_long() {
    let mut completed = 0;
    for requests in (1..40).step_by(3) {
        with_world(100 + requests, async |world| {
            let (a, b, c) = (world.join(1).await, world.join(2).await, world.join(3).await);
            let (mut on_b, mut on_c) = (b.client(), c.client());
            run_all(&mut on_b, &[("CREATE TABLE t (id int PRIMARY KEY, n int)", "")]).await;
            run_all(&mut on_b, &[("INSERT INTO t SELECT i, i FROM generate_series(1, 20) i", "")]).await;
            a.link.die_after(requests);
            let mut on_a = a.client();
            let change = async {
                tokio::select! {
                    biased;
                    _ = on_a.run("CREATE INDEX t_n ON t (n); ALTER TABLE t ADD m int DEFAULT 1") => true,
                    () = world.sleep(Duration::from_secs(1)) => false,
                }
            };
            let writes = async {
                let mut wait = Duration::ZERO;
                for id in 100..130 {
                    let sql = format!("INSERT INTO t (id, n) VALUES ({id}, {id})");
                    let (written, took) = world.timed(on_b.run(&sql)).await;
                    assert_eq!(written, "", "request {requests}");
                    wait = wait.max(took);
                    world.sleep(Duration::from_millis(20)).await;
                }
                wait
            };
            let (done, waited) = join(change, writes).await;
            completed += u32::from(done);
            a.link.kill();
            assert!(waited < FENCED_AFTER, "request {requests}: {waited:?}");
            let (changed, took) = world.timed(on_c.run("CREATE INDEX t_other ON t (n DESC)")).await;
            assert_eq!(changed, "", "request {requests}");
            assert!(took < FENCED_AFTER, "request {requests}: {took:?}");
            b.node.check_indexes("t", &format!("the death at request {requests}")).await;
            run_all(&mut on_b, &[("INSERT INTO t (id, n) VALUES (500, 5)", "")]).await;
            c.node.check_indexes("t", &format!("an insert after the death at request {requests}")).await;
        });
    }
    assert!(completed < 13, "no death came in time");
}
