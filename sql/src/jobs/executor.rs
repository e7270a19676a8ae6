//! Which node runs a job, and how.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use basalt_kv_api::LockStrength;
use basalt_txn::{ReadOptions, TxnConfig};
use basalt_types::{Oid, Result, SqlError, SqlState};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    JobError, JobState,
    index_build::IndexBuild,
    job::{Job, job_key},
    statement,
};
use crate::{
    ConnectInfo, NeverCancel, Session,
    cluster::{
        Member,
        rows::{self, Identity},
    },
    error::sql_error,
    services::SqlServices,
};

/// Between looks at the stored jobs, when nobody says that there is one.
const LOOK: Duration = Duration::from_secs(10);
/// Between attempts at a step that failed for a reason that may pass.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long jobs that have ended stay in `basalt_jobs`.
const KEPT_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// How long a step may take to end when the node stops.
const STOP_MAX: Duration = Duration::from_secs(3);

/// The jobs that this node runs.
#[derive(Default)]
pub struct Jobs {
    running: Mutex<BTreeSet<Oid>>,
    stops: AtomicBool,
    /// There may be something to run.
    wake: Notify,
    /// One has ended, or has been left.
    ended: Notify,
}

impl Jobs {
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn ended(&self) -> &Notify {
        &self.ended
    }

    fn stops(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    /// Leaves all jobs to other nodes, or to the next start.
    pub(crate) async fn stop(&self, services: &SqlServices) {
        self.stops.store(true, Ordering::Relaxed);
        self.wake.notify_one();
        let left = async {
            loop {
                let ended = self.ended.notified();
                if self.running.lock().is_empty() {
                    return;
                }
                ended.await;
            }
        };
        tokio::select! {
            biased;
            () = left => {}
            () = services.env.spawner.sleep(STOP_MAX) => {}
        }
    }
}

/// Looks for jobs that nobody runs for as long as the node is there, and runs them.
pub(crate) async fn run_forever(weak: Weak<SqlServices>) {
    loop {
        let (jobs, sleep) = {
            let Some(services) = weak.upgrade() else { return };
            if services.jobs.stops() {
                return;
            }
            if let Err(error) = adopt(&services).await {
                tracing::debug!(%error, "could not look for jobs, trying again later");
            }
            (services.jobs.clone(), services.env.spawner.sleep(LOOK))
        };
        futures::future::select(sleep, std::pin::pin!(jobs.wake.notified())).await;
    }
}

/// The node's session, under which it runs jobs.
fn own_identity(services: &SqlServices) -> Option<Identity> {
    match &services.cluster {
        Some(member) => Member::session(member),
        None => Some(Identity { node: services.options.node_id, incarnation: 0 }),
    }
}

async fn adopt(services: &Arc<SqlServices>) -> Result<()> {
    let Some(own) = own_identity(services) else { return Ok(()) };
    for job in statement::all(services).await? {
        if job.state.has_ended() {
            if job.finished.is_some_and(|at| at + KEPT_MICROS < services.now_micros()) {
                forget(services, job.id).await?;
            }
        } else if !services.jobs.running.lock().contains(&job.id) && claim(services, own, job.id).await? {
            services.jobs.running.lock().insert(job.id);
            let run = run(services.clone(), own, job);
            services.env.spawner.spawn("sql-job", Box::pin(run));
        }
    }
    Ok(())
}

async fn forget(services: &SqlServices, id: Oid) -> Result<()> {
    let removed = services.client.run(TxnConfig::default(), |txn| async move { txn.delete(job_key(id)) });
    removed.await.map_err(sql_error)
}

/// Puts this node's session into the job, unless it runs elsewhere.
async fn claim(services: &SqlServices, own: Identity, id: Oid) -> Result<bool> {
    let has_others = services.cluster.is_some();
    let claimed = services.client.run(TxnConfig::default(), |txn| async move {
        let key = job_key(id);
        let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
        let Some(mut job) = stored.and_then(|bytes| Job::decode(&bytes).ok()) else { return Ok(false) };
        if job.state.has_ended() {
            return Ok(false);
        }
        if let Some(executor) = job.executor.filter(|executor| *executor != own && has_others)
            && txn.get(&rows::session_key(executor), ReadOptions::default()).await?.is_some()
        {
            return Ok(false);
        }
        job.executor = Some(own);
        txn.put(key, job.encode())?;
        Ok::<_, basalt_txn::Error>(true)
    });
    claimed.await.map_err(sql_error)
}

/// Takes the job from the list of those that run here, however that ends.
struct Running {
    jobs: Arc<Jobs>,
    id: Oid,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.jobs.running.lock().remove(&self.id);
        self.jobs.ended.notify_waiters();
    }
}

