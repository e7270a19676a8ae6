//! FROM: tables, views, subqueries, functions and joins.

use std::sync::Arc;

use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, JoinConstraint, JoinOperator, ObjectName, Spanned, TableAlias, TableFactor},
    tokenizer::Span,
};

use super::{
    Binder, Bound, Clause,
    names::{fold, qualified},
    one_row, plan,
    row::conjunction,
    rows_from::FunctionItem,
    scope::{Env, Relation, Scope, ScopeColumn},
};
use crate::{
    Expr, Plan, PlanNode, Table, TableKind,
    catalog::QualifiedName,
    optimize::free_columns,
    plan::{Access, JoinKind, RowLock, Scan},
};

/// The system column `tableoid`. It must be NULL in a row that an outer join made up, so it follows a column that is
/// never NULL in a stored one.
fn table_oid_column(table: &Table, columns: &[ScopeColumn]) -> Option<ScopeColumn> {
    if columns.iter().any(|column| column.name == "tableoid") {
        return None;
    }
    let key = table.indexes.first().and_then(|index| index.columns.first());
    let anchor = match key {
        Some(key) => table.columns.iter().position(|column| column.id == key.column)?,
        None => 0,
    };
    let present = Expr::IsNull { input: Box::new(columns.get(anchor)?.expr.clone()), negated: true };
    let ty = SqlType::new(Oid::OID, -1);
    let expr = Expr::Case {
        branches: vec![(present, Expr::literal(Datum::Oid(table.id), ty))],
        otherwise: None,
        ty,
    };
    Some(ScopeColumn { name: "tableoid".to_owned(), expr, origin: (table.id, -6), hidden: true })
}

