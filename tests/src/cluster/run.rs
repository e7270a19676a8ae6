//! One run: clients work, something goes wrong and is mended, again and again; then everything must be explained.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use basalt_sim::check::history;
use tokio::task::JoinHandle;

use super::{
    attempt::attempt,
    failure::Failure,
    member::within,
    nemesis::Nemesis,
    real::{Plan, RealCluster},
    recorder::{Recorder, Tally},
    session::Session,
    workload::{Kind, Workload},
};
use crate::chaos::Outcome;

/// Between two transactions of a client, about: the nodes of a cluster share one small machine.
const PAUSE: Duration = Duration::from_millis(15);
const CALM: Duration = Duration::from_secs(3);
const WHOLE_PATIENCE: Duration = Duration::from_secs(120);
const FINISH_PATIENCE: Duration = Duration::from_secs(60);
const READ_PATIENCE: Duration = Duration::from_secs(60);
/// How often the final read is tried on each node.
const READS_MAX: usize = 20;

#[derive(Clone, Debug)]
pub struct Setting {
    pub workload: Kind,
    pub nemesis: Nemesis,
    pub time: Duration,
    pub clients: usize,
    /// How long a fault lasts, about.
    pub hold: Duration,
    /// Fewer acknowledged operations are a failure: nothing was tested.
    pub acknowledged_min: usize,
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    pub workload: Kind,
    pub nemesis: Nemesis,
    pub nodes: usize,
    pub tally: Tally,
    pub faults: Vec<String>,
    pub longest_stall: Duration,
    /// How long this process itself did not get a processor: what stalls are not the nodes' fault.
    pub machine_stall: Duration,
    /// What clients were told instead of answers, and how often.
    pub failures: Vec<(Failure, u64)>,
    pub violations: Vec<String>,
}

/// Runs on a new cluster and ends it.
pub async fn run(plan: &Plan, setting: &Setting) -> Outcome<Report> {
    let mut plan = plan.clone();
    if setting.nemesis.needs_disks() {
        let small = setting.nemesis == Nemesis::DiskFull;
        plan.disks = Some(if small { 400 } else { 1_024 });
    }
    let mut cluster = RealCluster::start(&plan).await?;
    cluster.whole(3, WHOLE_PATIENCE).await?;
    let report = on(&mut cluster, setting).await?;
    for node in 0..cluster.len() {
        cluster.kill(node)?;
    }
    Ok(report)
}

/// Runs on a cluster that is whole.
pub async fn on(cluster: &mut RealCluster, setting: &Setting) -> Outcome<Report> {
    let workload = Arc::new(Workload::new(setting.workload));
    let recorder = Arc::new(Recorder::default());
    let client = cluster.members[0].connect().await?;
    workload.create(&client).await.map_err(|error| format!("making the tables: {error:?}"))?;
    cluster.learn_ids().await?;
    let heartbeat = Heartbeat::start();
    let load = Load::start(cluster, setting.clients, &workload, &recorder);
    tokio::time::sleep(CALM).await;
    let (begun, mut faults, mut violations) = (Instant::now(), Vec::new(), Vec::new());
    while begun.elapsed() + setting.hold < setting.time || faults.is_empty() {
        cluster.learn_ids().await?;
        match setting.nemesis.inflict(cluster, setting.hold).await {
            Ok(fault) => faults.push(fault),
            Err(error) => {
                violations.push(format!("{}: {error}", setting.nemesis.name()));
                break;
            }
        }
        if let Err(error) = cluster.whole(3, WHOLE_PATIENCE).await {
            violations.push(error.to_string());
            break;
        }
        tokio::time::sleep(CALM).await;
    }
    let ended = Instant::now();
    let clients: Vec<usize> = (0..setting.clients).collect();
    let longest_stall = recorder.longest_stall(&clients, begun, ended);
    load.finish().await?;
    let machine_stall = heartbeat.stop();
    let tally = recorder.tally();
    if tally.acknowledged < setting.acknowledged_min {
        violations.push(format!("only {} operations were acknowledged", tally.acknowledged));
    }
    if setting.nemesis.is_planned() {
        // Before the final reads, which know one host each.
        let failures = recorder.failures();
        let uncalled_for = failures.iter().filter(|(failure, _)| !failure.is_part_of_service());
        violations.extend(
            uncalled_for.map(|(failure, count)| format!("planned, but clients saw {count} times: {failure}")),
        );
    }
    violations.extend(judge(cluster, &workload, &recorder).await);
    Ok(Report {
        workload: setting.workload,
        nemesis: setting.nemesis,
        nodes: cluster.len(),
        tally,
        faults,
        longest_stall,
        machine_stall,
        failures: recorder.failures(),
        violations,
    })
}

