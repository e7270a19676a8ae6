//! SELECT: from FROM to the output list, in the order in which PostgreSQL evaluates the clauses.

use basalt_types::{Oid, Result, SqlError, SqlState};
use sqlparser::{
    ast::{self, Distinct, SelectItem, SelectItemQualifiedWildcardKind, Spanned},
    tokenizer::Span,
};

use super::{
    Binder, Bound, Clause, Collected, filter,
    group::Grouped,
    names::fold,
    output_name::output_name,
    plan, project,
    query::Tail,
    scope::{Env, Scope, ScopeColumn},
};
use crate::{ColumnId, Expr, Plan, PlanNode, plan::SortKey, statement::Field};

/// Columns of one output list, as in PostgreSQL.
const TARGETS_MAX: usize = 1_664;

/// An item of the output list. Those past the visible ones serve ORDER BY and DISTINCT ON only.
#[derive(Clone)]
pub(super) struct Target {
    pub name: String,
    pub expr: Expr,
    pub origin: (Oid, i16),
    pub span: Span,
}

impl Binder<'_> {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        tail: &Tail<'_>,
        parent: Option<&Env<'_>>,
    ) -> Result<Bound> {
        let outer = std::mem::take(&mut self.collected);
        let bound = self.select_inner(select, tail, parent);
        let references = std::mem::take(&mut self.collected.references);
        self.collected = outer;
        // A reference from inside may be one of the enclosing level.
        self.collected.references.extend(references);
        bound
    }

    fn select_inner(
        &mut self,
        select: &ast::Select,
        tail: &Tail<'_>,
        parent: Option<&Env<'_>>,
    ) -> Result<Bound> {
        refuse_foreign_clauses(select)?;
        let (mut input, scope) = self.bind_from(&select.from, parent)?;
        let row_locks = self.lock_rows(&mut input, tail.locks, &scope)?;
        let env = Env { scope: &scope, parent };
        if let Some(condition) = &select.selection {
            let predicate =
                self.in_clause(Clause::Where, |binder| binder.condition(condition, "WHERE", &env))?;
            input = filter(input, predicate);
        }
        for locks in row_locks {
            let columns = input.columns.clone();
            input = plan(PlanNode::LockRows { input: Box::new(input), locks }, columns);
        }
        self.collected.references.clear();
        self.named_windows(&select.named_window, &env)?;
        let mut targets = self.targets(&select.projection, &env)?;
        if tail.settle || matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            for target in &mut targets {
                let expr = std::mem::replace(&mut target.expr, super::expr_placeholder());
                target.expr = self.settle_unknown(expr)?;
            }
        }
        let visible = targets.len();
        let grouping = self.group_by(&select.group_by, &mut targets, &env)?;
        let having = match &select.having {
            Some(condition) => {
                Some(self.in_clause(Clause::Having, |binder| binder.condition(condition, "HAVING", &env))?)
            }
            None => None,
        };
        let mut order: Vec<(usize, &ast::OrderByExpr)> = Vec::with_capacity(tail.order_by.len());
        for key in tail.order_by {
            let index = self.in_clause(Clause::OrderBy, |binder| {
                binder.sort_target(&key.expr, &mut targets, visible, "ORDER BY", &env)
            })?;
            if index >= visible && matches!(select.distinct, Some(Distinct::Distinct)) {
                return Err(self.error_at(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                    key.expr.span(),
                ));
            }
            order.push((index, key));
        }
        let distinct_on = self.distinct_on(select.distinct.as_ref(), &mut targets, visible, &order, &env)?;

        let collected = std::mem::take(&mut self.collected);
        self.collected.references.clone_from(&collected.references);
        let grouped = grouping.is_some()
            || having.is_some()
            || !collected.aggregates.is_empty()
            || !collected.groupings.is_empty();
        let Collected { aggregates, groupings, mut windows, set_calls, references, .. } = collected;
        if grouped {
            if !tail.locks.is_empty() {
                let what = if grouping.is_some() { "GROUP BY clause" } else { "aggregate functions" };
                return Err(lock_conflict(what));
            }
            let mut grouped = Grouped::new(
                self,
                grouping.unwrap_or_default(),
                aggregates,
                groupings,
                references,
                &scope,
                &input,
            );
            let mut having = having;
            for target in &mut targets {
                grouped.rewrite(&mut target.expr)?;
            }
            if let Some(having) = &mut having {
                grouped.rewrite(having)?;
            }
            for (_, call) in &mut windows {
                grouped.rewrite_window(call)?;
            }
            input = grouped.finish(input)?;
            if let Some(having) = having {
                input = filter(input, having);
            }
        }
        if !windows.is_empty() {
            if !tail.locks.is_empty() {
                return Err(lock_conflict("window functions"));
            }
            let mut columns = input.columns.clone();
            columns.extend(windows.iter().map(|(id, call)| (*id, call.aggregate.ty)));
            input = plan(PlanNode::Window { input: Box::new(input), calls: windows }, columns);
        }
        if !set_calls.is_empty() {
            let mut columns = input.columns.clone();
            columns.extend(set_calls.iter().map(|(id, call)| (*id, call.ty)));
            input = plan(PlanNode::ProjectSet { input: Box::new(input), calls: set_calls }, columns);
        }
        let distinct = matches!(select.distinct, Some(Distinct::Distinct));
        if (distinct || !distinct_on.is_empty()) && !tail.locks.is_empty() {
            return Err(lock_conflict("DISTINCT clause"));
        }
        self.output(input, targets, visible, distinct, &distinct_on, &order)
    }

    /// Project, DISTINCT, sort, and the removal of hidden targets.
    fn output(
        &mut self,
        input: Plan,
        targets: Vec<Target>,
        visible: usize,
        distinct: bool,
        distinct_on: &[usize],
        order: &[(usize, &ast::OrderByExpr)],
    ) -> Result<Bound> {
        let mut fields = Vec::with_capacity(visible);
        let mut exprs: Vec<(ColumnId, Expr)> = Vec::with_capacity(targets.len());
        let mut spans = Vec::with_capacity(targets.len());
        for (index, target) in targets.into_iter().enumerate() {
            // A plain column keeps its id, so that rewrites see through the projection.
            let id = match &target.expr {
                Expr::Column { id, .. } if !exprs.iter().any(|(used, _)| used == id) => *id,
                _ => self.new_id(),
            };
            if index < visible {
                let (table, attnum) = target.origin;
                fields.push(Field { name: target.name, ty: target.expr.ty(), table, attnum });
            }
            spans.push(target.span);
            exprs.push((id, target.expr));
        }
        let layout: Vec<(ColumnId, _)> = exprs.iter().map(|(id, expr)| (*id, expr.ty())).collect();
        let column = |index: usize| Expr::Column { id: layout[index].0, ty: layout[index].1 };
        let mut output = project(input, exprs);
        if distinct {
            for (index, (_, ty)) in layout.iter().enumerate().take(visible) {
                if basalt_functions::equality(ty.oid).is_none() {
                    return Err(self.error_at(
                        SqlState::UNDEFINED_FUNCTION,
                        format!("could not identify an equality operator for type {}", super::type_name(*ty)),
                        spans[index],
                    ));
                }
            }
            let columns = output.columns.clone();
            output = plan(PlanNode::Distinct { input: Box::new(output), on: vec![] }, columns);
        }
        let mut keys: Vec<SortKey> = Vec::with_capacity(order.len());
        for (index, key) in order {
            keys.push(self.sort_key(column(*index), &key.options, key.expr.span())?);
        }
        for index in distinct_on {
            if !order.iter().any(|(ordered, _)| ordered == index) {
                keys.push(SortKey { expr: column(*index), descending: false, nulls_first: false });
            }
        }
        if !keys.is_empty() {
            let columns = output.columns.clone();
            output = plan(PlanNode::Sort { input: Box::new(output), keys, top: None }, columns);
        }
        if !distinct_on.is_empty() {
            let columns = output.columns.clone();
            let on = distinct_on.iter().map(|index| column(*index)).collect();
            output = plan(PlanNode::Distinct { input: Box::new(output), on }, columns);
        }
        if layout.len() > visible {
            let kept =
                layout[..visible].iter().map(|(id, ty)| (*id, Expr::Column { id: *id, ty: *ty })).collect();
            output = project(output, kept);
        }
        Ok(Bound { plan: output, fields })
    }

    fn distinct_on(
        &mut self,
        distinct: Option<&Distinct>,
        targets: &mut Vec<Target>,
        visible: usize,
        order: &[(usize, &ast::OrderByExpr)],
        env: &Env<'_>,
    ) -> Result<Vec<usize>> {
        let Some(Distinct::On(items)) = distinct else { return Ok(vec![]) };
        let mut on = Vec::with_capacity(items.len());
        for item in items {
            let index = self.in_clause(Clause::DistinctOn, |binder| {
                binder.sort_target(item, targets, visible, "SELECT DISTINCT ON", env)
            })?;
            if !on.contains(&index) {
                on.push(index);
            }
        }
        // The first sort keys must be the distinct ones, in any order.
        let mut matched = 0;
        for (index, _) in order {
            if on.contains(index) {
                matched += 1;
            } else if matched < on.len() {
                return Err(self.error_at(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                    items.first().map_or_else(Span::empty, Spanned::span),
                ));
            }
        }
        Ok(on)
    }

    /// The output list with `*` expanded.
    pub(super) fn targets(&mut self, items: &[SelectItem], env: &Env<'_>) -> Result<Vec<Target>> {
        let mut targets = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => targets.push(self.target(expr, output_name(expr), env)?),
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.check_alias(alias)?;
                    targets.push(self.target(expr, fold(alias), env)?)
                }
                SelectItem::ExprWithAliases { .. } => {
                    return Err(SqlError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"(\""));
                }
                SelectItem::Wildcard(_) => {
                    if env.scope.relations.is_empty() {
                        return Err(self.error_at(
                            SqlState::SYNTAX_ERROR,
                            "SELECT * with no tables specified is not valid",
                            item.span(),
                        ));
                    }
                    self.expand(&env.scope.columns, item.span(), &mut targets);
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let parts = super::folded(name)?;
                    let relation = match parts.as_slice() {
                        [alias] => self.relation_named(None, alias, env, name.span())?,
                        [.., schema, alias] => self.relation_named(Some(schema), alias, env, name.span())?,
                        [] => return Err(SqlError::internal("a star without a name")),
                    };
                    self.expand(&relation.columns, name.span(), &mut targets);
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => {
                    return Err(
                        self.at(SqlError::not_supported("the expansion of a composite value"), item.span())
                    );
                }
            }
            if targets.len() > TARGETS_MAX {
                return Err(SqlError::new(
                    SqlState::TOO_MANY_COLUMNS,
                    format!("target lists can have at most {TARGETS_MAX} entries"),
                ));
            }
        }
        Ok(targets)
    }

    fn target(&mut self, expr: &ast::Expr, name: String, env: &Env<'_>) -> Result<Target> {
        let span = expr.span();
        let origin = match expr {
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) => None,
            _ => Some((Oid(0), 0)),
        };
        let bound = self.expr(expr, env)?;
        let origin = origin.unwrap_or_else(|| origin_of(&bound, env));
        Ok(Target { name, expr: bound, origin, span })
    }

    fn expand(&mut self, columns: &[ScopeColumn], span: Span, targets: &mut Vec<Target>) {
        for column in columns.iter().filter(|column| !column.hidden) {
            if let Expr::Column { id, .. } = &column.expr {
                self.collected.references.push((*id, span));
            }
            targets.push(Target {
                name: column.name.clone(),
                expr: column.expr.clone(),
                origin: column.origin,
                span,
            });
        }
    }
}

