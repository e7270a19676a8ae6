//! How long clients wait while a node, or a way between two nodes, fails: in virtual time.
//!
//! Two clients at each of three nodes work on ranges whose leases are spread over the nodes. Two figures: the longest time
//! from one commit of a client to his next one, whatever errors there were between them; and the longest time without any
//! answer, for where nobody can be served.

use std::{sync::Arc, time::Duration};

use basalt_base::NodeId;
use basalt_env::{Rng, sim::SimExecutor};
use basalt_kv_api::{LockStrength, Request};
use basalt_txn::{ReadOptions, Txn, TxnConfig};
use parking_lot::Mutex;

use crate::{
    Parameters, Violations,
    cluster::Cluster,
    cost::ask,
    trace::Trace,
    workload::{Ended, row_key, row_value, transact},
};

/// What clients do, by its number.
const KINDS: [&str; 4] = ["a read", "a write", "two writes", "a locked read and a write"];
const NODES: u64 = 3;
const ROWS: u64 = 6;
const TABLE: u8 = b'w';
/// In which every range gets its replicas, and leases stay where they were put.
const SETTLING: Duration = Duration::from_secs(30);
/// How long a fault lasts: longer than any wait that there may be.
const HOLD: Duration = Duration::from_secs(16);
/// A client's pauses, between transactions and within them.
const THINKING: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallFault {
    /// The first node is gone.
    Killed,
    /// It neither runs nor receives.
    Frozen,
    /// The first and the last node can't reach each other; the one between them hears both.
    Cut,
    /// The first node reaches nobody: what counts are the errors of its clients.
    Minority,
}

/// The longest waits of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// For a commit.
    pub commit: Duration,
    /// For any answer.
    pub answer: Duration,
    /// What clients heard, in order.
    pub errors: Vec<String>,
}

impl StallFault {
    pub const ALL: [Self; 4] = [Self::Killed, Self::Frozen, Self::Cut, Self::Minority];

    /// The longest time that clients should wait.
    pub fn goal(self) -> Duration {
        Duration::from_secs(match self {
            Self::Killed | Self::Frozen => 3,
            Self::Cut => 5,
            Self::Minority => 4,
        })
    }

    /// Which of the figures the goal is about.
    pub fn figure(self, stall: &Stall) -> Duration {
        if self == Self::Minority { stall.answer } else { stall.commit }
    }

    /// Nodes whose clients are looked at.
    fn watched(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::Killed | Self::Frozen => 2..=NODES,
            Self::Cut => 1..=NODES,
            Self::Minority => 1..=1,
        }
    }

    fn inflict(self, cluster: &Cluster) {
        let block = |from, to| {
            cluster.network().block(from, to);
            cluster.network().block(to, from);
        };
        match self {
            Self::Killed => {
                cluster.nodes()[0].kill();
            }
            Self::Frozen => cluster.nodes()[0].freeze(),
            Self::Cut => block(1, NODES),
            Self::Minority => (2..=NODES).for_each(|other| block(1, other)),
        }
    }
}

/// Measures one run.
pub fn stall(fault: StallFault, seed: u64) -> Stall {
    let executor = SimExecutor::new(seed);
    let violations = Violations::default();
    let parameters = Parameters::quiet(NODES);
    let cluster = Cluster::new(executor.clone(), &parameters.into(), &Trace::new(false), &violations);
    let run = Run { executor: executor.clone(), cluster: cluster.clone(), violations: violations.clone() };
    let stall = executor.run(run.measure(fault));
    cluster.stop();
    executor.clear();
    assert_eq!(violations.take(), Vec::<String>::new());
    stall
}

#[derive(Clone)]
struct Run {
    executor: SimExecutor,
    cluster: Cluster,
    violations: Violations,
}

/// What a client has seen since the fault began.
#[derive(Default)]
struct Seen {
    begun: Duration,
    committed_at: Duration,
    answered_at: Duration,
    stall: Stall,
}

impl Seen {
    /// What was before does not count.
    fn begin(&mut self, now: Duration) {
        *self = Self { begun: now, committed_at: now, answered_at: now, stall: Stall::default() };
    }

