//! UPDATE.

use std::sync::Arc;

use basalt_types::{Result, SqlError, SqlState};
use sqlparser::ast::{self, AssignmentTarget, Spanned, TableFactor, UpdateTableFromKind};

use super::{
    Binder, Bound, Clause, Collected, filter,
    from::nested_loop,
    insert::{Defaults, is_default, row_relation},
    names::fold,
    plan,
    scope::{Env, Scope},
};
use crate::{
    ColumnId, Expr, Plan, PlanNode, Table,
    expr::SubqueryKind,
    plan::{JoinKind, Update},
    statement::Field,
};

/// The table that UPDATE or DELETE changes, as a locking scan with its scope.
pub(super) struct Target {
    pub table: Arc<Table>,
    pub alias: String,
    pub plan: Plan,
    pub scope: Scope,
    /// One id per table column.
    pub old: Vec<ColumnId>,
}

impl Binder<'_> {
    pub(super) fn dml_target(&mut self, relation: &ast::TableWithJoins, verb: &str) -> Result<Target> {
        let TableFactor::Table { name, alias, args: None, .. } = &relation.relation else {
            return Err(SqlError::not_supported(format!("{verb} of something else than a table")));
        };
        if !relation.joins.is_empty() {
            return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"join\""));
        }
        let table = self.writable(name, verb)?;
        let label = alias.as_ref().map(|alias| fold(&alias.name));
        let (mut scan, scope) = self.table_relation(&table, alias.as_ref(), label.clone())?;
        if let PlanNode::Scan(scan) = &mut scan.node {
            scan.lock = Some(true);
        }
        let old = scan.columns.iter().map(|(id, _)| *id).collect();
        let alias = label.unwrap_or_else(|| table.name.clone());
        Ok(Target { table, alias, plan: scan, scope, old })
    }

    /// Joins the tables of FROM or USING to the target.
    pub(super) fn dml_join(&mut self, target: &mut Target, items: &[ast::TableWithJoins]) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let (right, scope) = self.bind_from(items, None)?;
        let left = std::mem::replace(&mut target.plan, super::one_row());
        target.plan = nested_loop(JoinKind::Inner, left, right, None);
        target.scope.join(scope)
    }

    pub(crate) fn update(
        &mut self,
        update: &ast::Update,
        with: Option<&ast::With>,
    ) -> Result<(Plan, Vec<Field>)> {
        let outer_ctes = self.ctes.len();
        if let Some(with) = with {
            self.with_clause(with, None)?;
        }
        let (plan, fields) = self.update_into(update)?;
        let mut bound = Bound { plan, fields };
        self.close_ctes(outer_ctes, &mut bound);
        Ok((bound.plan, bound.fields))
    }

    fn update_into(&mut self, update: &ast::Update) -> Result<(Plan, Vec<Field>)> {
        if update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
            return Err(SqlError::not_supported("this form of UPDATE"));
        }
        let mut target = self.dml_target(&update.table, "UPDATE")?;
        match &update.from {
            Some(UpdateTableFromKind::AfterSet(items)) => self.dml_join(&mut target, items)?,
            Some(UpdateTableFromKind::BeforeSet(_)) => {
                return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"from\""));
            }
            None => {}
        }
        let Target { table, alias, plan: mut source, scope, old } = target;
        let env = Env { scope: &scope, parent: None };
        self.collected = Collected { clause: Clause::UpdateSet, ..Collected::default() };
        let mut defaults = Defaults::default();
        let assignments = self.assignments(&table, &update.assignments, &env, &mut defaults)?;
        if let Some(condition) = &update.selection {
            let predicate =
                self.in_clause(Clause::Where, |binder| binder.condition(condition, "WHERE", &env))?;
            source = filter(source, predicate);
        }
        let new: Vec<ColumnId> = table.columns.iter().map(|_| self.new_id()).collect();
        let checks = self.checks(&table, &new)?;
        // RETURNING sees the changed row in the place of the stored one.
        let mut returned = Scope::of(row_relation(&table, &alias, &new));
        let mut others = scope.clone();
        others.relations.remove(0);
        let own = table.columns.len();
        others.columns.drain(..own);
        returned.join(others)?;
        rename(&mut returned, &scope);
        let (returning, fields) = self.returning(update.returning.as_deref(), &returned)?;
        let columns = returning.iter().map(|(id, expr)| (*id, expr.ty())).collect();
        let node = Update { table, source, old, assignments, new, checks, returning };
        Ok((plan(PlanNode::Update(Box::new(node)), columns), fields))
    }

    /// SET items by column position.
    pub(super) fn assignments(
        &mut self,
        table: &Arc<Table>,
        items: &[ast::Assignment],
        env: &Env<'_>,
        defaults: &mut Defaults,
    ) -> Result<Vec<(usize, Expr)>> {
        let mut assigned: Vec<(usize, Expr)> = Vec::with_capacity(items.len());
        for item in items {
            let (names, values): (Vec<&ast::ObjectName>, Vec<Source<'_>>) = match &item.target {
                AssignmentTarget::ColumnName(name) => (vec![name], vec![Source::Syntax(&item.value)]),
                AssignmentTarget::Tuple(names) => {
                    (names.iter().collect(), self.row_sources(&item.value, names.len(), env)?)
                }
            };
            if names.len() != values.len() {
                return Err(self.error_at(
                    SqlState::SYNTAX_ERROR,
                    "number of columns does not match number of values",
                    item.value.span(),
                ));
            }
            for (name, value) in names.into_iter().zip(values) {
                let parts = super::folded(name)?;
                // A dotted name means a field of a composite column.
                let label = parts.first().cloned().unwrap_or_default();
                let position = self.target_column(table, &label, name.span())?;
                if assigned.iter().any(|(known, _)| *known == position) {
                    return Err(SqlError::new(
                        SqlState::SYNTAX_ERROR,
                        format!("multiple assignments to same column \"{label}\""),
                    ));
                }
                let default = matches!(&value, Source::Syntax(value) if is_default(value));
                if !default && table.columns[position].identity_always == Some(true) {
                    return Err(self.at(
                        SqlError::new(
                            SqlState(*b"428C9"),
                            format!("column \"{label}\" can only be updated to DEFAULT"),
                        )
                        .with_detail(format!(
                            "Column \"{label}\" is an identity column defined as GENERATED ALWAYS."
                        )),
                        name.span(),
                    ));
                }
                let bound = match value {
                    Source::Syntax(_) if default => self.default_value(table, position, defaults)?,
                    Source::Syntax(value) => {
                        let bound = self.expr(value, env)?;
                        self.assign(table, position, bound, value.span())?
                    }
                    Source::Bound(bound) => self.assign(table, position, bound, item.value.span())?,
                };
                assigned.push((position, bound));
            }
        }
        Ok(assigned)
    }
}

