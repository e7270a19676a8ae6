//! Syntax trees to typed plans by PostgreSQL's rules.
//!
//! Binding emits [`Plan`] nodes in a canonical form (full scans, nested loops, filters); rewrites make them fast
//! afterwards. Names are resolved against a chain of scopes; what a query level collects while its expressions are
//! bound (aggregates, window calls, set-returning calls) is replaced by column ids at once, so that the expressions
//! need no second pass to find them.

mod aggregate;
mod call;
mod coerce;
mod compare;
mod cte;
mod data_type;
mod ddl;
mod delete;
mod expr;
mod from;
mod group;
mod insert;
mod literal;
mod lookup;
mod named_arguments;
mod names;
mod output_name;
mod query;
mod resolve;
mod row;
mod rows_from;
mod scope;
mod select;
mod set_operation;
mod sort;
mod special;
mod subquery;
mod tables;
mod update;
mod window;

use std::collections::BTreeMap;

use basalt_functions::EvalContext;
use basalt_types::{Oid, Result, SqlError, SqlState, SqlType, format_type};
use sqlparser::tokenizer::Span;

pub(crate) use coerce::type_name;
pub use data_type::{bind_type, is_serial};
pub use ddl::{
    BoundCheck, CopyTargets, bind_check, bind_column_default, bind_conversion, bind_copy_targets,
    bind_expr_without_columns, bind_view_query, plan_table_scan,
};
pub use names::{fold, folded, qualified};
pub use tables::required_tables;

use crate::{
    Catalog, ColumnId, Expr, Plan, PlanNode,
    expr::AggregateCall,
    parse::{Source, too_deep},
    plan::WindowCall,
    statement::{Dependency, Field},
};

/// Deepest nesting of bound expressions and queries.
const DEPTH_LIMIT: usize = 400;
/// FROM items and common table expressions of one statement.
const RELATIONS_MAX: usize = 1_000;

/// A bound query: its plan and what its columns are called.
pub(crate) struct Bound {
    pub plan: Plan,
    pub fields: Vec<Field>,
}

/// The part of a query that is being bound; decides what may stand there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Clause {
    #[default]
    Select,
    Where,
    Having,
    GroupBy,
    OrderBy,
    DistinctOn,
    JoinOn,
    From,
    Limit,
    Values,
    UpdateSet,
    Returning,
    Check,
    Default,
    WindowDefinition,
    Filter,
}

impl Clause {
    /// As error messages name it after "not allowed in".
    fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Where => "WHERE",
            Self::Having => "HAVING",
            Self::GroupBy => "GROUP BY",
            Self::OrderBy => "ORDER BY",
            Self::DistinctOn => "DISTINCT ON",
            Self::JoinOn => "JOIN conditions",
            Self::From => "functions in FROM",
            Self::Limit => "LIMIT",
            Self::Values => "VALUES",
            Self::UpdateSet => "UPDATE",
            Self::Returning => "RETURNING",
            Self::Check => "check constraints",
            Self::Default => "DEFAULT expressions",
            Self::WindowDefinition => "window definitions",
            Self::Filter => "FILTER",
        }
    }
}

/// What the expressions of one query level contain besides plain values.
#[derive(Default)]
pub(crate) struct Collected {
    pub aggregates: Vec<(ColumnId, AggregateCall)>,
    /// GROUPING(…) calls: their arguments, matched to group positions later.
    pub groupings: Vec<(ColumnId, Vec<(Expr, Span)>)>,
    pub windows: Vec<(ColumnId, WindowCall)>,
    pub set_calls: Vec<(ColumnId, crate::expr::CallExpr)>,
    pub named_windows: Vec<(String, window::Definition)>,
    /// Inside an aggregate's arguments.
    pub in_aggregate: bool,
    /// Inside a window function's arguments.
    pub in_window: bool,
    /// Ids that the FROM clause of this level makes.
    pub clause: Clause,
    /// Column references since the last reset, for error positions.
    pub references: Vec<(ColumnId, Span)>,
}

/// What binding needs besides the statement.
#[derive(Clone, Copy)]
pub struct PlanSettings<'a> {
    /// Types declared in Parse; 0 for "infer".
    pub declared_params: &'a [Oid],
    /// For reading literals and folding immutable calls.
    pub eval: &'a EvalContext,
}

pub(crate) struct Binder<'a> {
    pub catalog: &'a dyn Catalog,
    pub eval: &'a EvalContext,
    pub source: Source,
    /// `None` until the context of `$n` has decided.
    pub params: Vec<Option<SqlType>>,
    pub dependencies: BTreeMap<Oid, Dependency>,
    pub cacheable: bool,
    pub collected: Collected,
    pub ctes: Vec<cte::Cte>,
    /// Aliases of FROM items that the subquery in FROM being bound stands beside and cannot see.
    pub hidden_relations: Vec<String>,
    /// Some WITH query changes data.
    pub changes_data: bool,
    next_column: u32,
    next_cte: u32,
    depth: usize,
    /// FROM items and common table expressions so far: as deep as the plan may get by them.
    relations: usize,
}