async fn run(services: Arc<SqlServices>, own: Identity, job: Job) {
    let _running = Running { jobs: services.jobs.clone(), id: job.id };
    tracing::info!(job = job.id.0, what = job.description, state = job.state.name(), "the job runs here");
    let mut build = IndexBuild::new(own, job.id);
    let mut pause = PAUSE_MIN;
    while !services.jobs.stops() {
        let stepped = match connect(&services, &job) {
            Ok(mut session) => {
                let stepped = build.steps(&mut session, || services.jobs.stops()).await;
                session.close().await;
                stepped
            }
            Err(error) => Err(error),
        };
        let Err(error) = stepped else { break };
        if build.take_advance() {
            pause = PAUSE_MIN;
        }
        tracing::debug!(job = job.id.0, %error, "a step of the job failed");
        if is_hopeless(&error) && fail(&services, own, job.id, &error).await.unwrap_or(false) {
            continue;
        }
        services.env.spawner.sleep(pause).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

/// The session that a job's steps run in, as a client's would.
fn connect(services: &Arc<SqlServices>, job: &Job) -> Result<Session> {
    let snapshot = services.catalog.current();
    let database = snapshot.databases.get(&job.database).ok_or_else(|| {
        SqlError::new(SqlState::INVALID_CATALOG_NAME, "the database of the job has been dropped")
    })?;
    let info = ConnectInfo {
        user: "postgres".to_owned(),
        database: database.name.clone(),
        application_name: format!("job {}", job.id.0),
        options: vec![("lock_timeout".to_owned(), "1s".to_owned())],
        client: None,
        pid: 0,
        cancel: Arc::new(NeverCancel),
    };
    Session::connect(services.clone(), info)
}

/// Another attempt would fail in the same way: it is the data, the definition, or a defect.
fn is_hopeless(error: &SqlError) -> bool {
    let class = &error.sqlstate().0[..2];
    [b"0A", b"22", b"23", b"3D", b"42", b"54", b"XX"].iter().any(|hopeless| class == &hopeless[..])
}

/// Has the job's work undone because of `error`. False if it is being undone already.
async fn fail(services: &SqlServices, own: Identity, id: Oid, error: &SqlError) -> Result<bool> {
    let now = services.now_micros();
    let cause = JobError::of(error);
    let is_gone = error.sqlstate() == SqlState::INVALID_CATALOG_NAME;
    let noted = services.client.run(TxnConfig::default(), |txn| {
        let cause = cause.clone();
        async move {
            let key = job_key(id);
            let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
            let Some(mut job) = stored.and_then(|bytes| Job::decode(&bytes).ok()) else { return Ok(false) };
            match job.state {
                _ if job.executor != Some(own) || job.state.has_ended() => return Ok(false),
                // Without its database there is nothing to undo.
                JobState::Running | JobState::Reverting if is_gone => {
                    job.state = JobState::Failed;
                    job.finished = Some(now);
                }
                JobState::Pending => {
                    job.state = JobState::Failed;
                    job.finished = Some(now);
                }
                JobState::Running => job.state = JobState::Reverting,
                _ => return Ok(false),
            }
            job.error = Some(cause);
            txn.put(key, job.encode())?;
            Ok::<_, basalt_txn::Error>(true)
        }
    });
    noted.await.map_err(sql_error)
}
