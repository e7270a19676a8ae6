//! Schema changes and data changes on a cluster whose nodes crash, stand still and are cut off.
//!
//! Every node runs the SQL layer over its store. Afterwards each index must hold exactly the entries of its table's rows: a
//! statement that ran with a descriptor that a change had replaced leaves entries too many or too few.

#[path = "../../../sql/tests/queries/harness.rs"]
#[allow(dead_code, reason = "the tests of SQL use the rest")]
mod harness;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use basalt_base::NodeId;
use basalt_env::{
    Rng,
    sim::{SimDisk, SimExecutor, SimRng},
};
use basalt_sim::{Parameters, Reached, Violations, cluster::Cluster, node, trace::Trace, workload::Context};
use basalt_sql::{SqlOptions, SqlServices};
use basalt_txn::TxnClient;
use harness::Client;
use parking_lot::Mutex;

const CLOCK_OFFSET_MAX: Duration = Duration::from_millis(250);
const FAULTS: u64 = 7;
/// How long a node may take to have a session after all faults are over: those of the dead must expire.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// What all clients share.
struct Run {
    executor: SimExecutor,
    violations: Violations,
    stopped: AtomicBool,
    /// How often each kind of answer came.
    answers: Mutex<BTreeMap<String, u64>>,
    changes: AtomicU64,
    rng: SimRng,
}

impl Run {
    fn below(&self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    async fn sleep(&self, ms: u64) {
        self.executor.sleep(Duration::from_millis(ms)).await;
    }
}

async fn open(executor: &SimExecutor, number: u64, client: TxnClient) -> basalt_types::Result<harness::Node> {
    let options =
        SqlOptions { node_id: NodeId(number), clock_offset_max: CLOCK_OFFSET_MAX, ..SqlOptions::default() };
    let services = SqlServices::open(client.env().clone(), client, options, None, None).await?;
    Ok(harness::Node { executor: executor.clone(), disk: SimDisk::new(), services })
}

/// Keeps the SQL layer of a node running, through its crashes, until the run stops.
async fn serve(run: Arc<Run>, node: node::Node) {
    while !run.is_stopped() {
        let (run_of_node, number) = (run.clone(), node.number());
        let session = node.session(move |client| {
            Box::pin(async move {
                let Ok(node) = open(&run_of_node.executor, number, client).await else { return };
                let clients = (0..3).map(|_| work(&run_of_node, node.client()));
                futures::future::join_all(clients).await;
                if run_of_node.below(2) == 0 {
                    node.services.close().await;
                }
            })
        });
        if let Some(session) = session {
            // A crash ends it.
            let _ = session.await;
        }
        run.sleep(200).await;
    }
}

/// One client of a node.
async fn work(run: &Run, mut client: Client) {
    client.run("SET lock_timeout = '4s'").await;
    while !run.is_stopped() {
        let (sql, is_change) = statement(run);
        let answer = client.run(&sql).await;
        let kind = if answer.starts_with("ERROR ") { &answer[6..11] } else { "done" };
        *run.answers.lock().entry(kind.to_owned()).or_insert(0) += 1;
        if kind.starts_with("XX") {
            run.violations.report(format!("{sql}: {answer}"));
        }
        if is_change && kind == "done" {
            run.changes.fetch_add(1, Ordering::Relaxed);
        }
        if kind != "done" {
            client.run("ROLLBACK").await;
        }
        run.sleep(run.below(40)).await;
    }
}

fn statement(run: &Run) -> (String, bool) {
    let (id, n, kind) = (run.below(60), run.below(7), run.below(3));
    let column = ["n", "n DESC", "m, n"][usize::try_from(kind).expect("small")];
    let change = match run.below(60) {
        0 | 1 => Some(format!("CREATE INDEX IF NOT EXISTS i{kind} ON t ({column})")),
        2 => Some(format!("DROP INDEX IF EXISTS i{kind}")),
        3 => Some(format!("BEGIN; SELECT count(*) FROM u; CREATE INDEX i{kind} ON t ({column}); COMMIT")),
        4 => Some(format!("ALTER TABLE t ADD COLUMN IF NOT EXISTS c{kind} int DEFAULT {n}")),
        5 => Some(format!("ALTER TABLE t DROP COLUMN IF EXISTS c{kind}")),
        6 if kind == 0 => Some("TRUNCATE t".to_owned()),
        7 => Some("DROP TABLE u; CREATE TABLE u (id int PRIMARY KEY)".to_owned()),
        _ => None,
    };
    if let Some(change) = change {
        return (change, true);
    }
    let sql = match run.below(6) {
        0 | 1 => format!("INSERT INTO t (id, n, m) VALUES ({id}, {n}, {id}) ON CONFLICT DO NOTHING"),
        2 => format!("UPDATE t SET n = {n} WHERE id = {id}"),
        3 => format!("DELETE FROM t WHERE id = {id}"),
        4 => format!("UPDATE t SET id = id + 60, m = {n} WHERE id = {id}"),
        _ => format!(
            "BEGIN; UPDATE t SET m = {n} WHERE n = {n}; INSERT INTO u VALUES ({id}) ON CONFLICT DO NOTHING;
             DELETE FROM t WHERE id = {id} + 60; COMMIT"
        ),
    };
    (sql, false)
}

/// One fault after the other.
async fn disturb(run: &Run, context: &Context) {
    let cluster = &context.cluster;
    for _ in 0..FAULTS {
        run.sleep(500 + run.below(3_000)).await;
        let node = cluster.any();
        match run.below(4) {
            0 => {
                node.crash(context);
                run.sleep(run.below(5_000)).await;
                node.start();
                node.until_up().await;
            }
            1 => {
                node.freeze();
                run.sleep(run.below(14_000)).await;
                node.thaw();
            }
            _ => {
                cluster.network().isolate(node.number());
                run.sleep(run.below(14_000)).await;
                cluster.network().heal();
            }
        }
    }
}

async fn run_seed(executor: &SimExecutor, run: Arc<Run>, context: Context) {
    let cluster = &context.cluster;
    cluster.found().await;
    let nodes = cluster.nodes();
    for node in &nodes {
        let skew = i64::try_from(run.below(200_000)).expect("small") - 100_000;
        node.clock().set_offset(skew);
    }
    let (executor_of_node, violations) = (executor.clone(), run.violations.clone());
    let set_up = nodes[0].session(move |client| {
        Box::pin(async move {
            let node = open(&executor_of_node, 1, client).await.expect("the first node begins");
            let setup =
                "CREATE TABLE t (id int PRIMARY KEY, n int, m int); CREATE TABLE u (id int PRIMARY KEY)";
            let made = node.client().run(setup).await;
            if !made.is_empty() {
                violations.report(format!("set up: {made}"));
            }
            node.services.close().await;
        })
    });
    set_up.expect("it is up").await.expect("nothing crashes yet");
    let servers: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (sender, done) = tokio::sync::oneshot::channel::<()>();
            let served = serve(run.clone(), node.clone());
            let task = async move {
                served.await;
                drop(sender);
            };
            executor.spawner(0).spawn("server", Box::pin(task));
            done
        })
        .collect();
    disturb(&run, &context).await;
    cluster.heal();
    cluster.until_up().await;
    run.sleep(5_000).await;
    run.stopped.store(true, Ordering::Relaxed);
    let stopped = futures::future::join_all(servers);
    let in_time = tokio::select! {
        biased;
        _ = stopped => true,
        () = executor.sleep(RECOVERY_MAX) => false,
    };
    if !in_time {
        run.violations.report("a client hangs after the faults");
        return;
    }
    for node in nodes {
        let (executor, violations) = (executor.clone(), run.violations.clone());
        let number = node.number();
        let checked = node.session(move |client| {
            Box::pin(async move {
                let node = match open(&executor, number, client).await {
                    Ok(node) => node,
                    Err(error) => return violations.report(format!("node {number}: {}", error.message())),
                };
                node.check_indexes("t", "the run").await;
                let made = node.client().run(&format!("ALTER TABLE t ADD last{number} int")).await;
                if !made.is_empty() {
                    violations.report(format!("node {number} afterwards: {made}"));
                }
                node.services.close().await;
            })
        });
        if let Some(checked) = checked {
            // An answer that is missing is a panic, which ends the run.
            let _ = checked.await;
        }
    }
}

