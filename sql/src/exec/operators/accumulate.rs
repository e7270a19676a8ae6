//! One aggregate over one group: DISTINCT, FILTER and ORDER BY around the accumulator.
//!
//! An aggregate without DISTINCT and ORDER BY takes its rows as they come. Otherwise the arguments are kept, sorted when
//! the group has ended (DISTINCT sorts by the arguments, as PostgreSQL does) and given to the accumulator then.

use std::cmp::Ordering;

use basalt_functions::{Accumulator, AggregateFn, Call, EvalContext, FunctionKind};
use basalt_planner::{Expr, expr::AggregateCall};
use basalt_types::{Datum, Result, Row, SqlError, SqlType};

use super::sort::{ColumnOrder, compare_rows};
use crate::exec::{
    eval::evaluator::RowEvaluator,
    key::{Comparison, KeyTable, comparisons},
    memory::Reservation,
    scope::{Scope, row_bytes},
};

/// An aggregate call with its inputs as positions among those of all aggregates of the node.
pub(super) struct AggregateSpec {
    function: &'static AggregateFn,
    arg_types: Vec<SqlType>,
    return_type: SqlType,
    /// Where the arguments begin; the sort keys follow them.
    first: usize,
    args: usize,
    keys: usize,
    filter: Option<usize>,
    distinct: bool,
    /// Over the arguments followed by the sort keys.
    order: Vec<ColumnOrder>,
}

/// What is known of a group so far.
pub(super) enum AggregateState {
    Running { accumulator: Box<dyn Accumulator>, bytes: usize },
    Distinct(Box<KeyTable>),
    Kept(Vec<Row>),
}

impl AggregateSpec {
    /// Appends the call's expressions to `exprs`.
    pub fn new<'e>(call: &'e AggregateCall, exprs: &mut Vec<&'e Expr>) -> Result<Self> {
        let FunctionKind::Aggregate(function) = &call.function.kind else {
            return Err(SqlError::internal(format!("{} is not an aggregate", call.function.name)));
        };
        let first = exprs.len();
        exprs.extend(&call.args);
        let mut order = Vec::new();
        for (position, key) in call.order_by.iter().enumerate() {
            exprs.push(&key.expr);
            order.push(ColumnOrder {
                position: call.args.len() + position,
                comparison: Comparison::of(key.expr.ty()),
                descending: key.descending,
                nulls_first: key.nulls_first,
            });
        }
        if call.distinct {
            order.extend(call.args.iter().enumerate().map(|(position, arg)| ColumnOrder {
                position,
                comparison: Comparison::of(arg.ty()),
                descending: false,
                nulls_first: false,
            }));
        }
        let filter = call.filter.as_ref().map(|filter| {
            exprs.push(filter);
            exprs.len() - 1
        });
        Ok(Self {
            function,
            arg_types: call.args.iter().map(Expr::ty).collect(),
            return_type: call.ty,
            first,
            args: call.args.len(),
            keys: call.order_by.len(),
            filter,
            distinct: call.distinct,
            order,
        })
    }

    /// Evaluates the inputs of all aggregates over one row. Where a filter fails, the arguments are not evaluated.
    pub async fn evaluate(
        specs: &[Self],
        inputs: &mut RowEvaluator,
        scope: &Scope,
        row: &[Datum],
        out: &mut Row,
    ) -> Result<()> {
        out.clear();
        out.resize(inputs.exprs().len(), Datum::Null);
        inputs.next_row();
        for spec in specs {
            if let Some(filter) = spec.filter {
                out[filter] = inputs.evaluate(filter, scope, row).await?;
                if out[filter] != Datum::Bool(true) {
                    continue;
                }
            }
            let own = spec.first..spec.first + spec.args + spec.keys;
            for (position, value) in own.clone().zip(&mut out[own]) {
                *value = if inputs.has_subqueries() {
                    inputs.evaluate(position, scope, row).await?
                } else {
                    inputs.evaluate_now(position, scope, row)?
                };
            }
        }
        Ok(())
    }

    fn accumulator(&self, context: &EvalContext) -> Box<dyn Accumulator> {
        (self.function.new)(&Call { context, arg_types: &self.arg_types, return_type: self.return_type })
    }

    pub fn start(&self, context: &EvalContext, memory: &mut Reservation) -> Result<AggregateState> {
        if self.distinct {
            // The sort keys of DISTINCT are among its arguments.
            let keys = self.order.iter().take(self.keys).map(|order| order.comparison);
            let columns = comparisons(self.arg_types.iter().copied()).into_iter().chain(keys).collect();
            return Ok(AggregateState::Distinct(Box::new(KeyTable::new(columns))));
        }
        if !self.order.is_empty() {
            return Ok(AggregateState::Kept(Vec::new()));
        }
        let accumulator = self.accumulator(context);
        let bytes = accumulator.bytes();
        memory.grow(bytes + 32)?;
        Ok(AggregateState::Running { accumulator, bytes })
    }

    /// Adds the row whose inputs were evaluated.
    pub fn update(
        &self,
        state: &mut AggregateState,
        inputs: &[Datum],
        memory: &mut Reservation,
    ) -> Result<()> {
        if self.filter.is_some_and(|filter| inputs[filter] != Datum::Bool(true)) {
            return Ok(());
        }
        let args = &inputs[self.first..self.first + self.args];
        if self.function.strict && args.iter().any(Datum::is_null) {
            return Ok(());
        }
        match state {
            AggregateState::Running { accumulator, bytes } => {
                accumulator.update(args)?;
                let now = accumulator.bytes();
                if now > *bytes {
                    memory.grow(now - *bytes)?;
                    *bytes = now;
                }
            }
            AggregateState::Distinct(table) => {
                let mut key = inputs[self.first..self.first + self.args + self.keys].to_vec();
                let bytes = row_bytes(&key) + KeyTable::ENTRY_BYTES;
                if table.insert(&mut key).1 {
                    memory.grow(bytes)?;
                }
            }
            AggregateState::Kept(rows) => {
                let row = inputs[self.first..self.first + self.args + self.keys].to_vec();
                memory.grow(row_bytes(&row))?;
                rows.push(row);
            }
        }
        Ok(())
    }

    /// The group's value; what was kept for it is dropped.
    pub fn finish(&self, state: &mut AggregateState, context: &EvalContext) -> Result<Datum> {
        let compare =
            |left: &[Datum], right: &[Datum]| -> Ordering { compare_rows(&self.order, left, right) };
        match state {
            AggregateState::Running { accumulator, .. } => accumulator.finish(),
            AggregateState::Distinct(table) => {
                let mut rows: Vec<&[Datum]> = (0..table.len()).map(|position| table.key(position)).collect();
                rows.sort_by(|left, right| compare(left, right));
                self.feed(rows.into_iter(), context)
            }
            AggregateState::Kept(rows) => {
                let mut rows = std::mem::take(rows);
                rows.sort_by(|left, right| compare(left, right));
                self.feed(rows.iter().map(|row| &row[..]), context)
            }
        }
    }

    fn feed<'r>(&self, rows: impl Iterator<Item = &'r [Datum]>, context: &EvalContext) -> Result<Datum> {
        let mut accumulator = self.accumulator(context);
        for row in rows {
            accumulator.update(&row[..self.args])?;
        }
        accumulator.finish()
    }
}
