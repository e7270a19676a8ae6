//! The steps of building an index beside the use of its table: each one transaction, which the job's row is part of.

use std::sync::Arc;

use basalt_base::Key;
use basalt_kv_api::{LockStrength, ScanBatch};
use basalt_planner::{IndexState, Table};
use basalt_txn::{ReadOptions, ScanRequest};
use basalt_types::{Datum, Oid, Result, Row, SqlError, SqlState, text_out};

use super::{
    JobError, JobState, Progress,
    job::{Job, job_key},
    statement,
};
use crate::{
    Session,
    cluster::rows::Identity,
    ddl::row_count::count_entries,
    error::sql_error,
    layout::{EntryCodec, index_span},
    locks::TableLockMode,
    session::Modes,
};

/// Rows of a page: at first, at most, and below which the page locks the rows that it reads.
const PAGE_ROWS: u64 = 200;
const PAGE_ROWS_MAX: u64 = 1_000;
const PAGE_ROWS_LOCKED: u64 = 50;
const PAGE_ROWS_MIN: u64 = 5;

enum Next {
    /// There is more to do.
    Again,
    /// There is not, or not for this node.
    Left,
}

pub(super) struct IndexBuild {
    own: Identity,
    id: Oid,
    page_rows: u64,
    /// Whether a step was done since this was last asked.
    has_advanced: bool,
}

impl IndexBuild {
    pub fn new(own: Identity, id: Oid) -> Self {
        Self { own, id, page_rows: PAGE_ROWS, has_advanced: false }
    }

    pub fn take_advance(&mut self) -> bool {
        std::mem::take(&mut self.has_advanced)
    }

