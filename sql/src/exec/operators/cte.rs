//! WITH.
//!
//! A common table expression is run by whoever reads it first, only as far as it is read, and its rows are kept for the
//! other readers. One that changes data is run to its end after the body, as PostgreSQL does; what the statement means for
//! foreign keys is seen to when all of its parts are done. A recursive one gives its rows as they are found, so that a
//! LIMIT above ends an endless recursion.

use std::sync::Arc;

use basalt_env::BoxFuture;
use basalt_planner::{Plan, PlanNode};
use basalt_types::{Result, Row, SqlError};

use super::{Stream, build, distinct::DistinctRows};
use crate::exec::{
    RowStream, RowsStream,
    key::comparisons,
    memory::Reservation,
    referential,
    scope::{Cte, Scope, SharedCte, row_bytes},
};

struct With {
    cte: u32,
    shared: Arc<SharedCte>,
    /// The definition changes data and has not been run to its end.
    run_rest: bool,
    body: Stream,
    scope: Scope,
}

pub(super) async fn with(cte: u32, definition: &Plan, body: &Plan, scope: &Scope) -> Result<Stream> {
    let memory = Reservation::new(&scope.context.memory);
    let shared = Arc::new(SharedCte::new(Arc::new(definition.clone()), memory));
    let previous = scope.ctes.lock().insert(cte, Cte::Shared(shared.clone()));
    drop(previous);
    let run_rest = changes_data(definition);
    if run_rest {
        // Before the operators that change data are opened: they ask who else does.
        scope.context.changes.enter(definition, body);
    }
    let body = build(body, scope).await?;
    Ok(Box::new(With { cte, shared, run_rest, body, scope: scope.clone() }))
}

/// Whether running the plan has an effect beside its rows.
fn changes_data(plan: &Plan) -> bool {
    match &plan.node {
        PlanNode::Insert(_) | PlanNode::Update(_) | PlanNode::Delete(_) => true,
        PlanNode::Project { input, .. } | PlanNode::Filter { input, .. } => changes_data(input),
        PlanNode::With { definition, body, .. } => changes_data(definition) || changes_data(body),
        _ => false,
    }
}

impl RowStream for With {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            let batch = self.body.next_batch().await?;
            if batch.is_none() && std::mem::take(&mut self.run_rest) {
                Box::pin(run_rest(&self.shared, &self.scope)).await?;
                let consequences = self.scope.context.changes.leave();
                Box::pin(referential::complete(&self.scope.context, consequences)).await?;
            }
            Ok(batch)
        })
    }

    fn affected(&self) -> u64 {
        self.body.affected()
    }
}

impl Drop for With {
    fn drop(&mut self) {
        // The definition's stream refers to the scope and the scope to it: the circle is cut here. What is taken out is
        // dropped after the lock, because dropping it may come here again.
        let mut ctes = self.scope.ctes.lock();
        let own =
            matches!(ctes.get(&self.cte), Some(Cte::Shared(shared)) if Arc::ptr_eq(shared, &self.shared));
        let removed = if own { ctes.remove(&self.cte) } else { None };
        drop(ctes);
        drop(removed);
        let running = self.shared.state.try_lock().ok().and_then(|mut state| state.stream.take());
        drop(running);
    }
}

/// Batch `position` of a common table expression; runs the definition when nobody has read so far yet.
async fn read_shared(shared: &SharedCte, position: usize, scope: &Scope) -> Result<Option<Arc<Vec<Row>>>> {
    let mut state = shared.state.lock().await;
    if let Some(batch) = state.batches.get(position) {
        return Ok(Some(batch.clone()));
    }
    if !state.started {
        state.started = true;
        state.stream = Some(build(&shared.definition, scope).await?);
    }
    let Some(stream) = &mut state.stream else { return Ok(None) };
    match stream.next_batch().await? {
        Some(batch) => {
            state.memory.grow(batch.iter().map(|row| row_bytes(row)).sum())?;
            let batch = Arc::new(batch);
            state.batches.push(batch.clone());
            Ok(Some(batch))
        }
        None => {
            state.stream = None;
            Ok(None)
        }
    }
}