impl<'a> Binder<'a> {
    pub fn new(catalog: &'a dyn Catalog, settings: &PlanSettings<'a>, source: Source) -> Self {
        let params = settings
            .declared_params
            .iter()
            .map(|oid| (oid.0 != 0 && *oid != Oid::UNKNOWN).then(|| SqlType::new(*oid, -1)))
            .collect();
        Self {
            catalog,
            eval: settings.eval,
            source,
            params,
            dependencies: BTreeMap::new(),
            cacheable: true,
            collected: Collected::default(),
            ctes: Vec::new(),
            hidden_relations: Vec::new(),
            changes_data: false,
            next_column: 0,
            next_cte: 0,
            depth: 0,
            relations: 0,
        }
    }

    pub fn new_id(&mut self) -> ColumnId {
        self.next_column += 1;
        ColumnId(self.next_column)
    }

    pub fn new_cte(&mut self) -> u32 {
        self.next_cte += 1;
        self.next_cte
    }

    /// Adds the position of a span to an error that has none.
    pub fn at(&self, error: SqlError, span: Span) -> SqlError {
        match self.source.position(span.start) {
            Some(position) => error.at(position),
            None => error,
        }
    }

    pub fn error_at(&self, state: SqlState, message: impl Into<String>, span: Span) -> SqlError {
        self.at(SqlError::new(state, message), span)
    }

    /// An error at the operator that follows `span`.
    pub fn error_after(&self, state: SqlState, message: impl Into<String>, span: Span) -> SqlError {
        let error = SqlError::new(state, message);
        match self.source.operator_after(span.end) {
            Some(position) => error.at(position),
            None => error,
        }
    }

    /// Runs one level deeper, within the bound.
    pub fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= DEPTH_LIMIT {
            return Err(too_deep());
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// Counts a FROM item or a common table expression, within the bound: each nests the plan by one more level.
    pub fn one_more_relation(&mut self) -> Result<()> {
        self.relations += 1;
        if self.relations > RELATIONS_MAX { Err(too_deep()) } else { Ok(()) }
    }

    /// Runs with another clause in force.
    pub fn in_clause<T>(&mut self, clause: Clause, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.collected.clause, clause);
        let result = run(self);
        self.collected.clause = before;
        result
    }

    /// Gives `$n` its type; two uses must agree.
    pub fn determine_param(&mut self, index: usize, ty: SqlType, span: Span) -> Result<()> {
        match self.params[index] {
            None => {
                self.params[index] = Some(ty);
                Ok(())
            }
            Some(before) if before.oid == ty.oid => Ok(()),
            Some(before) => Err(self.at(
                SqlError::new(
                    SqlState::AMBIGUOUS_PARAMETER,
                    format!("inconsistent types deduced for parameter ${}", index + 1),
                )
                .with_detail(format!("{} versus {}", format_type(before), format_type(ty))),
                span,
            )),
        }
    }

    /// The types of all parameters, or the error for one that nothing decided.
    pub fn finished_params(&self) -> Result<Vec<SqlType>> {
        self.params
            .iter()
            .enumerate()
            .map(|(index, ty)| {
                ty.ok_or_else(|| {
                    SqlError::new(
                        SqlState::INDETERMINATE_DATATYPE,
                        format!("could not determine data type of parameter ${}", index + 1),
                    )
                })
            })
            .collect()
    }

    pub fn depend(&mut self, table: &crate::Table) {
        let dependency = Dependency { table: table.id, version: table.version, rows: table.row_estimate };
        self.dependencies.insert(table.id, dependency);
    }
}

/// A node over layouts that are known.
pub(crate) fn plan(node: PlanNode, columns: Vec<(ColumnId, SqlType)>) -> Plan {
    Plan { node, columns, rows: 0.0, cost: 0.0 }
}

/// `input` with its rows filtered.
pub(crate) fn filter(input: Plan, predicate: Expr) -> Plan {
    let columns = input.columns.clone();
    plan(PlanNode::Filter { input: Box::new(input), predicate }, columns)
}

/// `input` with its columns computed anew.
pub(crate) fn project(input: Plan, exprs: Vec<(ColumnId, Expr)>) -> Plan {
    let columns = exprs.iter().map(|(id, expr)| (*id, expr.ty())).collect();
    plan(PlanNode::Project { input: Box::new(input), exprs }, columns)
}

/// One row without columns.
pub(crate) fn one_row() -> Plan {
    plan(PlanNode::Values { rows: vec![vec![]] }, vec![])
}

/// Takes the place of an expression while it is being converted.
pub(crate) fn expr_placeholder() -> Expr {
    Expr::Literal { value: basalt_types::Datum::Null, ty: SqlType::UNKNOWN }
}