impl Binder<'_> {
    pub(super) fn bind_from(
        &mut self,
        items: &[ast::TableWithJoins],
        parent: Option<&Env<'_>>,
    ) -> Result<(Plan, Scope)> {
        let mut joined: Option<(Plan, Scope)> = None;
        for item in items {
            let right = self.bind_from_item(item, joined.as_ref().map(|(_, scope)| scope), parent)?;
            joined = Some(match joined {
                None => right,
                Some((left, mut scope)) => {
                    let product = nested_loop(JoinKind::Inner, left, right.0, None);
                    scope.join(right.1)?;
                    (product, scope)
                }
            });
        }
        Ok(joined.unwrap_or_else(|| (one_row(), Scope::default())))
    }

    /// One comma-separated item with its joins. `left` is what LATERAL items may see.
    fn bind_from_item(
        &mut self,
        item: &ast::TableWithJoins,
        left: Option<&Scope>,
        parent: Option<&Env<'_>>,
    ) -> Result<(Plan, Scope)> {
        let mut joined = self.deeper(|binder| binder.factor(&item.relation, left, parent))?;
        for join in &item.joins {
            let visible = match left {
                None => joined.1.clone(),
                Some(left) => {
                    let mut visible = left.clone();
                    visible.relations.extend(joined.1.relations.iter().cloned());
                    visible.columns.extend(joined.1.columns.iter().cloned());
                    visible
                }
            };
            let right = self.deeper(|binder| binder.factor(&join.relation, Some(&visible), parent))?;
            joined = self.join(joined, right, &join.join_operator, join.relation.span(), parent)?;
        }
        Ok(joined)
    }

    fn join(
        &mut self,
        (left, left_scope): (Plan, Scope),
        (right, right_scope): (Plan, Scope),
        operator: &JoinOperator,
        span: Span,
        parent: Option<&Env<'_>>,
    ) -> Result<(Plan, Scope)> {
        let (kind, constraint) = match operator {
            JoinOperator::Join(constraint)
            | JoinOperator::Inner(constraint)
            | JoinOperator::CrossJoin(constraint) => (JoinKind::Inner, constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                (JoinKind::Left, constraint)
            }
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                (JoinKind::Right, constraint)
            }
            JoinOperator::FullOuter(constraint) => (JoinKind::Full, constraint),
            _ => return Err(self.at(SqlError::not_supported("this kind of join"), span)),
        };
        if matches!(constraint, JoinConstraint::None) && !matches!(operator, JoinOperator::CrossJoin(_)) {
            return Err(self.source.syntax_error_after(span));
        }
        let using: Vec<(String, Span)> = match constraint {
            JoinConstraint::Using(names) => names
                .iter()
                .map(|name| match super::folded(name)?.as_slice() {
                    [name_part] => Ok((name_part.clone(), name.span())),
                    _ => Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \".\"")),
                })
                .collect::<Result<_>>()?,
            JoinConstraint::Natural => left_scope
                .columns
                .iter()
                .filter(|column| !column.hidden)
                .filter(|column| {
                    right_scope.columns.iter().any(|other| !other.hidden && other.name == column.name)
                })
                .map(|column| (column.name.clone(), span))
                .collect(),
            JoinConstraint::On(_) | JoinConstraint::None => vec![],
        };
        let mut merged = Vec::with_capacity(using.len());
        let mut conditions = Vec::with_capacity(using.len());
        for (name, span) in &using {
            let left_column = self.using_column(&left_scope, name, "left", *span)?;
            let right_column = self.using_column(&right_scope, name, "right", *span)?;
            let (left_expr, right_expr) = (left_column.expr.clone(), right_column.expr.clone());
            conditions.push(self.binary("=", left_expr.clone(), right_expr.clone(), *span, *span)?);
            let (exprs, ty) = self.unify(vec![(left_expr, *span), (right_expr, *span)], "JOIN/USING")?;
            let [first, second] =
                <[Expr; 2]>::try_from(exprs).map_err(|_| SqlError::internal("two were given"))?;
            let (expr, origin) = match kind {
                JoinKind::Right => (second, right_column.origin),
                JoinKind::Full => (Expr::Coalesce { args: vec![first, second], ty }, (Oid(0), 0)),
                _ => (first, left_column.origin),
            };
            merged.push(ScopeColumn { name: name.clone(), expr, origin, hidden: false });
        }
        let mut scope = left_scope;
        scope.join(right_scope)?;
        if let JoinConstraint::On(condition) = constraint {
            let env = Env { scope: &scope, parent };
            conditions
                .push(self.in_clause(Clause::JoinOn, |binder| binder.condition(condition, "JOIN/ON", &env))?);
        }
        if !merged.is_empty() {
            scope.columns.retain(|column| !using.iter().any(|(name, _)| *name == column.name));
            merged.append(&mut scope.columns);
            scope.columns = merged;
        }
        let on = (!conditions.is_empty()).then(|| conjunction(conditions));
        Ok((nested_loop(kind, left, right, on), scope))
    }

    fn using_column(&self, scope: &Scope, name: &str, side: &str, span: Span) -> Result<ScopeColumn> {
        let mut found = scope.columns.iter().filter(|column| !column.hidden && column.name == name);
        let Some(column) = found.next() else {
            return Err(self.error_at(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
                span,
            ));
        };
        if found.next().is_some() {
            return Err(self.error_at(
                SqlState::AMBIGUOUS_COLUMN,
                format!("common column name \"{name}\" appears more than once in {side} table"),
                span,
            ));
        }
        Ok(column.clone())
    }

    fn factor(
        &mut self,
        factor: &TableFactor,
        left: Option<&Scope>,
        parent: Option<&Env<'_>>,
    ) -> Result<(Plan, Scope)> {
        self.one_more_relation()?;
        let empty = Scope::default();
        let lateral_env = Env { scope: left.unwrap_or(&empty), parent };
        if let TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } = factor
        {
            self.check_alias(&alias.name)?;
        }
        match factor {
            TableFactor::Table {
                name, alias, args: None, version, sample, with_ordinality: false, ..
            } => {
                if version.is_some() || sample.is_some() {
                    return Err(self.at(SqlError::not_supported("AS OF or TABLESAMPLE"), factor.span()));
                }
                self.named_relation(name, alias.as_ref())
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.function_relation(name, &args.args, alias.as_ref(), *with_ordinality, &lateral_env)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.function_relation(name, args, alias.as_ref(), *with_ordinality, &lateral_env)
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                let mut items = Vec::with_capacity(array_exprs.len());
                for array in array_exprs {
                    let value = self.in_from(|binder| binder.expr(array, &lateral_env))?;
                    let args = vec![(value, array.span())];
                    items.push(FunctionItem { name: "unnest".to_owned(), args, span: array.span() });
                }
                self.functions_relation(items, alias.as_ref(), *with_ordinality)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let bound = if *lateral {
                    self.subplan(subquery, &lateral_env)?
                } else {
                    let saved = std::mem::take(&mut self.collected);
                    let hidden = self.hidden_relations.len();
                    let beside = left.iter().flat_map(|scope| &scope.relations);
                    self.hidden_relations.extend(beside.map(|relation| relation.alias.clone()));
                    let bound = self.query(subquery, parent);
                    self.hidden_relations.truncate(hidden);
                    self.collected = saved;
                    bound?
                };
                let Some(alias) = alias else {
                    let error = SqlError::new(SqlState::SYNTAX_ERROR, "subquery in FROM must have an alias")
                        .with_hint("For example, FROM (SELECT ...) [AS] foo.");
                    return Err(match self.source.last_before(subquery.span().start, "(") {
                        Some(position) => error.at(position),
                        None => error,
                    });
                };
                self.derived(bound, fold(&alias.name), Some(alias))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let (plan, scope) = self.bind_from_item(table_with_joins, left, parent)?;
                match alias {
                    None => Ok((plan, scope)),
                    Some(alias) => {
                        let mut relation = Relation {
                            alias: fold(&alias.name),
                            schema: None,
                            table: None,
                            columns: scope.columns,
                            scalar: false,
                        };
                        self.rename_columns(&mut relation, alias)?;
                        Ok((plan, Scope::of(relation)))
                    }
                }
            }
            other => Err(self.at(SqlError::not_supported(format!("the FROM item {other}")), other.span())),
        }
    }

    fn in_from<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.in_clause(Clause::From, run)
    }

    /// A subquery's output under an alias.
    fn derived(&mut self, bound: Bound, name: String, alias: Option<&TableAlias>) -> Result<(Plan, Scope)> {
        let columns = bound
            .fields
            .iter()
            .zip(&bound.plan.columns)
            .map(|(field, (id, ty))| ScopeColumn {
                name: field.name.clone(),
                expr: Expr::Column { id: *id, ty: *ty },
                origin: (field.table, field.attnum),
                hidden: false,
            })
            .collect();
        let mut relation = Relation { alias: name, schema: None, table: None, columns, scalar: false };
        if let Some(alias) = alias {
            self.rename_columns(&mut relation, alias)?;
        }
        Ok((bound.plan, Scope::of(relation)))
    }

    /// The column names of an alias: `t(a, b)`.
    pub(super) fn rename_columns(&self, relation: &mut Relation, alias: &TableAlias) -> Result<()> {
        let visible = relation.columns.iter().filter(|column| !column.hidden).count();
        if alias.columns.len() > visible {
            return Err(self.error_at(
                SqlState::INVALID_COLUMN_REFERENCE,
                format!(
                    "table \"{}\" has {visible} columns available but {} columns specified",
                    relation.alias,
                    alias.columns.len()
                ),
                alias.name.span,
            ));
        }
        for (column, name) in relation.columns.iter_mut().filter(|column| !column.hidden).zip(&alias.columns)
        {
            column.name = fold(&name.name);
        }
        Ok(())
    }

    fn named_relation(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Result<(Plan, Scope)> {
        let name_parts = qualified(name)?;
        if name_parts.schema.is_none()
            && let Some(found) = self.cte_reference(&name_parts.name, name.span())?
        {
            let label = alias.map_or_else(|| name_parts.name.clone(), |alias| fold(&alias.name));
            return self.derived(found, label, alias);
        }
        let table = self.table(&name_parts, name.span())?;
        self.table_relation(&table, alias, alias.map(|alias| fold(&alias.name)))
    }

    /// Looks a table up: `relation "x" does not exist`.
    pub(crate) fn table(&mut self, name: &QualifiedName, span: Span) -> Result<Arc<Table>> {
        match self.catalog.table(name) {
            Ok(Some(table)) => {
                self.depend(&table);
                Ok(table)
            }
            Ok(None) => Err(self.error_at(
                SqlState::UNDEFINED_TABLE,
                format!("relation \"{name}\" does not exist"),
                span,
            )),
            Err(error) => Err(self.at(error, span)),
        }
    }

    pub(crate) fn table_relation(
        &mut self,
        table: &Arc<Table>,
        alias: Option<&TableAlias>,
        label: Option<String>,
    ) -> Result<(Plan, Scope)> {
        if let TableKind::View { query } = &table.kind {
            let bound = self.view(query)?;
            let schema = label.is_none().then(|| table.schema.clone());
            let label = label.unwrap_or_else(|| table.name.clone());
            let mut bound = bound;
            for (field, column) in bound.fields.iter_mut().zip(&table.columns) {
                field.name.clone_from(&column.name);
            }
            for (position, field) in bound.fields.iter_mut().enumerate() {
                field.table = table.id;
                field.attnum = i16::try_from(position + 1).unwrap_or(0);
            }
            let (plan, mut scope) = self.derived(bound, label, alias)?;
            for relation in &mut scope.relations {
                relation.schema.clone_from(&schema);
            }
            return Ok((plan, scope));
        }
        let mut columns = Vec::with_capacity(table.columns.len());
        let mut outputs = Vec::with_capacity(table.columns.len());
        let mut layout = Vec::with_capacity(table.columns.len());
        for (position, column) in table.columns.iter().enumerate() {
            let id = self.new_id();
            outputs.push((id, position));
            layout.push((id, column.ty));
            columns.push(ScopeColumn {
                name: column.name.clone(),
                expr: Expr::Column { id, ty: column.ty },
                origin: (table.id, i16::try_from(position + 1).unwrap_or(0)),
                hidden: column.hidden,
            });
        }
        columns.extend(table_oid_column(table, &columns));
        let schema = label.is_none().then(|| table.schema.clone());
        let label = label.unwrap_or_else(|| table.name.clone());
        let node = match table.kind {
            TableKind::Materialized { populated: false, .. } => {
                return Err(SqlError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("materialized view \"{}\" has not been populated", table.name),
                )
                .with_hint("Use the REFRESH MATERIALIZED VIEW command."));
            }
            TableKind::Table | TableKind::Materialized { .. } => PlanNode::Scan(Box::new(Scan {
                table: Arc::clone(table),
                alias: label.as_str().into(),
                index: 0,
                columns: outputs,
                access: Access::default(),
                reverse: false,
                filter: None,
                limit: None,
                lock: None,
            })),
            _ => PlanNode::VirtualScan { table: Arc::clone(table), columns: outputs, filter: None },
        };
        let mut relation =
            Relation { alias: label, schema, table: Some(Arc::clone(table)), columns, scalar: false };
        if let Some(alias) = alias {
            self.rename_columns(&mut relation, alias)?;
        }
        Ok((plan(node, layout), Scope::of(relation)))
    }

    /// A view's query, bound in a world of its own.
    fn view(&mut self, text: &str) -> Result<Bound> {
        let statements = crate::parse::parse(text)?;
        let Some(crate::parse::ParsedStatement {
            body: crate::parse::ParsedBody::Sql(statement),
            source,
            ..
        }) = statements.into_iter().next()
        else {
            return Err(SqlError::internal("a view without a query"));
        };
        let ast::Statement::Query(query) = *statement else {
            return Err(SqlError::internal("a view's text is not a query"));
        };
        let outer_source = std::mem::replace(&mut self.source, source);
        let outer_ctes = std::mem::take(&mut self.ctes);
        let saved = std::mem::take(&mut self.collected);
        let bound = self.query(&query, None);
        self.collected = saved;
        self.ctes = outer_ctes;
        self.source = outer_source;
        bound
    }

    fn function_relation(
        &mut self,
        name: &ObjectName,
        args: &[ast::FunctionArg],
        alias: Option<&TableAlias>,
        ordinality: bool,
        env: &Env<'_>,
    ) -> Result<(Plan, Scope)> {
        let function = super::folded(name)?.pop().unwrap_or_default();
        if function == crate::parse::ROWS_FROM {
            let items = self.rows_from_items(args, name.span(), env)?;
            return self.functions_relation(items, alias, ordinality);
        }
        let span = name.span();
        let args = self.in_from(|binder| binder.named_or_plain_args(args, &function, span, env))?;
        self.functions_relation(vec![FunctionItem { name: function, args, span }], alias, ordinality)
    }

    /// FOR UPDATE and FOR SHARE: the scans of the named tables lock what they read.
    pub(super) fn lock_rows(
        &mut self,
        input: &mut Plan,
        locks: &[ast::LockClause],
        scope: &Scope,
    ) -> Result<Vec<Vec<RowLock>>> {
        let mut above = Vec::new();
        for lock in locks {
            let only = match &lock.of {
                None => None,
                Some(name) => {
                    let label = super::folded(name)?.pop().unwrap_or_default();
                    if scope.relation(None, &label).is_none() {
                        return Err(self.error_at(
                            SqlState::UNDEFINED_TABLE,
                            format!("relation \"{label}\" in FOR UPDATE clause not found in FROM clause"),
                            name.span(),
                        ));
                    }
                    Some(label)
                }
            };
            let exclusive = lock.lock_type == ast::LockType::Update;
            match &lock.nonblock {
                None => lock_scans(input, only.as_deref(), exclusive),
                // These must not wait while they read: the rows are locked above the whole query.
                Some(nonblock) => {
                    let mut rows = Vec::new();
                    lockable(input, only.as_deref(), &mut rows);
                    let locks = rows
                        .into_iter()
                        .map(|(table, key)| RowLock {
                            table,
                            key,
                            exclusive,
                            nowait: *nonblock == ast::NonBlock::Nowait,
                            skip_locked: *nonblock == ast::NonBlock::SkipLocked,
                        })
                        .collect();
                    above.push(locks);
                }
            }
        }
        Ok(above)
    }
}

