//! Functions in FROM: one, several beside each other (ROWS FROM, unnest of several arrays), numbered or not.

use basalt_functions::FunctionKind;
use basalt_types::{Datum, Oid, Result, SqlError, SqlType};
use sqlparser::{
    ast::{self, Spanned, TableAlias},
    tokenizer::Span,
};

use super::{
    Binder, Clause,
    from::nested_loop,
    lookup,
    names::fold,
    one_row, plan, project,
    scope::{Env, Relation, Scope, ScopeColumn},
};
use crate::{
    Expr, Plan, PlanNode,
    expr::CallExpr,
    plan::{JoinKind, SortKey},
};

/// A function with its arguments, to be read in FROM.
pub(super) struct FunctionItem {
    pub name: String,
    pub args: Vec<(Expr, Span)>,
    pub span: Span,
}

/// Rows of a function: the plan, the names of its columns (empty: named after the function), and whether it stands for
/// one value.
struct FunctionRows {
    plan: Plan,
    names: Vec<String>,
    scalar: bool,
}

impl Binder<'_> {
    /// The functions of ROWS FROM.
    pub(super) fn rows_from_items(
        &mut self,
        args: &[ast::FunctionArg],
        span: Span,
        env: &Env<'_>,
    ) -> Result<Vec<FunctionItem>> {
        let mut items = Vec::with_capacity(args.len());
        for arg in args {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Function(function))) = arg
            else {
                return Err(self.at(SqlError::not_supported("this item of ROWS FROM"), span));
            };
            let name = super::folded(&function.name)?.pop().unwrap_or_default();
            let ast::FunctionArguments::List(list) = &function.args else {
                return Err(self.at(SqlError::not_supported("this item of ROWS FROM"), span));
            };
            let args = self.in_clause(Clause::From, |binder| {
                binder.named_or_plain_args(&list.args, &name, function.name.span(), env)
            })?;
            // unnest of several arrays is several unnests.
            if name == "unnest" && args.len() > 1 {
                items.extend(args.into_iter().map(|arg| FunctionItem {
                    name: name.clone(),
                    span: function.name.span(),
                    args: vec![arg],
                }));
            } else {
                items.push(FunctionItem { name, args, span: function.name.span() });
            }
        }
        Ok(items)
    }

    /// Functions side by side; the shorter ones are filled up with NULL.
    pub(super) fn functions_relation(
        &mut self,
        mut items: Vec<FunctionItem>,
        alias: Option<&TableAlias>,
        ordinality: bool,
    ) -> Result<(Plan, Scope)> {
        let first = items.first().map_or_else(String::new, |item| item.name.clone());
        let label = alias.map_or(first, |alias| fold(&alias.name));
        if items.len() == 1
            && let Some(item) = items.pop()
        {
            let rows = self.function_rows(item, ordinality)?;
            return self.function_scope(rows, label, alias, ordinality);
        }
        let mut joined: Option<(Plan, Expr, Vec<(String, Expr)>)> = None;
        for item in items {
            let name = item.name.clone();
            let rows = self.function_rows(item, true)?;
            let mut columns: Vec<(String, Expr)> = rows
                .plan
                .columns
                .iter()
                .zip(&rows.names)
                .map(|((id, ty), column)| {
                    let column = if column.is_empty() { name.clone() } else { column.clone() };
                    (column, Expr::Column { id: *id, ty: *ty })
                })
                .collect();
            let (_, number) =
                columns.pop().ok_or_else(|| SqlError::internal("numbered rows without a number"))?;
            joined = Some(match joined {
                None => (rows.plan, number, columns),
                Some((left, left_number, mut all)) => {
                    let empty = Span::empty();
                    let on = self.binary("=", left_number.clone(), number.clone(), empty, empty)?;
                    let product = nested_loop(JoinKind::Full, left, rows.plan, Some(on));
                    all.extend(columns);
                    let number = Expr::Coalesce { args: vec![left_number, number], ty: SqlType::INT8 };
                    (product, number, all)
                }
            });
        }
        let (plan_, number, columns) = joined.ok_or_else(|| SqlError::internal("ROWS FROM nothing"))?;
        let number_id = self.new_id();
        let mut exprs: Vec<_> = Vec::with_capacity(columns.len() + 1);
        let mut names = Vec::with_capacity(columns.len() + 1);
        for (name, expr) in columns {
            exprs.push((self.new_id(), expr));
            names.push(name);
        }
        exprs.push((number_id, number));
        names.push("ordinality".to_owned());
        let projected = project(plan_, exprs);
        let key = SortKey {
            expr: Expr::Column { id: number_id, ty: SqlType::INT8 },
            descending: false,
            nulls_first: false,
        };
        let layout = projected.columns.clone();
        let mut output =
            plan(PlanNode::Sort { input: Box::new(projected), keys: vec![key], top: None }, layout.clone());
        if !ordinality {
            names.pop();
            let kept = &layout[..layout.len() - 1];
            let kept = kept.iter().map(|(id, ty)| (*id, Expr::Column { id: *id, ty: *ty })).collect();
            output = project(output, kept);
        }
        self.function_scope(FunctionRows { plan: output, names, scalar: false }, label, alias, ordinality)
    }

    fn function_scope(
        &mut self,
        rows: FunctionRows,
        label: String,
        alias: Option<&TableAlias>,
        ordinality: bool,
    ) -> Result<(Plan, Scope)> {
        let columns = rows
            .plan
            .columns
            .iter()
            .zip(rows.names)
            .map(|((id, ty), name)| ScopeColumn {
                name: if name.is_empty() { label.clone() } else { name },
                expr: Expr::Column { id: *id, ty: *ty },
                origin: (Oid(0), 0),
                hidden: false,
            })
            .collect();
        let scalar = rows.scalar && !ordinality;
        let mut relation = Relation { alias: label, schema: None, table: None, columns, scalar };
        if let Some(alias) = alias {
            self.rename_columns(&mut relation, alias)?;
        }
        Ok((rows.plan, Scope::of(relation)))
    }

    fn function_rows(&mut self, item: FunctionItem, ordinality: bool) -> Result<FunctionRows> {
        let FunctionItem { name, args, span } = item;
        let is_set =
            lookup::functions(&name).any(|function| matches!(function.kind, FunctionKind::Set { .. }));
        if !is_set {
            let value = self.in_clause(Clause::From, |binder| binder.call_function(&name, args, span))?;
            let mut exprs = vec![(self.new_id(), value)];
            let mut names = vec![String::new()];
            if ordinality {
                exprs.push((self.new_id(), Expr::literal(Datum::Int8(1), SqlType::INT8)));
                names.push("ordinality".to_owned());
            }
            return Ok(FunctionRows { plan: project(one_row(), exprs), names, scalar: true });
        }
        let (function, args, ty) = self.resolve_call(&name, args, span)?;
        let FunctionKind::Set { columns: declared, .. } = &function.kind else {
            return Err(self.at(SqlError::not_supported(format!("function {name} in FROM")), span));
        };
        let mut outputs: Vec<(String, SqlType)> = if declared.len() <= 1 {
            vec![(declared.first().map_or("", |(name, _)| *name).to_owned(), ty)]
        } else {
            declared.iter().map(|(name, oid)| ((*name).to_owned(), SqlType::new(*oid, -1))).collect()
        };
        let scalar = outputs.len() == 1;
        if ordinality {
            outputs.push(("ordinality".to_owned(), SqlType::INT8));
        }
        let (names, types): (Vec<String>, Vec<SqlType>) = outputs.into_iter().unzip();
        let layout = types.into_iter().map(|ty| (self.new_id(), ty)).collect();
        let call = Box::new(CallExpr { function, args, ty, operator: None });
        Ok(FunctionRows { plan: plan(PlanNode::FunctionScan { call, ordinality }, layout), names, scalar })
    }
}
