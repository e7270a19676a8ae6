//! One run: set up, work under faults, heal, check.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use basalt_env::{
    Bug,
    sim::{SimExecutor, SimRng},
};
use basalt_txn::TxnConfig;

use crate::{
    Mix, Parameters, Violations,
    check::{quiescent, replicas, serving::Serving, survey::Survey},
    cluster::Cluster,
    nemesis::{Nemesis, NemesisKind, split_somewhere},
    reached::Reached,
    trace::Trace,
    workload::{Context, Ended, Workloads, transact},
};

/// After the faults end, clients must finish their transactions within this virtual time.
const HEAL_MAX: Duration = Duration::from_secs(120);

/// Longer than a transaction counts as alive without a heartbeat.
const LOCK_EXPIRY: Duration = Duration::from_secs(8);
const LOCK_ROUNDS_MAX: u32 = 12;
/// Ranges have their replicas back so long after the dead count as dead.
const REPAIR_MAX: Duration = Duration::from_secs(240);

#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    pub seed: u64,
    /// Nodes of the cluster; zero is one.
    pub nodes: u64,
    pub mix: Option<Mix>,
    /// Instead of what the seed draws.
    pub corners: Option<bool>,
    /// How long faults go on, in virtual time. Instead of what the seed draws.
    pub length: Option<Duration>,
    /// See [`Parameters::on_leases`].
    pub leases_only: bool,
    /// The only faults that come. Instead of all that the seed draws.
    pub nemeses: Option<Vec<NemesisKind>>,
    /// How long leases last. Instead of the store's default.
    pub lease_duration: Option<Duration>,
    /// After what silence others take a transaction for abandoned. Instead of what the seed draws.
    pub txn_expiry: Option<Duration>,
    /// A deliberate bug to switch on (needs the feature `planted`).
    pub bug: Option<Bug>,
    pub print: bool,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub parameters: Parameters,
    /// Of the trace.
    pub hash: u64,
    pub events: u64,
    pub crashes: u64,
    pub commits: u64,
    pub ranges: usize,
    pub virtual_time: Duration,
    /// How often the run came to each corner.
    pub reached: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
}

/// Runs one seed to its end.
pub fn run(options: &RunOptions) -> Report {
    let mut parameters =
        Parameters::from_seed(options.seed, options.nodes.max(1), options.mix, options.corners);
    if options.leases_only {
        parameters = parameters.on_leases(options.seed);
    }
    if let Some(length) = options.length {
        parameters = parameters.lasting(options.seed, length);
    }
    parameters.nemeses.clone_from(&options.nemeses);
    parameters.lease_duration = options.lease_duration.unwrap_or(parameters.lease_duration);
    parameters.txn_expiry = options.txn_expiry.unwrap_or(parameters.txn_expiry);
    let executor = SimExecutor::new(options.seed);
    let trace = Trace::new(options.print);
    let violations = Violations::default();
    let mut report = Report {
        seed: options.seed,
        parameters: parameters.clone(),
        hash: 0,
        events: 0,
        crashes: 0,
        commits: 0,
        ranges: 0,
        virtual_time: Duration::ZERO,
        reached: BTreeMap::new(),
        violations: Vec::new(),
    };
    let parameters = Arc::new(parameters);
    let cluster = Cluster::new(executor.clone(), &parameters, &trace, &violations);
    let observer = trace.clone();
    let watched = parameters.nodes > 1 && parameters.clocks_hold() && !parameters.clocks_are_set();
    let mut serving = watched.then(|| Serving::new(&cluster, &violations));
    executor.observe(move |now, task, name| {
        observer.step(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), task, name);
        if let Some(serving) = &mut serving {
            serving.look(now);
        }
    });
    let context = Context {
        cluster: cluster.clone(),
        parameters,
        violations: violations.clone(),
        trace: trace.clone(),
        rng: Arc::new(SimRng::new(options.seed.wrapping_mul(0x2545_f491_4f6c_dd1d))),
        events: Arc::new(AtomicU64::new(1)),
        reached: Reached::default(),
    };
    let reached = context.reached.clone();
    basalt_env::plant(options.bug);
    let simulation = Simulation { context, executor: executor.clone(), commits: Arc::default() };
    let outcome = catch_unwind(AssertUnwindSafe(|| executor.run(simulation.run())));
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        violations.report(format!("panic: {}", text.unwrap_or_default()));
    }
    basalt_env::plant(None);
    report.crashes = cluster.crashes();
    report.ranges = cluster.range_count();
    report.commits = simulation.commits.load(Ordering::Relaxed);
    report.virtual_time = executor.now();
    cluster.report(&reached);
    report.reached = reached.take();
    // Everything that still runs is dropped in a fixed order.
    cluster.stop();
    // It holds the cluster, which holds the executor.
    executor.observe(|_, _, _| {});
    executor.clear();
    report.hash = trace.hash();
    report.events = trace.events();
    report.violations = violations.take();
    report
}

