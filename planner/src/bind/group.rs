//! GROUP BY: what the groups are, and which expressions may stand above them.

use std::collections::BTreeMap;

use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, GroupByExpr, Spanned},
    tokenizer::Span,
};

use super::{
    Binder, Clause, plan,
    scope::{Env, Scope},
    select::Target,
};
use crate::{
    ColumnId, Expr, Plan, PlanNode,
    expr::AggregateCall,
    optimize::{children_mut, columns_of},
    plan::{Aggregate, SortKey, WindowCall},
};

pub(crate) use crate::optimize::{same, same_aggregate};

/// Most sets that ROLLUP, CUBE and GROUPING SETS may expand to.
const GROUPING_SET_LIMIT: usize = 4096;

/// The groups of a query: expressions, and the sets over them when there are several.
#[derive(Default)]
pub(super) struct Grouping {
    exprs: Vec<Expr>,
    sets: Option<Vec<Vec<usize>>>,
}

impl Binder<'_> {
    pub(super) fn group_by(
        &mut self,
        clause: &GroupByExpr,
        targets: &mut Vec<Target>,
        env: &Env<'_>,
    ) -> Result<Option<Grouping>> {
        let GroupByExpr::Expressions(items, modifiers) = clause else {
            return Err(SqlError::not_supported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::not_supported("GROUP BY … WITH"));
        }
        if items.is_empty() {
            return Ok(None);
        }
        let mut grouping = Grouping::default();
        let references = self.collected.references.len();
        // Each item gives alternatives; the sets are their product.
        let mut sets: Vec<Vec<usize>> = vec![vec![]];
        let mut has_sets = false;
        for item in items {
            let alternatives: Vec<Vec<usize>> = match item {
                ast::Expr::GroupingSets(lists) => {
                    has_sets = true;
                    let mut all = Vec::new();
                    for list in lists {
                        all.push(self.group_items(list, targets, &mut grouping, env)?);
                    }
                    all
                }
                ast::Expr::Rollup(lists) => {
                    has_sets = true;
                    let parts = self.group_parts(lists, targets, &mut grouping, env)?;
                    (0..=parts.len()).rev().map(|length| parts[..length].concat()).collect()
                }
                ast::Expr::Cube(lists) => {
                    has_sets = true;
                    let parts = self.group_parts(lists, targets, &mut grouping, env)?;
                    if parts.len() > 12 {
                        return Err(SqlError::new(
                            SqlState::TOO_MANY_COLUMNS,
                            "CUBE is limited to 12 elements",
                        ));
                    }
                    (0..1_usize << parts.len())
                        .rev()
                        .map(|mask| {
                            let chosen = parts
                                .iter()
                                .enumerate()
                                .filter(|(at, _)| mask >> (parts.len() - 1 - at) & 1 == 1);
                            chosen.flat_map(|(_, part)| part.clone()).collect()
                        })
                        .collect()
                }
                ast::Expr::Tuple(list) if list.is_empty() => {
                    has_sets = true;
                    vec![vec![]]
                }
                ast::Expr::Tuple(list) => vec![self.group_items(list, targets, &mut grouping, env)?],
                other => vec![vec![self.group_item(other, targets, &mut grouping, env)?]],
            };
            let mut product = Vec::new();
            for set in &sets {
                for alternative in &alternatives {
                    let mut joined = set.clone();
                    joined.extend(alternative.iter().filter(|position| !set.contains(position)));
                    product.push(joined);
                }
            }
            if product.len() > GROUPING_SET_LIMIT {
                return Err(SqlError::new(
                    SqlState::STATEMENT_TOO_COMPLEX,
                    format!("too many grouping sets present (maximum {GROUPING_SET_LIMIT})"),
                ));
            }
            sets = product;
        }
        for set in &mut sets {
            let mut seen = Vec::new();
            set.retain(|position| {
                !seen.contains(position) && {
                    seen.push(*position);
                    true
                }
            });
        }
        self.collected.references.truncate(references);
        if has_sets {
            grouping.sets = Some(sets);
        }
        Ok(Some(grouping))
    }

    fn group_parts(
        &mut self,
        lists: &[Vec<ast::Expr>],
        targets: &mut Vec<Target>,
        grouping: &mut Grouping,
        env: &Env<'_>,
    ) -> Result<Vec<Vec<usize>>> {
        lists.iter().map(|list| self.group_items(list, targets, grouping, env)).collect()
    }

    fn group_items(
        &mut self,
        list: &[ast::Expr],
        targets: &mut Vec<Target>,
        grouping: &mut Grouping,
        env: &Env<'_>,
    ) -> Result<Vec<usize>> {
        let mut positions = Vec::new();
        for item in list {
            match item {
                ast::Expr::Tuple(inner) => positions.extend(self.group_items(inner, targets, grouping, env)?),
                other => positions.push(self.group_item(other, targets, grouping, env)?),
            }
        }
        Ok(positions)
    }

    fn group_item(
        &mut self,
        item: &ast::Expr,
        targets: &mut [Target],
        grouping: &mut Grouping,
        env: &Env<'_>,
    ) -> Result<usize> {
        // A bare name is a column of FROM before it is an output name.
        let by_name = match item {
            ast::Expr::Identifier(ident) => {
                let name = super::fold(ident);
                !env.scope.columns.iter().any(|column| column.name == name)
            }
            _ => true,
        };
        let expr = match self.output_reference(item, targets, targets.len(), "GROUP BY", by_name)? {
            Some(index) => {
                let target = &targets[index];
                self.refuse_aggregates(&target.expr, target.span)?;
                target.expr.clone()
            }
            None => {
                let bound = self.in_clause(Clause::GroupBy, |binder| binder.expr(item, env))?;
                self.settle_unknown(bound)?
            }
        };
        if basalt_functions::equality(expr.ty().oid).is_none() {
            return Err(self.error_at(
                SqlState::UNDEFINED_FUNCTION,
                format!("could not identify an equality operator for type {}", super::type_name(expr.ty())),
                item.span(),
            ));
        }
        if let Some(known) = grouping.exprs.iter().position(|known| same(known, &expr)) {
            return Ok(known);
        }
        grouping.exprs.push(expr);
        Ok(grouping.exprs.len() - 1)
    }

    fn refuse_aggregates(&self, expr: &Expr, span: Span) -> Result<()> {
        let mut ids = Vec::new();
        columns_of(expr, &mut ids);
        if self.collected.aggregates.iter().any(|(id, _)| ids.contains(id)) {
            return Err(self.error_at(
                SqlState::GROUPING_ERROR,
                "aggregate functions are not allowed in GROUP BY",
                span,
            ));
        }
        if self.collected.windows.iter().any(|(id, _)| ids.contains(id)) {
            return Err(self.error_at(
                SqlState::WINDOWING_ERROR,
                "window functions are not allowed in GROUP BY",
                span,
            ));
        }
        Ok(())
    }
}

