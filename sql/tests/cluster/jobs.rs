//! Indexes that are built while other nodes use the table, and while nodes die.

use std::{cell::Cell, time::Duration};

use futures::future::{join, join3};

use crate::{
    harness::Client,
    world::{World, with_world},
};

/// A dead node's session expires, and another node looks for jobs.
const ADOPTED_AFTER: Duration = Duration::from_secs(30);

const STATES: &str = "SELECT indisvalid, indisready FROM pg_index WHERE indexrelid::regclass::text = 'built'";

async fn run_all(client: &mut Client, statements: &[(&str, &str)]) {
    for (sql, expected) in statements {
        assert_eq!(client.run(sql).await, *expected, "{sql}");
    }
}

async fn table_of(client: &mut Client, rows: u32) {
    run_all(client, &[("CREATE TABLE t (id int PRIMARY KEY, n int, note text)", "")]).await;
    let fill = format!("INSERT INTO t SELECT i, i, 'x' FROM generate_series(1, {rows}) i");
    run_all(client, &[(&fill, "")]).await;
}

/// Waits until `sql` gives `answer`.
async fn until(world: &World, client: &mut Client, sql: &str, answer: &str, within: Duration) {
    let deadline = world.executor.now() + within;
    loop {
        let found = client.run(sql).await;
        if found == answer {
            return;
        }
        assert!(world.executor.now() < deadline, "{sql}: {found}, not {answer}");
        world.sleep(Duration::from_millis(1)).await;
    }
}

/// Writes of every kind until `done`; how many were committed, and the longest that one waited.
async fn load(
    world: &World,
    mut client: Client,
    worker: u64,
    seed: u64,
    done: &Cell<bool>,
) -> (u64, Duration) {
    let mut round = seed.wrapping_mul(31) + worker;
    let (mut committed, mut longest) = (0, Duration::ZERO);
    while !done.get() {
        round = round.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let id = (round >> 33) % 1_500;
        // Mostly without a second row that has it.
        let n = if (round >> 20).is_multiple_of(8) {
            (round >> 24) % 1_500
        } else {
            10_000 + (round >> 24) % 1_000_000
        };
        let sql = match (round >> 50) % 5 {
            0 => format!("INSERT INTO t (id, n) VALUES ({id} + 2000, {n}) ON CONFLICT (id) DO NOTHING"),
            1 => format!("UPDATE t SET n = {n} WHERE id = {id}"),
            2 => format!("DELETE FROM t WHERE id = {id}"),
            3 => format!("UPDATE t SET note = 'y' WHERE id = {id}"),
            _ => format!("UPDATE t SET id = id + 10000 * {worker} WHERE id = {id}"),
        };
        let (answer, took) = world.timed(client.run(&sql)).await;
        longest = longest.max(took);
        let states = ["40001", "23505", "40P01"];
        let fine = states.iter().any(|state| answer.starts_with(&format!("ERROR {state}")));
        assert!(answer.is_empty() || fine, "{sql}: {answer}");
        committed += u64::from(answer.is_empty());
        world.sleep(Duration::from_millis(1 + (round >> 40) % 5)).await;
    }
    (committed, longest)
}

async fn build_under_load(world: &World, seed: u64) -> bool {
    let (a, b, c) = (world.join(1).await, world.join(2).await, world.join(3).await);
    let mut on_a = a.client();
    table_of(&mut on_a, 1_200).await;
    let done = Cell::new(false);
    let kind = if seed.is_multiple_of(2) { "UNIQUE INDEX" } else { "INDEX" };
    let build = async {
        world.sleep(Duration::from_millis(50)).await;
        let built = on_a.run(&format!("CREATE {kind} CONCURRENTLY built ON t (n) INCLUDE (note)")).await;
        world.sleep(Duration::from_millis(100)).await;
        done.set(true);
        built
    };
    let (built, (one, waited), (other, also)) =
        join3(build, load(world, b.client(), 1, seed, &done), load(world, c.client(), 2, seed, &done)).await;
    assert!(one + other > 30, "the load did nothing: {one} and {other}");
    assert!(waited.max(also) < Duration::from_secs(2), "a write waited {waited:?}, another {also:?}");
    b.node.check_indexes("t", "the build").await;
    if built.is_empty() {
        run_all(&mut on_a, &[(STATES, "t|t")]).await;
        run_all(&mut on_a, &[("SELECT status FROM basalt_jobs", "succeeded")]).await;
    } else {
        assert_eq!(built, "ERROR 23505: could not create unique index \"built\"");
        assert_eq!(kind, "UNIQUE INDEX");
        run_all(&mut on_a, &[(STATES, ""), ("SELECT status FROM basalt_jobs", "failed")]).await;
    }
    built.is_empty()
}

