//! Window functions.
//!
//! All rows are read. Per window (the same PARTITION BY and ORDER BY) they are sorted once, and each call of that window
//! fills its column partition by partition. Rows leave in the order of the last sort.

use basalt_env::BoxFuture;
use basalt_planner::{
    ColumnId, Expr, Plan,
    plan::{SortKey, WindowCall},
    same,
};
use basalt_types::{Datum, Result, Row};

use super::{
    Stream, build,
    sort::{SortColumns, compare_rows},
};
use crate::exec::{
    BATCH_ROWS, RowStream,
    eval::evaluator::RowEvaluator,
    memory::Reservation,
    scope::{Layout, Scope, row_bytes},
    window::{Peers, RangeKeys, WindowColumn},
};

/// One call and where its result goes.
struct PlacedCall {
    column: WindowColumn,
    /// The arguments, then the filter if there is one, over the input's columns.
    inputs: RowEvaluator,
    /// Which of the inputs is the filter.
    filter: Option<usize>,
    position: usize,
}

/// Calls over the same window.
struct WindowGroup {
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
    /// By partition, then by order.
    columns: SortColumns,
    calls: Vec<PlacedCall>,
}

struct Window {
    input: Option<Stream>,
    /// The input's columns and the results.
    width: usize,
    input_width: usize,
    groups: Vec<WindowGroup>,
    rows: std::vec::IntoIter<Row>,
    memory: Reservation,
    scope: Scope,
}

pub(super) async fn open(input: &Plan, calls: &[(ColumnId, WindowCall)], scope: &Scope) -> Result<Stream> {
    let layout = &input.columns;
    let input_width = layout.len();
    let width = input_width + calls.len();
    let mut groups: Vec<WindowGroup> = Vec::new();
    for (position, (_, call)) in calls.iter().enumerate() {
        let column = PlacedCall::new(call, input_width + position, layout, scope).await?;
        let known = groups.iter_mut().find(|group| group.is_of(call));
        if let Some(group) = known {
            group.calls.push(column);
            continue;
        }
        let partition_keys = call.partition_by.iter().map(|expr| SortKey {
            expr: expr.clone(),
            descending: false,
            nulls_first: false,
        });
        let keys: Vec<SortKey> = partition_keys.chain(call.order_by.iter().cloned()).collect();
        groups.push(WindowGroup {
            partition_by: call.partition_by.clone(),
            order_by: call.order_by.clone(),
            columns: SortColumns::new(&keys, layout, width, scope)?,
            calls: vec![column],
        });
    }
    Ok(Box::new(Window {
        input: Some(build(input, scope).await?),
        width,
        input_width,
        groups,
        rows: Vec::new().into_iter(),
        memory: Reservation::new(&scope.context.memory),
        scope: scope.clone(),
    }))
}

impl PlacedCall {
    async fn new(call: &WindowCall, position: usize, layout: Layout<'_>, scope: &Scope) -> Result<Self> {
        let aggregate = &call.aggregate;
        Ok(Self {
            column: WindowColumn::new(call, scope).await?,
            inputs: RowEvaluator::new(aggregate.args.iter().chain(&aggregate.filter), layout, scope)?,
            filter: aggregate.filter.as_ref().map(|_| aggregate.args.len()),
            position,
        })
    }

    /// Arguments are not evaluated on rows that the filter leaves out.
    async fn input(&mut self, scope: &Scope, row: &[Datum], values: &mut Row) -> Result<()> {
        let Some(filter) = self.filter else {
            return self.inputs.evaluate_all(scope, row, values).await;
        };
        self.inputs.next_row();
        let passes = self.inputs.evaluate(filter, scope, row).await?;
        for arg in 0..filter {
            let value = if passes == Datum::Bool(true) {
                self.inputs.evaluate(arg, scope, row).await?
            } else {
                Datum::Null
            };
            values.push(value);
        }
        values.push(passes);
        Ok(())
    }

    /// The values of this call for the rows of a partition.
    async fn compute(
        &mut self,
        rows: &[Row],
        input_width: usize,
        peers: &Peers,
        keys: Option<RangeKeys<'_>>,
        scope: &Scope,
    ) -> Result<Vec<Datum>> {
        let mut inputs = Vec::with_capacity(rows.len());
        for row in rows {
            let mut values = Row::new();
            self.input(scope, &row[..input_width], &mut values).await?;
            inputs.push(values);
        }
        self.column.compute(&inputs, peers, keys, scope.eval(), &*scope.context.cancel)
    }
}

impl WindowGroup {
    /// Whether the call is over this window.
    fn is_of(&self, call: &WindowCall) -> bool {
        let same_key = |(a, b): (&SortKey, &SortKey)| {
            a.descending == b.descending && a.nulls_first == b.nulls_first && same(&a.expr, &b.expr)
        };
        self.partition_by.len() == call.partition_by.len()
            && self.order_by.len() == call.order_by.len()
            && self.partition_by.iter().zip(&call.partition_by).all(|(a, b)| same(a, b))
            && self.order_by.iter().zip(&call.order_by).all(same_key)
    }

    async fn fill(
        &mut self,
        rows: &mut [Row],
        input_width: usize,
        width: usize,
        scope: &Scope,
    ) -> Result<()> {
        for row in rows.iter_mut() {
            // Keys are computed from the input's columns and kept behind the results.
            self.columns.extend(scope, row).await?;
        }
        let orders = &self.columns.orders;
        rows.sort_by(|left, right| compare_rows(orders, left, right));
        scope.check_cancel()?;
        let (by_partition, by_order) = orders.split_at(self.partition_by.len());
        let mut start = 0;
        while start < rows.len() {
            let same = |row: &Row| compare_rows(by_partition, &rows[start], row).is_eq();
            let length = rows[start..].iter().take_while(|row| same(row)).count();
            let partition = &mut rows[start..start + length];
            let peers = Peers::new(length, |row| {
                compare_rows(by_order, &partition[row - 1], &partition[row]).is_eq()
            });
            let mut key_values = Vec::new();
            let keys = match by_order {
                [order] if self.calls.iter().any(|call| call.column.measures_keys()) => {
                    key_values.extend(partition.iter().map(|row| row[order.position].clone()));
                    let (descending, nulls_first) = (order.descending, order.nulls_first);
                    Some(RangeKeys { keys: &key_values, descending, nulls_first })
                }
                _ => None,
            };
            for call in &mut self.calls {
                let values = call.compute(partition, input_width, &peers, keys, scope).await?;
                for (row, value) in partition.iter_mut().zip(values) {
                    row[call.position] = value;
                }
            }
            start += length;
        }
        for row in rows {
            row.truncate(width);
        }
        Ok(())
    }
}

impl Window {
    async fn read(&mut self, mut input: Stream) -> Result<()> {
        let mut rows: Vec<Row> = Vec::new();
        while let Some(batch) = input.next_batch().await? {
            self.scope.check_cancel()?;
            for mut row in batch {
                row.resize(self.width, Datum::Null);
                self.memory.grow(row_bytes(&row))?;
                rows.push(row);
            }
        }
        drop(input);
        for group in &mut self.groups {
            group.fill(&mut rows, self.input_width, self.width, &self.scope).await?;
        }
        self.rows = rows.into_iter();
        Ok(())
    }
}

impl RowStream for Window {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        Box::pin(async move {
            if let Some(input) = self.input.take() {
                self.read(input).await?;
            }
            let out: Vec<Row> = self.rows.by_ref().take(BATCH_ROWS).collect();
            Ok((!out.is_empty()).then_some(out))
        })
    }
}