/// A value of SET.
enum Source<'e> {
    Syntax(&'e ast::Expr),
    Bound(Expr),
}

impl Binder<'_> {
    /// The values of `SET (a, b) = …`: a row, or a subquery of as many columns.
    fn row_sources<'e>(
        &mut self,
        value: &'e ast::Expr,
        count: usize,
        env: &Env<'_>,
    ) -> Result<Vec<Source<'e>>> {
        match value {
            ast::Expr::Tuple(values) => Ok(values.iter().map(Source::Syntax).collect()),
            ast::Expr::Function(function)
                if super::folded(&function.name)?.as_slice() == ["row"]
                    && matches!(function.args, ast::FunctionArguments::List(_)) =>
            {
                let ast::FunctionArguments::List(list) = &function.args else {
                    return Err(SqlError::internal("ROW without a list"));
                };
                let values = self.plain_args(list, "row", function.name.span())?;
                Ok(values.into_iter().map(Source::Syntax).collect())
            }
            ast::Expr::Subquery(query) => {
                let bound = self.subplan(query, env)?;
                if bound.plan.columns.len() != count {
                    return Err(self.error_at(
                        SqlState::SYNTAX_ERROR,
                        "number of columns does not match number of values",
                        value.span(),
                    ));
                }
                // Each column is a subquery of its own, over the same plan.
                Ok(bound
                    .plan
                    .columns
                    .clone()
                    .into_iter()
                    .map(|(id, ty)| {
                        let plan = super::project(bound.plan.clone(), vec![(id, Expr::Column { id, ty })]);
                        let one = Bound { plan, fields: Vec::new() };
                        Source::Bound(self.subquery_expr(SubqueryKind::Scalar, one, ty))
                    })
                    .collect())
            }
            ast::Expr::Nested(inner) if count == 1 => Ok(vec![Source::Syntax(inner)]),
            value if count == 1 => Ok(vec![Source::Syntax(value)]),
            value => Err(self.error_at(
                SqlState::FEATURE_NOT_SUPPORTED,
                "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
                value.span(),
            )),
        }
    }
}

/// Column aliases of the target apply in RETURNING too.
fn rename(returned: &mut Scope, scope: &Scope) {
    let Some(original) = scope.relations.first() else { return };
    for (index, column) in original.columns.iter().enumerate() {
        if let Some(own) = returned.relations[0].columns.get_mut(index) {
            own.name.clone_from(&column.name);
        }
        if let Some(own) = returned.columns.get_mut(index) {
            own.name.clone_from(&column.name);
        }
    }
}