    /// An answer; or the end, for who still waits.
    fn note(&mut self, now: Duration, what: &str, error: Option<String>) {
        self.stall.answer = self.stall.answer.max(now - self.answered_at);
        self.stall.commit = self.stall.commit.max(now - self.committed_at);
        if now - self.answered_at >= Duration::from_secs(1) {
            self.stall.errors.push(format!(
                "{:?}: {what} after {:?}",
                now - self.begun,
                now - self.answered_at
            ));
        }
        self.answered_at = now;
        match error {
            Some(error) => self.stall.errors.push(format!("{:?}: {error}", now - self.begun)),
            None => self.committed_at = now,
        }
    }
}

impl Run {
    async fn measure(self, fault: StallFault) -> Stall {
        self.cluster.found().await;
        for row in 1..ROWS {
            ask(&self.executor, &self.cluster, Request::AdminSplit { key: row_key(TABLE, row) }).await;
        }
        self.executor.sleep(SETTLING).await;
        for row in 0..ROWS {
            let to = NodeId(1 + row % NODES);
            let request = Request::AdminTransferLease { key: row_key(TABLE, row), to };
            ask(&self.executor, &self.cluster, request).await;
        }
        let clients: Vec<_> = (1..=NODES)
            .flat_map(|number| [(number, self.client(number)), (number, self.client(number))])
            .collect();
        // So that the fault meets every timer somewhere else in each run.
        let pause = 2_000 + self.executor.rng().next_u64() % 2_000;
        self.executor.sleep(Duration::from_millis(pause)).await;
        let now = self.executor.now();
        clients.iter().for_each(|(_, seen)| seen.lock().begin(now));
        fault.inflict(&self.cluster);
        self.executor.sleep(HOLD).await;
        let now = self.executor.now();
        let mut worst = Stall::default();
        for (number, seen) in clients {
            if !fault.watched().contains(&number) {
                continue;
            }
            let mut seen = seen.lock();
            seen.note(now, "no answer", None);
            let stall = &seen.stall;
            worst.commit = worst.commit.max(stall.commit);
            worst.answer = worst.answer.max(stall.answer);
            worst.errors.extend(stall.errors.iter().map(|error| format!("node {number}: {error}")));
        }
        worst
    }

    /// A client at a node, who goes on until the run ends.
    fn client(&self, number: u64) -> Arc<Mutex<Seen>> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (run, noted) = (self.clone(), Arc::clone(&seen));
        let task = async move {
            let place = usize::try_from(number - 1).expect("few nodes");
            loop {
                let (what, ended) = run.access(place).await;
                let error = match ended {
                    Ended::Committed(..) => None,
                    ended => Some(format!("{ended:?}")),
                };
                noted.lock().note(run.executor.now(), &what, error);
                run.executor.sleep(THINKING).await;
            }
        };
        self.executor.spawner(0).spawn("client", Box::pin(task));
        seen
    }

    /// Reads a row, writes one or two, or locks one and writes it.
    async fn access(&self, place: usize) -> (String, Ended<()>) {
        let rng = self.executor.rng();
        let numbers = [(); 2].map(|()| rng.next_u64() % ROWS);
        let [row, other] = numbers.map(|number| row_key(TABLE, number));
        let (kind, executor) = (rng.next_u64() % 4, self.executor.clone());
        let body = move |txn: Txn| {
            let (row, other, executor) = (row.clone(), other.clone(), executor.clone());
            async move {
                if kind != 1 {
                    let lock = (kind == 3).then_some(LockStrength::Exclusive);
                    txn.get(&row, ReadOptions { lock, ..ReadOptions::default() }).await?;
                }
                if kind == 3 {
                    executor.sleep(THINKING).await;
                }
                if kind != 0 {
                    txn.put(row, row_value(1, 0))?;
                }
                if kind == 2 {
                    txn.put(other, row_value(2, 0))?;
                }
                Ok(())
            }
        };
        let what = format!("{} of {numbers:?}", KINDS[usize::try_from(kind).expect("few kinds")]);
        (what, transact(&self.cluster.at(place), &self.violations, TxnConfig::default(), body).await)
    }
}