/// A run's answers by kind, and the schema changes that were made.
fn simulate(seed: u64) -> (BTreeMap<String, u64>, u64) {
    let executor = SimExecutor::new(seed);
    let (trace, violations) = (Trace::new(false), Violations::default());
    let parameters = Arc::new(Parameters { clock_offset_max: CLOCK_OFFSET_MAX, ..Parameters::quiet(3) });
    let cluster = Cluster::new(executor.clone(), &parameters, &trace, &violations);
    let context = Context {
        cluster: cluster.clone(),
        parameters,
        violations: violations.clone(),
        trace,
        rng: Arc::new(SimRng::new(seed ^ 0x5eed)),
        events: Arc::new(AtomicU64::new(1)),
        reached: Reached::default(),
    };
    let run = Arc::new(Run {
        executor: executor.clone(),
        violations: violations.clone(),
        stopped: AtomicBool::default(),
        answers: Mutex::default(),
        changes: AtomicU64::default(),
        rng: SimRng::new(seed.wrapping_mul(0x9e37_79b9)),
    });
    executor.run(run_seed(&executor, run.clone(), context));
    cluster.stop();
    executor.clear();
    let found = violations.take();
    assert!(found.is_empty(), "seed {seed}: {found:#?}");
    (std::mem::take(&mut *run.answers.lock()), run.changes.load(Ordering::Relaxed))
}

#[test]
fn indexes_are_right_after_changes_under_faults() {
    let mut changes = 0;
    for seed in 1..3 {
        let (answers, made) = simulate(seed);
        println!("seed {seed}: {made} changes, {answers:?}");
        assert!(answers.get("done").is_some_and(|done| *done > 100), "seed {seed} did little: {answers:?}");
        changes += made;
    }
    assert!(changes > 20, "{changes} changes");
}
