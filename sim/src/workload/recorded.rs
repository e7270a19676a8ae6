//! Transactions that are written down for a checker, with what they did and what they were told.

use std::sync::Arc;

use basalt_base::Timestamp;
use basalt_txn::{Result, Txn, TxnConfig};
use parking_lot::Mutex;

use super::{Context, Ended, transact, versions};
use crate::check::{
    Anomaly, Level,
    history::{Operation, Outcome, Transaction},
    mvcc,
};

/// A history that grows as clients work. Cheap to clone.
#[derive(Clone)]
pub struct Recorded {
    context: Context,
    name: &'static str,
    /// With the commit timestamps that clients were told.
    history: Arc<Mutex<Vec<(Transaction, Option<u64>)>>>,
    /// Reads of the past: no part of any order of events, but each has a timestamp.
    past: Arc<Mutex<Vec<mvcc::Recorded>>>,
}

impl Recorded {
    pub fn new(context: Context, name: &'static str) -> Self {
        Self { context, name, history: Arc::default(), past: Arc::default() }
    }

    /// The same history for a client that has a connection to one node only.
    #[must_use]
    pub fn at(&self, place: usize) -> Self {
        let context = Context { cluster: self.context.cluster.at(place), ..self.context.clone() };
        Self { context, ..self.clone() }
    }

    /// Runs a transaction whose body returns its operations with their answers. `intended` are its writes: they are all
    /// that is known of one that failed, and none of them may ever be seen.
    pub async fn transact<F>(
        &self,
        client: usize,
        intended: Vec<Operation>,
        body: impl Fn(Txn) -> F + Send + Sync + 'static,
    ) -> Ended<Vec<Operation>>
    where
        F: Future<Output = Result<Vec<Operation>>> + Send + 'static,
    {
        let context = &self.context;
        let started = context.event();
        let ended = transact(&context.cluster, &context.violations, TxnConfig::default(), body).await;
        let now = context.event();
        let (outcome, operations, known) = match &ended {
            Ended::Committed(operations, _) => (Outcome::Committed, operations.clone(), Some(now)),
            Ended::Unknown(Some(operations)) => (Outcome::Unknown, operations.clone(), None),
            // The commit had not begun.
            Ended::Unknown(None) | Ended::Failed(_) => (Outcome::Failed, intended, Some(now)),
            Ended::NotStarted => return ended,
        };
        let transaction =
            Transaction { id: started, process: client, started, ended: known, outcome, operations };
        context.trace.line(|| format!("{} {transaction}", self.name));
        let commit = if let Ended::Committed(_, timestamp) = &ended { Some(timestamp.0) } else { None };
        self.history.lock().push((transaction, commit));
        ended
    }

    /// The latest commit timestamp that a client was told lately.
    pub fn latest_commit(&self) -> u64 {
        let history = self.history.lock();
        history.iter().rev().take(50).filter_map(|(_, commit)| *commit).max().unwrap_or(0)
    }

    /// Reads the state of a moment that is past. The answer is held against the versions that the nodes hold at the end:
    /// those up to the moment, and no others.
    pub async fn read_past<F>(
        &self,
        client: usize,
        at: Timestamp,
        body: impl Fn(Txn) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<Vec<Operation>>> + Send + 'static,
    {
        let context = &self.context;
        let id = context.event();
        let config = TxnConfig { as_of: Some(at), ..TxnConfig::default() };
        let ended = transact(&context.cluster, &context.violations, config, body).await;
        context.trace.line(|| format!("{} client {client} read past {at}: {ended:?}", self.name));
        let Ended::Committed(operations, _) = ended else { return };
        let steps = operations.into_iter().filter_map(|operation| match operation {
            Operation::Read { key, value } => Some(mvcc::Step::Read { key, value, at: Some(at.0) }),
            _ => None,
        });
        let (outcome, commit) = (Outcome::Committed, Some(at.0));
        let steps = steps.collect();
        self.past.lock().push(mvcc::Recorded { id, process: client, outcome, commit, steps });
    }

    /// Adds a read of everything at the end of a run, and judges the history. The read is not kept: there may be another
    /// one.
    pub fn judge(
        &self,
        started: u64,
        operations: Vec<Operation>,
        check: impl Fn(&[Transaction]) -> Vec<Anomaly>,
    ) {
        let ended = Some(self.context.event());
        let (process, outcome) = (usize::MAX, Outcome::Committed);
        let last = Transaction { id: started, process, started, ended, outcome, operations };
        let history = self.history.lock();
        let mut history: Vec<Transaction> =
            history.iter().map(|(transaction, _)| transaction.clone()).collect();
        if !self.context.parameters.clocks_hold() {
            // Reads may be stale, so nothing is known to come before anything else but the end.
            for transaction in &mut history {
                transaction.ended = transaction.ended.map(|_| last.started - 1);
            }
        }
        history.push(last);
        self.report(check(&history));
    }

    /// Judges the versions that the nodes hold, of lists or registers. Not while there are locks.
    pub fn judge_versions(&self, dump: &mvcc::Dump) {
        let mut recorded = versions::recorded(&self.history.lock());
        recorded.extend(self.past.lock().iter().cloned());
        self.report(mvcc::check(dump, &recorded, Level::Serializable));
    }

    fn report(&self, anomalies: Vec<Anomaly>) {
        for anomaly in anomalies {
            self.context.violations.report(format!("{}: {anomaly}", self.name));
        }
    }

    /// How many transactions were acknowledged.
    pub fn committed(&self) -> usize {
        let history = self.history.lock();
        history.iter().filter(|(transaction, _)| transaction.outcome == Outcome::Committed).count()
    }
}

/// Keys that are used for a while and then replaced by fresh ones, so that no history of a key grows without end.
#[derive(Clone)]
pub struct Rotation {
    /// Uses of each slot.
    uses: Arc<Mutex<Vec<u64>>>,
    uses_max: u64,
}

impl Rotation {
    pub fn new(slots: u64, uses_max: u64) -> Self {
        let slots = usize::try_from(slots).expect("few");
        Self { uses: Arc::new(Mutex::new(vec![0; slots])), uses_max }
    }

