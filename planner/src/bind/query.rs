//! Whole queries: WITH, the body, ORDER BY, LIMIT and row locks.

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{self, LimitClause, OrderByKind, SetExpr, Spanned};

use super::{Binder, Bound, plan, scope::Env, scope::Scope};
use crate::{Expr, PlanNode, expr::AggregateCall, plan::WindowCall, statement::Field};

/// What stands around a query's body.
pub(super) struct Tail<'q> {
    pub order_by: &'q [ast::OrderByExpr],
    pub locks: &'q [ast::LockClause],
    /// Unknown literals of the output become text.
    pub settle: bool,
}

impl Binder<'_> {
    pub(crate) fn query(&mut self, query: &ast::Query, parent: Option<&Env<'_>>) -> Result<Bound> {
        self.deeper(|binder| binder.query_with(query, parent, true))
    }

    /// A query whose unknown literals may still take the type of what they are stored in.
    pub(crate) fn source_query(&mut self, query: &ast::Query, parent: Option<&Env<'_>>) -> Result<Bound> {
        self.deeper(|binder| binder.query_with(query, parent, false))
    }

    fn query_with(&mut self, query: &ast::Query, parent: Option<&Env<'_>>, settle: bool) -> Result<Bound> {
        if query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(SqlError::not_supported("this clause of a query"));
        }
        let outer_ctes = self.ctes.len();
        if let Some(with) = &query.with {
            self.with_clause(with, parent)?;
        }
        let order_by: &[ast::OrderByExpr] = match query.order_by.as_ref().map(|order| &order.kind) {
            None => &[],
            Some(OrderByKind::Expressions(keys)) => keys,
            Some(OrderByKind::All(_)) => return Err(SqlError::not_supported("ORDER BY ALL")),
        };
        let tail = Tail { order_by, locks: &query.locks, settle };
        let mut bound = self.body(&query.body, &tail, parent)?;
        self.limit(query, &mut bound, parent)?;
        self.close_ctes(outer_ctes, &mut bound);
        Ok(bound)
    }

    fn body(&mut self, body: &SetExpr, tail: &Tail<'_>, parent: Option<&Env<'_>>) -> Result<Bound> {
        if let SetExpr::Select(select) = body {
            return self.select(select, tail, parent);
        }
        if !tail.locks.is_empty() {
            return Err(SqlError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT",
            ));
        }
        let bound = self.set_expr(body, tail.settle, parent)?;
        self.order_output(bound, tail.order_by)
    }

    /// One side of a set operation, or a body that is no SELECT.
    pub(super) fn set_expr(
        &mut self,
        body: &SetExpr,
        settle: bool,
        parent: Option<&Env<'_>>,
    ) -> Result<Bound> {
        self.deeper(|binder| match body {
            SetExpr::Select(select) => {
                binder.select(select, &Tail { order_by: &[], locks: &[], settle }, parent)
            }
            SetExpr::Query(query) => binder.query_with(query, parent, settle),
            SetExpr::Values(values) => binder.values(values, parent),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                binder.set_operation(left, *op, *set_quantifier, right, body, parent)
            }
            SetExpr::Table(table) => binder.table_command(table, parent),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(SqlError::not_supported("a data-modifying statement in WITH"))
            }
        })
    }

    /// ORDER BY over an output that has no scope but its own names.
    fn order_output(&mut self, bound: Bound, order_by: &[ast::OrderByExpr]) -> Result<Bound> {
        if order_by.is_empty() {
            return Ok(bound);
        }
        let targets: Vec<super::select::Target> = bound
            .fields
            .iter()
            .zip(&bound.plan.columns)
            .map(|(field, (id, ty))| super::select::Target {
                name: field.name.clone(),
                expr: Expr::Column { id: *id, ty: *ty },
                origin: (field.table, field.attnum),
                span: sqlparser::tokenizer::Span::empty(),
            })
            .collect();
        let mut keys = Vec::with_capacity(order_by.len());
        for key in order_by {
            let Some(index) = self.output_reference(&key.expr, &targets, targets.len(), "ORDER BY", true)?
            else {
                if let ast::Expr::Identifier(ident) = &key.expr {
                    let name = super::fold(ident);
                    return Err(self.error_at(
                        SqlState::UNDEFINED_COLUMN,
                        format!("column \"{name}\" does not exist"),
                        ident.span,
                    ));
                }
                return Err(self.at(
                    SqlError::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                    )
                    .with_detail("Only result column names can be used, not expressions or functions.")
                    .with_hint(
                        "Add the expression/function to every SELECT, or move the UNION into a FROM clause.",
                    ),
                    key.expr.span(),
                ));
            };
            keys.push(self.sort_key(targets[index].expr.clone(), &key.options, key.expr.span())?);
        }
        let columns = bound.plan.columns.clone();
        let sorted = plan(PlanNode::Sort { input: Box::new(bound.plan), keys, top: None }, columns);
        Ok(Bound { plan: sorted, fields: bound.fields })
    }

    fn limit(&mut self, query: &ast::Query, bound: &mut Bound, parent: Option<&Env<'_>>) -> Result<()> {
        let empty = Scope::default();
        let env = Env { scope: &empty, parent };
        let (mut limit, mut offset) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit: count, offset: skip, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(SqlError::not_supported("LIMIT BY"));
                }
                limit = count.as_ref();
                offset = skip.as_ref().map(|skip| &skip.value);
            }
            Some(LimitClause::OffsetCommaLimit { offset: skip, .. }) => {
                return Err(self.at(
                    SqlError::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported")
                        .with_hint("Use separate LIMIT and OFFSET clauses."),
                    skip.span(),
                ));
            }
        }
        let one = ast::Expr::Value(ast::Value::Number("1".into(), false).with_empty_span());
        if let Some(fetch) = &query.fetch {
            if fetch.percent {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"percent\""));
            }
            limit = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        let is_null = |expr: &ast::Expr| {
            matches!(expr, ast::Expr::Value(value) if value.value == ast::Value::Null)
                || matches!(expr, ast::Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case("all"))
        };
        let saved = std::mem::take(&mut self.collected);
        let limit = match limit.filter(|limit| !is_null(limit)) {
            Some(limit) => Some(self.row_count(limit, "LIMIT", &env)?),
            None => None,
        };
        let offset = match offset.filter(|offset| !is_null(offset)) {
            Some(offset) => Some(self.row_count(offset, "OFFSET", &env)?),
            None => None,
        };
        self.collected = saved;
        let ties = query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties);
        if ties && let Some(limit) = limit {
            return self.limit_with_ties(bound, limit, offset);
        }
        if limit.is_some() || offset.is_some() {
            let columns = bound.plan.columns.clone();
            let input = std::mem::replace(&mut bound.plan, super::one_row());
            bound.plan = plan(PlanNode::Limit { input: Box::new(input), limit, offset }, columns);
        }
        Ok(())
    }

    /// FETCH FIRST … WITH TIES: rows whose rank is not beyond the last row's.
    fn limit_with_ties(&mut self, bound: &mut Bound, limit: Expr, offset: Option<Expr>) -> Result<()> {
        // Hidden sort columns are removed above the sort.
        let sorted = match &bound.plan.node {
            PlanNode::Project { input, .. } => &input.node,
            node => node,
        };
        let PlanNode::Sort { keys, .. } = sorted else {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "WITH TIES cannot be specified without ORDER BY clause",
            ));
        };
        let keys = keys.clone();
        let output = bound.plan.columns.clone();
        let input = match std::mem::replace(&mut bound.plan, super::one_row()) {
            crate::Plan { node: PlanNode::Project { input, .. }, .. } => *input,
            plan => plan,
        };
        let empty = sqlparser::tokenizer::Span::empty();
        let (function, args, ty) = self.resolve_call("rank", vec![], empty)?;
        let rank = self.new_id();
        let call = WindowCall {
            aggregate: AggregateCall { function, args, distinct: false, order_by: vec![], filter: None, ty },
            partition_by: vec![],
            order_by: keys,
            frame: super::window::default_frame(),
        };
        let mut columns = input.columns.clone();
        columns.push((rank, ty));
        let ranked = plan(PlanNode::Window { input: Box::new(input), calls: vec![(rank, call)] }, columns);
        let last = match &offset {
            Some(offset) => self.binary("+", limit, offset.clone(), empty, empty)?,
            None => limit,
        };
        let within = self.binary("<=", Expr::Column { id: rank, ty }, last, empty, empty)?;
        let mut result = super::filter(ranked, within);
        if offset.is_some() {
            let columns = result.columns.clone();
            result = plan(PlanNode::Limit { input: Box::new(result), limit: None, offset }, columns);
        }
        let kept = output.iter().map(|(id, ty)| (*id, Expr::Column { id: *id, ty: *ty })).collect();
        bound.plan = super::project(result, kept);
        Ok(())
    }

    /// VALUES as a query: `column1`, `column2`, …
    fn values(&mut self, values: &ast::Values, parent: Option<&Env<'_>>) -> Result<Bound> {
        let empty = Scope::default();
        let env = Env { scope: &empty, parent };
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut columns: Vec<Vec<(Expr, sqlparser::tokenizer::Span)>> = vec![Vec::new(); width];
        let saved = std::mem::take(&mut self.collected);
        self.collected.clause = super::Clause::Values;
        for row in &values.rows {
            if row.content.len() != width {
                let span = row.content.first().map_or_else(sqlparser::tokenizer::Span::empty, Spanned::span);
                return Err(self.error_at(
                    SqlState::SYNTAX_ERROR,
                    "VALUES lists must all be the same length",
                    span,
                ));
            }
            for (column, item) in columns.iter_mut().zip(&row.content) {
                column.push((self.expr(item, &env)?, item.span()));
            }
        }
        self.collected = saved;
        let mut rows: Vec<Vec<Expr>> = vec![Vec::with_capacity(width); values.rows.len()];
        let mut layout = Vec::with_capacity(width);
        let mut fields = Vec::with_capacity(width);
        for (index, column) in columns.into_iter().enumerate() {
            let (exprs, ty) = self.unify(column, "VALUES")?;
            for (row, expr) in rows.iter_mut().zip(exprs) {
                row.push(expr);
            }
            layout.push((self.new_id(), ty));
            fields.push(Field {
                name: format!("column{}", index + 1),
                ty,
                table: basalt_types::Oid(0),
                attnum: 0,
            });
        }
        Ok(Bound { plan: plan(PlanNode::Values { rows }, layout), fields })
    }

    /// `TABLE t`.
    fn table_command(&mut self, table: &ast::Table, parent: Option<&Env<'_>>) -> Result<Bound> {
        let Some(name) = &table.table_name else { return Err(SqlError::internal("TABLE without a name")) };
        let text = match &table.schema_name {
            Some(schema) => format!("SELECT * FROM {schema}.{name}"),
            None => format!("SELECT * FROM {name}"),
        };
        let parsed = crate::parse::parse(&text)?;
        match parsed.first().map(|statement| &statement.body) {
            Some(crate::parse::ParsedBody::Sql(statement)) => match statement.as_ref() {
                ast::Statement::Query(query) => self.query(query, parent),
                _ => Err(SqlError::internal("TABLE did not become a query")),
            },
            _ => Err(SqlError::internal("TABLE did not become a query")),
        }
    }
}