/// Runs what nobody has read of a definition; nobody reads it any more.
async fn run_rest(shared: &SharedCte, scope: &Scope) -> Result<()> {
    let mut state = shared.state.lock().await;
    state.batches = Vec::new();
    state.memory.clear();
    if !state.started {
        state.started = true;
        state.stream = Some(build(&shared.definition, scope).await?);
    }
    while let Some(stream) = &mut state.stream {
        scope.checkpoint().await?;
        if stream.next_batch().await?.is_none() {
            state.stream = None;
        }
    }
    Ok(())
}

struct CteScan {
    shared: Arc<SharedCte>,
    position: usize,
    scope: Scope,
}

pub(super) async fn scan(cte: u32, scope: &Scope) -> Result<Stream> {
    let found = scope.ctes.lock().get(&cte).cloned();
    match found {
        Some(Cte::Shared(shared)) => Ok(Box::new(CteScan { shared, position: 0, scope: scope.clone() })),
        Some(Cte::Rows(rows)) => Ok(Box::new(RowsStream::new(rows.to_vec()))),
        None => Err(SqlError::internal(format!("common table expression {cte} is not in scope"))),
    }
}

impl RowStream for CteScan {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            self.scope.checkpoint().await?;
            let batch = read_shared(&self.shared, self.position, &self.scope).await?;
            self.position += 1;
            Ok(batch.map(|rows| rows.to_vec()))
        })
    }
}

struct RecursiveUnion {
    cte: u32,
    step: Arc<Plan>,
    /// The base, then one run of the step after the other.
    stream: Option<Stream>,
    /// What the run under way has found: the next run's working table.
    found: Vec<Row>,
    found_memory: Reservation,
    working_memory: Reservation,
    /// For UNION: every row so far.
    seen: Option<DistinctRows>,
    scope: Scope,
}

pub(super) async fn recursive(
    cte: u32,
    base: &Plan,
    step: &Plan,
    all: bool,
    scope: &Scope,
) -> Result<Stream> {
    let columns = comparisons(base.columns.iter().map(|(_, ty)| *ty));
    Ok(Box::new(RecursiveUnion {
        cte,
        step: Arc::new(step.clone()),
        stream: Some(build(base, scope).await?),
        found: Vec::new(),
        found_memory: Reservation::new(&scope.context.memory),
        working_memory: Reservation::new(&scope.context.memory),
        seen: (!all).then(|| DistinctRows::new(columns, scope)),
        scope: scope.clone(),
    }))
}

impl RecursiveUnion {
    fn keep(&mut self, batch: Vec<Row>) -> Result<Vec<Row>> {
        let mut kept = Vec::with_capacity(batch.len());
        for row in batch {
            let new = match &mut self.seen {
                Some(seen) => seen.insert(&row)?,
                None => true,
            };
            if new {
                self.found_memory.grow(row_bytes(&row))?;
                kept.push(row);
            }
        }
        self.found.extend_from_slice(&kept);
        Ok(kept)
    }

    /// Runs the step over what the last run found; ends when that was nothing.
    async fn next_run(&mut self) -> Result<()> {
        self.stream = None;
        let working = std::mem::take(&mut self.found);
        self.working_memory.clear();
        std::mem::swap(&mut self.found_memory, &mut self.working_memory);
        if working.is_empty() {
            let rows = self.scope.ctes.lock().remove(&self.cte);
            drop(rows);
            return Ok(());
        }
        let previous = self.scope.ctes.lock().insert(self.cte, Cte::Rows(Arc::new(working)));
        drop(previous);
        self.stream = Some(build(&self.step, &self.scope).await?);
        Ok(())
    }
}

impl RowStream for RecursiveUnion {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while let Some(stream) = &mut self.stream {
                self.scope.checkpoint().await?;
                match stream.next_batch().await? {
                    Some(batch) => {
                        let kept = self.keep(batch)?;
                        if !kept.is_empty() {
                            return Ok(Some(kept));
                        }
                    }
                    None => self.next_run().await?,
                }
            }
            Ok(None)
        })
    }
}