/// The stored column behind a reference.
fn origin_of(expr: &Expr, env: &Env<'_>) -> (Oid, i16) {
    let Expr::Column { id, .. } = expr else { return (Oid(0), 0) };
    let mut level = Some(*env);
    while let Some(env) = level {
        for relation in &env.scope.relations {
            for column in &relation.columns {
                if matches!(&column.expr, Expr::Column { id: other, .. } if other == id) {
                    return column.origin;
                }
            }
        }
        level = env.parent.copied();
    }
    (Oid(0), 0)
}

fn lock_conflict(what: &str) -> SqlError {
    SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("FOR UPDATE is not allowed with {what}"))
}

fn refuse_foreign_clauses(select: &ast::Select) -> Result<()> {
    let foreign = [
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO in this place"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some(), "SELECT AS VALUE"),
        (select.exclude.is_some(), "EXCLUDE"),
    ];
    match foreign.iter().find(|(present, _)| *present) {
        Some((_, name)) => Err(SqlError::not_supported(name)),
        None => Ok(()),
    }
}

impl Scope {
    /// The name of a local column as an error shows it: `t.x`, or `x` without an alias.
    pub(super) fn column_label(&self, id: ColumnId) -> Option<String> {
        for relation in &self.relations {
            for column in &relation.columns {
                if matches!(&column.expr, Expr::Column { id: other, .. } if *other == id) {
                    return Some(format!("{}.{}", relation.alias, column.name));
                }
            }
        }
        None
    }
}
