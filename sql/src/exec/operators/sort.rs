//! ORDER BY.
//!
//! The sort is stable. Keys that are not plain columns are computed once per row and kept behind the row's own columns
//! until it leaves. With a known number of rows wanted, no more than twice as many are held: whenever there are more,
//! they are sorted, cut, and the last one kept is what later rows must come before.

use std::cmp::Ordering;

use basalt_env::{BoxFuture, keep_busy};
use basalt_planner::{Expr, Plan, plan::SortKey};
use basalt_types::{Datum, Result, Row};

use super::{Stream, build, limit::row_count};
use crate::exec::{
    BATCH_ROWS, RowStream,
    eval::evaluator::RowEvaluator,
    key::Comparison,
    memory::Reservation,
    scope::{Layout, Scope, row_bytes},
};

/// Rows that are sorted within a millisecond or so.
const SHORT_ROWS: usize = 1 << 14;

/// How rows are ordered by one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnOrder {
    pub position: usize,
    pub comparison: Comparison,
    pub descending: bool,
    pub nulls_first: bool,
}

impl ColumnOrder {
    pub fn compare(&self, left: &[Datum], right: &[Datum]) -> Ordering {
        let (left, right) = (&left[self.position], &right[self.position]);
        let null = |null_is_left: bool| {
            if null_is_left == self.nulls_first { Ordering::Less } else { Ordering::Greater }
        };
        match (left.is_null(), right.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => null(true),
            (false, true) => null(false),
            (false, false) => {
                let order = self.comparison.compare(left, right);
                if self.descending { order.reverse() } else { order }
            }
        }
    }
}

pub(super) fn compare_rows(orders: &[ColumnOrder], left: &[Datum], right: &[Datum]) -> Ordering {
    orders
        .iter()
        .map(|order| order.compare(left, right))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Sort keys over rows of some layout; those that are not columns are appended to the row.
pub(super) struct SortColumns {
    pub orders: Vec<ColumnOrder>,
    computed: Option<RowEvaluator>,
}

impl SortColumns {
    /// `width`: where appended keys begin.
    pub fn new(keys: &[SortKey], layout: Layout<'_>, width: usize, scope: &Scope) -> Result<Self> {
        let mut computed = Vec::new();
        let mut orders = Vec::with_capacity(keys.len());
        for key in keys {
            let slot = match &key.expr {
                Expr::Column { id, .. } => layout.iter().position(|(column, _)| column == id),
                _ => None,
            };
            let position = slot.unwrap_or_else(|| {
                computed.push(&key.expr);
                width + computed.len() - 1
            });
            orders.push(ColumnOrder {
                position,
                comparison: Comparison::of(key.expr.ty()),
                descending: key.descending,
                nulls_first: key.nulls_first,
            });
        }
        let computed =
            if computed.is_empty() { None } else { Some(RowEvaluator::new(computed, layout, scope)?) };
        Ok(Self { orders, computed })
    }

    /// Computes the keys of a row whose length is `width`.
    pub async fn extend(&mut self, scope: &Scope, row: &mut Row) -> Result<()> {
        let Some(computed) = &mut self.computed else { return Ok(()) };
        let mut keys = Row::with_capacity(computed.exprs().len());
        computed.evaluate_all(scope, row, &mut keys).await?;
        row.append(&mut keys);
        Ok(())
    }
}

struct Sort {
    input: Option<Stream>,
    columns: SortColumns,
    width: usize,
    /// Rows wanted, when known.
    top: usize,
    /// Sorted, once the input has ended.
    rows: std::vec::IntoIter<Row>,
    memory: Reservation,
    scope: Scope,
}

pub(super) async fn open(
    input: &Plan,
    keys: &[SortKey],
    top: Option<&Expr>,
    scope: &Scope,
) -> Result<Stream> {
    let width = input.columns.len();
    let columns = SortColumns::new(keys, &input.columns, width, scope)?;
    let top = match top {
        Some(top) => row_count(top, scope, "LIMIT").await?,
        None => None,
    };
    let top = top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
    Ok(Box::new(Sort {
        input: Some(build(input, scope).await?),
        columns,
        width,
        top,
        rows: Vec::new().into_iter(),
        memory: Reservation::new(&scope.context.memory),
        scope: scope.clone(),
    }))
}

impl Sort {
    async fn sort(&mut self, mut input: Stream) -> Result<()> {
        let held_max = self.top.saturating_mul(2).max(4 * BATCH_ROWS);
        let mut rows: Vec<Row> = Vec::new();
        // All rows before this position are sorted; there are `top` of them once any were cut off.
        let mut cut = false;
        while let Some(batch) = input.next_batch().await? {
            self.scope.checkpoint().await?;
            for mut row in batch {
                self.columns.extend(&self.scope, &mut row).await?;
                // Equal rows that come later are sorted later.
                if cut && compare_rows(&self.columns.orders, &row, &rows[self.top - 1]).is_ge() {
                    continue;
                }
                self.memory.grow(row_bytes(&row))?;
                rows.push(row);
                if rows.len() >= held_max {
                    self.cut(&mut rows);
                    cut = self.top > 0;
                }
            }
        }
        drop(input);
        self.cut(&mut rows);
        self.rows = rows.into_iter();
        Ok(())
    }

    fn cut(&mut self, rows: &mut Vec<Row>) {
        let orders = &self.columns.orders;
        let is_long = rows.len() > SHORT_ROWS;
        let mut sort = || rows.sort_by(|left, right| compare_rows(orders, left, right));
        if is_long {
            keep_busy(sort)
        } else {
            sort()
        }
        if rows.len() > self.top {
            for row in rows.drain(self.top..) {
                self.memory.shrink(row_bytes(&row));
            }
        }
    }
}

impl RowStream for Sort {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            if let Some(input) = self.input.take() {
                if self.top == 0 {
                    return Ok(None);
                }
                self.sort(input).await?;
            }
            let mut out = Vec::with_capacity(BATCH_ROWS.min(self.rows.len()));
            for mut row in self.rows.by_ref().take(BATCH_ROWS) {
                self.memory.shrink(row_bytes(&row));
                row.truncate(self.width);
                out.push(row);
            }
            Ok((!out.is_empty()).then_some(out))
        })
    }
}
