//! Nested-loop joins, which can do every kind of join under every condition.
//!
//! The right side is read once and kept, unless it refers to the left row (LATERAL): then it is run per left row.

use std::sync::Arc;

use basalt_env::BoxFuture;
use basalt_planner::{ColumnId, Expr, Plan, free_columns, plan::JoinKind};
use basalt_types::{Datum, Result, Row, SqlError, SqlType};

use super::{Stream, build};
use crate::exec::{
    BATCH_ROWS, RowStream,
    eval::evaluator::RowEvaluator,
    memory::Reservation,
    scope::{Scope, row_bytes},
};

/// The condition of a join over combined rows; only `true` matches.
pub(super) struct JoinCondition {
    condition: Option<RowEvaluator>,
}

impl JoinCondition {
    pub fn new<'a>(
        conditions: impl IntoIterator<Item = &'a Expr>,
        left: &[(ColumnId, SqlType)],
        right: &[(ColumnId, SqlType)],
        scope: &Scope,
    ) -> Result<Self> {
        let layout: Vec<(ColumnId, SqlType)> = left.iter().chain(right).copied().collect();
        let condition = RowEvaluator::new(conditions, &layout, scope)?;
        Ok(Self { condition: (!condition.exprs().is_empty()).then_some(condition) })
    }

    pub async fn holds(&mut self, scope: &Scope, row: &[Datum]) -> Result<bool> {
        let Some(condition) = &mut self.condition else { return Ok(true) };
        condition.next_row();
        for index in 0..condition.exprs().len() {
            let value = if condition.has_subqueries() {
                condition.evaluate(index, scope, row).await?
            } else {
                condition.evaluate_now(index, scope, row)?
            };
            if value != Datum::Bool(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// `row` followed by NULLs.
pub(super) fn pad_right(mut row: Row, width: usize) -> Row {
    row.resize(row.len() + width, Datum::Null);
    row
}

/// NULLs followed by `row`.
pub(super) fn pad_left(row: &[Datum], width: usize) -> Row {
    let mut padded = Row::with_capacity(width + row.len());
    padded.resize(width, Datum::Null);
    padded.extend_from_slice(row);
    padded
}

enum Right {
    Unread(Stream),
    Read,
    /// Run per left row, which gives these columns.
    Lateral {
        plan: Arc<Plan>,
        columns: Vec<(ColumnId, usize)>,
        stream: Option<Stream>,
    },
}

/// The left row being joined, at the front of `combined`.
struct Current {
    row: Row,
    matched: bool,
}

struct NestedLoop {
    kind: JoinKind,
    left: Option<Stream>,
    left_batch: std::vec::IntoIter<Row>,
    left_width: usize,
    right: Right,
    right_width: usize,
    /// All right rows, or a batch of the current row's.
    right_rows: Vec<Row>,
    position: usize,
    /// Per right row, for RIGHT and FULL.
    right_matched: Vec<bool>,
    current: Option<Current>,
    combined: Row,
    condition: JoinCondition,
    memory: Reservation,
    scope: Scope,
}

pub(super) async fn open(
    kind: JoinKind,
    left: &Plan,
    right: &Plan,
    on: Option<&Expr>,
    lateral: bool,
    scope: &Scope,
) -> Result<Stream> {
    if lateral && matches!(kind, JoinKind::Right | JoinKind::Full) {
        return Err(SqlError::internal("a lateral join can't preserve its right side"));
    }
    let side = if lateral {
        let read = free_columns(right);
        let position = |id: ColumnId| left.columns.iter().position(|(column, _)| *column == id);
        let columns = read.iter().filter_map(|(id, _)| position(*id).map(|slot| (*id, slot))).collect();
        Right::Lateral { plan: Arc::new(right.clone()), columns, stream: None }
    } else {
        Right::Unread(build(right, scope).await?)
    };
    Ok(Box::new(NestedLoop {
        kind,
        left: Some(build(left, scope).await?),
        left_batch: Vec::new().into_iter(),
        left_width: left.columns.len(),
        right: side,
        right_width: right.columns.len(),
        right_rows: Vec::new(),
        position: 0,
        right_matched: Vec::new(),
        current: None,
        combined: Row::new(),
        condition: JoinCondition::new(on, &left.columns, &right.columns, scope)?,
        memory: Reservation::new(&scope.context.memory),
        scope: scope.clone(),
    }))
}

impl NestedLoop {
    fn keeps_right(&self) -> bool {
        matches!(self.kind, JoinKind::Right | JoinKind::Full)
    }

    /// Makes the next left row current; false when there is none.
    async fn next_left(&mut self) -> Result<bool> {
        let row = loop {
            if let Some(row) = self.left_batch.next() {
                break row;
            }
            let Some(left) = &mut self.left else { return Ok(false) };
            self.scope.checkpoint().await?;
            match left.next_batch().await? {
                Some(batch) => self.left_batch = batch.into_iter(),
                None => {
                    self.left = None;
                    return Ok(false);
                }
            }
        };
        if let Right::Unread(_) = self.right {
            self.read_right().await?;
        }
        if let Right::Lateral { plan, columns, stream } = &mut self.right {
            let values = columns.iter().map(|(id, slot)| (*id, row[*slot].clone()));
            let inner = self.scope.with_outer(values);
            *stream = Some(build(plan, &inner).await?);
            self.right_rows.clear();
        }
        self.position = 0;
        self.combined.clear();
        self.combined.extend_from_slice(&row);
        self.current = Some(Current { row, matched: false });
        Ok(true)
    }

    async fn read_right(&mut self) -> Result<()> {
        let Right::Unread(mut stream) = std::mem::replace(&mut self.right, Right::Read) else {
            return Ok(());
        };
        while let Some(batch) = stream.next_batch().await? {
            self.scope.checkpoint().await?;
            for row in batch {
                self.memory.grow(row_bytes(&row))?;
                self.right_rows.push(row);
            }
        }
        if self.keeps_right() {
            self.memory.grow(self.right_rows.len())?;
            self.right_matched = vec![false; self.right_rows.len()];
        }
        Ok(())
    }

    /// Goes on to the next batch of the current row's right side; false when it has ended.
    async fn more_right(&mut self) -> Result<bool> {
        let Right::Lateral { stream, .. } = &mut self.right else { return Ok(false) };
        let Some(open) = stream else { return Ok(false) };
        self.scope.checkpoint().await?;
        match open.next_batch().await? {
            Some(batch) => {
                self.right_rows = batch;
                self.position = 0;
                Ok(true)
            }
            None => {
                *stream = None;
                Ok(false)
            }
        }
    }

    /// Joins the current row until `out` is full or its right side has ended.
    async fn join_current(&mut self, out: &mut Vec<Row>) -> Result<()> {
        loop {
            let Some(current) = &mut self.current else { return Ok(()) };
            while let Some(right) = self.right_rows.get(self.position) {
                let position = self.position;
                self.position += 1;
                // A long fruitless search must be possible to cancel.
                if position % (16 * BATCH_ROWS) == 16 * BATCH_ROWS - 1 {
                    self.scope.checkpoint().await?;
                }
                self.combined.truncate(self.left_width);
                self.combined.extend_from_slice(right);
                if !self.condition.holds(&self.scope, &self.combined).await? {
                    continue;
                }
                current.matched = true;
                if let Some(matched) = self.right_matched.get_mut(position) {
                    *matched = true;
                }
                match self.kind {
                    JoinKind::Semi => {
                        out.push(std::mem::take(&mut current.row));
                        self.current = None;
                        return Ok(());
                    }
                    JoinKind::Anti => {
                        self.current = None;
                        return Ok(());
                    }
                    _ => out.push(self.combined.clone()),
                }
                if out.len() >= BATCH_ROWS {
                    return Ok(());
                }
            }
            if self.more_right().await? {
                continue;
            }
            if let Some(ended) = self.current.take()
                && !ended.matched
            {
                match self.kind {
                    JoinKind::Left | JoinKind::Full => out.push(pad_right(ended.row, self.right_width)),
                    JoinKind::Anti => out.push(ended.row),
                    JoinKind::Inner | JoinKind::Right | JoinKind::Semi => {}
                }
            }
            return Ok(());
        }
    }

    /// Right rows that nothing matched.
    async fn unmatched_right(&mut self, out: &mut Vec<Row>) -> Result<()> {
        if !self.keeps_right() {
            return Ok(());
        }
        if let Right::Unread(_) = self.right {
            self.read_right().await?;
            self.position = 0;
        }
        while out.len() < BATCH_ROWS && self.position < self.right_rows.len() {
            if !self.right_matched[self.position] {
                out.push(pad_left(&self.right_rows[self.position], self.left_width));
            }
            self.position += 1;
        }
        Ok(())
    }
}

impl RowStream for NestedLoop {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            let mut out = Vec::new();
            while out.len() < BATCH_ROWS {
                if self.current.is_some() {
                    self.join_current(&mut out).await?;
                    continue;
                }
                let had_left = self.left.is_some();
                if self.next_left().await? {
                    continue;
                }
                if had_left {
                    self.position = 0;
                }
                self.unmatched_right(&mut out).await?;
                break;
            }
            Ok((!out.is_empty()).then_some(out))
        })
    }
}
