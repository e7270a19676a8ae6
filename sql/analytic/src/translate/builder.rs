//! The recursion over plan nodes.

use std::{collections::BTreeMap, sync::Arc};

use basalt_env::BoxFuture;
use basalt_planner::{
    ColumnId, Expr, Plan, PlanNode,
    plan::{Scan, SetOp},
    reads_cte,
};
use basalt_sql::{
    exec::{self, ExecContext, eval},
    layout::EntryCodec,
};
use basalt_types::{Datum, SqlError, SqlState, SqlType};
use datafusion::{
    common::DataFusionError,
    physical_expr::PhysicalExpr,
    physical_plan::{ExecutionPlan, filter::FilterExec, limit::GlobalLimitExec, projection::ProjectionExec},
};

use crate::{
    error::from_datafusion,
    executor::AnalyticOptions,
    expression::{Refusal, Translator},
    kind::{Column, Kind, column_name, columns_of, schema_of},
    relation::{
        append::AppendExec,
        cte::{CteRows, CteScanExec},
        gather::gathered,
        operator::OperatorExec,
        set_operation::SetOperation,
    },
    source::{
        properties::single_partition,
        row_leaf::RowLeafExec,
        scan::{ScanExec, spans_of},
        split::split,
    },
};

use super::{layout::arrange, subquery::Subqueries};
use crate::subquery::OnceSubquery;