    /// A key of a slot drawn at random.
    pub fn key(&self, context: &Context) -> u64 {
        let mut uses = self.uses.lock();
        let slots = uses.len() as u64;
        let slot = context.below(slots);
        let used = &mut uses[usize::try_from(slot).expect("few")];
        *used += 1;
        slot + slots * (*used / self.uses_max)
    }

    /// Every key so far.
    pub fn keys(&self) -> Vec<u64> {
        let uses = self.uses.lock();
        let slots = uses.len() as u64;
        let keys = uses.iter().zip(0..).flat_map(|(used, slot)| {
            (0..=*used / self.uses_max).map(move |generation| slot + slots * generation)
        });
        let mut keys: Vec<u64> = keys.collect();
        keys.sort_unstable();
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        time::Duration,
    };

    use basalt_env::sim::{SimExecutor, SimRng};

    use super::*;
    use crate::{
        Parameters, Reached, Violations,
        check::quiescent,
        cluster::Cluster,
        trace::Trace,
        workload::{ListAppend, LongFork, Predicate, RwRegister, Sets},
    };

    const CLIENTS: usize = 6;
    /// Virtual time between crashes, for each node: several are slower.
    const QUIET: Duration = Duration::from_millis(50);

    /// Clients of all recorded workloads on one node that crashes twice.
    async fn work(context: Context, executor: SimExecutor) {
        context.cluster.found().await;
        let lists = ListAppend::new(context.clone());
        let registers = RwRegister::new(context.clone());
        let predicates = Predicate::new(context.clone());
        let sets = Sets::new(context.clone());
        let forks = LongFork::new(context.clone());
        let (left, stopped) = (Arc::new(AtomicUsize::new(CLIENTS)), Arc::new(AtomicBool::new(false)));
        for client in 0..CLIENTS {
            let (lists, registers, predicates) = (lists.clone(), registers.clone(), predicates.clone());
            let (sets, forks, context) = (sets.clone(), forks.clone(), context.clone());
            let (left, stopped) = (left.clone(), stopped.clone());
            let task = async move {
                while !stopped.load(Ordering::SeqCst) {
                    match context.below(5) {
                        0 => lists.step(client).await,
                        1 => registers.step(client).await,
                        2 => predicates.step(client).await,
                        3 => sets.step(client).await,
                        _ => forks.step(client).await,
                    }
                    context.cluster.executor().sleep(Duration::from_micros(context.below(400) + 50)).await;
                }
                left.fetch_sub(1, Ordering::SeqCst);
            };
            executor.spawner(0).spawn("client", Box::pin(task));
        }
        let quiet = QUIET * u32::try_from(context.parameters.nodes).expect("few");
        for _ in 0..2 {
            executor.sleep(quiet).await;
            let node = context.cluster.any();
            node.crash(&context);
            node.start();
            node.until_up().await;
        }
        executor.sleep(quiet).await;
        stopped.store(true, Ordering::SeqCst);
        while left.load(Ordering::SeqCst) > 0 {
            context.cluster.pause().await;
        }
        let read_all = || {
            let all = (lists.clone(), registers.clone(), predicates.clone(), sets.clone(), forks.clone());
            let config = TxnConfig { read_only: true, ..TxnConfig::default() };
            transact(&context.cluster, &context.violations, config, move |txn| {
                let (lists, registers, predicates, sets, forks) = all.clone();
                async move {
                    lists.check(&txn).await?;
                    registers.check(&txn).await?;
                    predicates.check(&txn).await?;
                    sets.check(&txn).await?;
                    forks.check(&txn).await
                }
            })
        };
        let ended = read_all().await;
        if !matches!(ended, Ended::Committed(..)) {
            context.violations.report(format!("the last read: {ended:?}"));
        }
        // Locks of dead coordinators go when somebody meets them after their expiry.
        for _ in 0..10 {
            if quiescent::locks(&context).is_empty() {
                break;
            }
            executor.sleep(Duration::from_secs(8)).await;
            read_all().await;
        }
        lists.check_versions();
        registers.check_versions();
        let committed = [lists.committed(), registers.committed(), predicates.committed()];
        let committed = committed.into_iter().chain([sets.committed(), forks.committed()]);
        assert!(committed.min() >= Some(10), "a workload did nothing");
    }

    #[test]
    fn sound_nodes_pass() {
        for (seed, nodes) in [(1, 1), (2, 1), (3, 3)] {
            let mut parameters = Parameters::from_seed(seed, nodes, None, None);
            (parameters.stall_one_in, parameters.sync_delay_max) = (u64::MAX, Duration::from_micros(200));
            let parameters = Arc::new(parameters);
            let (trace, violations) = (Trace::new(false), Violations::default());
            let executor = SimExecutor::new(seed);
            let context = Context {
                cluster: Cluster::new(executor.clone(), &parameters, &trace, &violations),
                parameters,
                violations: violations.clone(),
                trace,
                rng: Arc::new(SimRng::new(seed)),
                events: Arc::new(AtomicU64::new(1)),
                reached: Reached::default(),
            };
            executor.run(work(context.clone(), executor.clone()));
            context.cluster.stop();
            executor.clear();
            assert_eq!(violations.take(), Vec::<String>::new(), "seed {seed}");
        }
    }
}
