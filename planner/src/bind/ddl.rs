//! What DDL and COPY need of the binder.

use std::sync::Arc;

use basalt_functions::CastContext;
use basalt_types::{Result, SqlError, SqlState, SqlType};
use sqlparser::{ast, tokenizer::Span};

use super::{
    Binder, Clause, PlanSettings,
    insert::{Defaults, row_relation},
    scope::Scope,
};
use crate::{Catalog, ColumnId, Expr, Plan, Table, parse::Source, plan::CheckExpr, statement::Field};

/// A CHECK expression over the columns of a table, one id per column.
#[derive(Clone, Debug)]
pub struct BoundCheck {
    pub expr: Expr,
    pub columns: Vec<ColumnId>,
}

/// How COPY FROM fills a table's rows.
#[derive(Clone, Debug)]
pub struct CopyTargets {
    /// Table column positions of the input fields.
    pub positions: Vec<usize>,
    /// Per table column that is not in the input: its default (NULL without one).
    pub defaults: Vec<(usize, Expr)>,
    /// Ids under which `checks` see the row.
    pub new: Vec<ColumnId>,
    pub checks: Vec<CheckExpr>,
}

/// A DEFAULT clause converted to its column's type.
pub fn bind_column_default(
    text: &str,
    column: &str,
    ty: SqlType,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<Expr> {
    let mut binder = Binder::new(catalog, settings, Source::new(text));
    let value = binder.stored_expression(text, &Scope::default(), Clause::Default).map_err(|error| {
        if error.sqlstate() == SqlState::UNDEFINED_COLUMN {
            return SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot use column reference in DEFAULT expression",
            );
        }
        error
    })?;
    binder.coerce_or(value, ty, CastContext::Assignment, Span::empty(), |source| {
        SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            format!(
                "column \"{column}\" is of type {} but default expression is of type {}",
                super::type_name(ty),
                super::type_name(source)
            ),
        )
        .with_hint("You will need to rewrite or cast the expression.")
    })
}

/// A CHECK clause over a table's columns.
pub fn bind_check(
    text: &str,
    table: &Arc<Table>,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<BoundCheck> {
    let mut binder = Binder::new(catalog, settings, Source::new(text));
    let columns: Vec<ColumnId> = table.columns.iter().map(|_| binder.new_id()).collect();
    let scope = Scope::of(row_relation(table, &table.name, &columns));
    let expr = binder.stored_expression(text, &scope, Clause::Check)?;
    let expr = binder.coerce_boolean(expr, "CHECK", Span::empty())?;
    if crate::optimize::has_subquery(&expr) {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot use subquery in check constraint",
        ));
    }
    Ok(BoundCheck { expr, columns })
}

/// The value of a column after ALTER COLUMN … TYPE, over the table's columns. `using` was written by the user.
pub fn bind_conversion(
    text: &str,
    table: &Arc<Table>,
    column: &str,
    target: SqlType,
    using: bool,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<BoundCheck> {
    let mut binder = Binder::new(catalog, settings, Source::new(text));
    let columns: Vec<ColumnId> = table.columns.iter().map(|_| binder.new_id()).collect();
    let scope = Scope::of(row_relation(table, &table.name, &columns));
    let value = binder.stored_expression(text, &scope, Clause::UpdateSet)?;
    if crate::optimize::has_subquery(&value) {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "cannot use subquery in transform expression",
        ));
    }
    let expr = binder.coerce_or(value, target, CastContext::Assignment, Span::empty(), |_| {
        let name = basalt_types::format_type(target);
        if using {
            return SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("result of USING clause for column \"{column}\" cannot be cast automatically to type {name}"),
            )
            .with_hint("You might need to add an explicit cast.");
        }
        SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            format!("column \"{column}\" cannot be cast automatically to type {name}"),
        )
        .with_hint(format!("You might need to specify \"USING {column}::{name}\"."))
    })?;
    Ok(BoundCheck { expr, columns })
}

/// An expression without columns, such as an argument of EXECUTE, converted to `ty` when given.
pub fn bind_expr_without_columns(
    expr: &ast::Expr,
    source: &Source,
    ty: Option<SqlType>,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<Expr> {
    let mut binder = Binder::new(catalog, settings, source.clone());
    let empty = Scope::default();
    let value = binder.expr(expr, &super::scope::Env { scope: &empty, parent: None })?;
    match ty {
        None => binder.settle_unknown(value),
        Some(ty) => binder.coerce_or(value, ty, CastContext::Assignment, Span::empty(), |source| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "expression of type {} cannot become {}",
                    super::type_name(source),
                    super::type_name(ty)
                ),
            )
        }),
    }
}

/// The columns that a view or CREATE TABLE AS query gives.
pub fn bind_view_query(
    query: &ast::Query,
    source: &Source,
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<Vec<Field>> {
    let mut binder = Binder::new(catalog, settings, source.clone());
    let fields = binder.query(query, None)?.fields;
    if !binder.params.is_empty() {
        return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1"));
    }
    Ok(fields)
}

/// A scan of all rows and columns, for backfills.
pub fn plan_table_scan(table: &Arc<Table>) -> Plan {
    let columns: Vec<(ColumnId, usize)> = (0..table.columns.len())
        .map(|position| (ColumnId(u32::try_from(position).unwrap_or(u32::MAX)), position))
        .collect();
    let layout = columns.iter().map(|(id, position)| (*id, table.columns[*position].ty)).collect();
    let scan = crate::plan::Scan {
        table: Arc::clone(table),
        alias: table.name.as_str().into(),
        index: 0,
        columns,
        access: crate::plan::Access::default(),
        reverse: false,
        filter: None,
        limit: None,
        lock: None,
    };
    let mut plan = super::plan(crate::PlanNode::Scan(Box::new(scan)), layout);
    plan.rows = table.row_estimate.unwrap_or(1000.0);
    plan
}

/// The columns of COPY table (columns) FROM, their defaults and checks.
pub fn bind_copy_targets(
    table: &Arc<Table>,
    columns: &[ast::Ident],
    catalog: &dyn Catalog,
    settings: &PlanSettings<'_>,
) -> Result<CopyTargets> {
    let mut binder = Binder::new(catalog, settings, Source::new(""));
    let names: Vec<ast::ObjectName> =
        columns.iter().map(|ident| ast::ObjectName::from(vec![ident.clone()])).collect();
    let positions = binder.insert_columns(table, &names)?;
    let mut cache = Defaults::default();
    let mut defaults = Vec::new();
    for position in (0..table.columns.len()).filter(|position| !positions.contains(position)) {
        defaults.push((position, binder.default_value(table, position, &mut cache)?));
    }
    let new: Vec<ColumnId> = table.columns.iter().map(|_| binder.new_id()).collect();
    let checks = binder.checks(table, &new)?;
    Ok(CopyTargets { positions, defaults, new, checks })
}