fn lock_scans(input: &mut Plan, only: Option<&str>, exclusive: bool) {
    if let PlanNode::Scan(scan) = &mut input.node
        && only.is_none_or(|only| *scan.alias == *only)
    {
        scan.lock = Some(scan.lock.unwrap_or(false) || exclusive);
    }
    for child in crate::optimize::inputs_mut(&mut input.node) {
        lock_scans(child, only, exclusive);
    }
}

/// Tables whose rows a query gives, with the ids of their primary keys.
fn lockable(plan: &Plan, only: Option<&str>, out: &mut Vec<(Arc<Table>, Vec<crate::ColumnId>)>) {
    if let PlanNode::Scan(scan) = &plan.node
        && only.is_none_or(|only| *scan.alias == *only)
    {
        let key = scan.table.primary().columns.iter().filter_map(|part| {
            let position = scan.table.position(part.column)?;
            scan.columns.iter().find(|(_, column)| *column == position).map(|(id, _)| *id)
        });
        out.push((scan.table.clone(), key.collect()));
    }
    for child in crate::optimize::inputs(&plan.node) {
        lockable(child, only, out);
    }
}

/// A join in canonical form; `lateral` when the right side reads left columns.
pub(crate) fn nested_loop(kind: JoinKind, left: Plan, right: Plan, on: Option<Expr>) -> Plan {
    let lateral =
        free_columns(&right).iter().any(|(id, _)| left.columns.iter().any(|(other, _)| other == id));
    let mut columns = left.columns.clone();
    columns.extend(right.columns.iter().copied());
    plan(PlanNode::NestedLoop { kind, left: Box::new(left), right: Box::new(right), on, lateral }, columns)
}
