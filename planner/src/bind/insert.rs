//! INSERT, and what UPDATE and DELETE share with it: assignments, defaults, checks, RETURNING.

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_functions::CastContext;
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, ConflictTarget, OnConflictAction, OnInsert, SetExpr, Spanned, TableObject},
    tokenizer::Span,
};

use super::{
    Binder, Bound, Clause, Collected,
    names::{fold, qualified},
    plan, project,
    scope::{Env, Relation, Scope, ScopeColumn},
};
use crate::{
    ColumnId, Expr, Plan, PlanNode, Table, TableKind,
    plan::{CheckExpr, Insert, OnConflict},
    statement::Field,
};

impl Binder<'_> {
    pub(crate) fn insert(
        &mut self,
        insert: &ast::Insert,
        with: Option<&ast::With>,
    ) -> Result<(Plan, Vec<Field>)> {
        let outer_ctes = self.ctes.len();
        if let Some(with) = with {
            self.with_clause(with, None)?;
        }
        let (plan, fields) = self.insert_into(insert)?;
        let mut bound = Bound { plan, fields };
        self.close_ctes(outer_ctes, &mut bound);
        Ok((bound.plan, bound.fields))
    }

    fn insert_into(&mut self, insert: &ast::Insert) -> Result<(Plan, Vec<Field>)> {
        if insert.or.is_some() || insert.replace_into || !insert.assignments.is_empty() {
            return Err(SqlError::not_supported("this form of INSERT"));
        }
        let TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::not_supported("INSERT into something else than a table"));
        };
        let table = self.writable(name, "insert into")?;
        let targets = self.insert_columns(&table, &insert.columns)?;
        // OVERRIDING SYSTEM VALUE and OVERRIDING USER VALUE, as the rewriter puts them.
        let overriding = match (insert.overwrite, insert.has_table_keyword) {
            (true, false) => Overriding::System,
            (true, true) => Overriding::User,
            (false, _) => Overriding::Nothing,
        };
        let mut defaults = Defaults { overriding, ..Defaults::default() };
        let source = match &insert.source {
            None => self.default_row(&table, &mut defaults)?,
            Some(query) => match query.body.as_ref() {
                SetExpr::Values(values)
                    if query.with.is_none()
                        && query.order_by.is_none()
                        && query.limit_clause.is_none()
                        && query.fetch.is_none() =>
                {
                    self.insert_values(&table, &targets, &insert.columns, values, &mut defaults)?
                }
                _ => {
                    self.with_of_source(query)?;
                    self.insert_query(&table, &targets, &insert.columns, query, &mut defaults)?
                }
            },
        };
        let new: Vec<ColumnId> = source.columns.iter().map(|(id, _)| *id).collect();
        let checks = self.checks(&table, &new)?;
        let alias =
            insert.table_alias.as_ref().map_or_else(|| table.name.clone(), |alias| fold(&alias.alias));
        let on_conflict = match &insert.on {
            None => None,
            Some(OnInsert::OnConflict(conflict)) => {
                Some(self.on_conflict(&table, &alias, &new, conflict, &mut defaults)?)
            }
            Some(_) => return Err(SqlError::not_supported("ON DUPLICATE KEY")),
        };
        let scope = Scope::of(row_relation(&table, &alias, &new));
        let (returning, fields) = self.returning(insert.returning.as_deref(), &scope)?;
        let columns = returning.iter().map(|(id, expr)| (*id, expr.ty())).collect();
        let node = Insert { table, source, new, checks, on_conflict, returning };
        Ok((plan(PlanNode::Insert(Box::new(node)), columns), fields))
    }

    /// A table that DML may change.
    pub(super) fn writable(&mut self, name: &ast::ObjectName, verb: &str) -> Result<Arc<Table>> {
        let table = self.table(&qualified(name)?, name.span())?;
        let error = match &table.kind {
            TableKind::Table => {
                for related in self.catalog.related(&table, verb == "insert into") {
                    self.depend(&related);
                }
                return Ok(table);
            }
            TableKind::Materialized { .. } => SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot change materialized view \"{}\"", table.name),
            ),
            TableKind::View { .. } => SqlError::not_supported(format!("{verb} a view")),
            TableKind::Sequence(_) => SqlError::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot change sequence \"{}\"", table.name),
            ),
            TableKind::Virtual => SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied: \"{}\" is a system catalog", table.name),
            ),
        };
        Err(self.at(error, name.span()))
    }

    /// Positions of the columns that an INSERT or COPY names; all visible ones without a list.
    pub(super) fn insert_columns(&self, table: &Table, columns: &[ast::ObjectName]) -> Result<Vec<usize>> {
        if columns.is_empty() {
            return Ok((0..table.columns.len())
                .filter(|position| !table.columns[*position].hidden)
                .collect());
        }
        let mut positions = Vec::with_capacity(columns.len());
        for name in columns {
            let column = super::folded(name)?.pop().unwrap_or_default();
            let position = self.target_column(table, &column, name.span())?;
            if positions.contains(&position) {
                return Err(self.error_at(
                    SqlState::DUPLICATE_COLUMN,
                    format!("column \"{column}\" specified more than once"),
                    name.span(),
                ));
            }
            positions.push(position);
        }
        Ok(positions)
    }

    pub(super) fn target_column(&self, table: &Table, name: &str, span: Span) -> Result<usize> {
        table.columns.iter().position(|column| !column.hidden && column.name == name).ok_or_else(|| {
            self.error_at(
                SqlState::UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
                span,
            )
        })
    }

    fn default_row(&mut self, table: &Table, defaults: &mut Defaults) -> Result<Plan> {
        let mut row = Vec::with_capacity(table.columns.len());
        for position in 0..table.columns.len() {
            row.push(self.default_value(table, position, defaults)?);
        }
        Ok(self.rows_for(table, vec![row]))
    }

    fn rows_for(&mut self, table: &Table, rows: Vec<Vec<Expr>>) -> Plan {
        let columns = table.columns.iter().map(|column| (self.new_id(), column.ty)).collect();
        plan(PlanNode::Values { rows }, columns)
    }

    fn insert_values(
        &mut self,
        table: &Table,
        targets: &[usize],
        listed: &[ast::ObjectName],
        values: &ast::Values,
        defaults: &mut Defaults,
    ) -> Result<Plan> {
        let empty = Scope::default();
        let env = Env { scope: &empty, parent: None };
        self.collected.clause = Clause::Values;
        // Where the value for each table column stands in a written row.
        let mut place: Vec<Option<usize>> = vec![None; table.columns.len()];
        for (index, position) in targets.iter().enumerate() {
            place[*position] = Some(index);
        }
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != width {
                let span = row.content.first().map_or_else(Span::empty, Spanned::span);
                return Err(self.error_at(
                    SqlState::SYNTAX_ERROR,
                    "VALUES lists must all be the same length",
                    span,
                ));
            }
            self.check_width(width, targets, listed, row.content.get(targets.len()).map(Spanned::span))?;
            let mut full = Vec::with_capacity(table.columns.len());
            for (position, place) in place.iter().enumerate() {
                full.push(match place.and_then(|index| row.content.get(index)) {
                    Some(expr) if is_default(expr) => self.default_value(table, position, defaults)?,
                    Some(_) if defaults.ignores(table, position) => {
                        self.default_value(table, position, defaults)?
                    }
                    Some(expr) => {
                        self.refuse_identity(table, position, defaults)?;
                        let value = self.expr(expr, &env)?;
                        self.assign(table, position, value, expr.span())?
                    }
                    None => self.default_value(table, position, defaults)?,
                });
            }
            rows.push(full);
        }
        self.collected = Collected::default();
        Ok(self.rows_for(table, rows))
    }

    fn refuse_identity(&self, table: &Table, position: usize, defaults: &Defaults) -> Result<()> {
        let column = &table.columns[position];
        if column.identity_always == Some(true) && defaults.overriding != Overriding::System {
            return Err(SqlError::new(
                SqlState(*b"428C9"),
                format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
            )
            .with_detail(format!(
                "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
                column.name
            ))
            .with_hint("Use OVERRIDING SYSTEM VALUE to override."));
        }
        Ok(())
    }

    fn check_width(
        &self,
        width: usize,
        targets: &[usize],
        listed: &[ast::ObjectName],
        extra: Option<Span>,
    ) -> Result<()> {
        if width > targets.len() {
            return Err(self.error_at(
                SqlState::SYNTAX_ERROR,
                "INSERT has more expressions than target columns",
                extra.unwrap_or_else(Span::empty),
            ));
        }
        if !listed.is_empty() && width < targets.len() {
            return Err(self.error_at(
                SqlState::SYNTAX_ERROR,
                "INSERT has more target columns than expressions",
                listed.get(width).map_or_else(Span::empty, Spanned::span),
            ));
        }
        Ok(())
    }

    fn insert_query(
        &mut self,
        table: &Table,
        targets: &[usize],
        listed: &[ast::ObjectName],
        query: &ast::Query,
        defaults: &mut Defaults,
    ) -> Result<Plan> {
        let bound = self.source_query(query, None)?;
        let mut source = bound.plan;
        self.check_width(source.columns.len(), targets, listed, None)?;
        // Literals and parameters take the type of their column.
        if let PlanNode::Project { exprs, .. } = &mut source.node {
            for (index, (id, expr)) in exprs.iter_mut().enumerate() {
                if expr.ty().oid == Oid::UNKNOWN {
                    let taken = std::mem::replace(expr, super::expr_placeholder());
                    *expr = self.assign(table, targets[index], taken, Span::empty())?;
                    *id = self.new_id();
                    source.columns[index] = (*id, expr.ty());
                }
            }
        }
        let mut exprs = Vec::with_capacity(table.columns.len());
        for position in 0..table.columns.len() {
            let written = targets.iter().position(|target| *target == position);
            let value = match written.and_then(|index| source.columns.get(index).copied()) {
                Some(_) if defaults.ignores(table, position) => {
                    self.default_value(table, position, defaults)?
                }
                Some((id, ty)) => {
                    self.refuse_identity(table, position, defaults)?;
                    self.assign(table, position, Expr::Column { id, ty }, query.span())?
                }
                None => self.default_value(table, position, defaults)?,
            };
            exprs.push((self.new_id(), value));
        }
        Ok(project(source, exprs))
    }

    /// A value for a column: assignment cast and length check.
    pub(super) fn assign(&mut self, table: &Table, position: usize, value: Expr, span: Span) -> Result<Expr> {
        let column = &table.columns[position];
        self.coerce_or(value, column.ty, CastContext::Assignment, span, |source| {
            SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{}\" is of type {} but expression is of type {}",
                    column.name,
                    super::type_name(column.ty),
                    super::type_name(source)
                ),
            )
            .with_hint("You will need to rewrite or cast the expression.")
        })
    }

    /// The DEFAULT of a column, or NULL.
    pub(super) fn default_value(
        &mut self,
        table: &Table,
        position: usize,
        defaults: &mut Defaults,
    ) -> Result<Expr> {
        let column = &table.columns[position];
        let Some(text) = &column.default else {
            return Ok(Expr::literal(Datum::Null, column.ty));
        };
        if let Some(known) = defaults.bound.get(&position) {
            return Ok(known.clone());
        }
        let value = self.stored_expression(text, &Scope::default(), Clause::Default)?;
        let value = self.assign(table, position, value, Span::empty())?;
        defaults.bound.insert(position, value.clone());
        Ok(value)
    }

    /// Binds an expression that a descriptor keeps as text.
    pub(super) fn stored_expression(&mut self, text: &str, scope: &Scope, clause: Clause) -> Result<Expr> {
        let (expr, source) = crate::parse::parse_expression(text)?;
        let outer_source = std::mem::replace(&mut self.source, source);
        let outer = std::mem::take(&mut self.collected);
        self.collected.clause = clause;
        let bound = self.expr(&expr, &Env { scope, parent: None });
        self.collected = outer;
        self.source = outer_source;
        bound
    }

    pub(super) fn checks(&mut self, table: &Arc<Table>, new: &[ColumnId]) -> Result<Vec<CheckExpr>> {
        if table.checks.is_empty() {
            return Ok(vec![]);
        }
        let scope = Scope::of(row_relation(table, &table.name, new));
        let mut checks = Vec::with_capacity(table.checks.len());
        for check in &table.checks {
            let expr = self.stored_expression(&check.expression, &scope, Clause::Check)?;
            let expr = self.coerce_boolean(expr, "CHECK", Span::empty())?;
            checks.push(CheckExpr { name: check.name.clone(), expr });
        }
        Ok(checks)
    }

    pub(super) fn returning(
        &mut self,
        items: Option<&[ast::SelectItem]>,
        scope: &Scope,
    ) -> Result<(Vec<(ColumnId, Expr)>, Vec<Field>)> {
        let Some(items) = items else { return Ok((vec![], vec![])) };
        self.collected = Collected { clause: Clause::Returning, ..Collected::default() };
        let targets = self.targets(items, &Env { scope, parent: None })?;
        self.collected = Collected::default();
        let mut exprs = Vec::with_capacity(targets.len());
        let mut fields = Vec::with_capacity(targets.len());
        for target in targets {
            let expr = self.settle_unknown(target.expr)?;
            let (table, attnum) = target.origin;
            fields.push(Field { name: target.name, ty: expr.ty(), table, attnum });
            exprs.push((self.new_id(), expr));
        }
        Ok((exprs, fields))
    }

    fn on_conflict(
        &mut self,
        table: &Arc<Table>,
        alias: &str,
        new: &[ColumnId],
        conflict: &ast::OnConflict,
        defaults: &mut Defaults,
    ) -> Result<OnConflict> {
        let existing: Vec<ColumnId> = table.columns.iter().map(|_| self.new_id()).collect();
        let index = match &conflict.conflict_target {
            None => None,
            Some(ConflictTarget::OnConstraint(name)) => {
                let label = super::folded(name)?.pop().unwrap_or_default();
                let found = table.indexes.iter().position(|index| index.constraint && index.name == label);
                Some(found.ok_or_else(|| {
                    SqlError::new(
                        SqlState::UNDEFINED_OBJECT,
                        format!("constraint \"{label}\" for table \"{}\" does not exist", table.name),
                    )
                })?)
            }
            Some(ConflictTarget::Columns(names)) => {
                let mut wanted = Vec::with_capacity(names.len());
                for name in names {
                    let label = fold(name);
                    let position = table
                        .columns
                        .iter()
                        .position(|column| !column.hidden && column.name == label)
                        .ok_or_else(|| {
                            self.error_at(
                                SqlState::UNDEFINED_COLUMN,
                                format!("column \"{label}\" does not exist"),
                                name.span,
                            )
                        })?;
                    wanted.push(table.columns[position].id);
                }
                wanted.sort_unstable();
                wanted.dedup();
                let found = table.unique_index(&wanted);
                Some(found.ok_or_else(|| {
                    SqlError::new(
                        SqlState::INVALID_COLUMN_REFERENCE,
                        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                    )
                })?)
            }
        };
        let OnConflictAction::DoUpdate(action) = &conflict.action else {
            return Ok(OnConflict { index, update: None, filter: None, existing });
        };
        if index.is_none() {
            return Err(SqlError::new(
                SqlState::SYNTAX_ERROR,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .with_hint("For example, ON CONFLICT (column_name).")
            .at(self.on_conflict_position()));
        }
        let mut scope = Scope::of(row_relation(table, alias, &existing));
        scope.join(Scope::of(row_relation(table, "excluded", new)))?;
        let env = Env { scope: &scope, parent: None };
        self.collected = Collected { clause: Clause::UpdateSet, ..Collected::default() };
        let update = self.assignments(table, &action.assignments, &env, defaults)?;
        let filter = match &action.selection {
            Some(condition) => {
                Some(self.in_clause(Clause::Where, |binder| binder.condition(condition, "WHERE", &env))?)
            }
            None => None,
        };
        self.collected = Collected::default();
        Ok(OnConflict { index, update: Some(update), filter, existing })
    }
}