/// Reads everything through each node, and lets the checkers say what is wrong.
async fn judge(cluster: &RealCluster, workload: &Workload, recorder: &Recorder) -> Vec<String> {
    let mut found = Vec::new();
    let mut answers: Vec<String> = Vec::new();
    for (node, port) in cluster.sql_ports().into_iter().enumerate() {
        match read_all(port, workload, recorder).await {
            Some(answer) => answers.push(answer),
            None => found.push(format!("node {} does not answer when all is healed", node + 1)),
        }
        let contradictions = async {
            let client = cluster.members[node].connect().await?;
            workload.contradictions(&client).await
        };
        match within(READ_PATIENCE, contradictions).await {
            Ok(texts) => found.extend(texts.iter().map(|text| format!("by node {}: {text}", node + 1))),
            Err(error) => found.push(format!("node {} after healing: {error}", node + 1)),
        }
    }
    if answers.iter().any(|answer| *answer != answers[0]) {
        found.push("the nodes do not answer alike".to_owned());
    }
    let history = recorder.history();
    found.extend(workload.judge(&history).iter().map(ToString::to_string));
    found
}

async fn read_all(port: u16, workload: &Workload, recorder: &Recorder) -> Option<String> {
    let mut session = Session::new(&[port], 0);
    for _ in 0..READS_MAX {
        let mut answer = None;
        let read = async |attempt: &mut super::attempt::Attempt<'_>| {
            answer = Some(workload.read_all(attempt).await?);
            Ok(())
        };
        let outcome = attempt(&mut session, recorder, usize::MAX, read).await;
        if outcome == Some(history::Outcome::Committed) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    None
}

/// Clients that work until told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(
        cluster: &RealCluster,
        clients: usize,
        workload: &Arc<Workload>,
        recorder: &Arc<Recorder>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ports = cluster.sql_ports();
        let start = |process: usize| {
            let (workload, recorder, stop) = (Arc::clone(workload), Arc::clone(recorder), Arc::clone(&stop));
            let mut session = Session::new(&ports, process);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let step = async |attempt: &mut super::attempt::Attempt<'_>| {
                        workload.step(attempt, &recorder).await
                    };
                    attempt(&mut session, &recorder, process, step).await;
                    tokio::time::sleep(PAUSE.mul_f64(fastrand::f64() * 2.0)).await;
                }
            })
        };
        let tasks = (0..clients).map(start).collect();
        Self { stop, tasks }
    }

    /// Each ends with the answer that it waits for.
    pub async fn finish(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        for mut task in self.tasks {
            if tokio::time::timeout(FINISH_PATIENCE, &mut task).await.is_err() {
                task.abort();
                return Err("a client still waits for its answer".into());
            }
        }
        Ok(())
    }
}

/// A thread that sleeps and looks how late it wakes.
pub struct Heartbeat {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Duration>,
}

impl Heartbeat {
    const INTERVAL: Duration = Duration::from_millis(10);

    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut latest = Duration::ZERO;
            while !seen.load(Ordering::Relaxed) {
                let slept = Instant::now();
                thread::sleep(Self::INTERVAL);
                latest = latest.max(slept.elapsed().saturating_sub(Self::INTERVAL));
            }
            latest
        });
        Self { stop, thread }
    }

    /// The longest time that it had to wait for a processor.
    pub fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}
