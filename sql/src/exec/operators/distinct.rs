//! DISTINCT and DISTINCT ON.
//!
//! DISTINCT keeps the rows seen in a hash table and lets new ones pass at once. DISTINCT ON reads sorted input and lets
//! the first row of each group pass.

use basalt_env::BoxFuture;
use basalt_planner::{Expr, Plan};
use basalt_types::{Datum, Result, Row};

use super::{Stream, build};
use crate::exec::{
    RowStream,
    eval::evaluator::RowEvaluator,
    key::{Comparison, KeyTable, comparisons},
    memory::Reservation,
    scope::{Scope, row_bytes},
};

pub(super) async fn open(input: &Plan, on: &[Expr], scope: &Scope) -> Result<Stream> {
    let stream = build(input, scope).await?;
    if on.is_empty() {
        let rows = DistinctRows::new(comparisons(input.columns.iter().map(|(_, ty)| *ty)), scope);
        return Ok(Box::new(Distinct { input: stream, rows, scope: scope.clone() }));
    }
    Ok(Box::new(DistinctOn {
        input: stream,
        on: RowEvaluator::new(on, &input.columns, scope)?,
        comparisons: comparisons(on.iter().map(Expr::ty)),
        last: None,
        scope: scope.clone(),
    }))
}

/// The distinct rows seen so far, within the statement's memory.
pub(super) struct DistinctRows {
    table: KeyTable,
    scratch: Vec<Datum>,
    memory: Reservation,
}

impl DistinctRows {
    pub fn new(columns: Vec<Comparison>, scope: &Scope) -> Self {
        Self {
            table: KeyTable::new(columns),
            scratch: Vec::new(),
            memory: Reservation::new(&scope.context.memory),
        }
    }

    /// Whether the row is new.
    pub fn insert(&mut self, row: &[Datum]) -> Result<bool> {
        self.scratch.clear();
        self.scratch.extend_from_slice(row);
        let (_, new) = self.table.insert(&mut self.scratch);
        if new {
            self.memory.grow(row_bytes(row) + KeyTable::ENTRY_BYTES)?;
        }
        Ok(new)
    }
}

struct Distinct {
    input: Stream,
    rows: DistinctRows,
    scope: Scope,
}

impl RowStream for Distinct {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            while let Some(batch) = self.input.next_batch().await? {
                self.scope.checkpoint().await?;
                let mut kept = Vec::with_capacity(batch.len());
                for row in batch {
                    if self.rows.insert(&row)? {
                        kept.push(row);
                    }
                }
                if !kept.is_empty() {
                    return Ok(Some(kept));
                }
            }
            Ok(None)
        })
    }
}

struct DistinctOn {
    input: Stream,
    on: RowEvaluator,
    comparisons: Vec<Comparison>,
    last: Option<Row>,
    scope: Scope,
}

impl RowStream for DistinctOn {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            let mut key = Row::new();
            while let Some(batch) = self.input.next_batch().await? {
                self.scope.checkpoint().await?;
                let mut kept = Vec::new();
                for row in batch {
                    key.clear();
                    self.on.evaluate_all(&self.scope, &row, &mut key).await?;
                    let same = self.last.as_ref().is_some_and(|last| {
                        self.comparisons.iter().zip(last.iter().zip(&key)).all(|(c, (a, b))| c.equal(a, b))
                    });
                    if !same {
                        self.last = Some(std::mem::take(&mut key));
                        kept.push(row);
                    }
                }
                if !kept.is_empty() {
                    return Ok(Some(kept));
                }
            }
            Ok(None)
        })
    }
}
