//! Planning and running one statement.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use basalt_functions::EvalContext;
use basalt_planner::{
    Field, Plan, PlanNode, PlanSettings, Planned, PlannedBody, analyze_and_plan,
    parse::{ParsedBody, ParsedStatement},
    statement::DmlKind,
};
use basalt_types::{Datum, Oid, Result, Row, SqlError, SqlState};

use super::{
    Session, StatementPlan,
    bind::{Portal, Progress},
    interrupts::Deadline,
    settings::ExecutorChoice,
};
use crate::{
    Cancel, Output,
    error::sql_error,
    exec::{
        self, ExecContext, ExecShared, RowStream, changes::Changes, memory::Reservation, scope::row_bytes,
    },
    locks::TableLockMode,
    plan_cache::{PlanKey, is_current},
};

/// Attempts of a statement that nothing has been sent of.
const ATTEMPTS_MAX: u32 = 30;
/// Replannings when schema changes keep overtaking the planner.
const REPLANS_MAX: usize = 10;
const BROKEN_PROMISE: &str = "cached plan must not change result type";

impl Session {
    /// Plans a statement, or leaves it to be run from its syntax tree.
    pub(crate) async fn plan(
        &mut self,
        parsed: Arc<ParsedStatement>,
        params: &[Oid],
    ) -> Result<StatementPlan> {
        if !is_plannable(&parsed) {
            return Ok(StatementPlan { parsed, planned: None });
        }
        let planned = match self.plan_query(&parsed, params) {
            Err(error) if is_undefined(&error) && Box::pin(self.learns_from_cluster()).await? => {
                self.plan_query(&parsed, params)
            }
            planned => planned,
        };
        let planned = Some(planned?);
        Ok(StatementPlan { parsed, planned })
    }

    pub(crate) fn plan_query(&self, parsed: &ParsedStatement, params: &[Oid]) -> Result<Arc<Planned>> {
        let view = self.catalog_view();
        let key = PlanKey {
            text: parsed.text.clone(),
            params: params.to_vec(),
            database: self.database.id,
            search_path: view.searched_schemas().into(),
            user: self.shared.user.clone(),
            time_zone: self.shared.settings.lock().hot().io.time_zone.clone(),
        };
        let own_schema = self.open.as_ref().is_some_and(|open| open.schema_changes.is_some());
        if !own_schema && let Some(planned) = self.services.plans.get(&key, &view.snapshot) {
            return Ok(planned);
        }
        let eval = self.eval_context(Arc::new([]));
        let settings = PlanSettings { declared_params: params, eval: &eval };
        let planned = Arc::new(analyze_and_plan(parsed, &*view, &settings)?);
        if !own_schema {
            self.services.plans.put(key, planned.clone());
        }
        Ok(planned)
    }

    /// Locks every table the plan names, planning again when one changed meanwhile. The client was told the types of
    /// the parameters and of the columns: they stay as they were.
    pub(crate) async fn lock_and_revalidate(
        &mut self,
        parsed: &ParsedStatement,
        promised: &Arc<Planned>,
    ) -> Result<Arc<Planned>> {
        let mut planned = promised.clone();
        for _ in 0..REPLANS_MAX {
            for dependency in &planned.dependencies {
                self.lock_table(dependency.table, TableLockMode::Shared).await?;
            }
            if is_current(&planned, &self.catalog_snapshot()) {
                self.check_descriptors_are_older(&planned).await?;
                return Ok(planned);
            }
            planned = self.replan(parsed, promised)?;
        }
        Err(SqlError::new(SqlState::SERIALIZATION_FAILURE, "schema changes kept interrupting the statement"))
    }

