//! Function calls.

use basalt_functions::{CastContext, FunctionKind};
use basalt_types::{Datum, Oid, Result, SqlError, SqlState, SqlType, sql_type::type_by_name};
use sqlparser::{
    ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned},
    tokenizer::Span,
};

use super::{
    Binder, Clause,
    coerce::oid_name,
    lookup,
    resolve::{self, Candidate, Found},
    scope::Env,
};
use crate::{Expr, expr::CallExpr, expr::SubqueryKind};

impl Binder<'_> {
    pub(super) fn function(&mut self, function: &ast::Function, env: &Env<'_>) -> Result<Expr> {
        let span = function.name.span();
        let parts = super::folded(&function.name)?;
        let name = match parts.as_slice() {
            [name] => name.as_str(),
            [schema, name] if schema == "pg_catalog" || schema == "information_schema" => name.as_str(),
            [schema, ..] => {
                let error = SqlError::new(
                    SqlState::UNDEFINED_FUNCTION,
                    format!("function {schema}.{} does not exist", parts[1..].join(".")),
                );
                return Err(self.at(error, span));
            }
            [] => return Err(SqlError::internal("a function without a name")),
        };
        let list = match &function.args {
            FunctionArguments::None => {
                return match self.keyword_value(name, None, span)? {
                    Some(value) => Ok(value),
                    None => self.call_function(name, vec![], span),
                };
            }
            FunctionArguments::Subquery(query) if name == "array" => {
                return self.subquery(query, SubqueryKind::Array, env);
            }
            FunctionArguments::Subquery(query) => {
                let value = self.subquery(query, SubqueryKind::Scalar, env)?;
                return self.call_function(name, vec![(value, span)], span);
            }
            FunctionArguments::List(list) => list,
        };
        if !matches!(function.parameters, FunctionArguments::None) {
            return Err(self.at(SqlError::not_supported(format!("parameters of function {name}")), span));
        }
        match (name, list.args.as_slice()) {
            (
                "current_timestamp" | "localtimestamp" | "localtime" | "current_time",
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(precision))],
            ) => {
                let precision = precision.to_string().parse().ok();
                if let Some(value) = self.keyword_value(name, precision, span)? {
                    return Ok(value);
                }
            }
            ("coalesce" | "greatest" | "least" | "nullif" | "row" | "grouping", _) => {
                let args = self.plain_args(list, name, span)?;
                return self.construct(name, &args, span, env);
            }
            _ => {}
        }
        let candidates: Vec<_> = lookup::functions(name).collect();
        let is_aggregate = candidates.iter().any(|candidate| lookup::is_aggregate(candidate));
        if function.over.is_some() {
            return self.window_call(name, function, list, env);
        }
        if is_aggregate {
            return self.aggregate_call(name, function, list, env);
        }
        if candidates.iter().any(|candidate| matches!(candidate.kind, FunctionKind::Window(_))) {
            return Err(self.error_at(
                SqlState::WRONG_OBJECT_TYPE,
                format!("window function {name} requires an OVER clause"),
                span,
            ));
        }
        if function.filter.is_some()
            || !function.within_group.is_empty()
            || list.duplicate_treatment.is_some()
            || !list.clauses.is_empty()
        {
            let what = if function.filter.is_some() {
                "FILTER specified"
            } else if !function.within_group.is_empty() {
                "WITHIN GROUP specified"
            } else if list.duplicate_treatment.is_some() {
                "DISTINCT specified"
            } else {
                "ORDER BY specified"
            };
            return Err(self.error_at(
                SqlState::WRONG_OBJECT_TYPE,
                format!("{what}, but {name} is not an aggregate function"),
                span,
            ));
        }
        let args = self.named_or_plain_args(&list.args, name, span, env)?;
        self.call_function(name, args, span)
    }

    /// Bound arguments of a call that may use names.
    pub(super) fn named_or_plain_args(
        &mut self,
        args: &[FunctionArg],
        name: &str,
        span: Span,
        env: &Env<'_>,
    ) -> Result<Vec<(Expr, Span)>> {
        if args.iter().any(|arg| matches!(arg, FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. })) {
            return self.named_args(args, name, span, env);
        }
        let mut bound = Vec::with_capacity(args.len());
        for arg in self.plain_list(args, name, span)? {
            bound.push((self.expr(arg, env)?, arg.span()));
        }
        Ok(bound)
    }

    /// The arguments of a call that takes neither names nor `*`.
    pub(super) fn plain_args<'e>(
        &self,
        list: &'e ast::FunctionArgumentList,
        name: &str,
        span: Span,
    ) -> Result<Vec<&'e ast::Expr>> {
        self.plain_list(&list.args, name, span)
    }

    fn plain_list<'e>(&self, args: &'e [FunctionArg], name: &str, span: Span) -> Result<Vec<&'e ast::Expr>> {
        args.iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Err(self.error_at(
                    SqlState::WRONG_OBJECT_TYPE,
                    format!("{name}(*) specified, but {name} is not an aggregate function"),
                    span,
                )),
                _ => Err(self.at(SqlError::not_supported("named or whole-row argument notation"), span)),
            })
            .collect()
    }

    /// COALESCE and the other expressions that look like calls.
    fn construct(&mut self, name: &str, args: &[&ast::Expr], span: Span, env: &Env<'_>) -> Result<Expr> {
        if name == "grouping" {
            return self.grouping_call(args, span, env);
        }
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            bound.push((self.expr(arg, env)?, arg.span()));
        }
        match name {
            "row" => {
                let mut fields = Vec::with_capacity(bound.len());
                for (field, _) in bound {
                    fields.push(self.settle_unknown(field)?);
                }
                Ok(super::row::row_of(fields))
            }
            "nullif" => {
                let [(left, left_span), (right, right_span)] = <[_; 2]>::try_from(bound).map_err(|_| {
                    self.error_at(SqlState::SYNTAX_ERROR, "syntax error at or near \"nullif\"", span)
                })?;
                let (left, right, equal) = self.equality_of(left, right, left_span, right_span)?;
                let ty = left.ty();
                Ok(Expr::NullIf { left: Box::new(left), right: Box::new(right), equal, ty })
            }
            _ if bound.is_empty() => {
                Err(self.error_at(SqlState::SYNTAX_ERROR, "syntax error at or near \")\"", span))
            }
            "coalesce" => {
                let (args, ty) = self.unify(bound, "COALESCE")?;
                Ok(Expr::Coalesce { args, ty })
            }
            _ => {
                let greatest = name == "greatest";
                let (args, ty) = self.unify(bound, if greatest { "GREATEST" } else { "LEAST" })?;
                let less = basalt_functions::less_than(ty.oid).ok_or_else(|| self.no_ordering(ty, span))?;
                Ok(Expr::MinMax { greatest, args, less, ty })
            }
        }
    }

    pub(super) fn no_ordering(&self, ty: SqlType, span: Span) -> SqlError {
        self.at(
            SqlError::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("could not identify an ordering operator for type {}", super::type_name(ty)),
            )
            .with_hint("Use an explicit ordering operator or modify the query."),
            span,
        )
    }

    /// Finds the function and converts its arguments.
    pub(super) fn resolve_call(
        &mut self,
        name: &str,
        args: Vec<(Expr, Span)>,
        span: Span,
    ) -> Result<(&'static basalt_functions::Function, Vec<Expr>, SqlType)> {
        let types: Vec<Oid> = args.iter().map(|(arg, _)| arg.ty().oid).collect();
        match resolve::function(name, &types) {
            Found::One(candidate) => {
                let (args, ty) = self.finish_call(&candidate, args).map_err(|error| self.at(error, span))?;
                Ok((candidate.function, args, ty))
            }
            Found::None => Err(self.missing_function(name, &types, false, span)),
            Found::Ambiguous => Err(self.missing_function(name, &types, true, span)),
        }
    }

    fn finish_call(
        &mut self,
        candidate: &Candidate,
        args: Vec<(Expr, Span)>,
    ) -> Result<(Vec<Expr>, SqlType)> {
        let actual: Vec<SqlType> = args.iter().map(|(arg, _)| arg.ty()).collect();
        let signature = resolve::concrete(&candidate.args, candidate.function.returns, &actual, |types| {
            self.common_type(types, &[], "ARRAY")
        })?;
        let mut converted = Vec::with_capacity(args.len());
        for ((arg, span), target) in args.into_iter().zip(&signature.args) {
            // "any" takes unknown literals as text.
            let arg = if *target == Oid::ANY {
                self.settle_unknown(arg)?
            } else {
                self.coerce_arg(arg, *target, span)?
            };
            converted.push(arg);
        }
        complete(candidate, &mut converted);
        Ok((converted, SqlType::new(signature.returns, -1)))
    }

    pub(super) fn missing_function(
        &self,
        name: &str,
        types: &[Oid],
        ambiguous: bool,
        span: Span,
    ) -> SqlError {
        let types: Vec<String> = types.iter().map(|oid| oid_name(*oid)).collect();
        let signature = format!("{name}({})", types.join(", "));
        let error = if ambiguous {
            SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("function {signature} is not unique"))
                .with_hint(
                    "Could not choose a best candidate function. You might need to add explicit type casts.",
                )
        } else {
            SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {signature} does not exist"))
                .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
        };
        self.at(error, span)
    }

    /// A call of a scalar or set-returning function with bound arguments.
    pub(super) fn call_function(&mut self, name: &str, args: Vec<(Expr, Span)>, span: Span) -> Result<Expr> {
        // A literal has no type of its own yet.
        if name == "pg_typeof"
            && let [(Expr::Literal { ty, .. }, _)] = args.as_slice()
            && ty.oid == Oid::UNKNOWN
        {
            return Ok(Expr::literal(Datum::Oid(Oid::UNKNOWN), SqlType::new(Oid::REGTYPE, -1)));
        }
        // A type's name with one argument is a cast, unless a function takes exactly that type.
        if let [(arg, arg_span)] = args.as_slice()
            && let Some(info) = type_by_name(name)
        {
            let source = arg.ty().oid;
            let exact = lookup::functions(name).any(|function| function.args.as_slice() == [source]);
            let castable =
                source == Oid::UNKNOWN || lookup::pathway(source, info.oid, CastContext::Explicit).is_some();
            if !exact && castable {
                return self.cast_explicit(arg.clone(), SqlType::new(info.oid, -1), *arg_span);
            }
        }
        let (function, args, ty) = self.resolve_call(name, args, span)?;
        let call = CallExpr { function, args, ty, operator: None };
        match &function.kind {
            FunctionKind::Scalar(_) => Ok(Expr::Call(Box::new(call))),
            FunctionKind::Set { columns, .. } => {
                if !matches!(self.collected.clause, Clause::Select | Clause::OrderBy | Clause::GroupBy)
                    || self.collected.in_aggregate
                {
                    let place = self.collected.clause.name();
                    return Err(self.error_at(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("set-returning functions are not allowed in {place}"),
                        span,
                    ));
                }
                if columns.len() > 1 {
                    return Err(
                        self.at(SqlError::not_supported(format!("function {name} outside FROM")), span)
                    );
                }
                let id = self.new_id();
                self.collected.set_calls.push((id, call));
                Ok(Expr::Column { id, ty })
            }
            FunctionKind::Aggregate(_) | FunctionKind::Window(_) => {
                Err(SqlError::internal(format!("{name} was taken for a scalar function")))
            }
        }
    }
}

/// Adds the defaults of arguments that were left out, and makes one array of those that a variadic array collects
/// (functions of VARIADIC "any" read their list themselves).
fn complete(candidate: &Candidate, args: &mut Vec<Expr>) {
    let function = candidate.function;
    if candidate.is_expanded() {
        let element = function.variadic.map(|element| SqlType::new(element, -1));
        if let Some(array) = element.filter(|element| element.oid != Oid::ANY).and_then(SqlType::array) {
            let elements = args.split_off(function.args.len() - 1);
            args.push(Expr::Array { elements, ty: array });
        }
        return;
    }
    let given = args.len();
    let missing = function.args.len() - given;
    let defaults = function.default_values();
    if let Some(first) = defaults.len().checked_sub(missing) {
        for (value, oid) in defaults.into_iter().skip(first).zip(&function.args[given..]) {
            args.push(Expr::literal(value, SqlType::new(*oid, -1)));
        }
    }
}