/// Rewrites expressions over a query's rows to expressions over its groups.
pub(super) struct Grouped<'b, 'a> {
    binder: &'b mut Binder<'a>,
    groups: Vec<(ColumnId, Expr)>,
    sets: Option<Vec<Vec<usize>>>,
    aggregates: Vec<(ColumnId, AggregateCall)>,
    groupings: Vec<(ColumnId, Vec<(Expr, Span)>)>,
    references: Vec<(ColumnId, Span)>,
    scope: &'b Scope,
    /// Columns of the input, which are no longer visible above.
    local: BTreeMap<ColumnId, SqlType>,
}

impl<'b, 'a> Grouped<'b, 'a> {
    pub fn new(
        binder: &'b mut Binder<'a>,
        grouping: Grouping,
        aggregates: Vec<(ColumnId, AggregateCall)>,
        groupings: Vec<(ColumnId, Vec<(Expr, Span)>)>,
        references: Vec<(ColumnId, Span)>,
        scope: &'b Scope,
        input: &Plan,
    ) -> Self {
        let mut groups: Vec<(ColumnId, Expr)> = Vec::with_capacity(grouping.exprs.len());
        for expr in grouping.exprs {
            // A plain column keeps its id unless grouping sets may make it NULL.
            let id = match &expr {
                Expr::Column { id, .. } if grouping.sets.is_none() => *id,
                _ => binder.new_id(),
            };
            groups.push((id, expr));
        }
        let local = input.columns.iter().copied().collect();
        Self { binder, groups, sets: grouping.sets, aggregates, groupings, references, scope, local }
    }