    /// Steps until one fails, nothing is left to do for this node, or it stops.
    pub async fn steps(&mut self, session: &mut Session, stops: impl Fn() -> bool) -> Result<()> {
        while !stops() {
            match self.step(session).await {
                Ok(Next::Again) => {
                    self.page_rows = (2 * self.page_rows).min(PAGE_ROWS_MAX);
                    self.has_advanced = true;
                }
                Ok(Next::Left) => return Ok(()),
                Err(error) => {
                    session.abort_transaction().await;
                    self.page_rows = (self.page_rows / 4).max(PAGE_ROWS_MIN);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn step(&self, session: &mut Session) -> Result<Next> {
        let Some(job) = statement::read(&session.services, self.id).await? else { return Ok(Next::Left) };
        if job.state.has_ended() || job.executor != Some(self.own) {
            return Ok(Next::Left);
        }
        match job.state {
            JobState::Pending if job.cancel_requested => self.end_canceled(session, job).await,
            JobState::Pending => self.introduce(session, job).await,
            JobState::Running if job.cancel_requested => {
                self.begin(session).await?;
                let reverting = Job { state: JobState::Reverting, error: Some(canceled()), ..job.clone() };
                self.commit(session, &job, reverting).await
            }
            JobState::Running if !job.progress.is_filled => self.fill_page(session, job).await,
            JobState::Running => {
                self.prove(session, &job).await?;
                self.publish(session, job).await
            }
            JobState::Reverting => self.withdraw(session, job).await,
            JobState::Succeeded | JobState::Failed | JobState::Canceled => Ok(Next::Left),
        }
    }

    async fn begin(&self, session: &mut Session) -> Result<()> {
        session.ensure_transaction()?;
        session.check_cluster().await?;
        let timeout = session.lock_timeout();
        let open = session.open.as_mut().expect("opened above");
        open.used = true;
        open.txn.set_lock_timeout(timeout);
        Ok(())
    }

    /// Begins a transaction that changes the table: nothing of it may be read before the lock is held.
    async fn begin_change(&self, session: &mut Session, table: &Arc<Table>) -> Result<Arc<Table>> {
        session.ensure_transaction()?;
        session.check_cluster().await?;
        session.catch_up_with_cluster().await?;
        session.lock_for_change(table).await.map_err(|error| match error.sqlstate() {
            // Dropped while it waited for the lock: the next attempt finds it gone.
            SqlState::UNDEFINED_TABLE => changed(),
            _ => error,
        })
    }

    /// Commits the step, unless the job has changed since it was read.
    async fn commit(&self, session: &mut Session, before: &Job, after: Job) -> Result<Next> {
        let open = session.open.as_ref().expect("a step runs in a transaction");
        let key = job_key(self.id);
        let options = ReadOptions::locking(LockStrength::Exclusive);
        let stored = open.txn.get(&key, options).await.map_err(sql_error)?;
        if stored.map(|bytes| Job::decode(&bytes)).transpose()?.as_ref() != Some(before) {
            return Err(changed());
        }
        open.txn.put(key, after.encode()).map_err(sql_error)?;
        session.commit_transaction().await?;
        Ok(Next::Again)
    }

    fn ended(session: &Session, job: &Job, state: JobState) -> Job {
        Job { state, finished: Some(session.services.now_micros()), ..job.clone() }
    }

    async fn end_canceled(&self, session: &mut Session, job: Job) -> Result<Next> {
        self.begin(session).await?;
        let after = Job { error: Some(canceled()), ..Self::ended(session, &job, JobState::Canceled) };
        self.commit(session, &job, after).await
    }

    /// Makes the index part of the table, to be written only.
    async fn introduce(&self, session: &mut Session, job: Job) -> Result<Next> {
        let known = session.services.catalog.current().tables.get(&job.table).cloned();
        let known = known.ok_or_else(|| gone(SqlState::UNDEFINED_TABLE, "table"))?;
        let table = self.begin_change(session, &known).await?;
        let mut index = job.index.clone();
        let mut columns =
            index.columns.iter().map(|column| column.column).chain(index.stored.iter().copied());
        if columns.any(|column| table.column(column).is_none()) {
            return Err(gone(SqlState::UNDEFINED_COLUMN, "column"));
        }
        index.id = table.next_index_id;
        index.state = IndexState::WriteOnly;
        session.claim_relation_name(table.schema_id, &index.name, index.oid).await?;
        let mut changed = Table::clone(&table);
        changed.next_index_id += 1;
        changed.indexes.push(index.clone());
        session.write_table(changed)?;
        let after = Job { index, state: JobState::Running, ..job.clone() };
        self.commit(session, &job, after).await
    }

    /// The table as it is now, and where its index is; `None` when either is gone.
    fn target(session: &Session, job: &Job) -> Option<(Arc<Table>, usize)> {
        let table = session.catalog_snapshot().tables.get(&job.table).cloned()?;
        let position = table.indexes.iter().position(|index| index.oid == job.index.oid)?;
        Some((table, position))
    }

    /// Adds the entries of some rows.
    async fn fill_page(&self, session: &mut Session, job: Job) -> Result<Next> {
        session.lock_table(job.table, TableLockMode::Shared).await?;
        self.begin(session).await?;
        let Some((table, position)) = Self::target(session, &job) else {
            // Somebody has dropped it.
            let after = Job { error: Some(dropped()), ..Self::ended(session, &job, JobState::Canceled) };
            return self.commit(session, &job, after).await;
        };
        let txn = session.open.as_ref().expect("begun above").txn.clone();
        if session.services.catalog.changed_at(table.id) >= txn.read_timestamp() {
            txn.catch_up(session.services.catalog.changed_at(table.id).next()).await.map_err(sql_error)?;
        }
        let of = (table.primary().id, table.indexes[position].id);
        let mut progress = job.progress.clone();
        if progress.of != of {
            progress = Progress { of, ..Progress::default() };
        }
        let mut span = index_span(table.id, of.0);
        if let Some(resume) = &progress.resume {
            span.start = resume.clone();
        }
        let mut request = ScanRequest::new(span);
        request.rows_max = self.page_rows;
        if self.page_rows < PAGE_ROWS_LOCKED {
            request.read = ReadOptions::locking(LockStrength::Exclusive);
        }
        let page = txn.scan(request).await.map_err(sql_error)?;
        let ScanBatch::Rows(entries) = page.batch else {
            return Err(SqlError::internal("a scan was answered with something else"));
        };
        let codec = EntryCodec::new(&table, 0);
        let wanted: Vec<usize> = (0..table.columns.len()).collect();
        let mut rows = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let mut row = Row::new();
            codec.decode_into(&key, &value, &wanted, &mut row)?;
            rows.push(row);
        }
        add_entries(session, &table, position, &rows).await?;
        progress.rows += rows.len() as u64;
        progress.is_filled = page.resume.is_none();
        progress.resume = page.resume.map(|rest| rest.start);
        let after = Job { progress, ..job.clone() };
        self.commit(session, &job, after).await
    }

    /// Counts entries and rows as of one moment.
    async fn prove(&self, session: &mut Session, job: &Job) -> Result<()> {
        session.lock_table(job.table, TableLockMode::Shared).await?;
        let now = session.services.client.now().map_err(sql_error)?;
        session.open_transaction(Modes { as_of: Some(now), ..Modes::default() })?;
        session.check_cluster().await?;
        let proven = match Self::target(session, job) {
            // The next step says so.
            None => Ok(()),
            Some((table, position))
                if (table.primary().id, table.indexes[position].id) == job.progress.of =>
            {
                let rows = count_entries(session, index_span(table.id, job.progress.of.0)).await?;
                let entries = count_entries(session, index_span(table.id, job.progress.of.1)).await?;
                let name = &table.indexes[position].name;
                if rows == entries {
                    Ok(())
                } else {
                    let what = format!("index \"{name}\" has {entries} entries for {rows} rows");
                    Err(SqlError::internal(what))
                }
            }
            Some(_) => Ok(()),
        };
        session.abort_transaction().await;
        proven
    }

    /// Lets the index be read.
    async fn publish(&self, session: &mut Session, job: Job) -> Result<Next> {
        let Some((known, _)) = Self::target(session, &job) else {
            self.begin(session).await?;
            let after = Job { error: Some(dropped()), ..Self::ended(session, &job, JobState::Canceled) };
            return self.commit(session, &job, after).await;
        };
        let table = self.begin_change(session, &known).await?;
        let position = table.indexes.iter().position(|index| index.oid == job.index.oid);
        let filled = |position: &usize| (table.primary().id, table.indexes[*position].id) == job.progress.of;
        let Some(position) = position.filter(filled) else {
            // It has been dropped, or begins again.
            let after = Job { progress: Progress::default(), ..job.clone() };
            return self.commit(session, &job, after).await;
        };
        let mut changed = Table::clone(&table);
        changed.indexes[position].state = IndexState::Public;
        session.write_table(changed)?;
        let after = Self::ended(session, &job, JobState::Succeeded);
        self.commit(session, &job, after).await
    }

    /// Takes the index out of the table again.
    async fn withdraw(&self, session: &mut Session, job: Job) -> Result<Next> {
        let was_canceled = job.error.as_ref().is_some_and(|error| error.sqlstate == SqlState::QUERY_CANCELED);
        let state = if was_canceled { JobState::Canceled } else { JobState::Failed };
        let Some((known, _)) = Self::target(session, &job) else {
            self.begin(session).await?;
            let after = Self::ended(session, &job, state);
            return self.commit(session, &job, after).await;
        };
        let table = self.begin_change(session, &known).await?;
        if let Some(position) = table.indexes.iter().position(|index| index.oid == job.index.oid) {
            let mut changed = Table::clone(&table);
            let index = changed.indexes.remove(position);
            session.write_table(changed)?;
            session.release_relation_name(table.schema_id, &index.name, index.oid).await?;
            session.discard_index(table.id, index.id)?;
        }
        let after = Self::ended(session, &job, state);
        self.commit(session, &job, after).await
    }
}

/// Writes the entries of rows that the transaction has read.
async fn add_entries(session: &Session, table: &Arc<Table>, position: usize, rows: &[Row]) -> Result<()> {
    let txn = &session.open.as_ref().expect("a step runs in a transaction").txn;
    let (primary, codec) = (EntryCodec::new(table, 0), EntryCodec::new(table, position));
    let is_unique = |row: &Row| {
        table.indexes[position].unique && codec.key_positions().all(|column| !row[column].is_null())
    };
    let mut taken: Vec<(Key, usize)> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        if is_unique(row) {
            taken.push((codec.encode(row)?.key, number));
        }
    }
    taken.sort();
    if let Some(pair) = taken.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(duplicated(session, table, position, &rows[pair[1].1]));
    }
    let keys: Vec<Key> = taken.iter().map(|(key, _)| key.clone()).collect();
    if !keys.is_empty() {
        let options =
            ReadOptions { lock: Some(LockStrength::Exclusive), latest: true, ..ReadOptions::default() };
        let found = txn.get_many(&keys, options).await.map_err(sql_error)?;
        for ((key, number), value) in taken.iter().zip(found) {
            let Some(value) = value else { continue };
            if codec.primary_key_of(key, &value, &primary)? != primary.key_of_row(&rows[*number]) {
                return Err(duplicated(session, table, position, &rows[*number]));
            }
        }
    }
    for row in rows {
        let entry = codec.encode(row)?;
        txn.put(entry.key, entry.value).map_err(sql_error)?;
    }
    Ok(())
}

/// `23505`, worded as PostgreSQL's.
fn duplicated(session: &Session, table: &Table, position: usize, row: &[Datum]) -> SqlError {
    let index = &table.indexes[position];
    let columns: Vec<usize> =
        index.columns.iter().filter_map(|column| table.position(column.column)).collect();
    let io = session.io_settings();
    let names: Vec<&str> = columns.iter().map(|&column| &table.columns[column].name[..]).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|&column| {
            let mut text = String::new();
            text_out(&row[column], table.columns[column].ty, &io, &mut text);
            text
        })
        .collect();
    SqlError::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{}\"", index.name))
        .with_detail(format!("Key ({})=({}) is duplicated.", names.join(", "), values.join(", ")))
        .with_table(&table.schema, &table.name)
        .with_constraint(&index.name)
}

fn gone(sqlstate: SqlState, what: &str) -> SqlError {
    SqlError::new(sqlstate, format!("a {what} of the index has been dropped meanwhile"))
}

fn changed() -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, "the job or its table has changed meanwhile")
}

fn canceled() -> JobError {
    JobError::of(&SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"))
}

fn dropped() -> JobError {
    JobError::of(&SqlError::new(SqlState::QUERY_CANCELED, "the index has been dropped while it was built"))
}