struct Simulation {
    context: Context,
    executor: SimExecutor,
    commits: Arc<AtomicU64>,
}

impl Simulation {
    async fn run(&self) {
        let context = &self.context;
        let workloads = Workloads::new(context.clone());
        context.cluster.found().await;
        workloads.bank.set_up().await;
        for _ in 0..context.parameters.splits_at_start {
            split_somewhere(context).await;
        }
        let nemesis = Nemesis::new(context.clone(), self.executor.clone());
        let outside = self.executor.spawner(0);
        let tasks = nemesis.tasks();
        let faults = Arc::new(AtomicUsize::new(tasks.len()));
        for task in tasks {
            let faults = faults.clone();
            let task = async move {
                task.await;
                faults.fetch_sub(1, Ordering::SeqCst);
            };
            outside.spawn("nemesis", Box::pin(task));
        }
        let stopped = Arc::new(AtomicBool::new(false));
        let left = Arc::new(AtomicUsize::new(context.parameters.clients));
        for client in 0..context.parameters.clients {
            let (stopped, left, executor) = (stopped.clone(), left.clone(), self.executor.clone());
            let (context, workloads) = (context.clone(), workloads.clone());
            let task = async move {
                while !stopped.load(Ordering::SeqCst) {
                    workloads.step(&context, client).await;
                    let think = u64::try_from(context.parameters.think_max.as_micros()).expect("short");
                    // At least a little, or a dead node is asked without time passing.
                    executor.sleep(Duration::from_micros(context.below(think + 1) + 50)).await;
                }
                left.fetch_sub(1, Ordering::SeqCst);
            };
            outside.spawn("client", Box::pin(task));
        }
        self.executor.sleep(context.parameters.duration).await;
        nemesis.stop();
        context.trace.line(|| "heal".to_owned());
        context.cluster.heal();
        stopped.store(true, Ordering::SeqCst);
        if !self.until(|| left.load(Ordering::SeqCst) == 0).await {
            let clients = left.load(Ordering::SeqCst);
            context.cluster.describe(&context.trace);
            context
                .violations
                .report(format!("{clients} clients are stuck {HEAL_MAX:?} after the faults ended"));
            return;
        }
        // A clean stop that a stalled disk holds up still ends with a crash and a start.
        if !self.until(|| faults.load(Ordering::SeqCst) == 0).await {
            context.cluster.describe(&context.trace);
            context
                .violations
                .report(format!("faults are still under way {HEAL_MAX:?} after the last began"));
            return;
        }
        context.cluster.until_up().await;
        self.settle(&workloads).await;
        self.commits.store(context.cluster.commits(), Ordering::Relaxed);
        if context.parameters.long.as_ref().is_some_and(|long| long.ends_running) {
            self.come_to_rest().await;
        } else {
            // What was read must also be what is durable.
            for node in context.cluster.nodes() {
                node.crash(context);
                node.start();
            }
            context.cluster.until_up().await;
            self.settle(&workloads).await;
        }
        if context.parameters.long.is_some() {
            self.be_whole().await;
        }
        if context.parameters.nodes > 1 && !self.until(|| replicas::differ(context).is_none()).await {
            let difference = replicas::differ(context).unwrap_or_default();
            context
                .violations
                .report(format!("replicas differ {HEAL_MAX:?} after the last fault: {difference}"));
        }
        if context.parameters.nodes > 1 && quiescent::locks(context).is_empty() {
            workloads.check_versions();
        }
        // Meta entries that a failed split left behind are repaired at the start.
        quiescent::check_ranges(context).await;
    }