    pub fn rewrite(&mut self, expr: &mut Expr) -> Result<()> {
        if let Some((id, known)) = self.groups.iter().find(|(_, known)| same(known, expr)) {
            *expr = Expr::Column { id: *id, ty: known.ty() };
            return Ok(());
        }
        match expr {
            Expr::Column { id, ty } => {
                if self.local.contains_key(id) && !self.depends_on_groups(*id, *ty) {
                    return Err(self.ungrouped(*id, false));
                }
                Ok(())
            }
            Expr::Subquery(subquery) => {
                let outer: Vec<(ColumnId, SqlType)> = subquery.outer.clone();
                for (id, ty) in outer {
                    let grouped = self.groups.iter().any(|(group, _)| *group == id);
                    if self.local.contains_key(&id) && !grouped && !self.depends_on_groups(id, ty) {
                        return Err(self.ungrouped(id, true));
                    }
                }
                let mut result = Ok(());
                children_mut(expr, &mut |child| {
                    if result.is_ok() {
                        result = self.rewrite(child);
                    }
                });
                result
            }
            _ => {
                let mut result = Ok(());
                children_mut(expr, &mut |child| {
                    if result.is_ok() {
                        result = self.rewrite(child);
                    }
                });
                result
            }
        }
    }

    pub fn rewrite_window(&mut self, call: &mut WindowCall) -> Result<()> {
        for arg in
            call.aggregate.args.iter_mut().chain(&mut call.aggregate.filter).chain(&mut call.partition_by)
        {
            self.rewrite(arg)?;
        }
        for SortKey { expr, .. } in &mut call.order_by {
            self.rewrite(expr)?;
        }
        Ok(())
    }

    /// A column of a table whose primary key is grouped by has one value per group.
    fn depends_on_groups(&mut self, id: ColumnId, ty: SqlType) -> bool {
        if self.sets.is_some() {
            return false;
        }
        let grouped = |id: &ColumnId, groups: &[(ColumnId, Expr)]| {
            groups.iter().any(|(_, expr)| matches!(expr, Expr::Column { id: other, .. } if other == id))
        };
        for relation in &self.scope.relations {
            let holds = |column: &super::scope::ScopeColumn, id: ColumnId| matches!(&column.expr, Expr::Column { id: other, .. } if *other == id);
            if !relation.columns.iter().any(|column| holds(column, id)) {
                continue;
            }
            let Some(table) = &relation.table else { return false };
            let Some(primary) = table.indexes.first().filter(|index| index.primary) else { return false };
            let covered = primary.columns.iter().all(|key| {
                table.position(key.column).is_some_and(|position| {
                    relation.columns.get(position).is_some_and(|column| match &column.expr {
                        Expr::Column { id, .. } => grouped(id, &self.groups),
                        _ => false,
                    })
                })
            });
            if covered {
                self.groups.push((id, Expr::Column { id, ty }));
            }
            return covered;
        }
        false
    }

    fn ungrouped(&self, id: ColumnId, in_subquery: bool) -> SqlError {
        let label = self.scope.column_label(id).unwrap_or_else(|| "?column?".to_owned());
        let message = if in_subquery {
            format!("subquery uses ungrouped column \"{label}\" from outer query")
        } else {
            format!(
                "column \"{label}\" must appear in the GROUP BY clause or be used in an aggregate function"
            )
        };
        let error = SqlError::new(SqlState::GROUPING_ERROR, message);
        match self.references.iter().find(|(known, _)| *known == id) {
            Some((_, span)) => self.binder.at(error, *span),
            None => error,
        }
    }

    /// The aggregate node.
    pub fn finish(self, input: Plan) -> Result<Plan> {
        let mut groupings = Vec::with_capacity(self.groupings.len());
        for (id, args) in &self.groupings {
            let mut positions = Vec::with_capacity(args.len());
            for (arg, span) in args {
                let position =
                    self.groups.iter().position(|(_, group)| same(group, arg)).ok_or_else(|| {
                        self.binder.error_at(
                        SqlState::GROUPING_ERROR,
                        "arguments to GROUPING must be grouping expressions of the associated query level",
                        *span,
                    )
                    })?;
                positions.push(position);
            }
            groupings.push((*id, positions));
        }
        let mut columns: Vec<(ColumnId, SqlType)> =
            self.groups.iter().map(|(id, expr)| (*id, expr.ty())).collect();
        columns.extend(self.aggregates.iter().map(|(id, call)| (*id, call.ty)));
        columns.extend(groupings.iter().map(|(id, _)| (*id, SqlType::new(Oid::INT4, -1))));
        let aggregate = Aggregate {
            input,
            groups: self.groups,
            grouping_sets: self.sets,
            aggregates: self.aggregates,
            groupings,
        };
        Ok(plan(PlanNode::Aggregate(Box::new(aggregate)), columns))
    }
}
