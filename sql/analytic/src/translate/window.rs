//! Window functions: per window a projection of keys and arguments, a sort, and the calls.

use std::sync::Arc;

use arrow::compute::SortOptions;
use basalt_planner::{
    ColumnId, Plan,
    plan::{SortKey, WindowCall},
    same,
};
use basalt_sql::exec::window::WindowColumn;
use datafusion::{
    physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr, expressions::Column as ColumnExpr},
    physical_plan::projection::ProjectionExec,
};

use super::{
    Failure, PlanBuilder,
    builder::{Operator, refused},
    layout::arrange,
    sort::sorted,
};
use crate::{
    expression::Translated,
    kind::{Column, Kind, column_name, columns_of, schema_of},
    relation::{gather::gathered, operator::OperatorExec},
    source::properties::single_partition,
    window::{InputColumn, PlacedCall, RangeColumn, Window, WindowShape},
};

/// Calls over the same window.
type Group<'a> = Vec<&'a (ColumnId, WindowCall)>;

fn group(calls: &[(ColumnId, WindowCall)]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for call in calls {
        match groups.iter_mut().find(|group| same_window(&group[0].1, &call.1)) {
            Some(group) => group.push(call),
            None => groups.push(vec![call]),
        }
    }
    groups
}

fn same_window(a: &WindowCall, b: &WindowCall) -> bool {
    let same_key = |(a, b): (&SortKey, &SortKey)| {
        a.descending == b.descending && a.nulls_first == b.nulls_first && same(&a.expr, &b.expr)
    };
    a.partition_by.len() == b.partition_by.len()
        && a.order_by.len() == b.order_by.len()
        && a.partition_by.iter().zip(&b.partition_by).all(|(a, b)| same(a, b))
        && a.order_by.iter().zip(&b.order_by).all(same_key)
}

/// The columns under the sort: those of the input, then keys and arguments.
#[derive(Default)]
struct Below {
    exprs: Vec<(Arc<dyn PhysicalExpr>, String)>,
}

impl Below {
    fn add(&mut self, expr: Arc<dyn PhysicalExpr>) -> usize {
        self.exprs.push((expr, format!("w{}", self.exprs.len())));
        self.exprs.len() - 1
    }

    fn value(&mut self, translated: Translated) -> InputColumn {
        let (kind, ty) = (translated.kind, translated.ty);
        InputColumn { position: self.add(translated.expr), kind, ty }
    }

    fn sort_key(&self, position: usize, descending: bool, nulls_first: bool) -> PhysicalSortExpr {
        let column = Arc::new(ColumnExpr::new(&self.exprs[position].1, position));
        PhysicalSortExpr::new(column, SortOptions { descending, nulls_first })
    }
}

impl PlanBuilder {
    pub(super) async fn window(
        &mut self,
        input: &Plan,
        calls: &[(ColumnId, WindowCall)],
        columns: &[Column],
    ) -> Result<Operator, Failure> {
        let mut have = columns_of(&input.columns)?;
        for (_, call) in calls {
            Kind::of(call.aggregate.ty).ok_or(call.aggregate.ty)?;
        }
        let mut operator = self.build_split(input).await?;
        for group in group(calls) {
            operator = self.window_group(operator, &mut have, &group).await?;
        }
        arrange(operator, &have, columns)
    }

    async fn window_group(
        &mut self,
        input: Operator,
        have: &mut Vec<Column>,
        calls: &[&(ColumnId, WindowCall)],
    ) -> Result<Operator, Failure> {
        let window = &calls[0].1;
        let translator = self.translator(have);
        let mut below = Below::default();
        for (position, column) in have.iter().enumerate() {
            let name = column_name(column.id);
            below.exprs.push((Arc::new(ColumnExpr::new(&name, position)), name));
        }
        let passed = have.len();
        let mut order = Vec::new();
        let mut partition_by = Vec::with_capacity(window.partition_by.len());
        for expr in &window.partition_by {
            let translated = translator.translate(expr)?;
            if translated.kind == Kind::Stored {
                return refused("partitions by arrays or records");
            }
            let position = below.add(translated.key()?);
            order.push(below.sort_key(position, false, false));
            partition_by.push(position);
        }
        let mut order_by = Vec::with_capacity(window.order_by.len());
        for key in &window.order_by {
            let translated = translator.translate(&key.expr)?;
            if translated.kind == Kind::Stored {
                return refused("a sort of arrays or records");
            }
            let position = below.add(translated.key()?);
            order.push(below.sort_key(position, key.descending, key.nulls_first));
            order_by.push(position);
        }
        let mut placed = Vec::with_capacity(calls.len());
        let mut results = Vec::with_capacity(calls.len());
        for (id, call) in calls {
            let column = WindowColumn::open(call, &self.context).await?;
            let aggregate = &call.aggregate;
            let filter = aggregate.filter.as_ref().map(|filter| translator.translate(filter)).transpose()?;
            let mut inputs = Vec::with_capacity(aggregate.args.len() + 1);
            for expr in &aggregate.args {
                let (kind, ty) = (Kind::of(expr.ty()).ok_or(expr.ty())?, expr.ty());
                let expr = self.guarded(&translator, expr, filter.as_ref())?;
                inputs.push(InputColumn { position: below.add(expr), kind, ty });
            }
            if let Some(filter) = filter {
                inputs.push(below.value(filter));
            }
            let output = Kind::of(aggregate.ty).ok_or(aggregate.ty)?;
            placed.push(PlacedCall { column, inputs, output });
            results.push(Column { id: *id, ty: aggregate.ty, kind: output });
        }
        let range = match &window.order_by[..] {
            [key] if placed.iter().any(|call| call.column.measures_keys()) => {
                let column = below.value(translator.translate(&key.expr)?);
                Some(RangeColumn { column, descending: key.descending, nulls_first: key.nulls_first })
            }
            _ => None,
        };
        let mut operator: Operator = Arc::new(ProjectionExec::try_new(below.exprs, input)?);
        operator = match LexOrdering::new(order) {
            Some(order) => sorted(order, operator, None),
            None => gathered(operator, &self.context.env),
        };
        have.extend(results);
        let schema = schema_of(have);
        let shape = WindowShape {
            partition_by,
            order_by,
            range,
            calls: placed,
            passed,
            schema: schema.clone(),
            eval: self.context.eval.clone(),
            cancel: self.context.cancel.clone(),
        };
        let operation = Window { shape: Arc::new(shape) };
        Ok(OperatorExec::plan(operation, vec![operator], single_partition(schema)))
    }
}
