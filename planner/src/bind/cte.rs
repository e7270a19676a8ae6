//! WITH, plain and recursive.
//!
//! A definition is bound once. A reference reads it by position under fresh ids, so several references never share ids;
//! a definition that is read once is put in the place of its reference afterwards, where rewrites can reach it.

use std::ops::ControlFlow;

use basalt_types::{Oid, Result, SqlError, SqlState, SqlType, format_type};
use sqlparser::{
    ast::{self, CteAsMaterialized, SetExpr, SetOperator, SetQuantifier},
    tokenizer::Span,
};

use super::{Binder, Bound, names::fold, plan, scope::Env};
use crate::{
    Expr, Plan, PlanNode,
    optimize::{has_volatile, replace_cte},
    statement::Field,
};

/// A common table expression in scope.
pub(crate) struct Cte {
    name: String,
    id: u32,
    fields: Vec<Field>,
    types: Vec<SqlType>,
    /// `None` for the working table of a recursive term while that is bound.
    definition: Option<Plan>,
    uses: usize,
    materialized: Option<bool>,
    /// It changes data: it runs whether it is read or not, once and to its end.
    changes: bool,
}

fn changes_data(cte: &ast::Cte) -> bool {
    matches!(cte.query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_))
}

impl Binder<'_> {
    /// Refuses a WITH that changes data in front of the rows that a statement inserts.
    pub(super) fn with_of_source(&self, source: &ast::Query) -> Result<()> {
        let mut ctes = source.with.iter().flat_map(|with| &with.cte_tables);
        ctes.find(|cte| changes_data(cte)).map_or(Ok(()), |cte| Err(self.not_at_the_top(cte)))
    }

    fn not_at_the_top(&self, cte: &ast::Cte) -> SqlError {
        self.error_at(
            SqlState::FEATURE_NOT_SUPPORTED,
            "WITH clause containing a data-modifying statement must be at the top level",
            cte.alias.name.span,
        )
    }

    pub(super) fn with_clause(&mut self, with: &ast::With, parent: Option<&Env<'_>>) -> Result<()> {
        let first = self.ctes.len();
        for cte in &with.cte_tables {
            self.one_more_relation()?;
            let name = fold(&cte.alias.name);
            if self.ctes[first..].iter().any(|known| known.name == name) {
                return Err(self.error_at(
                    SqlState::DUPLICATE_ALIAS,
                    format!("WITH query name \"{name}\" specified more than once"),
                    cte.alias.name.span,
                ));
            }
            let saved = std::mem::take(&mut self.collected);
            let changes = changes_data(cte);
            if changes && (parent.is_some() || self.depth > 2) {
                return Err(self.not_at_the_top(cte));
            }
            let bound = if changes {
                self.changes_data = true;
                self.data_change(&cte.query).and_then(|(plan, mut fields)| {
                    self.name_columns(&mut fields, cte)?;
                    Ok(Bound { plan, fields })
                })
            } else if with.recursive && refers_to(&cte.query, &name) {
                self.recursive(cte, &name, parent)
            } else {
                self.query(&cte.query, parent).and_then(|mut bound| {
                    self.name_columns(&mut bound.fields, cte)?;
                    Ok(bound)
                })
            };
            self.collected = saved;
            let bound = bound?;
            let materialized =
                cte.materialized.as_ref().map(|kind| matches!(kind, CteAsMaterialized::Materialized));
            let id = self.new_cte();
            self.ctes.push(Cte {
                name,
                id,
                types: bound.plan.columns.iter().map(|(_, ty)| *ty).collect(),
                fields: bound.fields,
                definition: Some(bound.plan),
                uses: 0,
                materialized,
                changes,
            });
        }
        Ok(())
    }

    /// INSERT, UPDATE or DELETE in the place of a query, with the WITH clause before it.
    pub(crate) fn data_change(&mut self, query: &ast::Query) -> Result<(Plan, Vec<Field>)> {
        let with = query.with.as_ref();
        match query.body.as_ref() {
            SetExpr::Insert(ast::Statement::Insert(insert)) => self.insert(insert, with),
            SetExpr::Update(ast::Statement::Update(update)) => self.update(update, with),
            SetExpr::Delete(ast::Statement::Delete(delete)) => self.delete(delete, with),
            _ => Err(SqlError::internal("not a change of data")),
        }
    }

    fn name_columns(&self, fields: &mut [Field], cte: &ast::Cte) -> Result<()> {
        let names = &cte.alias.columns;
        if names.len() > fields.len() {
            return Err(self.error_at(
                SqlState::INVALID_COLUMN_REFERENCE,
                format!(
                    "WITH query \"{}\" has {} columns available but {} columns specified",
                    fold(&cte.alias.name),
                    fields.len(),
                    names.len()
                ),
                cte.alias.name.span,
            ));
        }
        for (field, name) in fields.iter_mut().zip(names) {
            field.name = fold(&name.name);
        }
        Ok(())
    }

    fn recursive(&mut self, cte: &ast::Cte, name: &str, parent: Option<&Env<'_>>) -> Result<Bound> {
        let invalid = |message: String| SqlError::new(SqlState::INVALID_RECURSION, message);
        let query = cte.query.as_ref();
        let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } =
            query.body.as_ref()
        else {
            return Err(self.at(
                invalid(format!(
                    "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
                )),
                cte.alias.name.span,
            ));
        };
        if query.order_by.is_some()
            || query.limit_clause.is_some()
            || query.fetch.is_some()
            || query.with.is_some()
        {
            return Err(self.at(
                SqlError::not_supported("WITH, ORDER BY or LIMIT in a recursive query"),
                cte.alias.name.span,
            ));
        }
        if set_refers_to(left, name) {
            return Err(self.at(
                invalid(format!(
                    "recursive reference to query \"{name}\" must not appear within its non-recursive term"
                )),
                cte.alias.name.span,
            ));
        }
        let mut base = self.set_expr(left, true, parent)?;
        self.name_columns(&mut base.fields, cte)?;
        let working = self.new_cte();
        let types: Vec<SqlType> = base.plan.columns.iter().map(|(_, ty)| *ty).collect();
        self.ctes.push(Cte {
            name: name.to_owned(),
            id: working,
            fields: base.fields.clone(),
            types: types.clone(),
            definition: None,
            uses: 0,
            materialized: None,
            changes: false,
        });
        let step = self.set_expr(right, false, parent);
        self.ctes.pop();
        let mut step = step?;
        if step.plan.columns.len() != types.len() {
            return Err(self.at(
                SqlError::new(
                    SqlState::SYNTAX_ERROR,
                    "each UNION query must have the same number of columns",
                ),
                cte.alias.name.span,
            ));
        }
        for (index, ((_, step_type), base_type)) in step.plan.columns.iter().zip(&types).enumerate() {
            let common = self.common_type(&[*base_type, *step_type], &[], "UNION")?;
            if common.oid != base_type.oid {
                return Err(self.at(
                    SqlError::new(
                        SqlState::DATATYPE_MISMATCH,
                        format!(
                            "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                            index + 1,
                            format_type(*base_type),
                            format_type(common)
                        ),
                    )
                    .with_hint("Cast the output of the non-recursive term to the correct type."),
                    output_span(left, index),
                ));
            }
        }
        step.plan = self.convert_columns(step.plan, &types, "UNION")?;
        let columns = types.iter().map(|ty| (self.new_id(), *ty)).collect();
        let all = matches!(set_quantifier, SetQuantifier::All);
        let node = PlanNode::RecursiveUnion {
            cte: working,
            base: Box::new(base.plan),
            step: Box::new(step.plan),
            all,
        };
        Ok(Bound { plan: plan(node, columns), fields: base.fields })
    }

    /// A reference to a common table expression, the innermost of that name.
    pub(super) fn cte_reference(&mut self, name: &str, span: Span) -> Result<Option<Bound>> {
        let Some(position) = self.ctes.iter().rposition(|cte| cte.name == name) else { return Ok(None) };
        if self.ctes[position].changes && self.ctes[position].fields.is_empty() {
            return Err(self.error_at(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("WITH query \"{name}\" does not have a RETURNING clause"),
                span,
            ));
        }
        let ids: Vec<_> =
            self.ctes[position].types.clone().into_iter().map(|ty| (self.new_id(), ty)).collect();
        let cte = &mut self.ctes[position];
        cte.uses += 1;
        let fields =
            cte.fields.iter().map(|field| Field { table: Oid(0), attnum: 0, ..field.clone() }).collect();
        Ok(Some(Bound { plan: plan(PlanNode::CteScan { cte: cte.id }, ids), fields }))
    }

    /// Ends the scope of the expressions after `first`: each is put in place or kept beside the body.
    pub(super) fn close_ctes(&mut self, first: usize, bound: &mut Bound) {
        while self.ctes.len() > first {
            let Some(cte) = self.ctes.pop() else { return };
            let Some(mut definition) = cte.definition else { continue };
            // Unread definitions are not run, as in PostgreSQL; their own references count no more.
            if cte.uses == 0 && !cte.changes {
                continue;
            }
            let inline =
                cte.uses == 1 && !cte.changes && cte.materialized != Some(true) && !has_volatile(&definition);
            if inline {
                let mut slot = Some(&mut definition);
                let mut replaced = false;
                replace_cte(&mut bound.plan, cte.id, &mut |columns| {
                    let taken =
                        slot.take().map(|definition| std::mem::replace(definition, super::one_row()))?;
                    replaced = true;
                    Some(under_ids(taken, columns))
                });
                if replaced {
                    continue;
                }
            }
            let columns = bound.plan.columns.clone();
            let body = std::mem::replace(&mut bound.plan, super::one_row());
            let node = PlanNode::With { cte: cte.id, definition: Box::new(definition), body: Box::new(body) };
            bound.plan = plan(node, columns);
        }
    }
}

/// `definition` with its columns under the ids of a reference.
fn under_ids(definition: Plan, ids: &[(crate::ColumnId, SqlType)]) -> Plan {
    let exprs = ids
        .iter()
        .zip(&definition.columns)
        .map(|((id, _), (inner, ty))| (*id, Expr::Column { id: *inner, ty: *ty }))
        .collect();
    super::project(definition, exprs)
}

/// Where an output column of a SELECT is written.
fn output_span(body: &SetExpr, index: usize) -> sqlparser::tokenizer::Span {
    let empty = sqlparser::tokenizer::Span::empty();
    match body {
        SetExpr::Select(select) => select.projection.get(index).map_or(empty, ast::Spanned::span),
        _ => empty,
    }
}

fn refers_to(query: &ast::Query, name: &str) -> bool {
    relation_named(query, name)
}

fn set_refers_to(body: &SetExpr, name: &str) -> bool {
    relation_named(body, name)
}

fn relation_named<V: ast::Visit>(node: &V, name: &str) -> bool {
    let found = ast::visit_relations(node, |relation| match super::folded(relation) {
        Ok(parts) if parts.len() == 1 && parts[0] == name => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