    /// Plans again what has been described as `promised`.
    fn replan(&self, parsed: &ParsedStatement, promised: &Planned) -> Result<Arc<Planned>> {
        let params: Vec<Oid> = promised.params.iter().map(|ty| ty.oid).collect();
        let planned = self.plan_query(parsed, &params)?;
        let columns = |planned: &Planned| {
            planned.fields.iter().map(|field| (field.name.clone(), field.ty)).collect::<Vec<_>>()
        };
        if columns(&planned) != columns(promised) {
            return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, BROKEN_PROMISE));
        }
        Ok(planned)
    }

    /// Whether the statement can still be run as it was described.
    pub(crate) fn check_promise(&self, statement: &StatementPlan) -> Result<()> {
        match &statement.planned {
            Some(promised) if !is_current(promised, &self.catalog_snapshot()) => {
                self.replan(&statement.parsed, promised).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// A transaction that reads below a schema change must not use the changed descriptor.
    async fn check_descriptors_are_older(&mut self, planned: &Planned) -> Result<()> {
        self.check_descriptors_of_then(planned).await?;
        let Some(open) = self.open.as_ref().filter(|open| !open.is_historic) else { return Ok(()) };
        let own_changes = open.schema_changes.is_some();
        let read_ts = open.txn.read_timestamp();
        let catalog = &self.services.catalog;
        let changed = planned.dependencies.iter().map(|on| catalog.changed_at(on.table)).max();
        let changed = changed.unwrap_or_default();
        if changed < read_ts {
            return Ok(());
        }
        if open.used || own_changes {
            return Err(SqlError::new(
                SqlState::SERIALIZATION_FAILURE,
                "could not serialize access due to a concurrent schema change",
            )
            .with_hint("The transaction might succeed if retried."));
        }
        Box::pin(open.txn.restart(basalt_txn::Restart::NewTransaction)).await.map_err(sql_error)?;
        // Another node's clock may be ahead.
        Box::pin(open.txn.catch_up(changed.next())).await.map_err(sql_error)
    }

    pub(crate) async fn lock_table(&self, table: Oid, mode: TableLockMode) -> Result<()> {
        let locks = &self.services.locks;
        if mode == TableLockMode::Exclusive
            && (locks.holds_exclusive(self.id, table) || Box::pin(self.lock_on_all_nodes(table)).await?)
        {
            return Ok(());
        }
        if locks.try_lock(self.id, table, mode) {
            return Ok(());
        }
        let timeout = self.lock_timeout();
        Box::pin(locks.lock(&self.services.env, self.id, table, mode, timeout, &*self.cancel)).await
    }

    /// How long a wait for any lock may last.
    pub(crate) fn lock_timeout(&self) -> Option<Duration> {
        let timeout = self.shared.settings.lock().hot().lock_timeout_ms;
        (timeout > 0).then(|| Duration::from_millis(timeout))
    }

    pub(crate) fn eval_context(&self, params: Arc<[Datum]>) -> Arc<EvalContext> {
        let statement_micros = self.services.now_micros();
        let transaction_micros = self.open.as_ref().map_or(statement_micros, |open| open.start_micros);
        // Functions that ask the catalog see it as it is now.
        self.catalog_view();
        Arc::new(EvalContext {
            transaction_micros,
            statement_micros,
            io: self.io_settings(),
            session: self.shared.clone(),
            params,
        })
    }

    pub(crate) fn exec_context(&self, params: Arc<[Datum]>) -> Result<ExecContext> {
        let open = self.open.as_ref().ok_or_else(|| SqlError::internal("statement outside a transaction"))?;
        open.txn.set_lock_timeout(self.lock_timeout());
        let memory = self.services.memory.statement(self.services.options.statement_memory_bytes);
        Ok(ExecContext::new(ExecShared {
            env: self.services.env.clone(),
            txn: open.txn.clone(),
            eval: self.eval_context(params),
            cancel: self.cancel.clone(),
            passed: AtomicU32::new(0),
            tables: Arc::new(crate::virtual_tables::SessionTables::new(
                self.shared.clone(),
                self.catalog_view(),
                open.read_only,
            )),
            row_ids: self.services.row_ids.clone(),
            changes: Changes::new(&memory),
            memory,
            deferred: open.deferred.clone(),
        }))
    }

    /// Columns a client sees, for a plan.
    pub(crate) fn fields_of(&self, planned: &Planned) -> Vec<Field> {
        match &planned.body {
            PlannedBody::Explain { options, .. } => super::explain::fields(*options),
            _ => planned.fields.clone(),
        }
    }

    /// Opens the stream of a plan on the executor that suits it.
    pub(crate) async fn open_plan(
        &self,
        plan: &Arc<Plan>,
        context: ExecContext,
    ) -> Result<Box<dyn RowStream>> {
        match self.vectorized_for(plan) {
            Some(vectorized) => vectorized.open(plan, context).await,
            None => exec::open(plan, context).await,
        }
    }

    /// The vectorised executor, if the plan should run there.
    pub(crate) fn vectorized_for(&self, plan: &Plan) -> Option<&dyn exec::Vectorized> {
        let vectorized = self.services.vectorized.as_deref()?;
        let wanted = match self.shared.settings.lock().hot().executor {
            ExecutorChoice::Row => false,
            ExecutorChoice::Vectorized => true,
            ExecutorChoice::Auto => {
                plan.cost.max(blocking_cost(plan)) >= self.services.options.vectorized_cost_min
            }
        };
        (wanted && vectorized.refuses(plan).is_none()).then_some(vectorized)
    }

    /// Runs a portal from where it stands.
    pub(crate) async fn run_portal(
        &mut self,
        name: &str,
        portal: &mut Portal,
        max_rows: u32,
        out: &mut dyn Output,
    ) -> Result<()> {
        let prepared = portal.prepared.clone();
        let Some(statement) = &prepared.statement else { return out.empty_query() };
        self.begin_activity(&statement.parsed.text);
        let result = self.run_portal_inner(name, portal, statement, max_rows, out).await;
        self.end_activity();
        result
    }

    async fn run_portal_inner(
        &mut self,
        name: &str,
        portal: &mut Portal,
        statement: &StatementPlan,
        max_rows: u32,
        out: &mut dyn Output,
    ) -> Result<()> {
        if !super::utility::allowed_in_failed_block(&statement.parsed) {
            self.check_not_failed()?;
        }
        self.cancel.check()?;
        match &portal.progress {
            Progress::Done => {
                return match &statement.planned {
                    // An exhausted portal has no more rows.
                    Some(planned) if !planned.fields.is_empty() => out.complete(&command_tag(planned, 0)),
                    _ => Err(SqlError::new(
                        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                        format!("portal \"{name}\" cannot be run"),
                    )),
                };
            }
            Progress::Ready => {
                let Some(planned) = &statement.planned else {
                    portal.progress = Progress::Done;
                    return Box::pin(self.run_utility(
                        &statement.parsed,
                        &portal.prepared.params,
                        &portal.params,
                        out,
                    ))
                    .await;
                };
                self.ensure_transaction_for(&statement.parsed)?;
                let mut stream = self.start(&statement.parsed, planned, &portal.params).await?;
                let mut pending = Vec::new();
                if matches!(planned.body, PlannedBody::Dml { .. }) {
                    // A data change happens whole, however few of its rows are fetched.
                    let deadline = self.deadline();
                    let work = async {
                        while let Some(batch) = stream.next_batch().await? {
                            pending.extend(batch);
                        }
                        Ok(())
                    };
                    with_deadline(deadline, work).await?;
                    self.note_affected(planned, stream.affected());
                }
                portal.progress =
                    Progress::Rows { pending: pending.into_iter(), stream: Some(stream.into()) };
            }
            Progress::Rows { .. } => {}
        }
        let cancel = self.cancel.clone();
        let tag = with_deadline(self.deadline(), send_rows(portal, max_rows, out, &*cancel)).await?;
        let Some(counted) = tag else { return out.suspended() };
        let planned = statement.planned.as_ref().expect("rows come from a plan");
        out.complete(&command_tag(planned, counted))
    }

    /// Begins a statement of a plan: locks, snapshot, stream.
    pub(crate) async fn start(
        &mut self,
        parsed: &ParsedStatement,
        planned: &Arc<Planned>,
        params: &Arc<[Datum]>,
    ) -> Result<Box<dyn RowStream>> {
        self.check_cluster().await?;
        let planned = self.lock_and_revalidate(parsed, planned).await?;
        if let PlannedBody::Explain { inner, options } = &planned.body {
            return Box::pin(self.explain(inner, *options, params.clone())).await;
        }
        let open = self.open.as_mut().ok_or_else(|| SqlError::internal("statement outside a transaction"))?;
        open.used = true;
        let plan = match &planned.body {
            PlannedBody::Query(plan) => plan,
            PlannedBody::Dml { plan, kind } => {
                if open.read_only {
                    return Err(SqlError::new(
                        SqlState::READ_ONLY_SQL_TRANSACTION,
                        format!("cannot execute {} in a read-only transaction", dml_name(*kind)),
                    ));
                }
                plan
            }
            PlannedBody::Explain { .. } | PlannedBody::Utility(_) | PlannedBody::Own(_) => {
                return Err(SqlError::internal("statement has no plan"));
            }
        };
        open.txn.statement();
        let context = self.exec_context(params.clone())?;
        self.open_plan(plan, context).await
    }

    /// Runs a planned statement in an implicit transaction of its own and commits it, again after conflicts as long as
    /// nothing has been sent.
    pub(crate) async fn run_autocommit(
        &mut self,
        statement: &StatementPlan,
        params: &Arc<[Datum]>,
        out: &mut dyn Output,
    ) -> Result<()> {
        let planned = statement.planned.as_ref().expect("a planned statement");
        let mut attempt = 1;
        let mut told = Told::default();
        loop {
            match self.try_autocommit(statement, planned, params, out, &mut told).await {
                Ok(tag) => return out.complete(&tag),
                Err(error) => {
                    self.abort_transaction().await;
                    if told.rows || attempt == ATTEMPTS_MAX || !is_retryable(&error) {
                        return Err(error);
                    }
                    self.cancel.check()?;
                    attempt += 1;
                }
            }
        }
    }

    async fn try_autocommit(
        &mut self,
        statement: &StatementPlan,
        planned: &Arc<Planned>,
        params: &Arc<[Datum]>,
        out: &mut dyn Output,
        told: &mut Told,
    ) -> Result<String> {
        self.ensure_transaction_for(&statement.parsed)?;
        let deadline = self.deadline();
        let fields = self.fields_of(planned);
        let is_dml = matches!(planned.body, PlannedBody::Dml { .. });
        // Rows of a data-modifying statement wait for the commit, so that a conflict can still be retried.
        let mut held: Vec<Row> = Vec::new();
        let budget = self.services.memory.statement(self.services.options.statement_memory_bytes);
        let mut held_memory = Reservation::new(&budget);
        let work = async {
            let mut stream = self.start(&statement.parsed, planned, params).await?;
            let mut rows = 0_u64;
            if !is_dml && !fields.is_empty() && !told.columns {
                told.columns = true;
                out.fields(&fields)?;
            }
            while let Some(batch) = stream.next_batch().await? {
                rows += batch.len() as u64;
                if is_dml {
                    held_memory.grow(batch.iter().map(|row| row_bytes(row)).sum())?;
                    held.extend(batch);
                    continue;
                }
                told.rows = true;
                for row in &batch {
                    out.row(row)?;
                }
                if out.is_full() {
                    out.flush().await?;
                }
            }
            let affected = if counts_changes(planned) { stream.affected() } else { rows };
            drop(stream);
            self.note_affected(planned, affected);
            Ok(affected)
        };
        let affected = with_deadline(deadline, work).await?;
        // Not interrupted: a commit cut short may still take effect, and the client would be told that it had not.
        self.commit_transaction().await?;
        if is_dml && !fields.is_empty() {
            (told.columns, told.rows) = (true, true);
            out.fields(&fields)?;
            for row in &held {
                out.row(row)?;
                if out.is_full() {
                    out.flush().await?;
                }
            }
        }
        Ok(command_tag(planned, affected))
    }

    /// Runs a planned statement inside the open transaction.
    pub(crate) async fn run_in_transaction(
        &mut self,
        statement: &StatementPlan,
        out: &mut dyn Output,
    ) -> Result<()> {
        let planned = statement.planned.as_ref().expect("a planned statement");
        let deadline = self.deadline();
        let fields = self.fields_of(planned);
        let params: Arc<[Datum]> = Arc::new([]);
        let work = async {
            let mut stream = self.start(&statement.parsed, planned, &params).await?;
            if !fields.is_empty() {
                out.fields(&fields)?;
            }
            let mut rows = 0_u64;
            while let Some(batch) = stream.next_batch().await? {
                // The node may have been given up while it read.
                Cancel::check(&*self.cancel)?;
                rows += batch.len() as u64;
                for row in &batch {
                    out.row(row)?;
                }
                if out.is_full() {
                    out.flush().await?;
                }
            }
            Ok(if counts_changes(planned) { stream.affected() } else { rows })
        };
        let affected = with_deadline(deadline, work).await?;
        self.note_affected(planned, affected);
        out.complete(&command_tag(planned, affected))
    }

    fn note_affected(&mut self, planned: &Planned, affected: u64) {
        if let PlannedBody::Dml { plan, kind } = &planned.body
            && let Some(open) = &mut self.open
        {
            let rows = i64::try_from(affected).unwrap_or(i64::MAX);
            match (&plan.node, kind) {
                (PlanNode::Insert(insert), _) => open.row_deltas.push((insert.table.id, rows)),
                (PlanNode::Delete(delete), _) => open.row_deltas.push((delete.table.id, -rows)),
                _ => {}
            }
        }
    }

    /// Begins the time that `statement_timeout` leaves a statement.
    pub(crate) fn deadline(&self) -> Deadline {
        let ms = self.shared.settings.lock().hot().statement_timeout_ms;
        self.cancel.begin(ms)
    }
}

/// What the client has heard of a statement over all its attempts. The columns are the same in each: see
/// [`Session::lock_and_revalidate`].
#[derive(Default)]
struct Told {
    columns: bool,
    rows: bool,
}

/// Runs `work` until it ends, its time is over or the client cancels.
pub(crate) async fn with_deadline<T>(deadline: Deadline, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::pin!(work);
    // Most statements finish without waiting: no registration for cancellation then.
    if let Some(done) = futures::FutureExt::now_or_never(std::future::poll_fn(|cx| work.as_mut().poll(cx))) {
        return done;
    }
    tokio::select! {
        biased;
        done = &mut work => done,
        error = deadline.interrupted() => Err(error),
    }
}

/// Sends rows until the portal is exhausted (`Some`, with the number that its command tag shows: rows of this execution,
/// not of those before) or `max_rows` were sent (`None`).
async fn send_rows(
    portal: &mut Portal,
    max_rows: u32,
    out: &mut dyn Output,
    cancel: &dyn Cancel,
) -> Result<Option<u64>> {
    let Progress::Rows { pending, stream } = &mut portal.progress else {
        return Err(SqlError::internal("portal is not running"));
    };
    if let Some(passed) = portal.passed.take() {
        // A cursor that FETCH has moved is read forwards from where it stands.
        *pending = passed.ahead().chain(pending.by_ref()).collect::<Vec<_>>().into_iter();
    }
    let returns_rows = !portal.prepared.fields.is_empty();
    if returns_rows {
        out.fields(&portal.prepared.fields)?;
    }
    let most = if max_rows == 0 { u64::MAX } else { u64::from(max_rows) };
    let mut sent = 0;
    loop {
        cancel.check()?;
        for row in pending.by_ref() {
            out.row(&row)?;
            sent += 1;
            if sent == most {
                return Ok(None);
            }
        }
        if out.is_full() {
            out.flush().await?;
        }
        let Some(running) = stream else { return Ok(Some(sent)) };
        match running.get_mut().next_batch().await? {
            Some(batch) => *pending = batch.into_iter(),
            None => {
                let affected = running.get_mut().affected();
                portal.progress = Progress::Done;
                return Ok(Some(if returns_rows { sent } else { affected.max(sent) }));
            }
        }
    }
}

pub(crate) fn is_retryable(error: &SqlError) -> bool {
    matches!(error.sqlstate(), SqlState::SERIALIZATION_FAILURE | SqlState::DEADLOCK_DETECTED)
}

/// The statement would answer otherwise than it was described. It has not begun.
pub(crate) fn is_broken_promise(error: &SqlError) -> bool {
    error.message() == BROKEN_PROMISE
}

/// Something that the statement names was not found.
fn is_undefined(error: &SqlError) -> bool {
    let undefined = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_OBJECT, SqlState::INVALID_SCHEMA_NAME];
    undefined.contains(&error.sqlstate())
}

/// Queries, data changes and EXPLAIN go through the planner.
pub(crate) fn is_plannable(parsed: &ParsedStatement) -> bool {
    use sqlparser::ast::Statement;
    match &parsed.body {
        ParsedBody::Sql(statement) => matches!(
            **statement,
            Statement::Query(_)
                | Statement::Insert(_)
                | Statement::Update(_)
                | Statement::Delete(_)
                | Statement::Explain { .. }
        ),
        ParsedBody::Utility(_) => false,
    }
}

/// Whether the command tag counts changed rows, not those returned.
fn counts_changes(planned: &Planned) -> bool {
    matches!(&planned.body, PlannedBody::Dml { kind, .. } if *kind != DmlKind::Select)
}

fn dml_name(kind: DmlKind) -> &'static str {
    match kind {
        DmlKind::Insert => "INSERT",
        DmlKind::Update => "UPDATE",
        DmlKind::Delete => "DELETE",
        DmlKind::Select => "SELECT",
    }
}

fn command_tag(planned: &Planned, affected: u64) -> String {
    match &planned.body {
        PlannedBody::Query(_) => format!("SELECT {affected}"),
        PlannedBody::Dml { kind: DmlKind::Insert, .. } => format!("INSERT 0 {affected}"),
        PlannedBody::Dml { kind, .. } => format!("{} {affected}", dml_name(*kind)),
        PlannedBody::Explain { .. } | PlannedBody::Utility(_) | PlannedBody::Own(_) => "EXPLAIN".to_owned(),
    }
}

/// What is spent before the first row, however few are wanted: below a LIMIT the estimate counts only a share of it.
fn blocking_cost(plan: &Plan) -> f64 {
    match &plan.node {
        PlanNode::Limit { input, .. } | PlanNode::Project { input, .. } | PlanNode::Filter { input, .. } => {
            blocking_cost(input)
        }
        PlanNode::Sort { .. } | PlanNode::Aggregate(_) | PlanNode::Window { .. } => plan.cost,
        _ => 0.0,
    }
}
