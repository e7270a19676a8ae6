//! What sessions see of each other, on whatever node they are, and how they stop each other.

use std::{sync::Arc, time::Duration};

use basalt_base::{NodeId, process_id::process_id};
use basalt_sql::Signal;
use futures::future::join;

use crate::{
    harness::{Client, Text},
    neighbours::Flag,
    world::{Member, World, with_world},
};

/// A session of a node, and its flag.
async fn session(member: &Member, number: u64, count: u32) -> (Client, Arc<Flag>) {
    let flag = Arc::new(Flag::default());
    let pid = process_id(NodeId(number), count);
    let opened = member.open("postgres", pid, flag.clone()).await;
    (opened.expect("the database is there"), flag)
}

/// What is answered, and the warnings.
async fn asks(client: &mut Client, sql: &str) -> (String, Vec<String>) {
    let mut out = Text::recording();
    let text = match client.session.simple_query(sql, &mut out).await {
        Ok(()) => std::mem::take(&mut out.text),
        Err(error) => format!("ERROR {}: {}", error.sqlstate(), error.message()),
    };
    let parts = ["columns", "row", "SELECT 1", "SELECT 2", "SELECT 3"];
    let told = out.messages.unwrap_or_default();
    (text, told.into_iter().filter(|message| !parts.contains(&&**message)).collect())
}

fn quietly(answer: &str) -> (String, Vec<String>) {
    (answer.to_owned(), vec![])
}

async fn after(world: &World, milliseconds: u64) {
    world.sleep(Duration::from_millis(milliseconds)).await;
}

#[test]
fn all_sessions_are_seen_from_every_node() {
    with_world(80, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let ((mut on_a, _), (mut on_b, _)) = (session(&a, 1, 7).await, session(&b, 2, 7).await);
        assert_eq!(on_a.run("CREATE TABLE t (id int)").await, "");
        assert_eq!(on_b.run("BEGIN; INSERT INTO t VALUES (1)").await, "");
        let sessions =
            "SELECT pid >> 20, pid & 1048575, datname, state, query FROM pg_stat_activity ORDER BY 1";
        let here = format!("1|7|postgres|active|{sessions}");
        let there = "2|7|postgres|idle in transaction|BEGIN; INSERT INTO t VALUES (1)";
        assert_eq!(asks(&mut on_a, sessions).await, quietly(&format!("{here}\n{there}")));
        let locks = "SELECT pid >> 20, mode FROM pg_locks WHERE relation > 16000";
        assert_eq!(asks(&mut on_a, locks).await, quietly("2|RowExclusiveLock"));
        b.link.cut(true);
        let (seen, took) = world.timed(asks(&mut on_a, sessions)).await;
        let warning = "the sessions of node 2 are not shown, because it does not answer".to_owned();
        assert_eq!(seen, (here, vec![warning]));
        assert!(took < Duration::from_millis(2_500), "{took:?}");
    });
}

#[test]
fn a_signal_reaches_a_session_of_any_node() {
    with_world(81, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let ((mut on_a, own), (mut on_b, there), (_other, other)) =
            (session(&a, 1, 1).await, session(&b, 2, 1).await, session(&b, 2, 2).await);
        assert_eq!(on_a.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await, "");
        assert_eq!(on_a.run("BEGIN; UPDATE t SET id = 2").await, "");
        let cancel = async {
            after(&world, 500).await;
            on_a.run("SELECT pg_cancel_backend(2 << 20 | 1)").await
        };
        let (waited, cancelled) = join(on_b.run("SELECT * FROM t FOR UPDATE"), cancel).await;
        assert_eq!((&*waited, &*cancelled), ("ERROR 57014: cancelled", "t"));
        assert_eq!(there.signal(), Some(Signal::Cancel));
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = (2 << 20 | 1)";
        assert_eq!(on_a.run(terminate).await, "t");
        assert_eq!(there.signal(), Some(Signal::Terminate));
        assert_eq!((own.signal(), other.signal()), (None, None));
        assert_eq!(on_a.run("SELECT pg_cancel_backend(pg_backend_pid())").await, "ERROR 57014: cancelled");
    });
}

#[test]
fn nobody_is_told_by_a_warning() {
    with_world(82, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let ((mut on_a, _), (_on_b, there)) = (session(&a, 1, 1).await, session(&b, 2, 1).await);
        for pid in ["0", "-1", "999", "1 << 20 | 2", "2 << 20 | 2", "3 << 20 | 1", "2147483647"] {
            for function in ["pg_cancel_backend", "pg_terminate_backend"] {
                let (answer, warnings) = asks(&mut on_a, &format!("SELECT {function}({pid})")).await;
                let number = on_a.run(&format!("SELECT {pid}")).await;
                let warning = format!("PID {number} is not a PostgreSQL backend process");
                assert_eq!((&*answer, warnings), ("f", vec![warning]), "{function}({pid})");
            }
        }
        assert_eq!(asks(&mut on_a, "SELECT pg_cancel_backend(NULL)").await, quietly("~"));
        assert_eq!(
            asks(&mut on_a, "SELECT pg_terminate_backend(1, -1)").await,
            quietly("ERROR 22003: \"timeout\" must not be negative")
        );
        // Only what is asked for is evaluated.
        let choice = "SELECT CASE WHEN false THEN pg_terminate_backend(2 << 20 | 1) END";
        assert_eq!(asks(&mut on_a, choice).await, quietly("~"));
        assert_eq!(there.signal(), None);
        b.link.cut(true);
        let (seen, took) = world.timed(asks(&mut on_a, "SELECT pg_cancel_backend(2 << 20 | 1)")).await;
        let warning = "could not send signal to process 2097153: node 2 does not answer".to_owned();
        assert_eq!(seen, ("f".to_owned(), vec![warning]));
        assert!(took < Duration::from_millis(2_500), "{took:?}");
    });
}

#[test]
fn the_end_of_a_session_is_waited_for() {
    with_world(83, async |world| {
        let (a, b) = (world.join(1).await, world.join(2).await);
        let ((mut on_a, _), (on_b, _)) = (session(&a, 1, 1).await, session(&b, 2, 1).await);
        let terminate = "SELECT pg_terminate_backend(2 << 20 | 1, 3000)";
        let (seen, took) = world.timed(asks(&mut on_a, terminate)).await;
        let warning = "backend with PID 2097153 did not terminate within 3000 milliseconds".to_owned();
        assert_eq!(seen, ("f".to_owned(), vec![warning]));
        assert!(took >= Duration::from_secs(3) && took < Duration::from_millis(3_500), "{took:?}");
        let ends = async {
            after(&world, 1_000).await;
            drop(on_b);
        };
        let ((seen, took), ()) = join(world.timed(asks(&mut on_a, terminate)), ends).await;
        assert_eq!(seen, quietly("t"));
        assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(1_500), "{took:?}");
    });
}