#[test]
fn an_index_built_beside_writes_has_every_row() {
    let mut built = [0, 0];
    for seed in 0..10 {
        with_world(seed, async |world| {
            built[usize::from(seed.is_multiple_of(2))] += u32::from(build_under_load(&world, seed).await);
        });
    }
    assert_eq!(built[0], 5, "nothing can go wrong with an index that is not unique");
    assert!(built[1] > 0, "duplicates ended every build");
}

/// While a unique index is built, a row whose entry isn't there yet does not keep another from having its key; it must leave
/// the other's entry alone then.
#[test]
fn rows_that_share_a_key_for_a_while_leave_each_other_alone() {
    for (seed, parting) in (0..).zip([
        "DELETE FROM t WHERE id = 1900",
        "UPDATE t SET n = -5 WHERE id = 1900",
        "UPDATE t SET id = 3000, n = -5 WHERE id = 1900",
    ]) {
        with_world(seed, async |world| {
            let (a, b) = (world.join(1).await, world.join(2).await);
            let (mut on_a, mut on_b, mut holder) = (a.client(), b.client(), b.client());
            table_of(&mut on_a, 2_000).await;
            let build = on_a.run("CREATE UNIQUE INDEX CONCURRENTLY built ON t (n) INCLUDE (note)");
            let writes = async {
                until(&world, &mut on_b, STATES, "f|t", Duration::from_secs(5)).await;
                // The pages that come to this row wait.
                run_all(&mut holder, &[("BEGIN; UPDATE t SET note = 'held' WHERE id = 1800", "")]).await;
                run_all(&mut on_b, &[("INSERT INTO t VALUES (-1, 1900, 'second')", "")]).await;
                let replaced = on_b.run("UPDATE t SET note = 'first' WHERE id = 1900").await;
                assert!(replaced.starts_with("ERROR 23505"), "{replaced}");
                run_all(&mut on_b, &[(parting, "")]).await;
                run_all(&mut holder, &[("COMMIT", "")]).await;
            };
            let (built, ()) = join(build, writes).await;
            assert_eq!(built, "", "{parting}");
            b.node.check_indexes("t", parting).await;
            run_all(&mut on_b, &[("SELECT id, note FROM t WHERE n = 1900", "-1|second")]).await;
        });
    }
}

#[test]
fn a_build_that_fails_leaves_nothing() {
    with_world(1, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b) = (a.client(), b.client());
        table_of(&mut on_a, 700).await;
        let twice = "ERROR 23505: could not create unique index \"built\"";
        run_all(
            &mut on_b,
            &[
                ("INSERT INTO t VALUES (5000, 600, 'second')", ""),
                ("CREATE UNIQUE INDEX CONCURRENTLY built ON t (n)", twice),
                (STATES, ""),
                ("SELECT status, error FROM basalt_jobs", "failed|could not create unique index \"built\""),
                ("INSERT INTO t VALUES (5001, 600, 'third')", ""),
                ("CREATE INDEX CONCURRENTLY built ON t (n)", ""),
                ("CREATE INDEX CONCURRENTLY IF NOT EXISTS built ON t (n)", ""),
                (
                    "CREATE INDEX CONCURRENTLY built ON t (n)",
                    "ERROR 42P07: relation \"built\" already exists",
                ),
                (
                    "BEGIN; CREATE INDEX CONCURRENTLY other ON t (n)",
                    "ERROR 25001: CREATE INDEX CONCURRENTLY cannot run inside a transaction block",
                ),
                ("ROLLBACK", ""),
                (
                    "BEGIN; DROP INDEX CONCURRENTLY built",
                    "ERROR 25001: DROP INDEX CONCURRENTLY cannot run inside a transaction block",
                ),
                ("ROLLBACK", ""),
                ("SELECT id FROM t WHERE n = 600 ORDER BY id", "600\n5000\n5001"),
            ],
        )
        .await;
        a.node.check_indexes("t", "a second attempt").await;
        run_all(&mut on_b, &[("DROP INDEX CONCURRENTLY IF EXISTS built, nothing", ""), (STATES, "")]).await;
    });
}

