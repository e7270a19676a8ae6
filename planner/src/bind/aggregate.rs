//! Aggregate calls.

use basalt_types::{Oid, Result, SqlError, SqlState, SqlType};
use sqlparser::{
    ast::{self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, Spanned},
    tokenizer::Span,
};

use super::{Binder, Clause, scope::Env};
use crate::{Expr, expr::AggregateCall};

impl Binder<'_> {
    pub(super) fn aggregate_call(
        &mut self,
        name: &str,
        function: &ast::Function,
        list: &ast::FunctionArgumentList,
        env: &Env<'_>,
    ) -> Result<Expr> {
        let span = function.name.span();
        if self.collected.in_aggregate {
            return Err(self.error_at(
                SqlState::GROUPING_ERROR,
                "aggregate function calls cannot be nested",
                span,
            ));
        }
        if !matches!(
            self.collected.clause,
            Clause::Select | Clause::Having | Clause::OrderBy | Clause::DistinctOn | Clause::WindowDefinition
        ) {
            let place = self.collected.clause.name();
            return Err(self.error_at(
                SqlState::GROUPING_ERROR,
                format!("aggregate functions are not allowed in {place}"),
                span,
            ));
        }
        self.collected.in_aggregate = true;
        let references = self.collected.references.len();
        let bound = self.bind_aggregate(name, function, list, env);
        self.collected.in_aggregate = false;
        // Ungrouped columns are welcome inside.
        self.collected.references.truncate(references);
        let call = bound?;
        self.refuse_outer_aggregate(&call, env, span)?;
        let ty = call.ty;
        // Equal calls are computed once.
        if let Some((id, _)) =
            self.collected.aggregates.iter().find(|(_, known)| super::group::same_aggregate(known, &call))
        {
            return Ok(Expr::Column { id: *id, ty });
        }
        let id = self.new_id();
        self.collected.aggregates.push((id, call));
        Ok(Expr::Column { id, ty })
    }

    /// An aggregate whose arguments belong to an outer query belongs to it as well; that is not built.
    fn refuse_outer_aggregate(&self, call: &AggregateCall, env: &Env<'_>, span: Span) -> Result<()> {
        let mut ids = Vec::new();
        for arg in &call.args {
            crate::optimize::columns_of(arg, &mut ids);
        }
        let local = |id: &crate::ColumnId| {
            env.scope.relations.iter().flat_map(|relation| &relation.columns).any(|column| {
                let mut inside = Vec::new();
                crate::optimize::columns_of(&column.expr, &mut inside);
                inside.contains(id)
            })
        };
        if env.parent.is_some() && !ids.is_empty() && !ids.iter().any(local) {
            return Err(self.at(SqlError::not_supported("an aggregate of an outer query's columns"), span));
        }
        Ok(())
    }

    pub(super) fn bind_aggregate(
        &mut self,
        name: &str,
        function: &ast::Function,
        list: &ast::FunctionArgumentList,
        env: &Env<'_>,
    ) -> Result<AggregateCall> {
        let span = function.name.span();
        self.check_within_group(name, function, list)?;
        let star = matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        let mut args = Vec::new();
        if !star {
            let asts = self.plain_args(list, name, span)?;
            if asts.is_empty() && function.over.is_none() && name == "count" {
                return Err(self.error_at(
                    SqlState::WRONG_OBJECT_TYPE,
                    "count(*) must be used to call a parameterless aggregate function",
                    span,
                ));
            }
            for arg in asts {
                args.push((self.expr(arg, env)?, arg.span()));
            }
        }
        let direct = args.len();
        for key in &function.within_group {
            args.push((self.expr(&key.expr, env)?, key.expr.span()));
        }
        let mut order_by = Vec::new();
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(keys) => {
                    for key in keys {
                        let expr = self.expr(&key.expr, env)?;
                        let expr = self.settle_unknown(expr)?;
                        order_by.push(self.sort_key(expr, &key.options, key.expr.span())?);
                    }
                }
                other => return Err(self.at(SqlError::not_supported(format!("{other} in a call")), span)),
            }
        }
        let filter = match &function.filter {
            Some(filter) => {
                Some(self.in_clause(Clause::Filter, |binder| binder.condition(filter, "FILTER", env))?)
            }
            None => None,
        };
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        let arg_types: Vec<Oid> = args.iter().map(|(arg, _)| arg.ty().oid).collect();
        if star && name != "count" {
            return Err(self.missing_function(name, &arg_types, false, span));
        }
        let written: Vec<Expr> =
            if distinct { args.iter().map(|(arg, _)| arg.clone()).collect() } else { Vec::new() };
        let within_group = &function.within_group;
        let (function, args, ty) = self.resolve_call(name, args, span)?;
        // The sorted values are the last arguments: rows arrive in their order.
        for (key, arg) in within_group.iter().zip(args.iter().skip(direct)) {
            order_by.push(self.sort_key(arg.clone(), &key.options, key.expr.span())?);
        }
        if distinct {
            // A key that is an argument as it was written means the argument as the function takes it.
            for key in &mut order_by {
                if let Some(position) = written.iter().position(|arg| super::group::same(arg, &key.expr)) {
                    key.expr.clone_from(&args[position]);
                }
            }
            for arg in &args {
                if basalt_functions::equality(arg.ty().oid).is_none() {
                    return Err(self.at(
                        SqlError::new(
                            SqlState::UNDEFINED_FUNCTION,
                            format!(
                                "could not identify an equality operator for type {}",
                                super::type_name(arg.ty())
                            ),
                        ),
                        span,
                    ));
                }
            }
            if order_by.iter().any(|key| !args.iter().any(|arg| super::group::same(arg, &key.expr))) {
                return Err(self.error_at(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
                    span,
                ));
            }
        }
        Ok(AggregateCall { function, args, distinct, order_by, filter, ty })
    }

    /// WITHIN GROUP is there for ordered-set aggregates, and for them only.
    fn check_within_group(
        &self,
        name: &str,
        function: &ast::Function,
        list: &ast::FunctionArgumentList,
    ) -> Result<()> {
        let span = function.name.span();
        let ordered_set = super::lookup::functions(name).any(basalt_functions::Function::is_ordered_set);
        let message = match (ordered_set, function.within_group.is_empty()) {
            (false, true) => return Ok(()),
            (false, false) => {
                format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP")
            }
            (true, true) => format!("WITHIN GROUP is required for ordered-set aggregate {name}"),
            (true, false) if function.over.is_some() => {
                let error = SqlError::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("OVER is not supported for ordered-set aggregate {name}"),
                );
                return Err(self.at(error, span));
            }
            (true, false) => {
                let message = if list.duplicate_treatment.is_some() {
                    "cannot use DISTINCT with WITHIN GROUP"
                } else if !list.clauses.is_empty() {
                    "cannot use multiple ORDER BY clauses with WITHIN GROUP"
                } else {
                    return Ok(());
                };
                return Err(self.error_at(SqlState::SYNTAX_ERROR, message, span));
            }
        };
        Err(self.error_at(SqlState::WRONG_OBJECT_TYPE, message, span))
    }

    /// `GROUPING(a, b)`.
    pub(super) fn grouping_call(&mut self, args: &[&ast::Expr], span: Span, env: &Env<'_>) -> Result<Expr> {
        if args.len() > 31 {
            return Err(self.error_at(
                SqlState::TOO_MANY_ARGUMENTS,
                "GROUPING must have fewer than 32 arguments",
                span,
            ));
        }
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            bound.push((self.expr(arg, env)?, arg.span()));
        }
        let id = self.new_id();
        self.collected.groupings.push((id, bound));
        Ok(Expr::Column { id, ty: SqlType::INT4 })
    }
}