/// Why there is no operator: no vectorised form, or an error that the statement reports.
#[derive(Debug)]
pub enum Failure {
    Refused(Refusal),
    Error(SqlError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<SqlType> for Failure {
    fn from(sql_type: SqlType) -> Self {
        Self::Refused(sql_type.into())
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Error(error)
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self::Error(from_datafusion(&error))
    }
}

pub(super) fn refused<T>(why: &str) -> Result<T, Failure> {
    Err(Failure::Refused(Refusal(why.to_owned())))
}

/// An operator whose output is exactly the plan node's columns.
pub type Operator = Arc<dyn ExecutionPlan>;

pub struct PlanBuilder {
    pub(super) context: ExecContext,
    batch_rows: usize,
    /// How many partitions a scan of at least so many rows has.
    partitions: usize,
    partition_rows_min: f64,
    /// Common table expressions around the current node.
    ctes: BTreeMap<u32, Arc<CteRows>>,
    /// Why parts run on the row executor.
    pub on_rows: Vec<String>,
    /// Subqueries met so far that run once.
    pub(super) known: Subqueries,
    /// Those of the current node, to be run below it.
    pub(super) wanted: Vec<Arc<OnceSubquery>>,
}

impl PlanBuilder {
    pub fn new(context: ExecContext, options: &AnalyticOptions) -> Self {
        Self {
            context,
            batch_rows: options.batch_rows,
            partitions: options.partitions.max(1),
            partition_rows_min: options.partition_rows_min,
            ctes: BTreeMap::new(),
            on_rows: Vec::new(),
            known: Subqueries::new(),
            wanted: Vec::new(),
        }
    }

    /// The operator of a subtree, on the row executor if need be, as one partition.
    pub fn build<'a>(&'a mut self, plan: &'a Plan) -> BoxFuture<'a, Result<Operator, Failure>> {
        Box::pin(async move {
            let operator = self.build_split(plan).await?;
            Ok(gathered(operator, &self.context.env))
        })
    }

    /// The operator of a subtree in any number of partitions.
    pub fn build_split<'a>(&'a mut self, plan: &'a Plan) -> BoxFuture<'a, Result<Operator, Failure>> {
        Box::pin(async move {
            let wanted = std::mem::take(&mut self.wanted);
            let built = match self.node(plan).await {
                Err(Failure::Refused(why)) => self.row_leaf(plan, why),
                built => built,
            };
            self.wanted.clear();
            Ok(self.prepared(built?, wanted))
        })
    }

    fn row_leaf(&mut self, plan: &Plan, why: Refusal) -> Result<Operator, Failure> {
        let columns = columns_of(&plan.columns)?;
        if self.ctes.keys().any(|&cte| reads_cte(plan, cte)) {
            return Err(Failure::Refused(why));
        }
        if !self.on_rows.contains(&why.0) {
            self.on_rows.push(why.0);
        }
        Ok(Arc::new(RowLeafExec::new(Arc::new(plan.clone()), columns, self.context.clone())))
    }

    pub(super) fn translator(&self, columns: &[Column]) -> Translator {
        Translator::new(columns, &self.context.eval, &self.known)
    }

    /// The operator of a node itself.
    pub async fn node(&mut self, plan: &Plan) -> Result<Operator, Failure> {
        let columns = columns_of(&plan.columns)?;
        self.subqueries(plan).await?;
        match &plan.node {
            PlanNode::Scan(scan) => self.scan(scan, &columns).await,
            PlanNode::Filter { input, predicate } => {
                let inner = columns_of(&input.columns)?;
                let predicate = self.translator(&inner).translate(predicate)?;
                let input = self.build_split(input).await?;
                arrange(Arc::new(FilterExec::try_new(predicate.expr, input)?), &inner, &columns)
            }
            PlanNode::Project { input, exprs } => self.project(input, exprs).await,
            PlanNode::HashJoin { kind, left, right, keys, residual } => {
                self.hash_join(*kind, left, right, keys, residual.as_ref(), &columns).await
            }
            PlanNode::NestedLoop { kind, left, right, on, lateral: false } => {
                self.nested_loop(*kind, left, right, on.as_ref(), &columns).await
            }
            PlanNode::Aggregate(aggregate) => self.aggregate(aggregate, &columns).await,
            PlanNode::Sort { input, keys, top } => {
                let inner = columns_of(&input.columns)?;
                let sorted = self.sort(input, keys, top.as_ref()).await?;
                arrange(sorted, &inner, &columns)
            }
            PlanNode::Limit { input, limit, offset } => {
                let inner = columns_of(&input.columns)?;
                let fetch = self.row_count(limit.as_ref(), "LIMIT")?;
                let skip = self.row_count(offset.as_ref(), "OFFSET")?.unwrap_or(0);
                let input = self.build(input).await?;
                arrange(Arc::new(GlobalLimitExec::new(input, skip, fetch)), &inner, &columns)
            }
            PlanNode::Distinct { input, on } if on.is_empty() => self.distinct(input, &columns).await,
            PlanNode::Append { inputs } => self.append(inputs, &columns).await,
            PlanNode::Window { input, calls } => self.window(input, calls, &columns).await,
            PlanNode::SetOp { op, all, left, right } => {
                self.set_operation(*op, *all, left, right, &columns).await
            }
            PlanNode::With { cte, definition, body } => {
                let inner = columns_of(&definition.columns)?;
                let definition = self.build(definition).await?;
                let rows = Arc::new(CteRows::new(definition, inner));
                let hidden = self.ctes.insert(*cte, rows);
                let body_columns = columns_of(&body.columns)?;
                let body = self.build(body).await;
                match hidden {
                    Some(rows) => self.ctes.insert(*cte, rows),
                    None => self.ctes.remove(cte),
                };
                arrange(body?, &body_columns, &columns)
            }
            PlanNode::CteScan { cte } => {
                let Some(rows) = self.ctes.get(cte) else { return refused("a recursive query") };
                let same = rows.columns.len() == columns.len()
                    && rows.columns.iter().zip(&columns).all(|(a, b)| a.kind == b.kind);
                if !same {
                    return refused("a common table expression read under other types");
                }
                Ok(Arc::new(CteScanExec::new(rows.clone(), schema_of(&columns))))
            }
            node => refused(name_of(node)),
        }
    }

    async fn scan(&mut self, scan: &Scan, columns: &[Column]) -> Result<Operator, Failure> {
        if scan.lock.is_some() {
            return refused("a scan that locks rows");
        }
        let codec = EntryCodec::new(&scan.table, scan.index);
        if !scan.columns.iter().all(|(_, position)| codec.covers(*position)) {
            return refused("a scan of an index that does not hold every column");
        }
        let own: Vec<(ColumnId, SqlType)> =
            scan.columns.iter().map(|(id, position)| (*id, scan.table.columns[*position].ty)).collect();
        let own = columns_of(&own)?;
        let filter =
            scan.filter.as_ref().map(|filter| self.translator(&own).translate(filter)).transpose()?;
        let limit = self.row_count(scan.limit.as_ref(), "LIMIT")?;
        let places = exec::places(scan, &self.context).await?;
        let page_rows = match limit {
            Some(limit) if filter.is_none() => self.batch_rows.min(limit.max(1)),
            _ => self.batch_rows,
        };
        let spans = spans_of(scan, places);
        let divides = self.partitions > 1 && limit.is_none() && !scan.reverse;
        let rows = scan.table.row_estimate.unwrap_or(0.0);
        let spans = if divides && rows >= self.partition_rows_min {
            split(spans, self.partitions, &self.context).await?
        } else {
            vec![spans]
        };
        let mut operator: Operator = Arc::new(ScanExec::new(scan, &own, spans, &self.context, page_rows));
        let wanted = std::mem::take(&mut self.wanted);
        operator = self.prepared(operator, wanted);
        if let Some(filter) = filter {
            operator = Arc::new(FilterExec::try_new(filter.expr, operator)?);
        }
        if limit.is_some() {
            operator = Arc::new(GlobalLimitExec::new(operator, 0, limit));
        }
        arrange(operator, &own, columns)
    }

    async fn project(&mut self, input: &Plan, exprs: &[(ColumnId, Expr)]) -> Result<Operator, Failure> {
        let translator = self.translator(&columns_of(&input.columns)?);
        let mut outputs: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(exprs.len());
        for (id, expr) in exprs {
            outputs.push((translator.translate(expr)?.expr, column_name(*id)));
        }
        let input = self.build_split(input).await?;
        Ok(Arc::new(ProjectionExec::try_new(outputs, input)?))
    }

    async fn set_operation(
        &mut self,
        op: SetOp,
        all: bool,
        left: &Plan,
        right: &Plan,
        columns: &[Column],
    ) -> Result<Operator, Failure> {
        let sides = [columns_of(&left.columns)?, columns_of(&right.columns)?];
        if columns.is_empty() || columns.iter().any(|column| column.kind == Kind::Stored) {
            return refused("INTERSECT or EXCEPT of arrays, records or nothing");
        }
        let same = |side: &Vec<Column>| {
            side.len() == columns.len() && side.iter().zip(columns).all(|(a, b)| a.kind == b.kind)
        };
        if !sides.iter().all(same) {
            return refused("INTERSECT or EXCEPT of different types");
        }
        let inputs = vec![self.build(left).await?, self.build(right).await?];
        let schema = schema_of(columns);
        let operation = SetOperation { op, all, columns: columns.to_vec(), schema: schema.clone() };
        Ok(OperatorExec::plan(operation, inputs, single_partition(schema)))
    }

    async fn append(&mut self, inputs: &[Plan], columns: &[Column]) -> Result<Operator, Failure> {
        let mut operators = Vec::with_capacity(inputs.len());
        for input in inputs {
            let inner = columns_of(&input.columns)?;
            if inner.len() != columns.len() || inner.iter().zip(columns).any(|(a, b)| a.kind != b.kind) {
                return refused("a union of different types");
            }
            operators.push(self.build(input).await?);
        }
        Ok(Arc::new(AppendExec::new(operators, schema_of(columns))))
    }

    /// The value of a LIMIT or OFFSET; `None` when absent or NULL.
    pub(super) fn row_count(&self, expr: Option<&Expr>, clause: &str) -> Result<Option<usize>, Failure> {
        let Some(expr) = expr else { return Ok(None) };
        let compiled = eval::compile(expr, &[]).map_err(Refusal::from)?;
        let count = match compiled.evaluate(&self.context.eval, &[])? {
            Datum::Int8(count) => count,
            Datum::Int4(count) => i64::from(count),
            Datum::Int2(count) => i64::from(count),
            Datum::Null => return Ok(None),
            other => return Err(SqlError::internal(format!("{clause} is {other:?}")).into()),
        };
        let negative = || {
            let sqlstate = if clause == "LIMIT" {
                SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE
            } else {
                SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE
            };
            SqlError::new(sqlstate, format!("{clause} must not be negative"))
        };
        Ok(Some(usize::try_from(count).map_err(|_| negative())?))
    }
}

/// What a node without a vectorised form is called in a refusal.
pub fn name_of(node: &PlanNode) -> &'static str {
    match node {
        PlanNode::Values { .. } => "constant rows",
        PlanNode::VirtualScan { .. } => "a virtual table",
        PlanNode::FunctionScan { .. } => "a function in FROM",
        PlanNode::ProjectSet { .. } => "a set-returning function",
        PlanNode::NestedLoop { .. } => "a lateral join",
        PlanNode::LookupJoin { .. } => "a lookup join",
        PlanNode::Distinct { .. } => "DISTINCT ON",
        PlanNode::RecursiveUnion { .. } => "a recursive query",
        PlanNode::LockRows { .. } => "row locks",
        PlanNode::Insert(_) | PlanNode::Update(_) | PlanNode::Delete(_) => "a change of data",
        _ => "this operator",
    }
}