    /// Waits until the locks of dead coordinators have expired and are gone, though nobody meets them; then reads everything.
    /// The clock may stand still meanwhile, when it was stepped back before.
    async fn settle(&self, workloads: &Workloads) {
        for _ in 0..LOCK_ROUNDS_MAX {
            if quiescent::locks(&self.context).is_empty() {
                break;
            }
            self.executor.sleep(LOCK_EXPIRY).await;
        }
        let left = quiescent::locks(&self.context);
        if let Some(first) = left.first() {
            self.context.violations.report(format!("{} orphan locks, the first is {first:02x?}", left.len()));
        }
        self.check(workloads).await;
    }

    /// Nodes that nobody uses hold nothing up.
    async fn come_to_rest(&self) {
        let busy = || {
            self.context.cluster.nodes().iter().find_map(|node| {
                let (latches, resolving) = node.with_running(|running, _| {
                    (running.store.latches_held(), running.store.transactions_resolving())
                })?;
                let number = node.number();
                (latches + resolving > 0).then(|| {
                    format!("node {number} holds {latches} latches and resolves {resolving} transactions")
                })
            })
        };
        if !self.until(|| busy().is_none()).await {
            self.context.violations.report(format!("{HEAL_MAX:?} after the last request {:?}", busy()));
        }
    }

    /// Every range gets its replicas back.
    async fn be_whole(&self) {
        let context = &self.context;
        let problem = || {
            let nodes = context.cluster.nodes();
            let there = nodes.len().min(context.parameters.replicas);
            let wanted = if there.is_multiple_of(2) { there - 1 } else { there };
            match Survey::take(&context.cluster).and_then(Survey::complete) {
                Ok(survey) => {
                    survey.short_of_replicas(wanted, |id| nodes.iter().any(|node| node.number() == id.0))
                }
                Err(problem) => Some(problem),
            }
        };
        let deadline = self.executor.now() + context.parameters.dead_after + REPAIR_MAX;
        while let Some(problem) = problem() {
            if self.executor.now() > deadline {
                context.cluster.describe(&context.trace);
                return context.violations.report(format!("{REPAIR_MAX:?} after the last fault {problem}"));
            }
            self.executor.sleep(Duration::from_millis(500)).await;
        }
    }

    async fn until(&self, done: impl Fn() -> bool) -> bool {
        let deadline = self.executor.now() + HEAL_MAX;
        while !done() {
            if self.executor.now() > deadline {
                return false;
            }
            self.executor.sleep(Duration::from_millis(10)).await;
        }
        true
    }

    async fn check(&self, workloads: &Workloads) {
        let context = &self.context;
        for attempt in 0..20 {
            let workloads = workloads.clone();
            let config = TxnConfig { read_only: true, ..TxnConfig::default() };
            let ended = transact(&context.cluster, &context.violations, config, move |txn| {
                let workloads = workloads.clone();
                async move { workloads.check(&txn).await }
            })
            .await;
            if matches!(ended, Ended::Committed(..)) {
                return;
            }
            context.trace.line(|| format!("final read, attempt {attempt}: {ended:?}"));
            context.cluster.pause().await;
        }
        context.cluster.describe(&context.trace);
        context.violations.report("the final read does not succeed");
    }
}