#[test]
fn what_becomes_of_the_table_becomes_of_the_build() {
    for (seed, (change, status)) in (0..).zip([
        ("DROP TABLE t", "canceled"),
        ("DROP INDEX built", "canceled"),
        ("ALTER TABLE t DROP COLUMN n", "canceled"),
        ("TRUNCATE t", "succeeded"),
        ("ALTER TABLE t ALTER COLUMN n TYPE bigint", "succeeded"),
        ("ALTER TABLE t ADD COLUMN m int DEFAULT 3", "succeeded"),
        ("ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t", "succeeded"),
    ]) {
        with_world(seed, async |world| {
            let (a, b) = (world.join(1).await, world.join(2).await);
            let (mut on_a, mut on_b) = (a.client(), b.client());
            table_of(&mut on_a, 2_000).await;
            let build = on_a.run("CREATE INDEX CONCURRENTLY built ON t (n)");
            let other = async {
                until(&world, &mut on_b, STATES, "f|t", Duration::from_secs(5)).await;
                run_all(&mut on_b, &[(change, "")]).await;
            };
            let (built, ()) = join(build, other).await;
            let fine =
                if status == "succeeded" { built.is_empty() } else { built.starts_with("ERROR 57014") };
            assert!(fine, "{change}: {built}");
            run_all(&mut on_b, &[("SELECT status FROM basalt_jobs", status)]).await;
            // Rows keep what a dropped column had.
            if !change.contains("DROP") {
                a.node.check_indexes("t", change).await;
            }
        });
    }
}

#[test]
fn a_build_is_canceled_by_its_client_and_by_others() {
    with_world(1, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let (mut on_a, mut on_b, mut holder) = (a.client(), b.client(), b.client());
        table_of(&mut on_a, 100).await;
        // Whoever uses the table keeps the build from its beginning, but nobody else from using the table.
        run_all(&mut holder, &[("BEGIN; INSERT INTO t VALUES (900, 900, '')", "")]).await;
        let timed_out = "ERROR 57014: canceling statement due to statement timeout";
        let impatient = "SET statement_timeout = 3000; CREATE INDEX CONCURRENTLY built ON t (n)";
        let (answer, (written, took)) = join(on_a.run(impatient), async {
            world.sleep(Duration::from_secs(1)).await;
            world.timed(on_b.run("INSERT INTO t VALUES (901, 901, '')")).await
        })
        .await;
        assert_eq!((answer.as_str(), written.as_str()), (timed_out, ""));
        assert!(took < Duration::from_secs(2), "{took:?}");
        let states = "SELECT status FROM basalt_jobs ORDER BY job_id";
        until(&world, &mut on_b, states, "canceled", Duration::from_secs(10)).await;
        let (answer, ()) = join(on_a.run("RESET ALL; CREATE INDEX CONCURRENTLY built ON t (n)"), async {
            world.sleep(Duration::from_secs(2)).await;
            let job = on_b.run("SELECT job_id FROM basalt_jobs WHERE status = 'pending'").await;
            run_all(&mut on_b, &[(&format!("CANCEL JOB {job}"), "")]).await;
        })
        .await;
        assert_eq!(answer, "ERROR 57014: canceling statement due to user request");
        run_all(
            &mut on_b,
            &[
                (states, "canceled\ncanceled"),
                ("CANCEL JOB 1", "ERROR 42704: job 1 does not exist"),
                (STATES, ""),
            ],
        )
        .await;
        run_all(&mut holder, &[("COMMIT", "")]).await;
        run_all(&mut on_a, &[("CREATE INDEX CONCURRENTLY built ON t (n)", "")]).await;
        a.node.check_indexes("t", "what was canceled before").await;
    });
}

#[test]
fn another_node_goes_on_with_a_build() {
    let mut adopted = 0;
    for requests in (1..160).step_by(13) {
        with_world(200 + requests, async |world| {
            let (a, b, c) = (world.join(1).await, world.join(2).await, world.join(3).await);
            let (mut on_a, mut on_b) = (a.client(), b.client());
            table_of(&mut on_b, 1_500).await;
            a.link.die_after(requests);
            let done = Cell::new(false);
            let build = async {
                let began = "CREATE UNIQUE INDEX CONCURRENTLY built ON t (n)";
                tokio::select! {
                    biased;
                    _ = on_a.run(began) => {}
                    () = world.sleep(Duration::from_secs(2)) => {}
                }
                a.link.kill();
                let unfinished =
                    "SELECT count(*) FROM basalt_jobs WHERE status IN ('pending', 'running', 'reverting')";
                let taken = "SELECT count(*) FROM basalt_jobs WHERE node_id IN (2, 3)";
                if on_b.run(unfinished).await == "1" {
                    until(&world, &mut on_b, taken, "1", ADOPTED_AFTER).await;
                    adopted += 1;
                }
                until(&world, &mut on_b, unfinished, "0", ADOPTED_AFTER).await;
                done.set(true);
            };
            let (_, (committed, _)) = join(build, load(&world, c.client(), 1, requests, &done)).await;
            assert!(committed > 0, "the load did nothing");
            // The row of the job may be seen a moment before the catalog is.
            let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
            until(&world, &mut on_b, invalid, "0", Duration::from_secs(1)).await;
            b.node.check_indexes("t", &format!("the death at request {requests}")).await;
        });
    }
    assert!(adopted > 2, "no death came in time: {adopted}");
}
