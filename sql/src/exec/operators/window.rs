//! Window functions.
//!
//! All rows are read. Per window (the same PARTITION BY and ORDER BY) they are sorted once, and each call of that window
//! fills its column partition by partition. Rows leave in the order of the last sort.

use basalt_env::BoxFuture;
use basalt_functions::{Accumulator, AggregateFn, Call, FunctionKind, WindowFn, WindowPartition};
use basalt_planner::{
    ColumnId, Expr, Plan,
    plan::{FrameExclude, SortKey, WindowCall},
    same,
};
use basalt_types::{Datum, Result, Row, SqlError, SqlType};

use super::{
    Stream, build,
    frame::{FrameSpec, Peers},
    sort::{SortColumns, compare_rows},
};
use crate::exec::{
    BATCH_ROWS, RowStream,
    eval::evaluator::RowEvaluator,
    memory::Reservation,
    scope::{Scope, row_bytes},
};

#[derive(Clone, Copy)]
enum Function {
    Aggregate(&'static AggregateFn),
    Window(WindowFn),
}

/// One call; its expressions are evaluated over the input's columns.
struct WindowColumn {
    function: Function,
    arg_types: Vec<SqlType>,
    return_type: SqlType,
    /// The arguments, then the filter if there is one.
    inputs: RowEvaluator,
    has_filter: bool,
    frame: FrameSpec,
    /// Where the result goes.
    position: usize,
}

/// Calls over the same window.
struct WindowGroup {
    partition_by: Vec<Expr>,
    order_by: Vec<SortKey>,
    /// By partition, then by order.
    columns: SortColumns,
    calls: Vec<WindowColumn>,
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
        let column = WindowColumn::new(call, input_width + position, layout, scope).await?;
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

impl WindowColumn {
    async fn new(
        call: &WindowCall,
        position: usize,
        layout: &[(ColumnId, SqlType)],
        scope: &Scope,
    ) -> Result<Self> {
        let aggregate = &call.aggregate;
        let function = match &aggregate.function.kind {
            FunctionKind::Aggregate(function) => Function::Aggregate(function),
            FunctionKind::Window(function) => Function::Window(*function),
            _ => {
                let name = aggregate.function.name;
                return Err(SqlError::internal(format!(
                    "{name} is neither an aggregate nor a window function"
                )));
            }
        };
        Ok(Self {
            function,
            arg_types: aggregate.args.iter().map(Expr::ty).collect(),
            return_type: aggregate.ty,
            inputs: RowEvaluator::new(aggregate.args.iter().chain(&aggregate.filter), layout, scope)?,
            has_filter: aggregate.filter.is_some(),
            frame: FrameSpec::new(&call.frame, scope).await?,
            position,
        })
    }

    /// The values of this call for the rows of a partition.
    async fn compute(
        &mut self,
        rows: &[Row],
        input_width: usize,
        peers: &Peers,
        columns: &SortColumns,
        partition_keys: usize,
        scope: &Scope,
    ) -> Result<Vec<Datum>> {
        let mut inputs = Vec::with_capacity(rows.len());
        for row in rows {
            let mut values = Row::new();
            self.inputs.evaluate_all(scope, &row[..input_width], &mut values).await?;
            inputs.push(values);
        }
        let order = match &columns.orders[partition_keys..] {
            [order] => Some(order),
            _ => None,
        };
        let mut frames = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            frames.push(self.frame.interval(row, rows, peers, order, scope)?);
        }
        match self.function {
            Function::Window(function) => {
                let view = Partition { inputs: &inputs, args: self.arg_types.len(), peers, frames: &frames };
                let site = self.site(scope);
                (0..rows.len()).map(|row| function(&site, &view, row)).collect()
            }
            Function::Aggregate(function) => self.aggregate(function, &inputs, &frames, peers, scope),
        }
    }

    fn site<'a>(&'a self, scope: &'a Scope) -> Call<'a> {
        Call { context: scope.eval(), arg_types: &self.arg_types, return_type: self.return_type }
    }

    fn aggregate(
        &self,
        function: &'static AggregateFn,
        inputs: &[Row],
        frames: &[(usize, usize)],
        peers: &Peers,
        scope: &Scope,
    ) -> Result<Vec<Datum>> {
        let site = self.site(scope);
        let args = self.arg_types.len();
        let add = |accumulator: &mut Box<dyn Accumulator>, row: usize| -> Result<()> {
            let input = &inputs[row];
            if self.has_filter && input[args] != Datum::Bool(true) {
                return Ok(());
            }
            if function.strict && input[..args].iter().any(Datum::is_null) {
                return Ok(());
            }
            accumulator.update(&input[..args])
        };
        let mut values: Vec<Datum> = Vec::with_capacity(frames.len());
        if self.frame.exclude != FrameExclude::NoOthers {
            for (row, &(start, end)) in frames.iter().enumerate() {
                let mut accumulator = (function.new)(&site);
                for other in (start..end).filter(|&other| !excluded(self.frame.exclude, row, other, peers)) {
                    add(&mut accumulator, other)?;
                }
                values.push(accumulator.finish()?);
            }
            return Ok(values);
        }
        // A frame that begins where the last one did is the last one with more rows.
        let mut accumulator = (function.new)(&site);
        let mut covered = (0, 0);
        for (row, &(start, end)) in frames.iter().enumerate() {
            scope_check(row, scope)?;
            if start == covered.0 && end == covered.1 && row > 0 {
                let last = values[row - 1].clone();
                values.push(last);
                continue;
            }
            if start != covered.0 || end < covered.1 {
                accumulator = (function.new)(&site);
                covered = (start, start);
            }
            for other in covered.1..end {
                add(&mut accumulator, other)?;
            }
            covered.1 = end;
            values.push(accumulator.finish()?);
        }
        Ok(values)
    }
}

/// Lets a long computation be cancelled.
fn scope_check(row: usize, scope: &Scope) -> Result<()> {
    if row.is_multiple_of(4 * BATCH_ROWS) { scope.check_cancel() } else { Ok(()) }
}

fn excluded(exclude: FrameExclude, row: usize, other: usize, peers: &Peers) -> bool {
    let peer = peers.group[row] == peers.group[other];
    match exclude {
        FrameExclude::NoOthers => false,
        FrameExclude::CurrentRow => row == other,
        FrameExclude::Group => peer,
        FrameExclude::Ties => peer && row != other,
    }
}

/// A partition as window functions see it.
struct Partition<'a> {
    inputs: &'a [Row],
    args: usize,
    peers: &'a Peers,
    frames: &'a [(usize, usize)],
}

impl WindowPartition for Partition<'_> {
    fn rows(&self) -> usize {
        self.inputs.len()
    }

    fn args(&self, row: usize) -> &[Datum] {
        &self.inputs[row][..self.args]
    }

    fn peers_start(&self, row: usize) -> usize {
        self.peers.start(row)
    }

    fn peers_end(&self, row: usize) -> usize {
        self.peers.end(row)
    }

    fn peer_group(&self, row: usize) -> usize {
        self.peers.group[row]
    }

    fn frame(&self, row: usize) -> (usize, usize) {
        self.frames[row]
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
            for call in &mut self.calls {
                let keys = self.partition_by.len();
                let values = call.compute(partition, input_width, &peers, &self.columns, keys, scope).await?;
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