impl Binder<'_> {
    /// Where ON CONFLICT stands; its syntax tree has no place of its own.
    fn on_conflict_position(&self) -> usize {
        let text = self.source.text().to_ascii_lowercase();
        text.rfind("on conflict").map_or(1, |at| text[..at].chars().count() + 1)
    }
}

/// What INSERT does with values for identity columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Overriding {
    #[default]
    Nothing,
    System,
    User,
}

/// Bound defaults by column position.
#[derive(Default)]
pub(super) struct Defaults {
    bound: BTreeMap<usize, Expr>,
    overriding: Overriding,
}

impl Defaults {
    /// OVERRIDING USER VALUE: an identity column takes its default whatever is written.
    fn ignores(&self, table: &Table, position: usize) -> bool {
        self.overriding == Overriding::User && table.columns[position].identity_always.is_some()
    }
}

pub(super) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// A table's columns under given ids, one per column.
pub(super) fn row_relation(table: &Arc<Table>, alias: &str, ids: &[ColumnId]) -> Relation {
    let columns = table
        .columns
        .iter()
        .zip(ids)
        .enumerate()
        .map(|(position, (column, id))| ScopeColumn {
            name: column.name.clone(),
            expr: Expr::Column { id: *id, ty: SqlType::new(column.ty.oid, column.ty.typmod) },
            origin: (table.id, i16::try_from(position + 1).unwrap_or(0)),
            hidden: column.hidden,
        })
        .collect();
    Relation {
        alias: alias.to_owned(),
        schema: Some(table.schema.clone()),
        table: Some(Arc::clone(table)),
        columns,
        scalar: false,
    }
}
