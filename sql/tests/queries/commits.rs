//! What a client is told of a commit, and what a commit leaves behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use basalt_base::{Key, Span, Timestamp};
use basalt_env::{BoxFuture, sim::SimExecutor};
use basalt_kv_api::{BatchRequest, BatchResponse, Error, Request, Sender};
use basalt_sql::{Cancel, SqlOptions};
use basalt_types::{Result, SqlError, SqlState};

use crate::harness::{with_node, with_sender};

/// A client that asks for the statement's end after a while.
struct CancelAfter(SimExecutor, Duration);

impl Cancel for CancelAfter {
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn cancelled(&self) -> BoxFuture<'_, SqlError> {
        Box::pin(async {
            self.0.sleep(self.1).await;
            SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
        })
    }
}

#[test]
fn a_cancel_during_the_commit_of_a_lone_statement_comes_too_late() {
    with_node(async |node| {
        let mut other = node.client();
        assert_eq!(other.run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        let slow = node.executor.clone();
        node.disk.delay_syncs(move || slow.sleep(Duration::from_millis(50)));
        let impatient = Arc::new(CancelAfter(node.executor.clone(), Duration::from_millis(10)));
        let mut client = node.client_with(impatient);
        assert_eq!(client.run("INSERT INTO t VALUES (1)").await, "");
        assert_eq!(client.run("SET statement_timeout = 5; INSERT INTO t VALUES (2)").await, "");
        assert_eq!(client.run("INSERT INTO t VALUES (3) RETURNING id").await, "3");
        assert_eq!(other.run("SELECT * FROM t").await, "1\n2\n3");
    });
}

#[test]
fn a_cancel_of_a_statement_that_only_computes_is_heard() {
    with_node(async |node| {
        let soon = Arc::new(CancelAfter(node.executor.clone(), Duration::ZERO));
        let mut client = node.client_with(soon);
        let endless = [
            "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
            "SELECT count(*) FROM generate_series(1, 1000000) a JOIN generate_series(1, 1000000) b ON a < -b",
            "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 - 1 FROM n) SELECT max(i) FROM n",
            "SELECT sum(n) FROM (SELECT generate_series(1, 1000000000) AS n) s WHERE n < 0",
        ];
        for sql in endless {
            let answer = client.run(sql).await;
            assert_eq!(answer, "ERROR 57014: canceling statement due to user request", "{sql}");
        }
    });
}

#[test]
fn waits_for_rows_keep_to_the_lock_timeout() {
    with_node(async |node| {
        let (mut holder, mut client) = (node.client(), node.client());
        assert_eq!(holder.run("CREATE TABLE t (id int PRIMARY KEY, n int)").await, "");
        assert_eq!(holder.run("INSERT INTO t VALUES (1, 0); BEGIN").await, "");
        assert_eq!(holder.run("INSERT INTO t VALUES (5000, 0); UPDATE t SET n = 1 WHERE id = 1").await, "");
        assert_eq!(client.run("SET lock_timeout = 200").await, "");
        let waiting = [
            "UPDATE t SET n = 2 WHERE id = 1",
            "SELECT n FROM t WHERE id = 1 FOR UPDATE",
            "INSERT INTO t VALUES (5000, 1)",
            // Beyond some thousand rows the store looks for duplicates, when the rows are sent.
            "INSERT INTO t SELECT i, 0 FROM generate_series(2, 6000) i",
        ];
        for sql in waiting {
            let before = node.executor.now();
            let answer = client.run(sql).await;
            assert_eq!(answer, "ERROR 55P03: canceling statement due to lock timeout", "{sql}");
            let waited = node.executor.now() - before;
            assert!((200..400).contains(&waited.as_millis()), "{sql}: {waited:?}");
        }
        assert_eq!(holder.run("COMMIT").await, "");
        assert_eq!(client.run("SELECT count(*), max(n) FROM t").await, "2|1");
    });
}

const PASS: u8 = 0;
const LOSE_THE_COMMIT: u8 = 1;
const REFUSE: u8 = 2;

/// Requests on their way: after the next commit, whose answer is lost, all are refused.
struct Broken {
    inner: Arc<dyn Sender>,
    state: Arc<AtomicU8>,
}

impl Sender for Broken {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse, Error>> {
        Box::pin(async move {
            let commits =
                batch.requests.iter().any(|request| matches!(request, Request::EndTxn { commit: true, .. }));
            match self.state.load(Ordering::SeqCst) {
                REFUSE => return Err(Error::Unavailable("the store is away".to_owned())),
                LOSE_THE_COMMIT if commits => {
                    self.state.store(REFUSE, Ordering::SeqCst);
                    self.inner.send(batch).await?;
                    return Err(Error::Ambiguous { reason: "the answer was lost".to_owned() });
                }
                _ => {}
            }
            self.inner.send(batch).await
        })
    }

    fn commits_in_one_phase(&self, hull: &Span, keys: &mut dyn Iterator<Item = &Key>) -> bool {
        self.inner.commits_in_one_phase(hull, keys)
    }

    fn releases_at_once(&self, held: &Span) -> bool {
        self.inner.releases_at_once(held)
    }

    fn uncertainty(&self) -> Duration {
        self.inner.uncertainty()
    }

    fn now(&self) -> Result<Timestamp, Error> {
        self.inner.now()
    }
}

#[test]
fn a_change_of_unknown_outcome_is_followed_when_the_catalog_can_be_read_again() {
    let state = Arc::new(AtomicU8::new(PASS));
    let wrap = |inner| Arc::new(Broken { inner, state: state.clone() }) as Arc<dyn Sender>;
    with_sender(SqlOptions::default(), None, wrap, async |node| {
        let (mut client, mut other) = (node.client(), node.client());
        assert_eq!(client.run("CREATE TABLE t (id int PRIMARY KEY)").await, "");
        state.store(LOSE_THE_COMMIT, Ordering::SeqCst);
        let answer = client.run("ALTER TABLE t ADD COLUMN n int").await;
        assert!(answer.starts_with("ERROR 40003"), "{answer}");
        state.store(PASS, Ordering::SeqCst);
        assert_eq!(other.run("SET lock_timeout = 100").await, "");
        assert_eq!(other.run("INSERT INTO t (id) VALUES (1)").await, "");
        assert_eq!(client.run("SELECT * FROM t").await, "1|~");
    });
}
