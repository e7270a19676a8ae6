//! GROUP BY and DISTINCT.
//!
//! Groups form by keys. Where a key is not its value, the group's first value comes along as one more aggregate.

use std::sync::Arc;

use basalt_env::Env;
use basalt_planner::{ColumnId, Expr, Plan, expr::AggregateCall, plan::Aggregate};
use datafusion::{
    common::ScalarValue,
    logical_expr::AggregateUDF,
    physical_expr::{
        PhysicalExpr,
        aggregate::{AggregateExprBuilder, AggregateFunctionExpr},
        expressions::{CaseExpr, Literal},
    },
    physical_plan::{
        ExecutionPlanProperties,
        aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy},
    },
};

use super::{
    Failure, PlanBuilder,
    builder::{Operator, refused},
    layout::pick,
};
use crate::{
    aggregate::{aggregate_udf, any_value_udf},
    expression::{Translated, Translator},
    kind::{Column, Kind, column_name, columns_of},
    relation::gather::gathered,
};

/// An aggregate over the input, before the input is there.
struct Call {
    udf: Arc<AggregateUDF>,
    args: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    name: String,
    /// Partitions can be aggregated on their own first.
    merges: bool,
}

/// The operator's output: group keys, then calls.
#[derive(Default)]
struct Grouping {
    keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    calls: Vec<Call>,
    /// Where each group's value is: a key, or (counted from the end of the keys) a call.
    values: Vec<Place>,
}

#[derive(Clone, Copy)]
enum Place {
    Key(usize),
    Call(usize),
}

impl Grouping {
    fn group(&mut self, id: ColumnId, translated: &Translated) -> Result<(), Failure> {
        if translated.kind == Kind::Stored {
            return refused("groups of arrays or records");
        }
        let key = translated.key()?;
        let name = column_name(id);
        if translated.kind.has_key() {
            self.values.push(Place::Call(self.calls.len()));
            self.calls.push(Call {
                udf: any_value_udf(translated.kind, translated.ty),
                args: vec![translated.expr.clone()],
                filter: None,
                name: format!("value_{name}"),
                merges: true,
            });
        } else {
            self.values.push(Place::Key(self.keys.len()));
        }
        self.keys.push((key, name));
        Ok(())
    }

    fn finish(self, input: Operator, columns: &[Column], env: &Env) -> Result<Operator, Failure> {
        let merges = self.calls.iter().all(|call| call.merges);
        let input = if merges { input } else { gathered(input, env) };
        let partitions = input.output_partitioning().partition_count();
        let schema = input.schema();
        let keys = self.keys.len();
        let mut exprs = Vec::with_capacity(self.calls.len());
        let mut filters = Vec::with_capacity(self.calls.len());
        for call in self.calls {
            let built: AggregateFunctionExpr = AggregateExprBuilder::new(call.udf, call.args)
                .schema(schema.clone())
                .alias(call.name)
                .build()?;
            exprs.push(Arc::new(built));
            filters.push(call.filter);
        }
        let by = PhysicalGroupBy::new_single(self.keys);
        let operator = if partitions == 1 {
            AggregateExec::try_new(AggregateMode::Single, by, exprs, filters, input, schema)?
        } else {
            let last = by.as_final();
            let unfiltered = vec![None; exprs.len()];
            let parts = AggregateExec::try_new(
                AggregateMode::Partial,
                by,
                exprs.clone(),
                filters,
                input,
                schema.clone(),
            )?;
            let parts = gathered(Arc::new(parts), env);
            AggregateExec::try_new(AggregateMode::Final, last, exprs, unfiltered, parts, schema)?
        };
        let positions: Vec<usize> = self
            .values
            .iter()
            .map(|place| match place {
                Place::Key(position) => *position,
                Place::Call(position) => keys + position,
            })
            .collect();
        pick(Arc::new(operator), &positions, columns)
    }
}

impl PlanBuilder {
    pub(super) async fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        columns: &[Column],
    ) -> Result<Operator, Failure> {
        if aggregate.grouping_sets.is_some() || !aggregate.groupings.is_empty() {
            return refused("grouping sets");
        }
        let translator = self.translator(&columns_of(&aggregate.input.columns)?);
        let mut grouping = Grouping::default();
        let mut produced = Vec::new();
        for (id, expr) in &aggregate.groups {
            let translated = translator.translate(expr)?;
            grouping.group(*id, &translated)?;
            produced.push(Column { id: *id, ty: translated.ty, kind: translated.kind });
        }
        for (id, call) in &aggregate.aggregates {
            let call = self.call(&translator, *id, call, &mut produced)?;
            grouping.values.push(Place::Call(grouping.calls.len()));
            grouping.calls.push(call);
        }
        // Parents may use a part of the output only.
        let mut values = Vec::with_capacity(columns.len());
        for column in columns {
            let Some(position) =
                produced.iter().position(|other| other.id == column.id && other.kind == column.kind)
            else {
                return refused("a column that no input gives");
            };
            values.push(grouping.values[position]);
        }
        grouping.values = values;
        let input = self.build_split(&aggregate.input).await?;
        grouping.finish(input, columns, &self.context.env)
    }

    pub(super) async fn distinct(&mut self, input: &Plan, columns: &[Column]) -> Result<Operator, Failure> {
        let inner = columns_of(&input.columns)?;
        if inner.is_empty() || inner.len() != columns.len() {
            return refused("DISTINCT without columns");
        }
        let translator = self.translator(&inner);
        let mut grouping = Grouping::default();
        for column in &inner {
            grouping.group(column.id, &translator.column(column.id)?)?;
        }
        let input = self.build_split(input).await?;
        grouping.finish(input, columns, &self.context.env)
    }

    fn call(
        &self,
        translator: &Translator,
        id: ColumnId,
        call: &AggregateCall,
        produced: &mut Vec<Column>,
    ) -> Result<Call, Failure> {
        let (udf, merges) = aggregate_udf(call, &self.context.eval)?;
        let filter = call.filter.as_ref().map(|filter| translator.translate(filter)).transpose()?;
        let mut args: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let keys = call.order_by.iter().map(|key| &key.expr);
        for expr in call.args.iter().chain(keys) {
            args.push(self.guarded(translator, expr, filter.as_ref())?);
        }
        if args.is_empty() {
            args.push(Arc::new(Literal::new(ScalarValue::Int64(Some(1)))));
        }
        let kind = Kind::of(call.ty).ok_or(call.ty)?;
        produced.push(Column { id, ty: call.ty, kind });
        Ok(Call { udf, args, filter: filter.map(|filter| filter.expr), name: column_name(id), merges })
    }

    /// An argument, which must not fail on rows that the FILTER leaves out.
    pub(super) fn guarded(
        &self,
        translator: &Translator,
        expr: &Expr,
        filter: Option<&Translated>,
    ) -> Result<Arc<dyn PhysicalExpr>, Failure> {
        let arg = translator.translate(expr)?;
        match filter {
            Some(filter) if arg.fallible => {
                let null = ScalarValue::try_from(&arg.kind.data_type())?;
                let branches = vec![(filter.expr.clone(), arg.expr)];
                Ok(Arc::new(CaseExpr::try_new(None, branches, Some(Arc::new(Literal::new(null))))?))
            }
            _ => Ok(arg.expr),
        }
    }
}
