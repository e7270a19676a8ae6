//! What statements have to do with jobs: they begin them, wait for them, list them and cancel them.

use std::{sync::Arc, time::Duration};

use basalt_kv_api::{LockStrength, ScanBatch};
use basalt_planner::Index;
use basalt_txn::{ReadOptions, ScanRequest, TxnConfig};
use basalt_types::{Oid, Result, SqlError, SqlState};

use super::job::{Job, JobState, Progress, job_key, jobs_span};
use crate::{Session, error::sql_error, services::SqlServices};

/// Between looks at a job that may run on another node.
const LOOK: Duration = Duration::from_millis(100);

/// A job that the statement has begun, and waits for once its transaction has committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingJob(Oid);

impl PendingJob {
    /// Writes the job that builds `index`, in the session's transaction.
    pub async fn start(session: &Session, table: Oid, index: Index, description: String) -> Result<Self> {
        let services = &session.services;
        let id = services.catalog.allocate_oid().await?;
        let job = Job {
            id,
            database: session.database.id,
            table,
            index,
            description,
            state: JobState::Pending,
            cancel_requested: false,
            executor: None,
            created: services.now_micros(),
            finished: None,
            progress: Progress::default(),
            error: None,
        };
        let open = session.open.as_ref().ok_or_else(|| SqlError::internal("a job outside a transaction"))?;
        open.txn.put(job_key(id), job.encode()).map_err(sql_error)?;
        Ok(Self(id))
    }

    /// Waits until the job has ended; its error is the statement's.
    pub async fn wait(self, services: Arc<SqlServices>) -> Result<()> {
        services.jobs.wake();
        loop {
            let ended = services.jobs.ended().notified();
            let Some(job) = read(&services, self.0).await? else { return Ok(()) };
            if job.state.has_ended() {
                return job.error.map_or(Ok(()), |error| Err(error.to_sql_error()));
            }
            let sleep = services.env.spawner.sleep(LOOK);
            futures::future::select(sleep, std::pin::pin!(ended)).await;
        }
    }

    /// The client wants the statement no more: then it wants no job either.
    pub async fn cancel(self, services: &SqlServices) {
        if let Err(error) = request_cancel(services, u64::from(self.0.0)).await
            && error.sqlstate() != SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
        {
            tracing::warn!(%error, "a canceled statement's job could not be canceled; CANCEL JOB {} does it", self.0.0);
        }
    }
}

pub(super) async fn read(services: &SqlServices, id: Oid) -> Result<Option<Job>> {
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let stored = txn.get(&job_key(id), ReadOptions::default()).await;
    txn.rollback().await;
    stored.map_err(sql_error)?.map(|bytes| Job::decode(&bytes)).transpose()
}

/// All jobs that are not forgotten, the oldest first.
pub(crate) async fn all(services: &SqlServices) -> Result<Vec<Job>> {
    let txn = services.client.begin(TxnConfig::default()).map_err(sql_error)?;
    let mut jobs = Vec::new();
    let mut span = Some(jobs_span());
    while let Some(next) = span {
        let page = txn.scan(ScanRequest::new(next)).await.map_err(sql_error)?;
        if let ScanBatch::Rows(rows) = page.batch {
            for (_, value) in rows {
                jobs.push(Job::decode(&value)?);
            }
        }
        span = page.resume;
    }
    txn.rollback().await;
    Ok(jobs)
}

/// CANCEL JOB: whoever runs it undoes what it has done. `42704` for a job that isn't there, `55000` for one that has ended.
pub(crate) async fn request_cancel(services: &SqlServices, id: u64) -> Result<()> {
    let unknown = || SqlError::new(SqlState::UNDEFINED_OBJECT, format!("job {id} does not exist"));
    let oid = Oid(u32::try_from(id).map_err(|_| unknown())?);
    let asked = services.client.run(TxnConfig::default(), |txn| async move {
        let key = job_key(oid);
        let stored = txn.get(&key, ReadOptions::locking(LockStrength::Exclusive)).await?;
        let Some(mut job) = stored.and_then(|bytes| Job::decode(&bytes).ok()) else { return Ok(None) };
        if !job.state.has_ended() {
            job.cancel_requested = true;
            txn.put(key, job.encode())?;
        }
        Ok::<_, basalt_txn::Error>(Some(job.state))
    });
    let state = asked.await.map_err(sql_error)?.ok_or_else(unknown)?;
    services.jobs.wake();
    if state.has_ended() {
        return Err(SqlError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("job {id} has ended: it is {}", state.name()),
        ));
    }
    Ok(())
}
